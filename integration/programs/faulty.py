"""faulty.py WHAT ADDRESS PORT: a client or server to which something happens.

``pour``: sends for ever, and says how that ended. ``listen``: waits for a byte on one connection for ever, likewise.
``crowd``: COUNT connections at once, each with a question and its answer. ``starve``: a server that may have 64
descriptors, and accepts what comes when it can. ``sleep``: has a connection, and does nothing. ``datagrams``: sends
some, when it is told to, and reads.
"""

import errno
import resource
import select
import selectors
import signal
import socket
import sys
import threading
import time

from versions import family


def pour(address, port):
    with socket.create_connection((address, port)) as connection:
        print("pouring", flush=True)
        try:
            while True:
                connection.sendall(bytes(1 << 20))
        except OSError as error:
            print(f"error={errno.errorcode[error.errno]}")


def listen(address, port):
    with socket.create_connection((address, port)) as connection:
        print("listening", flush=True)
        try:
            print(f"got={connection.recv(1)!r}")
        except OSError as error:
            print(f"error={errno.errorcode[error.errno]}")
    try:
        socket.create_connection((address, port))
    except OSError as error:
        print(f"next={errno.errorcode[error.errno]}")


def datagrams(address, port):
    """One datagram, another at SIGUSR1; when the socket has hung up, what a third and reading end with."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        sock.send(b"first")
        print("connected", flush=True)
        signal.sigwait([signal.SIGUSR1])
        sock.send(b"unread")
        print("sent", flush=True)
        poll = select.poll()
        poll.register(sock, 0)  # hanging up is told unasked
        poll.poll()
        for name, call in (("sent_on", lambda: sock.send(b"late")), ("read_on", lambda: sock.recv(10))):
            try:
                print(f"{name}={call()!r}")
            except OSError as error:
                print(f"{name}={errno.errorcode[error.errno]}")


def hear(address, port):
    """The other side of `datagrams`."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        print("ready", flush=True)
        while sock.recv(100):
            pass


def crowd(address, port, count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = [socket.create_connection((address, port)) for _ in range(int(count))]
    print(f"open={len(connections)}")
    for number, connection in enumerate(connections):
        connection.sendall(b"%d\n" % number)
    right = 0
    for number, connection in enumerate(connections):
        right += connection.recv(100) == b"%d\n" % number
        connection.close()
    print(f"right={right}")


def echo(address, port):
    """The other side of `crowd`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        socket.create_server((address, port), family=family(address), backlog=1024) as server,
        selectors.DefaultSelector() as selector,
    ):
        server.setblocking(False)
        selector.register(server, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is server:
                    connection, _ = server.accept()
                    selector.register(connection, selectors.EVENT_READ)
                elif data := key.fileobj.recv(100):
                    key.fileobj.sendall(data)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def sink(address, port):
    """The other side of `pour` and `sleep`: takes what comes, and says how it ended."""
    with socket.create_server((address, port), family=family(address)) as server:
        print("ready", flush=True)
        connection, _ = server.accept()
        with connection:
            try:
                while connection.recv(1 << 20):
                    pass
                print("ended=")
            except OSError as error:
                print(f"ended={errno.errorcode[error.errno]}")


def starve(address, port):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    closed, held, full = threading.Event(), [], False

    def serve(connection):
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)
        closed.set()

    def start(connection):
        threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((address, port), family=family(address), backlog=256) as server:
        print("ready", flush=True)
        while True:
            try:
                connection, _ = server.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                if not full:
                    full = True
                    print("full", flush=True)
                    while held:  # nobody is served before
                        start(held.pop())
                closed.wait()
                closed.clear()
                continue
            if full:
                start(connection)
            else:
                held.append(connection)


def sleep(address, port):
    with socket.create_connection((address, port)):
        print("connected", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    what, address, port, *more = sys.argv[1:]
    sys.stdout.reconfigure(line_buffering=True)
    globals()[what](address, int(port), *more)
