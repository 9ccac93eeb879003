"""bulk_peer.py serve|ask|send ADDRESS PORT SIZE [CLIENTS]: a stream of SIZE bytes each way, checked at both ends.

``serve`` prints the sha256 and length of what each connection brought, once it has ended, and answers with a line that
says the same. ``ask`` sends SIZE bytes on each of CLIENTS connections at once and expects them back (an echo).
``send`` sends without an answer to read meanwhile, and prints the line that it gets.
"""

import hashlib
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from content import content, sha256


def serve(address, port, _):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=64) as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=take, args=(connection,)).start()


def take(connection):
    digest, size = hashlib.sha256(), 0
    with connection:
        while piece := connection.recv(1 << 16):
            digest.update(piece)
            size += len(piece)
        line = f"{size} {digest.hexdigest()}"
        connection.sendall(line.encode() + b"\n")
    print(f"took={line}\n", end="", flush=True)  # in one piece, whatever other threads write


def ask(address, port, size, clients=1):
    def echo(number):
        with socket.create_connection((address, port), timeout=60) as connection:
            body = content(size + number)

            def write():
                connection.sendall(body)
                connection.shutdown(socket.SHUT_WR)

            writing = threading.Thread(target=write)
            writing.start()
            with connection.makefile("rb") as stream:
                got = stream.read()
            writing.join()
        return sha256(got)

    with ThreadPoolExecutor(clients) as pool:
        for number, digest in enumerate(pool.map(echo, range(clients))):
            print(f"{number}={digest}")


def send(address, port, size):
    with socket.create_connection((address, port), timeout=60) as connection:
        connection.sendall(content(size))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as stream:
            print(f"answer={stream.readline().rstrip()}")


if __name__ == "__main__":
    what, address, port, size, *clients = sys.argv[1:]
    globals()[what](address, int(port), int(size), *map(int, clients))
