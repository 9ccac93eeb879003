"""The kernel's side of a transfer: run as a process in a namespace, it prints one line of JSON when it is done.

python peer.py sink HOST PORT          connect, read to the end: bytes, sha256, seconds from the first byte
python peer.py source HOST PORT SIZE SEED   connect, send, and wait for the other side to end
python peer.py serve PORT TURN SIZE SEED    the same for one accepted connection; TURN is sink or source
python peer.py many HOST PORT COUNT         so many connections at once, a message there and back on each
python peer.py sequence HOST PORT COUNT     the same, one after another
"""

import hashlib
import json
import os
import socket
import sys
import time
from random import Random

CHUNK = 1 << 20


def stream(size, seed):
    """*size* bytes that differ everywhere, in pieces; the same for each seed."""
    random = Random(seed)
    while size:
        piece = random.randbytes(min(size, CHUNK))
        size -= len(piece)
        yield piece


def digest_of(size, seed):
    """The sha256 of such a stream."""
    digest = hashlib.sha256()
    for piece in stream(size, seed):
        digest.update(piece)
    return digest.hexdigest()


def sink(connection):
    digest, size, start = hashlib.sha256(), 0, None
    while piece := connection.recv(CHUNK):
        start = start or time.monotonic()
        digest.update(piece)
        size += len(piece)
    return {"size": size, "sha256": digest.hexdigest(), "seconds": time.monotonic() - (start or 0)}


def source(connection, size, seed):
    if "PEER_CONGESTION" in os.environ:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, os.environ["PEER_CONGESTION"].encode())
    start = time.monotonic()
    for piece in stream(size, seed):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(CHUNK):
        pass
    return {"size": size, "sha256": digest_of(size, seed), "seconds": time.monotonic() - start}


def many(host, port, count):
    connections = [socket.create_connection((host, port)) for _ in range(count)]
    for number, connection in enumerate(connections):
        connection.sendall(number.to_bytes(4, "big"))
    answers = [connection.recv(4) for connection in connections]
    for connection in connections:
        connection.close()
    return {"right": answers == [number.to_bytes(4, "big") for number in range(count)]}


def sequence(host, port, count):
    right = 0
    for number in range(count):
        with socket.create_connection((host, port)) as connection:
            connection.sendall(number.to_bytes(4, "big"))
            right += connection.recv(4) == number.to_bytes(4, "big")
    return {"right": right}


def main(role, *arguments):
    if role in ("many", "sequence"):
        host, port, number = arguments
        print(json.dumps({"many": many, "sequence": sequence}[role](host, int(port), int(number))), flush=True)
        return
    if role == "serve":
        port, role, *arguments = arguments
        with socket.create_server(("", int(port))) as listener:
            print("listening", flush=True)
            connection, _ = listener.accept()
    else:
        host, port, *arguments = arguments
        connection = socket.create_connection((host, int(port)))
    with connection:
        done = {"sink": sink, "source": source}[role](connection, *map(int, arguments[: 2 * (role == "source")]))
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
