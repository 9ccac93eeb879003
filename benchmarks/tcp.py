"""TCP beside the kernel's: bulk both ways and the round trip of one byte, alternating in one run.

In namespaces of its own, a kernel's program (Python, in a process of its own) talks to another such program in a second
namespace over a veth pair, and to a program on a stack on a TAP; both servers run the same code. Run it as root or
where user namespaces are allowed: ``python benchmarks/tcp.py [--rounds N] [--size MB]``.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VETH, TAP = "10.78.0.2", "10.77.0.2"
PORT = 5001
TRIPS = 5000
CHUNK = 1 << 20

# -- the programs: they neither make up data nor check it, or that would be what is measured ---------------------------


def serve(stream, end):
    """Do on one accepted connection what its first 9 bytes ask; ``end()`` ends the sending side."""
    request = b""
    while len(request) < 9:
        piece = stream.recv(9 - len(request))
        if not piece:
            return
        request += piece
    role, size = request[:1], int.from_bytes(request[1:], "big")
    if role == b"d":
        chunk = bytes(CHUNK)
        for start in range(0, size, CHUNK):
            stream.sendall(chunk[: min(CHUNK, size - start)])
        end()
        stream.recv(1)
    elif role == b"u":
        into = bytearray(CHUNK)
        while size:
            got = stream.recv_into(into)
            if not got:
                return
            size -= got
        stream.sendall(b"!")
    else:
        while byte := stream.recv(1):
            stream.sendall(byte)


def kernel_server():
    """Serve one connection after another."""
    with socket.create_server(("", PORT)) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(connection, lambda: connection.shutdown(socket.SHUT_WR))  # noqa: B023


def kernel_client(role, host, size):
    """Ask for *size* bytes down or up, or so many trips; prints seconds, or a list of them."""
    with socket.create_connection((host, PORT)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        connection.sendall(role.encode() + size.to_bytes(8, "big"))
        if role == "t":
            print(json.dumps([trip(connection) for _ in range(size)]))
            return
        if role == "d":
            into, left = bytearray(CHUNK), size
            while got := connection.recv_into(into):
                left -= got
            assert left == 0
        else:
            chunk = bytes(CHUNK)
            for at in range(0, size, CHUNK):
                connection.sendall(chunk[: min(CHUNK, size - at)])
            assert connection.recv(1) == b"!"
        print(json.dumps(time.monotonic() - start))


def trip(connection):
    """Seconds for one byte there and back."""
    start = time.perf_counter()
    connection.sendall(b"x")
    connection.recv(1)
    return time.perf_counter() - start


# -- the measurement --------------------------------------------------------------------------------------------------


def client(namespace, prefix, role, host, size):
    """Run the client in a process; returns what it has measured, and this process's CPU meanwhile."""
    cpu = time.process_time()
    argv = [*prefix, sys.executable, __file__, "client", role, host, str(size)]
    done = namespace.run(argv, timeout=300, check=True)
    return json.loads(done.stdout), time.process_time() - cpu


def measure(namespace, kernel, rounds, size):
    """Alternate kernel and stack; returns rows ``{name: (more is better, [(kernel, stack), ...])}``."""
    rows = {}
    everywhere = os.sched_getaffinity(0)
    core = min(everywhere)

    def add(name, more, theirs, mine):
        rows.setdefault(name, (more, []))[1].append((theirs, mine))

    for _ in range(rounds):
        for role, name in (("d", "bulk from it"), ("u", "bulk to it")):
            theirs, _ = client(namespace, [], role, VETH, size)
            mine, cpu = client(namespace, [], role, TAP, size)
            add(f"{name}, Gbit/s", True, size * 8e-9 / theirs, size * 8e-9 / mine)
            add(f"{name}, stack's CPU, s per GB", False, None, cpu / size * 1e9)
        for where, cores in (("unpinned", everywhere), ("one core", {core})):
            prefix = ["taskset", "-c", ",".join(map(str, cores))]
            os.sched_setaffinity(0, cores)
            os.sched_setaffinity(kernel.pid, cores)
            theirs, mine = (sorted(client(namespace, prefix, "t", host, TRIPS)[0]) for host in (VETH, TAP))
            os.sched_setaffinity(0, everywhere)
            os.sched_setaffinity(kernel.pid, everywhere)
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                at = int(TRIPS * share)
                add(f"round trip {name}, {where}, us", False, theirs[at] * 1e6, mine[at] * 1e6)
    return rows


def show(rows):
    """Print medians, and the ratio in which 1 is the kernel's and more is better for the stack."""
    print(f"{'':40}{'kernel':>10}{'pystack':>10}{'ratio':>8}")
    for name, (more, pairs) in rows.items():
        mine = statistics.median(pair[1] for pair in pairs)
        if pairs[0][0] is None:
            print(f"{name:40}{'':>10}{mine:10.2f}")
            continue
        theirs = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(b / a if more else a / b for a, b in pairs)
        print(f"{name:40}{theirs:10.2f}{mine:10.2f}{ratio:8.2f}")


def accept(listener):
    """Serve as `kernel_server`, on a stack."""
    while True:
        with listener.accept() as stream:
            serve(stream, stream.shutdown)


def benchmark(rounds, size):
    """Set both up, and measure."""
    from integration.support import namespaces

    refused = namespaces.enter()  # before gevent has threads
    if refused:
        raise SystemExit(f"benchmarks/tcp.py: {refused}")
    import gevent

    from pystack import Interface, Stack
    from pystack.device.tap import Tap

    with namespaces.Namespace() as near, namespaces.Namespace() as far:
        namespaces.veth(near, "near", far, "far")
        near.ip("addr add 10.78.0.1/24 dev near")
        far.ip(f"addr add {VETH}/24 dev far")
        tap = Tap("ps0", netns=near.path, host_addresses=["10.77.0.1/24"])
        kernel = far.popen([sys.executable, __file__, "serve"], stdout=-1)
        try:
            kernel.stdout.readline()
            with Stack([Interface(device=tap, addresses=[f"{TAP}/24"])]) as stack:
                with stack.listen(PORT, nodelay=True) as listener:
                    server = gevent.spawn(accept, listener)
                    show(measure(near, kernel, rounds, size))
                    server.kill()
                if stack.counters()["stack"]["bugs"]:
                    raise SystemExit("the stack has had a bug: these figures are worth nothing")
        finally:
            kernel.kill()
            kernel.wait()
            kernel.stdout.close()


def main():
    if sys.argv[1:2] == ["serve"]:
        kernel_server()
        return
    if sys.argv[1:2] == ["client"]:
        role, host, size = sys.argv[2:]
        kernel_client(role, host, int(size))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=500, help="MB of each bulk transfer")
    options = parser.parse_args()
    benchmark(options.rounds, options.size * 1_000_000)


if __name__ == "__main__":
    main()
