"""TCP through the gateway: what the program does the kernel's peer sees, and the reverse."""

import errno
import http.server
import os
import random
import struct
import threading

import gevent
import pytest
from gevent import socket

from pystack.device import memory
from pystack.errors import StackError
from pystack.gateway import kernel
from pystack.gateway.gate import Gate
from pystack.gateway.gateway import Gateway
from tests.support.gateways import V4, V6, by_both, connected, free_port, linked, listening, read_all

HOST, LOCALHOST = V4.host, V4.localhost

LINGER_0 = struct.pack("ii", 1, 0)


def reset(outside):
    outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    outside.close()


def test_a_page_is_fetched_from_a_server_of_the_hosts():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello " * 10_000)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer((LOCALHOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with linked() as (stack, _), stack.connect(HOST, server.server_port) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = read_all(stream.recv)
        assert answer.startswith(b"HTTP/1.0 200") and answer.endswith(b"\r\n\r\n" + b"hello " * 10_000)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@by_both
def test_a_closed_port_refuses_at_once(ip):
    port = free_port(ip=ip)
    with linked() as (stack, gateway):
        with pytest.raises(ConnectionRefusedError):
            stack.connect(ip.host, port)
        assert gateway.idle
        assert gateway.counters()["gate"] == {"approaches": 1, "refuse": 1}


@by_both
@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES])
def test_what_the_kernel_cannot_reach_is_told_by_icmp(monkeypatch, number, ip):
    asked = []

    def refuse(address, port):
        asked.append((address, port))
        raise OSError(number, "no")

    monkeypatch.setattr(kernel.Connection, "open", refuse)
    with linked() as (stack, _):
        with pytest.raises(OSError) as caught:
            stack.connect(ip.far, 80)
    # As on Linux, what ICMP calls prohibited is EHOSTUNREACH, and what ICMPv6 does EACCES.
    assert caught.value.errno == (errno.EHOSTUNREACH if number == errno.EACCES and ip is V4 else number)
    assert asked == [(ip.far, 80)]


def test_a_kernel_without_ipv6_makes_the_program_fall_back_at_once(monkeypatch):
    """What it says of the family, it says of the destination."""

    def refuse(family, kind, protocol=0):
        raise OSError(errno.EAFNOSUPPORT, "no")

    monkeypatch.setattr(kernel, "open_socket", refuse)
    with linked(seconds=1) as (stack, _):
        for destination in (V6.host, V6.far):
            with pytest.raises(OSError) as caught:
                stack.connect(destination, 80)
            assert caught.value.errno == errno.ENETUNREACH


def test_many_that_cannot_be_reached_are_told_each(monkeypatch):
    """No limit of RFC 4443 §2.4 (f) lets the program wait in vain."""

    def refuse(address, port):
        raise OSError(errno.ENETUNREACH, "no")

    monkeypatch.setattr(kernel.Connection, "open", refuse)
    with linked(seconds=2) as (stack, gateway):
        for port in range(1, 41):
            with pytest.raises(OSError):
                stack.connect(V6.far, port)
        assert gateway.counters()["inet"]["Icmp6OutErrors"] == 40


@by_both
def test_the_peers_seem_to_be_the_program_and_the_destination(monkeypatch, ip):
    listener, port = listening(ip)
    real = kernel.Connection.open
    monkeypatch.setattr(kernel.Connection, "open", lambda address, _: real(ip.localhost, port))
    with listener, linked() as (stack, _), stack.connect(ip.far, 80) as stream:
        assert stream.remote == (ip.far_bytes, 80) and stream.local[0] == ip.guest_bytes


@by_both
def test_each_way_ends_by_itself(ip):
    """RFC 9293 §3.6: a FIN ends one way, as shutdown does."""
    with linked() as (stack, gateway), connected(stack, ip) as (stream, outside):
        stream.sendall(b"question")
        stream.shutdown()
        assert read_all(outside.recv) == b"question"
        outside.sendall(b"answer")
        assert stream.recv(100) == b"answer"
        outside.close()
        assert stream.recv(100) == b""
        stream.await_end()
        assert gateway.idle

    with linked() as (stack, _), connected(stack, ip) as (stream, outside):
        outside.sendall(b"greeting")
        outside.shutdown(socket.SHUT_WR)
        assert read_all(stream.recv) == b"greeting"
        stream.sendall(b"thanks")
        stream.close()
        assert read_all(outside.recv) == b"thanks"


@pytest.mark.parametrize("before", ["", "out ended", "in ended"])
def test_a_reset_is_passed_on_to_the_program(before):
    with linked() as (stack, _), connected(stack) as (stream, outside):
        if before == "out ended":
            stream.shutdown()
            assert outside.recv(1) == b""
        elif before == "in ended":
            outside.shutdown(socket.SHUT_WR)
            assert stream.recv(1) == b""
        reset(outside)
        # As on Linux, in CLOSE-WAIT it is EPIPE.
        with pytest.raises(BrokenPipeError if before == "in ended" else ConnectionResetError):
            stream.await_end()


@pytest.mark.parametrize("before", ["", "out ended", "in ended"])
def test_a_reset_of_the_program_is_passed_on(before):
    with linked() as (stack, _), connected(stack) as (stream, outside):
        if before == "out ended":
            stream.shutdown()
            assert outside.recv(1) == b""
        elif before == "in ended":
            outside.shutdown(socket.SHUT_WR)
            assert stream.recv(1) == b""
        stream.abort()
        if before == "out ended":  # what is read has ended already; the error is there all the same
            socket.wait_write(outside.fileno())
            while not (number := outside.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                gevent.sleep(0)
            assert number in (errno.ECONNRESET, errno.EPIPE)
        else:
            with pytest.raises(ConnectionResetError):
                read_all(outside.recv)


@by_both
@pytest.mark.parametrize("mtu", [1500, 65_535])
def test_nothing_is_lost_or_changed(mtu, ip):
    data = random.Random(1).randbytes(10 << 20)
    with linked(mtu) as (stack, _gateway), connected(stack, ip) as (stream, outside):

        def send(sendall, shutdown):
            sendall(data)
            shutdown()

        senders = [
            gevent.spawn(send, stream.sendall, stream.shutdown),
            gevent.spawn(send, outside.sendall, lambda: outside.shutdown(socket.SHUT_WR)),
        ]
        readers = [gevent.spawn(read_all, stream.recv), gevent.spawn(read_all, outside.recv)]
        assert all(reader.get() == data for reader in readers)
        gevent.joinall(senders, raise_error=True)


def test_who_does_not_read_stops_the_sender():
    with linked(mtu=1500) as (stack, gateway), connected(stack) as (stream, outside):
        for sendall, recv in ((stream.sendall, outside.recv), (outside.sendall, stream.recv)):
            size = 100 << 20
            sender = gevent.spawn(sendall, bytes(size))
            first = len(recv(1))
            with gevent.Timeout(0.5, False):  # long enough for all of it, were it taken
                sender.join()
            assert not sender.dead and not gateway.idle
            while first < size:
                first += len(recv(1 << 20))
            sender.get()


def test_the_end_leaves_nothing_in_flight():
    """A program may write and end at once: `idle` says when all is the kernel's."""
    with linked() as (stack, gateway), connected(stack) as (stream, outside):
        stream.sendall(bytes(1 << 20))
        stream.close()
        assert len(read_all(outside.recv)) == 1 << 20
        outside.close()
        while stack.held()["connections"] or not gateway.idle:
            gevent.sleep(0)


def test_many_connect_at_once():
    listener, port = listening()
    listener.listen(300)
    with listener, linked() as (stack, _gateway):

        def serve():
            while True:
                outside, _ = listener.accept()
                gevent.spawn(answer, outside)

        def answer(outside):
            with outside:
                outside.sendall(read_all(outside.recv)[::-1])

        def ask(number):
            with stack.connect(HOST, port) as stream:
                stream.sendall(b"%d" % number)
                stream.shutdown()
                return read_all(stream.recv)

        server = gevent.spawn(serve)
        jobs = [gevent.spawn(ask, number) for number in range(300)]
        assert [job.get() for job in jobs] == [str(number)[::-1].encode() for number in range(300)]
        server.kill()


# -- published ports --------------------------------------------------------------------------------------------------


@by_both
def test_a_published_port_leads_to_the_program(ip):
    """By the version of IP that it is published for."""
    with linked(publish=[(ip.localhost, 0, 80, "tcp")]) as (stack, gateway), stack.listen(80, ip.guest) as listener:
        with socket.create_connection((ip.localhost, gateway.published[0])) as outside, listener.accept() as stream:
            assert stream.remote[0] == ip.host_bytes
            outside.sendall(b"hello")
            assert stream.recv(100) == b"hello"
            stream.sendall(b"you")
            stream.shutdown()
            assert read_all(outside.recv) == b"you"


def test_a_published_port_where_the_program_does_not_listen_resets():
    with linked(publish=[(LOCALHOST, 0, 80, "tcp")]) as (_, gateway):
        with socket.create_connection((LOCALHOST, gateway.published[0])) as outside:
            with pytest.raises(ConnectionResetError):
                outside.recv(1)


@by_both
def test_a_port_published_for_a_version_that_the_program_lacks_leads_to_it_all_the_same(ip):
    other = V6 if ip is V4 else V4
    settings = {"versions": [ip], "addresses": [f"{ip.host}/{24 if ip is V4 else 64}"]}
    with (
        linked(publish=[(other.localhost, 0, 80, "tcp")], **settings) as (stack, gateway),
        stack.listen(80, ip.guest) as listener,
        socket.create_connection((other.localhost, gateway.published[0])) as outside,
        listener.accept() as stream,
    ):
        outside.sendall(b"hello")
        assert stream.recv(100) == b"hello" and stream.remote[0] == ip.host_bytes


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"addresses": ()}, "it needs an address"),
        ({"addresses": ["10.77.0.1/24", "10.78.0.1/24"]}, "10.78.0.1/24 is the second address of IPv4"),
        ({"addresses": ["fd00::x/64"]}, "'fd00::x/64' does not appear to be an IPv4 or IPv6 interface"),
        ({"guests": ["10.77.0.300"]}, "'10.77.0.300' does not appear to be"),
        ({"publish": [("::1", 1, 1)]}, "publish takes"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(settings, why):
    with pytest.raises(StackError, match=f"Gateway: {why}"):
        Gateway(memory.pair()[1], **settings)


# -- the end ----------------------------------------------------------------------------------------------------------


def test_closing_leaves_no_descriptor_and_no_greenlet():
    def descriptors():
        return sorted(os.listdir("/proc/self/fd"))

    with linked() as (stack, _), connected(stack):
        pass  # what the hub and the library open once is open now
    before = descriptors()
    silent, port = listening()
    with silent, linked(publish=[(LOCALHOST, 0, 80, "tcp"), (LOCALHOST, 0, 80, "udp")]) as (stack, _gateway):
        with stack.udp(0) as asker:
            asker.send(b"x", bytes((10, 77, 0, 1)), free_port(socket.SOCK_DGRAM))
        stack.connect(HOST, port)
        waiting, _ = silent.accept()
        half = stack.connect(HOST, port)
        half.shutdown()
        ended, _ = silent.accept()
        assert ended.recv(1) == b""
        assert len(descriptors()) > len(before)
    for outside in (waiting, ended):
        outside.close()
    assert descriptors() == before


def test_closing_resets_what_is_not_over():
    """A server must not take a stream that was cut short for one that has ended."""
    listener, port = listening()
    with listener, linked() as (stack, _):
        stream = stack.connect(HOST, port)
        outside, _ = listener.accept()
        stream.sendall(b"half of it")
        assert outside.recv(100) == b"half of it"
    with outside, pytest.raises(ConnectionResetError):
        outside.recv(1)


def test_a_forked_child_leaves_the_connections_to_the_parent():
    with linked(publish=[(LOCALHOST, 0, 80, "tcp"), (LOCALHOST, 0, 80, "udp")]) as (stack, _):
        with connected(stack) as (stream, outside):
            before = len(os.listdir("/proc/self/fd"))
            child = os.fork()
            if child == 0:
                try:
                    fewer = before - len(os.listdir("/proc/self/fd"))
                    gevent.sleep(0.01)  # what was killed runs now
                finally:
                    os._exit(fewer)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) >= 3  # both published ports, and the connection
            stream.sendall(b"still here")
            assert outside.recv(100) == b"still here"
            stream.close()
            assert outside.recv(100) == b""
            outside.sendall(b"late")


def test_a_bug_stops_the_gateway_loudly(monkeypatch):
    real, broken = Gate.receive, []

    def receive(self, batch, now):
        if broken:
            raise RuntimeError("a bug")
        real(self, batch, now)

    monkeypatch.setattr(Gate, "receive", receive)
    with linked(bugs=1) as (stack, gateway), connected(stack) as (stream, outside):
        broken.append(True)
        stream.send(b"x")
        with pytest.raises(ConnectionResetError):
            outside.recv(1)
        assert isinstance(gateway.failure, RuntimeError)
        assert gateway.idle
