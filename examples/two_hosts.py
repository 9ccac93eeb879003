"""Two hosts in one process, joined by a lossy link: one serves what it is sent, in capitals; neither needs a privilege.

python examples/two_hosts.py
"""

import time

import gevent

from pystack import Interface, Stack
from pystack.device import memory
from pystack.device.impair import Delay, Impaired, Loss


def serve(server):
    """Answer each connection."""
    while True:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(65_536):
                connection.sendall(data.upper())


def main():
    left, right = memory.pair()
    lossy = Impaired(left, transmit=[Loss(0.02), Delay(0.01)], receive=[Loss(0.02), Delay(0.01)], seed=1)
    with (
        Stack([Interface(device=lossy, addresses=["10.0.0.1/24"])]) as here,
        Stack([Interface(device=right, addresses=["10.0.0.2/24"])]) as there,
    ):
        gevent.spawn(serve, there.create_server(("10.0.0.2", 80)))
        with here.create_connection(("10.0.0.2", 80), timeout=30) as connection:
            sent, got, began = b"hello, host\n" * 20_000, 0, time.monotonic()
            writer = gevent.spawn(connection.sendall, sent)
            while got < len(sent):
                data = connection.recv(65_536)
                assert data == sent[got : got + len(data)].upper()
                got += len(data)
            writer.join()
        print(f"{got} bytes there and back in {time.monotonic() - began:.2f} s")
        print(f"segments sent again: {here.counters()['tcp'].get('RetransSegs', 0)}")


if __name__ == "__main__":
    main()
