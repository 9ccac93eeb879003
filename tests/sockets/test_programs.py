"""The boundary in one process: sockets of the standard library's kind on two stacks, joined by a memory link."""

import errno
import os
import select
import socket
import struct

import gevent
import pytest

from pystack import Interface, Stack, StackConfig, StackStopped
from pystack.config import Ipv6Config
from pystack.device import memory
from pystack.sockets import protocol

HERE, THERE = "10.0.0.1", "10.0.0.2"
PORT = 80
OPTIONS = [
    (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_PRIORITY, 5),
    (socket.IPPROTO_IP, socket.IP_TTL, 7),
    (socket.IPPROTO_IP, socket.IP_TOS, 0x10),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_CORK, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 78),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 8),
    (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1500),
]


@pytest.fixture
def stacks():
    left, right = memory.pair()
    with (
        Stack([Interface(device=left, addresses=[f"{HERE}/24"])]) as here,
        Stack([Interface(device=right, addresses=[f"{THERE}/24"])]) as there,
    ):
        yield here, there
        for stack in (here, there):
            assert stack.counters()["stack"]["bugs"] == 0


@pytest.fixture
def connected(stacks):
    """``(client, server)``, a connection."""
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener:
        with here.create_connection((THERE, PORT), timeout=5) as client:
            server, address = listener.accept()
            assert address == client.getsockname()
            server.settimeout(5)
            with server:
                yield client, server


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def fails(number, function, *arguments):
    with pytest.raises(OSError) as caught:
        function(*arguments)
    assert caught.value.errno == number, caught.value


# -- streams --------------------------------------------------------------------------------------------------------


def test_bytes_both_ways_and_a_half_close(connected):
    client, server = connected
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    assert (server.recv(100), server.recv(100)) == (b"hello", b"")
    server.sendall(b"world")
    server.close()
    assert (client.recv(100), client.recv(100)) == (b"world", b"")


def test_what_was_written_before_close_arrives(connected):
    client, server = connected
    body = bytes(3_000_000)
    writer = gevent.spawn(client.sendall, body)
    got = 0
    while got < len(body):
        got += len(server.recv(1 << 16))
        if got > 1_000_000 and not writer.dead:
            writer.join()
            client.close()
    assert server.recv(1) == b""


def test_a_window_stays_open_for_who_reads_and_never_answers(connected):
    """However small the pieces: what was read is given back without a request that it could go with."""
    client, server = connected
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for size in (1, 900):
        for _ in range(1000):
            server.send(bytes(size))
            left = size
            while left:
                left -= len(client.recv(left))


def test_close_right_after_what_was_read_is_no_reset(connected):
    """What was read is given back before, or TCP would take it for unread."""
    client, server = connected
    server.send(b"hello")
    assert client.recv(100) == b"hello"
    client.close()
    assert server.recv(100) == b""


def test_close_with_something_unread_is_a_reset(connected):
    """RFC 2525 §2.17, as Linux. What had come before it is read first."""
    client, server = connected
    client.sendall(b"x")
    assert server.recv(1, socket.MSG_PEEK) == b"x"
    server.sendall(b"last words")
    assert client.recv(100) == b"last words"
    server.close()
    fails(errno.ECONNRESET, client.recv, 100)
    assert client.recv(100) == b""
    fails(errno.EPIPE, client.send, b"x")


def test_a_reset_after_the_end_is_no_error_to_who_reads(connected):
    client, server = connected
    client.close()
    assert server.recv(100) == b""
    server.send(b"x")
    gevent.sleep(0.01)  # the reset is on its way
    assert server.recv(100) == b""
    fails(errno.EPIPE, server.send, b"y")


def test_linger_of_no_seconds_is_a_reset(connected):
    client, server = connected
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    fails(errno.ECONNRESET, client.recv, 100)


def test_what_was_sent_before_a_reset_arrives_before_it(connected):
    client, server = connected
    client.send(b"last words")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert server.recv(100) == b"last words"
    fails(errno.ECONNRESET, server.recv, 100)


def test_an_error_is_told_once_by_so_error(connected):
    client, server = connected
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    select_readable(client)
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert client.recv(1) == b""
    fails(errno.ENOTCONN, client.getpeername)


def select_readable(sock):
    from gevent.select import select as wait

    assert wait([sock], [], [], 5)[0]


def test_a_slow_reader_stops_the_writer(connected):
    client, server = connected
    client.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while True:
            sent += client.send(bytes(1 << 16))
            gevent.sleep(0)
            assert sent < 200_000_000
    got = 0
    while got < sent:
        got += len(server.recv(1 << 20))
    assert got == sent


def test_a_socket_that_is_not_connected(stacks):
    here, _ = stacks
    with here.socket() as sock:
        fails(errno.ENOTCONN, sock.recv, 1)
        fails(errno.EPIPE, sock.send, b"x")
        fails(errno.ENOTCONN, sock.getpeername)
        fails(errno.ENOTCONN, sock.shutdown, socket.SHUT_WR)
        fails(errno.EINVAL, sock._sock._accept)
        assert sock.getsockname() == ("0.0.0.0", 0)


def test_refused_and_then_connected_with_the_same_socket(stacks):
    """As on Linux, an attempt that failed leaves the socket, its port and its options as they were."""
    here, there = stacks
    with here.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((HERE, 4444))
        fails(errno.ECONNREFUSED, sock.connect, (THERE, PORT))
        with there.create_server((THERE, PORT)) as listener:
            sock.connect((THERE, PORT))
            assert listener.accept()[1] == (HERE, 4444)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_non_blocking_connect_polls_writable_when_it_is_over(stacks):
    here, there = stacks
    for port, number in ((PORT, 0), (PORT + 1, errno.ECONNREFUSED)):
        with there.create_server((THERE, PORT)), here.socket() as sock:
            sock.setblocking(False)
            assert sock._sock.connect_ex((THERE, port)) == errno.EINPROGRESS
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLOUT)
            while not poll.poll(0):
                gevent.sleep(0)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == number


def test_the_plug_of_a_connect_is_no_data(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener, here.create_connection((THERE, PORT)) as client:
        server = listener.accept()[0]
        client.sendall(b"first")
        assert server.recv(1 << 20) == b"first"
        server.close()


def test_unreachable_at_once(stacks):
    with stacks[0].socket() as sock:
        fails(errno.ENETUNREACH, sock.connect, ("203.0.113.1", 1))


# -- listeners ------------------------------------------------------------------------------------------------------


def test_a_listener_is_readable_when_a_connection_waits(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener:
        poll = select.poll()
        poll.register(listener.fileno(), select.POLLIN)
        assert poll.poll(0) == []
        with here.create_connection((THERE, PORT)):
            assert poll.poll(1000)
            listener.accept()[0].close()
            assert poll.poll(0) == []


def test_what_a_listener_has_not_accepted_is_reset_with_it(stacks):
    here, there = stacks
    listener = there.create_server((THERE, PORT))
    with here.create_connection((THERE, PORT), timeout=5) as client:
        listener.close()
        fails(errno.ECONNRESET, client.recv, 1)


def test_a_connection_that_was_reset_before_it_was_accepted_is_accepted_all_the_same(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener:
        client = here.create_connection((THERE, PORT))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        gevent.sleep(0)
        server = listener.accept()[0]
        server.settimeout(5)
        fails(errno.ECONNRESET, server.recv, 1)
        server.close()


def test_the_backlog_is_what_is_not_accepted(stacks):
    """Accepting makes room: Taken is told when the record has been read."""
    here, there = stacks
    with there.create_server((THERE, PORT), backlog=2) as listener:
        for _ in range(20):
            with here.create_connection((THERE, PORT), timeout=5):
                listener.accept()[0].close()


def test_a_port_is_free_when_close_returns(stacks):
    here, _ = stacks
    for _ in range(50):
        with here.socket() as sock:
            sock.bind((HERE, PORT))
            sock.listen()
        with here.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind((HERE, PORT))
    with here.socket() as sock, here.socket() as other:
        sock.bind((HERE, PORT))
        fails(errno.EADDRINUSE, other.bind, (HERE, PORT))
        fails(errno.EINVAL, sock.bind, (HERE, PORT + 1))


def test_accepted_sockets_inherit_options(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with here.create_connection((THERE, PORT)):
            server = listener.accept()[0]
            assert server.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            server.close()


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "name", "value"), OPTIONS)
def test_options_are_kept_as_the_kernel_keeps_them(stacks, level, name, value):
    with stacks[0].socket() as ours, socket.socket() as kernel:
        for sock in (ours, kernel):
            sock.setsockopt(level, name, value)
        assert ours.getsockopt(level, name) == kernel.getsockopt(level, name) == value


def test_options_that_there_are_not(stacks):
    with stacks[0].socket() as sock:
        fails(errno.ENOPROTOOPT, sock.setsockopt, socket.IPPROTO_TCP, 23, 5)  # TCP_FASTOPEN
        fails(errno.ENOPROTOOPT, sock.getsockopt, socket.IPPROTO_TCP, 999)
        fails(errno.EINVAL, sock.setsockopt, socket.IPPROTO_IP, socket.IP_TTL, 256)
        fails(errno.ENOENT, sock.setsockopt, socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"none")
        fails(errno.ENODEV, sock.setsockopt, socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"none0")


def test_what_a_socket_is(stacks):
    for kind, of in ((socket.SOCK_STREAM, 6), (socket.SOCK_DGRAM, 17)):
        with stacks[0].socket(type=kind) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == kind
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == socket.AF_INET
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL) == of


def test_tcp_info(connected):
    client, _ = connected
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert len(info) == 104 and info[0] == 1  # TCP_ESTABLISHED


# -- datagrams ------------------------------------------------------------------------------------------------------


@pytest.fixture
def datagrams(stacks):
    here, there = stacks
    with here.socket(type=socket.SOCK_DGRAM) as client, there.socket(type=socket.SOCK_DGRAM) as server:
        client.settimeout(5)
        server.settimeout(5)
        server.bind((THERE, PORT))
        yield client, server


def test_datagrams_keep_their_bounds_and_their_senders(datagrams):
    client, server = datagrams
    for payload in (b"one", b"", b"x" * 60_000):
        assert client.sendto(payload, (THERE, PORT)) == len(payload)
        assert server.recvfrom(65_536) == (payload, (HERE, client.getsockname()[1]))


def test_a_datagram_that_is_too_long_is_cut(datagrams):
    client, server = datagrams
    client.sendto(b"123456", (THERE, PORT))
    data, _, flags, _ = server.recvmsg(3)
    assert (data, flags & socket.MSG_TRUNC) == (b"123", socket.MSG_TRUNC)
    fails(errno.EMSGSIZE, client.sendto, bytes(65_508), (THERE, PORT))


def test_a_connected_datagram_socket_hears_that_nobody_listens(datagrams):
    client, _ = datagrams
    client.connect((THERE, PORT + 1))
    client.send(b"x")
    fails(errno.ECONNREFUSED, client.recv, 1)


def test_a_datagram_without_a_way_is_refused_at_once(datagrams):
    client, _ = datagrams
    fails(errno.ENETUNREACH, client.sendto, b"x", ("203.0.113.1", 1))
    fails(errno.EACCES, client.sendto, b"x", ("255.255.255.255", 1))
    fails(errno.EDESTADDRREQ, client.send, b"x")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(
    ("address", "on_connect", "on_bind"),
    [
        (("fe80::1", PORT), errno.EINVAL, errno.EINVAL),
        (("fe80::1", PORT, 0, 99), errno.ENETUNREACH, errno.ENODEV),
        (("fe80::1", PORT, 0, 0x10000), errno.ENETUNREACH, errno.ENODEV),
        (("::ffff:127.0.0.1", PORT), errno.ENETUNREACH, errno.EINVAL),
    ],
)
def test_an_address_that_the_socket_cannot_have(kind, address, on_connect, on_bind):
    """A link-local one of no link, an IPv4 one with IPV6_V6ONLY: refused, and all else is as it was."""
    with Stack([]) as stack, stack.socket(socket.AF_INET6, kind) as sock, stack.socket(socket.AF_INET6, kind) as peer:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        fails(on_bind, sock.bind, address)
        fails(on_connect, sock.connect, address)
        peer.bind(("::1", PORT))
        if kind == socket.SOCK_STREAM:
            peer.listen()
        sock.connect(("::1", PORT))
        if kind == socket.SOCK_DGRAM:
            fails(on_connect, sock.connect, address)
        assert sock.getpeername() == ("::1", PORT, 0, 0)
        assert stack.counters()["stack"]["bugs"] == 0


def test_control_messages_of_datagrams(datagrams):
    client, server = datagrams
    server.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x20)
    client.sendto(b"x", (THERE, PORT))
    _, messages, _, _ = server.recvmsg(10, 100)
    assert messages == [(socket.IPPROTO_IP, socket.IP_TOS, b"\x20")]


def test_a_datagram_that_may_not_be_cut_is_refused_at_once(datagrams):
    """ip(7): IP_PMTUDISC_DO; the next datagram is not refused in its place."""
    sock, _ = datagrams
    sock.connect((THERE, PORT))
    sock.send(bytes(1473))
    sock.setsockopt(socket.IPPROTO_IP, 10, 2)
    sock.send(bytes(1472))
    fails(errno.EMSGSIZE, sock.send, bytes(1473))
    fails(errno.EMSGSIZE, sock.sendto, bytes(1473), (THERE, PORT))
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    sock.setsockopt(socket.IPPROTO_IP, 10, 1)
    sock.send(bytes(1473))


def test_a_connect_to_a_link_local_address_without_its_link_changes_nothing(stacks):
    here, _ = stacks
    mapped = f"::ffff:{THERE}"
    with here.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect((mapped, PORT))
        fails(errno.EINVAL, sock.connect, ("fe80::1", PORT))
        assert sock.getpeername()[:2] == (mapped, PORT)


def test_scopes_and_interfaces_that_there_are_not(stacks):
    here, _ = stacks
    with here.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        fails(errno.ENETUNREACH, sock.connect, ("fe80::1", PORT, 0, 1 << 20))
        sock.connect((f"::ffff:{THERE}", PORT))
        packet_info = bytes(16) + (-1).to_bytes(4, "little", signed=True)
        fails(errno.ENODEV, sock.sendmsg, [b"x"], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packet_info)])
        for group in ("fd77::1", "::ffff:224.0.0.5"):
            membership = socket.inet_pton(socket.AF_INET6, group) + bytes(4)
            fails(errno.EINVAL, sock.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, membership)


@pytest.fixture
def dual():
    """A socket of AF_INET6 at any address and PORT, and another one."""
    with Stack([]) as stack:
        with stack.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one, stack.socket(socket.AF_INET6, 2) as other:
            one.bind(("::", PORT))
            one.settimeout(5)
            yield one, other
        assert stack.counters()["stack"]["bugs"] == 0


V4, V6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
IP_PKTINFO = 8
MAPPED = bytes(10) + b"\xff\xff\x7f\0\0\x01"


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ([(V4, IP_PKTINFO)], [(V4, IP_PKTINFO, struct.pack("i", 1) + MAPPED[12:] * 2)]),
        ([(V6, socket.IPV6_RECVPKTINFO)], [(V6, socket.IPV6_PKTINFO, MAPPED + struct.pack("i", 1))]),
    ],
)
def test_where_an_ipv4_datagram_was_sent_to_is_told_as_it_was_asked_for(dual, wanted, got):
    receiver, sender = dual
    for option in wanted:
        receiver.setsockopt(*option, 1)
    sender.sendto(b"x", ("::ffff:127.0.0.1", PORT))
    assert receiver.recvmsg(10, 100)[1] == got


@pytest.mark.parametrize(
    ("to", "message", "source"),
    [
        ("::ffff:127.0.0.1", (V4, IP_PKTINFO, struct.pack("i", 0) + b"\x7f\0\0\x07" + bytes(4)), "::ffff:127.0.0.7"),
        ("::ffff:127.0.0.1", (V6, socket.IPV6_PKTINFO, MAPPED[:15] + b"\x07" + bytes(4)), "::ffff:127.0.0.7"),
        ("::ffff:127.0.0.1", (V6, socket.IPV6_HOPLIMIT, b"?"), "::ffff:127.0.0.1"),
        ("::1", (V4, IP_PKTINFO, struct.pack("i", -1) + bytes(8)), "::1"),
        ("::1", (99, 1, b"?"), "::1"),
    ],
)
def test_control_messages_of_the_other_version_say_nothing(dual, to, message, source):
    """Only IPV6_PKTINFO does."""
    receiver, sender = dual
    sender.sendmsg([b"x"], [message], 0, (to, PORT))
    assert receiver.recvfrom(10)[1][0] == source


def test_control_messages_that_cannot_be(dual):
    _, sender = dual
    for to, message, number in (
        ("::1", (V6, socket.IPV6_PKTINFO, bytes(16) + struct.pack("i", -1)), errno.ENODEV),
        ("::ffff:127.0.0.1", (V6, socket.IPV6_PKTINFO, bytes(20)), errno.EINVAL),
        ("::ffff:127.0.0.1", (V4, IP_PKTINFO, b""), errno.EINVAL),
    ):
        fails(number, sender.sendmsg, [b"x"], [message], 0, (to, PORT))
    fails(errno.EMSGSIZE, sender.sendto, bytes(65_508), ("::ffff:127.0.0.1", PORT))


def test_one_that_is_connected_by_ipv6_can_speak_ipv4_still():
    """As long as the program has not bound it; the reverse is refused, as Linux does."""
    with Stack() as stack, stack.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ours:
        ours.connect(("::1", PORT))
        with stack.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", PORT))
            peer.settimeout(5)
            ours.sendto(b"one", ("::ffff:127.0.0.1", PORT))
            assert peer.recv(10) == b"one"
            ours.connect(("::ffff:127.0.0.1", PORT))
            ours.send(b"two")
            got, sender = peer.recvfrom(10)
            assert got == b"two"
            peer.sendto(b"three", sender)
            ours.settimeout(5)
            assert ours.recv(10) == b"three"
        fails(errno.ENETUNREACH, ours.connect, ("::1", PORT))


def test_a_datagram_for_an_interface_that_is_not_there_is_refused(dual):
    """Not sent by another one; the engine alone knows, and the program hears of it next."""
    receiver, sender = dual
    sender.connect(("::1", PORT))
    sender.settimeout(5)
    sender.sendmsg([b"x"], [(V6, socket.IPV6_PKTINFO, bytes(16) + struct.pack("i", 99))])
    fails(errno.ENODEV, sender.recv, 1)
    receiver.setblocking(False)
    fails(errno.EAGAIN, receiver.recv, 1)


# -- link-local addresses -------------------------------------------------------------------------------------------


@pytest.fixture
def link_local():
    """A stack, and its own link-local address as a sockaddr with port 0."""
    left, _right = memory.pair()
    config = StackConfig(ipv6=Ipv6Config(dad_transmits=0))
    with Stack([Interface(device=left, addresses=["fe80::7/64"])], config) as stack:
        yield stack, ("fe80::7", 0, 0, 2)
        assert stack.counters()["stack"]["bugs"] == 0


def test_a_stack_hears_itself_at_its_link_local_address(link_local):
    """By the loopback, but as if by the link; errors too."""
    stack, address = link_local
    with stack.create_server(address, family=socket.AF_INET6) as listener:
        with stack.socket(socket.AF_INET6) as client:
            client.settimeout(5)
            client.connect(listener.getsockname())
            server, peer = listener.accept()
            with server:
                assert peer == client.getsockname() and peer[3] == 2
                assert server.getsockname() == client.getpeername() == listener.getsockname()
    with stack.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one, stack.socket(socket.AF_INET6, 2) as other:
        one.bind(address)
        one.settimeout(5)
        other.settimeout(5)
        other.bind(address)
        other.connect(one.getsockname())
        other.send(b"x")
        assert one.recvfrom(10) == (b"x", other.getsockname())
        one.close()
        other.send(b"x")
        fails(errno.ECONNREFUSED, other.recv, 1)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_loopback_is_no_link_of_neighbours(link_local, kind):
    stack, _ = link_local
    with stack.socket(socket.AF_INET6, kind) as sock:
        fails(errno.ENETUNREACH, sock.connect, ("fe80::1", PORT, 0, 1))


# -- ends -----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_sockets_that_are_closed(stacks):
    here, there = stacks
    here.socket().close()
    there.socket().close()
    gevent.sleep(0.01)
    before = descriptors()
    with there.create_server((THERE, PORT)) as listener:
        for _ in range(20):
            with here.create_connection((THERE, PORT), timeout=5) as client:
                listener.accept()[0].close()
                assert client.recv(1) == b""
    here.socket(type=socket.SOCK_DGRAM).close()
    gevent.sleep(0.01)
    assert descriptors() == before


def test_sockets_of_a_stack_that_is_closed(stacks):
    here, there = stacks
    listener = there.create_server((THERE, PORT))
    client = here.create_connection((THERE, PORT))
    here.close()
    fails(errno.ENETDOWN, client.recv, 1)
    with pytest.raises((OSError, StackStopped)):
        here.socket()
    client.close()
    listener.close()


def test_shutdown_both_ways_is_no_close(connected):
    """What was written is delivered, though the peer's data is unread; the socket is still there to be asked."""
    client, server = connected
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            server.send(bytes(1 << 16))
            gevent.sleep(0)
    server.settimeout(5)
    client.sendall(b"x" * 100_000)
    client.shutdown(socket.SHUT_RDWR)
    assert client.getpeername() == (THERE, PORT)
    assert len(client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)) == 104
    fails(errno.EPIPE, client.send, b"x")
    got = 0
    while data := server.recv(1 << 16):
        got += len(data)
    assert got == 100_000


def test_a_listener_that_is_shut_down_refuses(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT)) as listener:
        listener.shutdown(socket.SHUT_RDWR)
        fails(errno.EINVAL, listener._sock._accept)
        fails(errno.EINVAL, listener.listen)
        with here.socket() as sock:
            fails(errno.ECONNREFUSED, sock.connect, (THERE, PORT))


def test_one_accept_makes_room_for_one_more(stacks):
    here, there = stacks
    with there.create_server((THERE, PORT), backlog=100) as listener:
        clients = [here.create_connection((THERE, PORT), timeout=5) for _ in range(101)]
        listener.accept()[0].close()
        gevent.sleep(0.01)  # the other stack's service has its turn
        clients.append(here.create_connection((THERE, PORT), timeout=0.9))  # not by a SYN that comes again
        for client in clients:
            client.close()


def test_a_stack_that_has_stopped_answers_every_request(stacks):
    here, _ = stacks
    sock = here.socket()
    here.close()
    for call in (
        lambda: sock.bind((HERE, 1)),
        lambda: sock.connect((THERE, 1)),
        lambda: sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 100),
    ):
        with gevent.Timeout(5):
            fails(errno.ENETDOWN, call)
    sock.close()


def test_an_error_of_a_datagram_is_told_once(datagrams):
    """By the next call of either kind, or SO_ERROR; then things go on."""
    client, server = datagrams
    calls = (
        lambda: client.send(b"x"),
        lambda: client.recv(10),
        lambda: os.strerror(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)),
    )
    for call in calls:
        client.connect((THERE, PORT + 1))
        client.send(b"x")
        select_readable(client)
        try:
            assert call() == os.strerror(errno.ECONNREFUSED)
        except ConnectionRefusedError:
            pass
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        client.connect((THERE, PORT))
        client.send(b"question")
        _, address = server.recvfrom(10)
        server.sendto(b"answer", address)
        assert client.recv(10) == b"answer"


def test_a_bug_of_ours_is_told_and_counted(monkeypatch):
    """The program would wait for the answer for ever."""
    with Stack() as stack, stack.socket() as ours:
        monkeypatch.setattr("pystack.sockets.service.pack_endpoint", lambda *_: 1 / 0)
        fails(errno.EIO, ours.getsockname)
        monkeypatch.undo()
        assert ours.getsockname() == ("0.0.0.0", 0)
        assert stack.counters()["stack"]["bugs"] == 1


def test_requests_that_come_together_on_one_channel_are_all_answered():
    """Threads that need a channel of their own ask for it on the process's first one."""
    with Stack() as stack:
        service = stack.service()
        ours = service.new_life()
        ours.settimeout(5)
        for _ in range(3):
            ours.send(protocol.REQUEST.pack(protocol.INTERFACES, 0))
        answers = gevent.get_hub().threadpool.apply(lambda: [ours.recv(1000) for _ in range(3)])
        assert answers[0] and answers == answers[:1] * 3
        ours.close()
        service.close()
