"""The kernel's side of a transfer: run as a process in a namespace, it prints one line of JSON when it is done.

    python peer.py sink HOST PORT          connect, read to the end: bytes, sha256, seconds from the first byte
    python peer.py source HOST PORT SIZE SEED   connect, send, and wait for the other side to end
    python peer.py serve PORT TURN SIZE SEED    the same for one accepted connection; TURN is sink or source
"""

import hashlib
import json
import socket
import sys
import time
from random import Random

CHUNK = 1 << 20
CONGESTION = b"cubic"


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
    # The host's default may be another than the stack's.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION)
    start = time.monotonic()
    for piece in stream(size, seed):
        connection.sendall(piece)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(CHUNK):
        pass
    return {"size": size, "sha256": digest_of(size, seed), "seconds": time.monotonic() - start}


def main(role, *arguments):
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
