"""UDP, DNS and ICMP echo through the gateway."""

from contextlib import contextmanager

import gevent
import pytest
from gevent import socket

from pystack import errors
from pystack.gateway import datagrams, kernel
from pystack.gateway.destinations import Destinations, system_nameservers
from pystack.gateway.udp import UdpRelay
from pystack.packet import RxPacket
from pystack.wire import ipv4, udp
from tests.support.gateways import GUEST, HOST, LOCALHOST, free_port, linked

HOST_BYTES = bytes((10, 77, 0, 1))


@contextmanager
def echoing():
    """A UDP server of the kernel's that answers with what it gets, in capitals; yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOCALHOST, 0))

        def serve():
            while True:
                data, peer = server.recvfrom(65_535)
                server.sendto(data.upper(), peer)

        greenlet = gevent.spawn(serve)
        yield server.getsockname()[1]
        greenlet.kill()


@pytest.mark.parametrize("size", [0, 1, 1472, 60_000])
def test_datagrams_go_both_ways_whole(size):
    with echoing() as port, linked(mtu=1500) as (stack, gateway), stack.udp() as sock:
        for _ in range(2):
            sock.send(b"a" * size, HOST_BYTES, port)
            answer = sock.receive()
            assert bytes(answer.payload) == b"A" * size and answer.source == (HOST_BYTES, port)
        assert gateway.counters()["udp"] == {"flows": 1, "sent": 2, "received": 2}


def test_a_closed_port_is_told_by_icmp():
    port = free_port(socket.SOCK_DGRAM)
    with linked() as (stack, _), stack.udp() as sock:
        sock.connect(HOST_BYTES, port)
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()
        sock.send(b"still nobody?")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()


def test_an_error_names_the_destination_as_its_reporter(monkeypatch):
    """The program must take it for one about its datagram; the gateway is not on the way for it."""
    port = free_port(socket.SOCK_DGRAM)
    monkeypatch.setattr(Destinations, "of", lambda self, address, _: (LOCALHOST, port))
    with linked() as (stack, _), stack.udp() as sock:
        sock.connect(bytes((192, 0, 2, 9)), 7)
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()


def test_port_53_of_the_host_is_the_name_server(monkeypatch):
    with echoing() as port, linked(nameservers=["192.0.2.53"]) as (stack, _), stack.udp() as sock:
        targets = []
        real = kernel.Datagrams

        def open_instead(protocol, on_readable, remote):
            targets.append(remote)
            return real(protocol, on_readable, remote=(LOCALHOST, port))

        open_instead.UDP = real.UDP
        monkeypatch.setattr(kernel, "Datagrams", open_instead)
        sock.send(b"who?", HOST_BYTES, 53)
        assert bytes(sock.receive().payload) == b"WHO?"
        assert targets == [("192.0.2.53", 53)]


def test_a_name_server_that_is_silent_is_passed_over():
    there = Destinations(HOST_BYTES, ["192.0.2.1", "2001:db8::1"])
    assert there.of(HOST_BYTES, 53) == ("192.0.2.1", 53)
    there.asked(0.0)
    there.asked(1.0)
    assert there.of(HOST_BYTES, 53) == ("192.0.2.1", 53)
    there.asked(3.0)
    assert there.of(HOST_BYTES, 53) == ("2001:db8::1", 53)
    there.answered()
    there.asked(100.0)
    assert there.of(HOST_BYTES, 53) == ("2001:db8::1", 53)
    there.failed()
    assert there.of(HOST_BYTES, 53) == ("192.0.2.1", 53)
    assert there.of(HOST_BYTES, 54) == (LOCALHOST, 54)
    assert there.of(bytes((192, 0, 2, 7)), 53) == ("192.0.2.7", 53)


def test_the_name_servers_are_the_systems(tmp_path):
    conf = tmp_path / "resolv.conf"
    conf.write_text(
        "# x\nsearch home\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnameserver nonsense\nnameserver\n"
    )
    assert system_nameservers(conf) == ("192.0.2.1", "fe80::1%eth0")
    conf.write_text("search home\n")
    assert system_nameservers(conf) == (LOCALHOST,)
    assert system_nameservers(tmp_path / "none") == (LOCALHOST,)


def test_flows_are_bounded_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(datagrams, "MAX_FLOWS", 2)
    with echoing() as port, linked() as (stack, gateway):
        socks = [stack.udp(0) for _ in range(3)]
        for sock in (socks[0], socks[1], socks[0], socks[2], socks[0], socks[1]):
            sock.send(b"x", HOST_BYTES, port)
            sock.receive()
        # The second's was evicted for the third, and the third's for the second.
        assert gateway.counters()["udp"] == {"flows": 4, "sent": 6, "received": 6, "evicted": 2}


def test_idle_flows_end(monkeypatch):
    """After 60 s, and after 180 if somebody has answered."""
    made = []

    class Silent:
        UDP = 1

        def __init__(self, protocol, on_readable, remote):
            self.on_readable, self.waiting, self.closed = on_readable, [], False
            made.append(self)

        def send(self, data, to):
            pass

        def recv(self):
            return (self.waiting.pop(), None) if self.waiting else None

        def close(self):
            self.closed = True

    monkeypatch.setattr(kernel, "Datagrams", Silent)
    relay = UdpRelay(Destinations(HOST_BYTES, ["192.0.2.1"]), HOST_BYTES, bytes((10, 77, 0, 2)))
    relay.on_readable = lambda flows: relay.readable(flows, 100.0)
    for port in (1, 2):
        frame = udp.build(port, 9, 8, 0)
        packet = RxPacket(frame, 0, len(frame))
        packet.source, packet.destination, packet.protocol = bytes((10, 77, 0, 2)), HOST_BYTES, ipv4.UDP
        relay.receive([packet], 100.0)
    made[1].waiting.append(b"answer")
    made[1].on_readable()
    assert len(relay.outboxes["inet"]) == 1
    for at, left, closed in ((159.9, 2, [False, False]), (160, 1, [True, False]), (280, 0, [True, True])):
        relay.expire(at)
        assert len(relay) == left and [each.closed for each in made] == closed
    assert relay.next_deadline() is None


def test_a_flow_ends_when_the_program_does_not_listen_any_more():
    with echoing() as port, linked() as (stack, gateway):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((LOCALHOST, 0))
            with stack.udp() as sock:
                sock.send(b"x", HOST_BYTES, server.getsockname()[1])
                _, peer = server.recvfrom(10)
            server.connect(peer)
            server.send(b"late")
            while "IcmpInErrors" not in gateway.counters()["inet"]:
                gevent.sleep(0)
            with pytest.raises(ConnectionRefusedError):
                server.send(b"later")
                server.recv(1)
        assert port


def test_a_published_port_takes_datagrams():
    with linked(publish=[(LOCALHOST, 0, 7, "udp")]) as (stack, gateway), stack.udp(7) as sock:
        outside = (LOCALHOST, gateway.published[0])
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
        ):
            for asker in (one, two, one):
                asker.sendto(b"ask", outside)
                asked = sock.receive()
                assert bytes(asked.payload) == b"ask" and asked.source == (HOST_BYTES, asker.getsockname()[1])
                sock.send(b"answer", *asked.source)
                assert asker.recvfrom(10) == (b"answer", outside)
        assert gateway.counters()["udp"] == {"flows": 2, "sent": 3, "received": 3}


# -- echoes -----------------------------------------------------------------------------------------------------------


def test_the_host_answers_echoes_by_itself():
    with linked(mtu=1500) as (stack, gateway):
        replies = stack.ping(HOST, count=2, interval=0, size=4000)
        assert [(reply.source, reply.error) for reply in replies] == [(HOST, None)] * 2
        assert gateway.counters()["echoes"] == {}


def test_other_echoes_are_the_kernels(monkeypatch):
    """Without ping sockets they are counted, and not answered."""
    monkeypatch.setattr(Destinations, "of", lambda self, address, port: (LOCALHOST, port))
    try:
        kernel.Datagrams(kernel.Datagrams.PING, lambda: None, remote=(LOCALHOST, 0)).close()
        allowed = True
    except PermissionError:
        allowed = False
    with linked() as (stack, gateway):
        replies = stack.ping("192.0.2.9", count=2, interval=0, timeout=5 if allowed else 0.05)
        if allowed:
            assert [(reply.source, reply.error) for reply in replies] == [("192.0.2.9", None)] * 2
            assert gateway.counters()["echoes"] == {"flows": 1, "sent": 2, "received": 2}
        else:
            assert gateway.counters()["echoes"] == {f"drop.{errors.KERNEL_REFUSED}": 2}


def test_echoes_keep_their_identifier_and_data(monkeypatch):
    """With a kernel of the test's: it puts its own identifier in, and counts nothing on it."""
    sent = []

    class Kernel:
        PING = 1

        def __init__(self, protocol, on_readable, remote):
            self.remote, self.waiting, self.on_readable = remote, [], on_readable

        def send(self, data, to):
            data = bytes(data)
            sent.append((self.remote, data[:4]))
            self.waiting.append(b"\0\0\0\0\x77\x77" + data[6:])
            gevent.get_hub().loop.run_callback(self.on_readable)

        def recv(self):
            return (self.waiting.pop(0), self.remote) if self.waiting else None

        def close(self):
            pass

    monkeypatch.setattr(kernel, "Datagrams", Kernel)
    with linked() as (stack, _):
        (reply,) = stack.ping("192.0.2.9", count=1)
        assert (reply.source, reply.error) == ("192.0.2.9", None) and reply.rtt is not None
    assert [remote for remote, _ in sent] == [("192.0.2.9", 0)]
    assert GUEST
