"""The programs that are measured: plain blocking ones, the same on the kernel and on pystack.

``python programs.py NAME ARGUMENTS``; each prints one line of JSON with what it has seen. Servers first print
``ready``. They neither make up data nor check it, or that would be what is measured.
"""

import itertools
import json
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 5001
CHUNK = 1 << 20
SLICE = 0.1  # seconds, of throughput over time


def say(result):
    print(json.dumps(result), flush=True)


def connect(host):
    sock = socket.socket()
    _prepare(sock)
    sock.connect((host, PORT))
    return sock


def listen():
    """A listener; connections inherit its options."""
    listener = socket.create_server(("", PORT), backlog=4096)
    _prepare(listener)
    return listener


def _prepare(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    congestion = os.environ.get("BENCHMARK_CONGESTION")  # else the kernel's default, and pystack's
    if congestion:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())


# -- servers -----------------------------------------------------------------------------------------------------------


def serve():
    """On each connection do what its first 9 bytes ask: down or up so many bytes, or trips; and echo datagrams."""
    _allow_descriptors()
    threading.Thread(target=_echo_datagrams, daemon=True).start()
    with listen() as listener:
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_serve_one, args=(connection,), daemon=True).start()


def _serve_one(stream):
    with stream:
        request = stream.recv(9, socket.MSG_WAITALL)
        role, size = request[:1], int.from_bytes(request[1:], "big")
        if role == b"d":
            chunk = memoryview(bytes(CHUNK))
            for start in range(0, size, CHUNK):
                stream.sendall(chunk[: min(CHUNK, size - start)])
            stream.shutdown(socket.SHUT_WR)
            stream.recv(1)
        elif role == b"u":
            into = bytearray(CHUNK)
            while size and (got := stream.recv_into(into)):
                size -= got
            stream.sendall(b"!")
        elif role == b"p":
            into, size = bytearray(CHUNK), 0
            while got := stream.recv_into(into):
                size += got
            stream.sendall(size.to_bytes(8, "big"))
        elif role == b"t":
            while byte := stream.recv(1):
                stream.sendall(byte)


def _echo_datagrams():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", PORT))
        while True:
            data, sender = sock.recvfrom(65536)
            sock.sendto(data, sender)


def hold():
    """Accept connections and echo on any of them, without a thread for each."""
    _allow_descriptors()
    poll = select.epoll()
    held = {}
    with listen() as listener:
        poll.register(listener, select.EPOLLIN)
        print("ready", flush=True)
        while True:
            for fd, _ in poll.poll():
                if fd == listener.fileno():
                    connection, _ = listener.accept()
                    held[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                elif data := held[fd].recv(65536):
                    held[fd].sendall(data)
                else:
                    held.pop(fd).close()


def answer(count=0):
    """One request, one response, on each connection, of *count* or for ever; then close it."""
    with listen() as listener:
        print("ready", flush=True)
        for _ in range(int(count)) if count else itertools.count():
            connection, _ = listener.accept()
            with connection:
                if connection.recv(100):
                    connection.sendall(b"response")


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together

    def do_GET(self):
        size = int(self.path[1:] or 1000)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        chunk = bytes(min(size, CHUNK))
        for start in range(0, size, CHUNK):
            self.wfile.write(chunk[: min(CHUNK, size - start)])

    def log_message(self, *arguments):
        pass


def http():
    """`http.server`: /N is a page of N bytes. Connections are kept."""
    server = ThreadingHTTPServer(("", PORT), _Page)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


# -- bulk --------------------------------------------------------------------------------------------------------------


def bulk(role, host, size, streams, held=""):
    """*size* bytes down ("d") or up ("u"), over so many connections at once, each in a thread.

    Prints ``{"gbit": Gbit/s of all, "slices": bytes in each SLICE}``. If it is *held* it waits for a line before, when
    it is ready, and one after.
    """
    if held:
        print("ready", flush=True)
        sys.stdin.readline()
    share = int(size) // int(streams)
    moved = [0] * int(streams)
    connections = [connect(host) for _ in moved]
    transfer = _download if role == "d" else _upload
    threads = [threading.Thread(target=transfer, args=(each, share, moved, at)) for at, each in enumerate(connections)]
    began = time.monotonic()
    for each in threads:
        each.start()
    slices, before = [], 0
    while any(each.is_alive() for each in threads):
        threads[0].join(SLICE) if threads[0].is_alive() else time.sleep(SLICE)
        slices.append(sum(moved) - before)
        before += slices[-1]
    say({"gbit": share * len(moved) * 8e-9 / (max(moved_at.values()) - began), "slices": slices[:-1]})
    if held:
        sys.stdin.readline()


moved_at = {}  # index of a connection -> when its last byte had moved


def _download(connection, size, moved, at):
    connection.sendall(b"d" + size.to_bytes(8, "big"))
    into = bytearray(CHUNK)
    while got := connection.recv_into(into):
        moved[at] += got
    moved_at[at] = time.monotonic()
    if moved[at] != size:
        raise SystemExit(f"{moved[at]} bytes came of {size}")


def _upload(connection, size, moved, at):
    connection.sendall(b"u" + size.to_bytes(8, "big"))
    chunk = memoryview(bytes(CHUNK))
    for start in range(0, size, CHUNK):
        piece = chunk[: min(CHUNK, size - start)]
        connection.sendall(piece)
        moved[at] += len(piece)
    if connection.recv(1) != b"!":
        raise SystemExit("the server did not have all")
    moved_at[at] = time.monotonic()


def push(host, seconds):
    """Send for so long; prints the Mbit/s that arrived, until all had."""
    with connect(host) as sock:
        began = time.monotonic()
        sock.sendall(b"p" + bytes(8))
        chunk = bytes(65536)
        while time.monotonic() - began < float(seconds):
            sock.send(chunk)
        sock.shutdown(socket.SHUT_WR)
        size = int.from_bytes(sock.recv(8, socket.MSG_WAITALL), "big")
        say(size * 8e-6 / (time.monotonic() - began))


# -- round trips -------------------------------------------------------------------------------------------------------


def trips(kind, host, count):
    """Round trips of 1 byte over TCP ("tcp"), 64 over UDP ("udp") or ICMP ("icmp"); prints microseconds of each."""
    if kind == "tcp":
        sock = connect(host)
        sock.sendall(b"t" + bytes(8))
        say(_trips(sock, b"x", int(count)))
    elif kind == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((host, PORT))
        sock.settimeout(5)
        say(_trips(sock, bytes(64), int(count)))
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        sock.connect((host, 0))
        sock.settimeout(5)
        head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
        total = sum(struct.unpack("!4H", head)) % 0xFFFF
        say(_trips(sock, head[:2] + struct.pack("!H", 0xFFFF - total) + head[4:] + bytes(56), int(count)))


def _trips(sock, message, count):
    found = []
    clock, send, receive = time.perf_counter, sock.send, sock.recv
    for _ in range(count + 100):
        began = clock()
        send(message)
        receive(1024)
        found.append((clock() - began) * 1e6)
    return found[100:]


def among(host, count, trips):
    """Open *count* connections, and make round trips on the last of them; then wait for a line, and close all."""
    _allow_descriptors()
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(host)) for _ in range(int(count))]
        say(_trips(opened[-1], b"x", int(trips)))
        sys.stdin.readline()


def connects(host, seconds, most=0):
    """Connect, request, response, close, one after the other, so long or until there were *most*; prints how many in a
    second."""
    count, began = 0, time.monotonic()
    while (now := time.monotonic()) - began < float(seconds) and count != int(most or -1):
        with socket.create_connection((host, PORT)) as sock:
            sock.sendall(b"request")
            while sock.recv(100):
                pass
        count += 1
    say(count / (now - began))


# -- datagrams ---------------------------------------------------------------------------------------------------------


def hear(count):
    """Receive datagrams until the one of size 1; prints the share of *count* that did not come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("", PORT))
        print("ready", flush=True)
        got = 0
        while len(sock.recv(2048)) > 1:
            got += 1
        say(1 - got / int(count))


def speak(host, rate, count):
    """Send *count* datagrams of 512 bytes at *rate* in a second, and the last one of 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, PORT))
        began, rate, data = time.monotonic(), float(rate), bytes(512)
        for number in range(int(count)):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sock.send(data)
        took = time.monotonic() - began
        with suppress(OSError):  # the first of them has ended the receiver, and its stack
            for wait in (0.05, 0.1, 0.2, 0.3, 0.4):
                time.sleep(wait)
                sock.send(b".")
        say(int(count) / took)


# -- HTTP --------------------------------------------------------------------------------------------------------------


def session(host, seconds):
    """GETs of 1,000 bytes by one `requests` session; prints how many in a second."""
    import requests

    count = 0
    with requests.Session() as made:
        made.get(f"http://{host}:{PORT}/1000")
        began = time.monotonic()
        while (now := time.monotonic()) - began < float(seconds):
            assert len(made.get(f"http://{host}:{PORT}/1000").content) == 1000
            count += 1
    say(count / (now - began))


def download(host, size):
    """One GET of *size* bytes by `requests`; prints MB/s."""
    import requests

    with requests.get(f"http://{host}:{PORT}/{size}", stream=True) as response:
        began, left = time.monotonic(), int(size)
        for piece in response.iter_content(CHUNK):
            left -= len(piece)
        assert left == 0
        say(int(size) / 1e6 / (time.monotonic() - began))


def browse(host, connections, seconds):
    """GETs of 1,000 bytes on so many kept connections at once; prints how many in a second."""
    request = f"GET /1000 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    poll, opened, pending = select.epoll(), {}, {}
    for _ in range(int(connections)):
        sock = connect(host)
        opened[sock.fileno()], pending[sock.fileno()] = sock, 0
        poll.register(sock, select.EPOLLIN)
    for sock in opened.values():
        sock.sendall(request)
    count, size, began = 0, 0, time.monotonic()
    end = now = began
    while opened:
        now = time.monotonic()
        if now - began < float(seconds):
            end = now
        for fd, _ in poll.poll(1):
            data = opened[fd].recv(65536)
            if not size:
                size = data.index(b"\r\n\r\n") + 4 + 1000
            pending[fd] += len(data)
            if pending[fd] >= size:
                pending[fd] = 0
                if now - began < float(seconds):
                    count += 1
                    opened[fd].sendall(request)
                else:
                    opened.pop(fd).close()
    say(count / (end - began))


def _allow_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


PROGRAMS = {
    each.__name__: each
    for each in (serve, hold, answer, http, bulk, push, trips, among, connects, hear, speak, session, download, browse)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
