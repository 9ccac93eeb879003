"""UDP, DNS and ICMP echo through the gateway."""

import errno
from contextlib import contextmanager

import gevent
import pytest
from gevent import socket

from pystack import errors, messages
from pystack.gateway import datagrams, kernel
from pystack.gateway.destinations import UNREACHABLE_BY_ERRNO, Destinations, system_nameservers
from pystack.gateway.udp import UdpRelay
from pystack.packet import RxPacket
from pystack.scope import scoped
from pystack.wire import ipv4, udp
from tests.support.gateways import V4, V6, by_both, free_port, linked

LOCALHOST = V4.localhost
HOST_BYTES = V4.host_bytes


@contextmanager
def echoing(ip=V4):
    """A UDP server of the kernel's that answers with what it gets, in capitals; yields its port."""
    with socket.socket(ip.family, socket.SOCK_DGRAM) as server:
        server.bind((ip.localhost, 0))

        def serve():
            while True:
                data, peer = server.recvfrom(65_535)
                server.sendto(data.upper(), peer)

        greenlet = gevent.spawn(serve)
        yield server.getsockname()[1]
        greenlet.kill()


@by_both
@pytest.mark.parametrize("size", [0, 1, 1472, 60_000])
def test_datagrams_go_both_ways_whole(size, ip):
    with echoing(ip) as port, linked(mtu=1500) as (stack, gateway), udp_socket(stack, ip) as sock:
        for _ in range(2):
            sock.send(b"a" * size, ip.host_bytes, port)
            answer = sock.receive()
            assert bytes(answer.payload) == b"A" * size and answer.source == (ip.host_bytes, port)
        assert gateway.counters()["udp"] == {"flows": 1, "sent": 2, "received": 2}


def udp_socket(stack, ip, port=0):
    return stack.udp(port, ip.guest, ipv6=ip is V6)


@by_both
def test_a_closed_port_is_told_by_icmp(ip):
    port = free_port(socket.SOCK_DGRAM, ip)
    with linked() as (stack, _), udp_socket(stack, ip) as sock:
        sock.connect(ip.host_bytes, port)
        sock.send(b"anybody?")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()
        sock.send(b"still nobody?")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()


@by_both
def test_an_error_names_the_destination_as_its_reporter(monkeypatch, ip):
    """The program must take it for one about its datagram; the gateway is not on the way for it."""
    port = free_port(socket.SOCK_DGRAM, ip)
    monkeypatch.setattr(Destinations, "of", lambda self, address, _: (ip.localhost, port))
    with linked() as (stack, _), udp_socket(stack, ip) as sock:
        sock.connect(ip.far_bytes, 7)
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            sock.receive()


@by_both
def test_what_the_kernel_has_no_route_to_is_told_by_icmp(monkeypatch, ip):
    def refuse(protocol, on_readable, remote):
        raise OSError(errno.ENETUNREACH, "no")

    refuse.UDP = kernel.Datagrams.UDP
    monkeypatch.setattr(kernel, "Datagrams", refuse)
    with linked() as (stack, _), udp_socket(stack, ip) as sock:
        sock.set_option("recv_error" if ip is V4 else "v6.recv_error", True)  # without it Linux does not tell
        sock.connect(ip.far_bytes, 7)
        sock.send(b"x")
        with pytest.raises(OSError) as caught:
            sock.receive()
        assert caught.value.errno == errno.ENETUNREACH


def arrived(ip, destination=None):
    """An empty datagram of the program's that has no checksum."""
    frame = udp.build(1, 9, 8, 0)
    packet = RxPacket(frame, 0, len(frame))
    packet.source, packet.destination, packet.protocol = ip.guest_bytes, destination or ip.host_bytes, ipv4.UDP
    return packet


def test_what_has_no_checksum_is_dropped_by_ipv6_alone():
    """RFC 8200 §8.1, RFC 768."""
    relay = UdpRelay(Destinations([V4.host_bytes, V6.host_bytes], ["192.0.2.1"]))
    relay.receive([arrived(V6)], 0.0)
    assert relay.drops == {errors.BAD_CHECKSUM: 1} and len(relay) == 0
    relay.receive([arrived(V4)], 0.0)
    assert relay.drops == {errors.BAD_CHECKSUM: 1} and len(relay) == 1
    relay.close()


def test_groups_stay_in_the_programs_network():
    """While fd00::/8, whose first byte would be a group's of IPv4, does not."""
    relay = UdpRelay(Destinations([V6.host_bytes], ["192.0.2.1"]))
    for ip, group in ((V4, bytes((224, 0, 0, 251))), (V6, bytes.fromhex("ff02" + "00" * 13 + "fb"))):
        packet = arrived(ip, group)
        packet.checksum_trusted = True
        relay.receive([packet], 0.0)
    assert relay.drops == {errors.NO_PORT: 2} and len(relay) == 0


@by_both
def test_port_53_of_the_host_is_the_name_server(monkeypatch, ip):
    with echoing() as port, linked(nameservers=["192.0.2.53"]) as (stack, _), udp_socket(stack, ip) as sock:
        targets = []
        real = kernel.Datagrams

        def open_instead(protocol, on_readable, remote):
            targets.append(remote)
            return real(protocol, on_readable, remote=(LOCALHOST, port))

        open_instead.UDP = real.UDP
        monkeypatch.setattr(kernel, "Datagrams", open_instead)
        sock.send(b"who?", ip.host_bytes, 53)
        assert bytes(sock.receive().payload) == b"WHO?"
        assert targets == [("192.0.2.53", 53)]


def test_a_name_server_that_is_silent_is_passed_over():
    there = Destinations([HOST_BYTES, V6.host_bytes], ["192.0.2.1", "2001:db8::1"])
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
    assert there.of(V6.host_bytes, 53) == ("192.0.2.1", 53)
    assert there.of(V6.host_bytes, 54) == ("::1", 54)
    assert there.of(V6.far_bytes, 53) == (V6.far, 53)


def test_a_link_local_address_is_no_kernels_without_its_link():
    """The program's interface 1 is not the kernel's."""
    there = Destinations([V6.host_bytes], ["192.0.2.1"])
    assert there.of(scoped(bytes.fromhex("fe80" + "00" * 13 + "09"), 1), 80) == ("fe80::9", 80)
    with pytest.raises(OSError) as caught:
        kernel.Connection.open("fe80::9", 80)
    assert UNREACHABLE_BY_ERRNO[caught.value.errno] == messages.NET_UNREACHABLE


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
    relay = UdpRelay(Destinations([HOST_BYTES], ["192.0.2.1"]))
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


@by_both
def test_a_published_port_takes_datagrams(ip):
    with linked(publish=[(ip.localhost, 0, 7, "udp")]) as (stack, gateway), udp_socket(stack, ip, 7) as sock:
        outside = (ip.localhost, gateway.published[0])
        with (
            socket.socket(ip.family, socket.SOCK_DGRAM) as one,
            socket.socket(ip.family, socket.SOCK_DGRAM) as two,
        ):
            for asker in (one, two, one):
                asker.sendto(b"ask", outside)
                asked = sock.receive()
                assert bytes(asked.payload) == b"ask" and asked.source == (ip.host_bytes, asker.getsockname()[1])
                sock.send(b"answer", *asked.source)
                answer, source = asker.recvfrom(10)
                assert (answer, source[:2]) == (b"answer", outside)
        assert gateway.counters()["udp"] == {"flows": 2, "sent": 3, "received": 3}


# -- echoes -----------------------------------------------------------------------------------------------------------


@by_both
def test_the_host_answers_echoes_by_itself(ip):
    with linked(mtu=1500) as (stack, gateway):
        replies = stack.ping(ip.host, count=2, interval=0, size=4000)
        assert [(reply.source, reply.error) for reply in replies] == [(ip.host, None)] * 2
        assert gateway.counters()["echoes"] == {}


@by_both
def test_other_echoes_are_the_kernels(monkeypatch, ip):
    """Without ping sockets they are counted, and not answered."""
    monkeypatch.setattr(Destinations, "of", lambda self, address, port: (ip.localhost, port))
    try:
        kernel.Datagrams(kernel.Datagrams.PING, lambda: None, remote=(ip.localhost, 0)).close()
        allowed = True
    except PermissionError:
        allowed = False
    with linked() as (stack, gateway):
        replies = stack.ping(ip.far, count=2, interval=0, timeout=5 if allowed else 0.05)
        if allowed:
            assert [(reply.source, reply.error) for reply in replies] == [(ip.far, None)] * 2
            assert gateway.counters()["echoes"] == {"flows": 1, "sent": 2, "received": 2}
        else:
            assert gateway.counters()["echoes"] == {f"drop.{errors.KERNEL_REFUSED}": 2}


@by_both
def test_echoes_keep_their_identifier_and_data(monkeypatch, ip):
    """With a kernel of the test's: it puts its own identifier in, and counts nothing on it."""
    sent = []

    class Kernel:
        PING = 1

        def __init__(self, protocol, on_readable, remote):
            self.remote, self.waiting, self.on_readable = remote, [], on_readable

        def send(self, data, to):
            data = bytes(data)
            sent.append((self.remote, data[:4]))
            self.waiting.append(bytes((0 if ip is V4 else 129,)) + b"\0\0\0\x77\x77" + data[6:])
            gevent.get_hub().loop.run_callback(self.on_readable)

        def recv(self):
            return (self.waiting.pop(0), self.remote) if self.waiting else None

        def close(self):
            pass

    monkeypatch.setattr(kernel, "Datagrams", Kernel)
    with linked() as (stack, _):
        (reply,) = stack.ping(ip.far, count=1)
        assert (reply.source, reply.error) == (ip.far, None) and reply.rtt is not None
    assert [(remote, data[0]) for remote, data in sent] == [((ip.far, 0), 8 if ip is V4 else 128)]
