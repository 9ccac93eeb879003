"""What a packet costs by IPv6 beside one by IPv4: the stack's CPU per packet, alternating in one run.

In a namespace of its own the kernel pings a stack on a TAP, sends it datagrams that come back, and bulk data through
TCP in both directions. Run it as root or where user namespaces are allowed: ``python benchmarks/versions.py
[--rounds N]``.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from integration.support import namespaces

REFUSED = namespaces.enter()  # before gevent has threads

import gevent  # noqa: E402

from pystack import Interface, Stack  # noqa: E402
from pystack.device.tap import Tap  # noqa: E402

HOSTS = ["10.77.0.1/24", "fd77::1/64"]
STACK = {4: "10.77.0.2", 6: "fd77::2"}
PINGS, DATAGRAMS, STREAM = 20_000, 20_000, 256 << 20
PORT = 9000

# The kernel's side: datagrams with 50 in flight, or bytes one way and then the other.
DATAGRAM_CLIENT = """
import socket, sys
address, count = sys.argv[1], int(sys.argv[2])
sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((address, 9000))
sock.settimeout(2)
for _ in range(count // 50):
    for _ in range(50):
        sock.send(bytes(512))
    for _ in range(50):
        sock.recv(1000)
"""
STREAM_CLIENT = """
import socket, sys
address, size = sys.argv[1], int(sys.argv[2])
sock = socket.create_connection((address, 9000))
chunk = bytes(1 << 20)
for _ in range(size >> 20):
    sock.sendall(chunk)
sock.shutdown(socket.SHUT_WR)
while sock.recv(1 << 20):
    pass
"""


def echo(namespace, stack, version):
    """CPU in us per ICMP echo."""
    return _cost(namespace, ["ping", "-q", "-f", "-l", "50", "-c", str(PINGS), STACK[version]], PINGS)


def datagrams(namespace, stack, version):
    """CPU in us per UDP datagram of 512 bytes, there and back."""
    with stack.udp(PORT, "::" if version == 6 else "0.0.0.0") as sock:

        def answer():
            while True:
                got = sock.receive()
                sock.send(bytes(got.payload), *got.source)

        greenlet = gevent.spawn(answer)
        cost = _cost(namespace, [sys.executable, "-c", DATAGRAM_CLIENT, STACK[version], str(DATAGRAMS)], DATAGRAMS)
        greenlet.kill()
    return cost


def stream(namespace, stack, version):
    """CPU in us per 64 KB of TCP, received and sent."""
    with stack.listen(PORT, "::" if version == 6 else "0.0.0.0") as listener:

        def serve():
            connection = listener.accept()
            while connection.recv(1 << 20):
                pass
            chunk = bytes(1 << 20)
            for _ in range(STREAM >> 20):
                connection.sendall(chunk)
            connection.close()

        greenlet = gevent.spawn(serve)
        argv = [sys.executable, "-c", STREAM_CLIENT, STACK[version], str(STREAM)]
        cost = _cost(namespace, argv, 2 * STREAM // 65_536)
        greenlet.join()
    return cost


def _cost(namespace, argv, units):
    before = time.process_time()
    namespace.run(argv, check=True)
    return (time.process_time() - before) / units * 1e6


WORKLOADS = {"ICMP echo": echo, "UDP, 512 bytes and back": datagrams, "TCP, 64 KB": stream}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if REFUSED:
        raise SystemExit(f"benchmarks/versions.py: {REFUSED}")
    with namespaces.Namespace() as namespace:
        tap = Tap("ps0", netns=namespace.path, host_addresses=HOSTS)
        interface = Interface(device=tap, addresses=["10.77.0.2/24", "fd77::2/64"])
        with Stack([interface]) as stack:
            gevent.sleep(3)  # duplicate address detection
            print(f"{'us of CPU per packet':32}{'IPv4':>10}{'IPv6':>10}{'ratio':>8}")
            for name, workload in WORKLOADS.items():
                workload(namespace, stack, 4)
                pairs = [[workload(namespace, stack, version) for version in (4, 6)] for _ in range(options.rounds)]
                four, six = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
                ratio = statistics.median(after / before for before, after in pairs)
                print(f"{name:32}{four:10.1f}{six:10.1f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
