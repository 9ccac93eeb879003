"""dual.py WHAT ARGUMENTS: sockets of both versions of IP in one program; prints ``name=value`` lines of what it saw.

``listen``: a listener for both versions. ``connect`` and ``race``: to a name that has both addresses. ``only``:
IPV6_V6ONLY. ``own``: localhost, and ::1. ``near``: TCP and UDP to a link-local address. ``echo``: the other side of
it. ``group``: a multicast group that two programs have joined. ``mirror`` and ``ask``: what packets carry beside their
data, as control messages have it. ``large``: datagrams at the limits.
"""

import asyncio
import errno
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack

IPV6 = socket.IPPROTO_IPV6
LEVELS = {
    (IPV6, socket.IPV6_PKTINFO): "destination",
    (IPV6, socket.IPV6_HOPLIMIT): "hops",
    (IPV6, socket.IPV6_TCLASS): "class",
    (socket.IPPROTO_IP, socket.IP_TTL): "ttl",
    (socket.IPPROTO_IP, socket.IP_TOS): "tos",
}
# What `socket` does not name, or not in each Python: IP_RECVTTL, and by IPv6 DONTFRAG, MTU_DISCOVER and MTU.
RECVTTL, DONTFRAG, MTU_DISCOVER, DO, MTU = 12, 62, 23, 2, 24


def say(name, value):
    print(f"{name}={value}", flush=True)


def failure(function, *arguments):
    """The name of the errno by which it fails."""
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, error)
    return "none"


def udp(family=socket.AF_INET6):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    return sock


def listen(port, count):
    with socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        say("name", server.getsockname())
        for number in range(int(count)):
            connection, address = server.accept()
            with connection:
                say(f"peer.{number}", address[:1] + address[2:])
                say(f"own.{number}", connection.getsockname())
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)


def connect(name, mapped, port):
    say("addresses", [found[4][0] for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)])
    with socket.create_connection((name, port), timeout=10) as connection:
        say("peer", connection.getpeername()[0])
    say("asyncio", asyncio.run(peer_of(name, port)))
    with socket.socket(socket.AF_INET6) as connection:
        say("mapped", failure(connection.connect, (mapped, int(port))))


def race(name, port):
    began = time.monotonic()
    say("peer", asyncio.run(peer_of(name, port)))
    say("at_once", time.monotonic() - began < 2)


async def peer_of(name, port):
    _, writer = await asyncio.open_connection(name, port, happy_eyeballs_delay=0.1)
    peer = writer.get_extra_info("peername")[0]
    writer.close()
    await writer.wait_closed()
    return peer


def only(port):
    port, mapped = int(port), "::ffff:127.0.0.1"
    with ExitStack() as stack:
        six, four, both = (stack.enter_context(socket.socket(family)) for family in (10, 2, 10))
        say("default", both.getsockopt(IPV6, socket.IPV6_V6ONLY))
        six.setsockopt(IPV6, socket.IPV6_V6ONLY, 1)
        say("mapped", failure(six.connect, (mapped, port)))
        say("bind_mapped", failure(six.bind, (mapped, port)))
        six.bind(("::", port))
        say("both_beside_six", failure(both.bind, ("::", port)))
        four.bind(("0.0.0.0", port))
        say("too_late", failure(six.setsockopt, IPV6, socket.IPV6_V6ONLY, 0))
        six.listen()
        four.listen()
        for name, listener, address in (("six", six, "::1"), ("four", four, "127.0.0.1")):
            client = stack.enter_context(socket.create_connection((address, port), timeout=5))
            connection, peer = listener.accept()
            stack.enter_context(connection)
            say(name, peer == client.getsockname())
    with socket.create_server(("", port + 1), family=socket.AF_INET6, dualstack_ipv6=True):
        with socket.socket() as four:
            say("four_beside_both", failure(four.bind, ("0.0.0.0", port + 1)))
        with socket.socket() as four:
            say("local_beside_both", failure(four.bind, ("127.0.0.1", port + 1)))


def own(port):
    with socket.create_server(("::1", int(port)), family=socket.AF_INET6) as server:
        for name in ("::1", "localhost"):
            with socket.create_connection((name, port), timeout=5) as client:
                connection, peer = server.accept()
                with connection:
                    say(name, peer)
                    say(f"{name}.agrees", peer == client.getsockname())
        with socket.socket() as four:
            say("four", failure(four.connect, ("localhost", int(port))))
    with socket.create_server(("127.0.0.1", int(port))) as server:
        with socket.create_connection(("localhost", port), timeout=5):  # tries ::1 first
            say("second", server.accept()[1][0])
    with udp() as here, udp() as there:
        here.bind(("::1", 0))
        there.sendto(b"x" * 65_527, here.getsockname())
        data, source = here.recvfrom(70_000)
        say("udp", (len(data), source[0], source[2:]))


def near(interface, port):
    """Ask all hosts of the link, and then the one that answered by its own address."""
    name, interface = interface, socket.if_nametoindex(interface)
    with udp() as sock:
        sock.sendto(b"who is there", socket.getaddrinfo(f"ff02::1%{name}", port, type=socket.SOCK_DGRAM)[0][4])
        found = sock.recvfrom(100)[1]
    say("found", (found[0].startswith("fe80::"), found[3] == interface))
    say("text", socket.getnameinfo(found, socket.NI_NUMERICHOST)[0].partition("%")[2] == name)
    address = f"{found[0]}%{name}"
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(b"hello")
        say("tcp", connection.recv(100))
        peer, name = connection.getpeername(), connection.getsockname()
        say("scopes", [scope == interface for _, _, _, scope in (peer, name)])
        say("own", name[0].startswith("fe80::"))
    with udp() as sock:
        sock.sendto(b"hello", socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0][4])
        data, source = sock.recvfrom(100)
        say("udp", data)
        say("udp_scope", source == peer)
    with udp() as sock:
        sock.connect((address.partition("%")[0], int(port), 0, interface))
        sock.send(b"again")
        say("connected", sock.recv(100))
    with socket.socket(socket.AF_INET6) as lost:
        say("without_scope", failure(lost.connect, (address.partition("%")[0], int(port))))


def echo(port):
    """The other side of `near` and `large`: TCP and UDP; for every address."""

    def serve():
        while True:
            data, source = sock.recvfrom(70_000)
            sock.sendto(data, source)

    with udp() as sock, socket.create_server(("::", int(port)), family=socket.AF_INET6) as server:
        sock.settimeout(None)
        sock.bind(("::", int(port)))
        threading.Thread(target=serve, daemon=True).start()
        say("ready", port)
        while True:
            connection, _ = server.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)


def group(role, address, port, interface):
    index = socket.if_nametoindex(interface)
    with udp() as sock:
        sock.bind(("::", int(port)))
        sock.setsockopt(IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(IPV6, socket.IPV6_RECVPKTINFO, 1)
        sock.setsockopt(IPV6, socket.IPV6_MULTICAST_IF, index)
        membership = socket.inet_pton(socket.AF_INET6, address) + struct.pack("=I", index)
        sock.setsockopt(IPV6, socket.IPV6_JOIN_GROUP, membership)
        say("twice", failure(sock.setsockopt, IPV6, socket.IPV6_JOIN_GROUP, membership))
        if role == "first":
            say("ready", role)
            hear(sock, index, "hello")
            sock.setsockopt(IPV6, socket.IPV6_MULTICAST_LOOP, 0)
            sock.setsockopt(IPV6, socket.IPV6_MULTICAST_HOPS, 7)
            sock.sendto(b"answer", (address, int(port)))
            sock.setsockopt(IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            sock.sendto(b"again", (address, int(port)))
            hear(sock, index, "own")
        else:
            sock.sendto(b"hello", (address, int(port)))
            for name in ("own", "answer", "again"):
                hear(sock, index, name)
        sock.setsockopt(IPV6, socket.IPV6_LEAVE_GROUP, membership)
        say("left", failure(sock.setsockopt, IPV6, socket.IPV6_LEAVE_GROUP, membership))
        sock.settimeout(0.2)
        say("more", failure(sock.recv, 100))


def hear(sock, index, name):
    data, ancillary, _, source = sock.recvmsg(100, 200)
    say(name, (data, source[0].partition("::")[0], source[3] == index, *told(ancillary)))


def told(ancillary):
    """``name value`` of each control message."""
    found = []
    for level, kind, data in ancillary:
        name = LEVELS[level, kind]
        if name == "destination":
            value = socket.inet_ntop(socket.AF_INET6, data[:16])
        else:
            value = data[0]
        found.append(f"{name} {value}")
    return sorted(found)


def receive_all(sock):
    for name in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
        sock.setsockopt(IPV6, name, 1)
    sock.setsockopt(socket.IPPROTO_IP, RECVTTL, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)


def mirror(port, count):
    """Say what each datagram carried; answer with a class and a hop limit by control messages."""
    with udp() as sock:
        sock.bind(("::", int(port)))
        receive_all(sock)
        say("ready", port)
        for number in range(int(count)):
            _, ancillary, _, source = sock.recvmsg(100, 500)
            say(number, (source[0], *told(ancillary)))
            answer = []
            if ":" in source[0] and "." not in source[0]:
                answer = [(IPV6, socket.IPV6_TCLASS, struct.pack("=i", 0x20))]
                answer += [(IPV6, socket.IPV6_HOPLIMIT, struct.pack("=i", 33))]
            sock.sendmsg([b"answer"], answer, 0, source)


def ask(six, four, port):
    with udp() as sock:
        receive_all(sock)
        for name, value in ((socket.IPV6_TCLASS, 0x48), (socket.IPV6_UNICAST_HOPS, 17)):
            sock.setsockopt(IPV6, name, value)
            say(f"option.{value}", sock.getsockopt(IPV6, name))
        for name, address in (("six", six), ("four", f"::ffff:{four}")):
            sock.sendto(b"question", (address, int(port)))
            _, ancillary, _, source = sock.recvmsg(100, 500)
            say(name, (source[0], *told(ancillary)))
        sock.setsockopt(IPV6, socket.IPV6_TCLASS, -1)
        sock.setsockopt(IPV6, socket.IPV6_UNICAST_HOPS, -1)
        say("defaults", (sock.getsockopt(IPV6, socket.IPV6_TCLASS), sock.getsockopt(IPV6, socket.IPV6_UNICAST_HOPS)))
        sock.sendto(b"question", (six, int(port)))
        sock.recv(100)


def large(address, port):
    with udp() as sock:
        sock.connect((address, int(port)))
        say("mtu", sock.getsockopt(IPV6, MTU))
        for size in (0, 1452, 1453, 65_527):
            began = time.monotonic()
            sock.send(bytes(size))
            say(f"echo.{size}", len(sock.recv(70_000)))
            say(f"at_once.{size}", time.monotonic() - began < 5)
        say("too_large", failure(sock.send, bytes(65_528)))
        sock.setsockopt(IPV6, DONTFRAG, 1)
        say("whole", failure(sock.send, bytes(1452)))
        say("cut", failure(sock.send, bytes(1453)))
        sock.setsockopt(IPV6, DONTFRAG, 0)
        sock.setsockopt(IPV6, MTU_DISCOVER, DO)
        say("discovered", failure(sock.send, bytes(1453)))
        say("got", len(sock.recv(70_000)))


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    globals()[what](*arguments)
