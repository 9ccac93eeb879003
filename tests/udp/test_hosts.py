"""UDP over inet and links: whole hosts, or one and the test."""

from random import Random

import pytest

from pystack import errors, transport
from pystack.config import Ipv6Config, StackConfig
from pystack.device import memory
from pystack.layers import Interface
from pystack.udp import settings
from pystack.wire import checksum, ipv4
from tests.support.frames import A, B, ethernet, ip
from tests.support.netsim import Host, Network, two_hosts
from tests.support.peer import Peer, parsed

ANY = bytes(4)
LOOPBACK = bytes((127, 0, 0, 1))
GROUP = bytes((239, 1, 2, 3))
BROADCAST = bytes((10, 0, 0, 255))
ETH = 2  # index of eth0
LARGEST = 65_507


class Socket:
    """One UDP socket of a netsim host; numbers are the test's."""

    def __init__(self, network, host, number, port=0, address=ANY, **options):
        self._network, self._core, self.number = network, host.layers.cores["udp"], number
        self._asks(*(transport.SetOption(number, name, value) for name, value in options.items()))
        (bound,) = self._asks(transport.Bind(number, address, port))
        self.port = bound.port

    def _asks(self, *requests):
        self._core.requests(list(requests), self._network.now)
        return self.events()

    def send(self, payload, address=None, port=0, **how):
        """Returns the causes of what failed once all has come to rest."""
        self._core.requests([transport.Send(self.number, payload, address, port, **how)], self._network.now)
        self._network.settle()
        return [event.cause for event in self.events(transport.SendFailed)]

    def connect(self, address, port):
        assert type(self._asks(transport.Connect(self.number, address, port))[-1]) is transport.Connected

    def join(self, group=GROUP, interface=0):
        (event,) = self._asks(transport.Join(self.number, group, interface))
        assert type(event) is transport.Joined
        self._network.settle()

    def close(self):
        self._asks(transport.Close(self.number))
        self._network.settle()

    def events(self, *kinds):
        """Take this socket's events (of these kinds)."""
        box = self._core.outboxes["sockets"]
        mine = [event for event in box if event.socket == self.number and (not kinds or type(event) in kinds)]
        box[:] = [event for event in box if event not in mine]
        return mine

    def received(self):
        """The payloads that came, read."""
        events = self.events(transport.Datagram)
        self._core.requests([transport.Read(event.socket, event.charge) for event in events], self._network.now)
        return [bytes(event.payload) for event in events]


def pair(**how):
    """``(network, socket of 10.0.0.1, socket of 10.0.0.2 at port 53)``."""
    network = two_hosts(**how)
    a, b = network.hosts
    return network, Socket(network, a, 1), Socket(network, b, 1, 53)


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, LARGEST])
def test_datagrams_of_all_sizes_arrive_whole(offload, size):
    _, a, b = pair(offload=offload)
    payload = Random(size).randbytes(size)
    assert a.send(payload, B, 53) == []
    assert b.received() == [payload]


def test_what_is_sent_to_this_host_arrives_on_it():
    network, a, _ = pair()
    other = Socket(network, network.hosts[0], 2, 99)
    for address in (A, LOOPBACK, ANY):
        a.send(b"hello", address, 99)
    assert other.received() == [b"hello"] * 3
    a.send(bytes(LARGEST), LOOPBACK, 99)
    assert other.received() == [bytes(LARGEST)]


def test_a_closed_port_refuses_a_connected_socket():
    """RFC 1122 §4.1.3.3."""
    network, a, _ = pair()
    a.connect(B, 54)
    assert a.send(b"anybody?") == [errors.REFUSED]
    other = Socket(network, network.hosts[0], 2)
    assert other.send(b"anybody?", B, 54) == []


def test_a_host_that_is_not_there_is_told_to_who_asks():
    """EHOSTUNREACH is soft: Linux tells it by IP_RECVERR alone."""
    network, a, _ = pair()
    asking = Socket(network, network.hosts[0], 2, recv_error=True)
    for each in (a, asking):
        each.send(b"anybody?", bytes((10, 0, 0, 77)), 53)
    network.run_for(10)
    assert [event.cause for event in asking.events(transport.SendFailed)] == [errors.HOST_UNREACHABLE]
    assert a.events() == []


def test_a_broadcast_is_heard_by_the_link_and_by_this_host():
    network, a, b = pair()
    here = Socket(network, network.hosts[0], 2, 53)
    a._asks(transport.SetOption(1, "broadcast", True))
    for address in (BROADCAST, b"\xff" * 4):
        a.send(b"all", address, 53)
        assert b.received() == [b"all"] and here.received() == [b"all"]
    assert network.hosts[0].drops() == {} and network.hosts[1].drops() == {}


@pytest.mark.parametrize("size", [5, 5000])
def test_a_multicast_is_heard_by_members_here_and_there(size):
    network, a, b = pair()
    here = Socket(network, network.hosts[0], 2, 53)
    payload = Random(1).randbytes(size)
    a.send(payload, GROUP, 53)
    assert b.received() == [] and here.received() == []
    here.join()
    b.join()
    a.send(payload, GROUP, 53)
    assert b.received() == [payload] and here.received() == [payload]
    b.close()
    a.send(payload, GROUP, 53)
    assert here.received() == [payload]


def test_multicast_options_decide_who_hears_it():
    """IP_MULTICAST_LOOP off: not this host; IP_MULTICAST_TTL 0: this host alone."""
    network, a, b = pair()
    here = Socket(network, network.hosts[0], 2, 53)
    here.join()
    b.join()
    a._asks(transport.SetOption(1, "multicast_loop", False))
    a.send(b"there", GROUP, 53)
    assert b.received() == [b"there"] and here.received() == []
    a._asks(transport.SetOption(1, "multicast_loop", True), transport.SetOption(1, "multicast_ttl", 0))
    a.send(b"here", GROUP, 53)
    assert b.received() == [] and here.received() == [b"here"]


def test_the_looped_copy_says_where_it_came_by():
    network, a, _ = pair()
    here = Socket(network, network.hosts[0], 2, 53)
    here.join()
    a.send(b"x", GROUP, 53, ttl=7, tos=0x20)
    (event,) = here.events()
    assert (event.source, event.destination) == ((A, a.port), (GROUP, 53))
    assert (event.interface, event.ttl, event.tos) == (ETH, 7, 0x20)


@pytest.mark.parametrize("offload", [True, False])
def test_by_ipv6_a_group_on_this_host_hears_it(offload):
    """RFC 8200 §8.1: a copy without a checksum would be dropped."""
    left, _ = memory.pair(offload=offload)
    config = StackConfig(ipv6=Ipv6Config(dad_transmits=0))
    network = Network(Host([Interface(device=left, addresses=["fd77::1/64"])], config))
    group, any_address = bytes((0xFF, 0x15, *bytes(13), 1)), bytes(16)
    a, here = (Socket(network, network.hosts[0], number, port, any_address) for number, port in ((1, 0), (2, 53)))
    here.join(group, ETH)
    for payload in (b"x", bytes(3000)):  # whole, and in fragments
        assert a.send(payload, group, 53, interface=ETH) == []
        assert here.received() == [payload]


def test_multicast_on_the_loopback():
    network, a, _ = pair()
    here = Socket(network, network.hosts[0], 2, 53)
    a.send(b"x", GROUP, 53, interface=1)
    assert here.received() == []
    here.join(interface=1)
    a.send(b"x", GROUP, 53, interface=1)
    assert here.received() == [b"x"]


def test_the_source_of_a_multicast_decides_its_interface():
    """Linux's __ip_route_output_key: also for the limited broadcast."""
    inet = two_hosts().hosts[0].inet
    for destination in (GROUP, b"\xff" * 4):
        assert inet.path(destination, 0, LOOPBACK).interface == 1
        assert inet.path(destination, 0, A).interface == ETH
        assert inet.path(destination).interface == ETH
    assert inet.path(B, 0, LOOPBACK).interface == ETH


def frames_of(peer, request):
    """The IPv4 packets that a request to UDP makes leave."""
    peer.host.layers.cores["udp"].requests([request], peer.network.now)
    peer.network.settle()
    return [parsed(packet) for packet in peer.sees()]


def test_df_is_on_what_fits_and_not_on_fragments():
    """IP_PMTUDISC_WANT."""
    peer = Peer()
    ((fields, _),) = frames_of(peer, transport.Send(1, bytes(1472), A, 53))
    assert fields[4] == ipv4.DONT_FRAGMENT
    flags = [fields[4] for fields, _ in frames_of(peer, transport.Send(1, bytes(1473), A, 53))]
    assert flags == [ipv4.MORE_FRAGMENTS, 185]


def test_a_smaller_path_is_learned_and_the_next_datagram_cut():
    """RFC 1191: Fragmentation Needed about a datagram of ours."""
    peer = Peer()
    ((_, _),) = frames_of(peer, transport.Send(1, bytes(1400), A, 53))
    socket_port = peer.host.layers.cores["udp"].outboxes["sockets"][0].port
    quoted = ip(socket_port.to_bytes(2, "big") + b"\0\x35" + bytes(4), source=B, destination=A, total_length=1428,
                protocol=ipv4.UDP)  # fmt: skip
    message = bytes((3, 4, 0, 0, 0, 0)) + (1000).to_bytes(2, "big") + quoted
    peer.sends(ethernet(ip(with_checksum(message))))
    assert peer.host.inet.path(A).mtu == 1000
    flags = [fields[4] for fields, _ in frames_of(peer, transport.Send(1, bytes(1400), A, 53))]
    assert flags == [ipv4.MORE_FRAGMENTS, 122]
    option = transport.SetOption(1, "discover_pmtu", settings.PMTU_DO)
    assert frames_of(peer, option) == frames_of(peer, transport.Send(1, bytes(1400), A, 53)) == []
    assert peer.host.layers.cores["udp"].outboxes["sockets"][-1].cause == errors.MESSAGE_TOO_BIG


def with_checksum(message):
    """An ICMP message, its checksum made right."""
    return message[:2] + checksum.checksum(message).to_bytes(2, "big") + message[4:]


def test_ttl_tos_and_source_are_on_the_wire():
    peer = Peer(addresses=("10.0.0.2/24", "10.0.0.3/24"))
    other = bytes((10, 0, 0, 3))
    ((fields, _),) = frames_of(peer, transport.Send(1, b"x", A, 53, other, ttl=3, tos=0x28))
    assert (fields[1], fields[5], fields[8], fields[9]) == (0x28, 3, other, A)


def test_a_report_of_ours_is_not_looped():
    """IGMP hears others alone."""
    network, a, _ = pair()
    inet = network.hosts[0].inet
    a.join()
    network.run_for(5)
    assert inet.counts["OutRequests"] == 2 and inet.counts["InReceives"] == 0
