"""How datagrams leave: from where, by which way, with which header."""

import pytest

from pystack import errors, messages, transport
from pystack.udp import settings
from pystack.wire import udp as wire
from tests.support.udp import (
    ANY,
    ETH,
    ETH_TOO,
    EVERYBODY,
    GROUP,
    HERE,
    HERE_TOO,
    LO,
    LOOPBACK,
    NOWHERE,
    OTHER,
    PEER,
    Udp,
)

MTU = 1500
LARGEST = 65_507  # bytes of payload (RFC 768 in RFC 791)


def test_a_datagram_leaves_with_its_header_and_the_payload_uncopied():
    udp = Udp()
    port = udp.bind(1)
    payload = b"hello"
    packet = udp.sends(1, payload)
    assert wire.parse(packet.header, 0) == (port, 53, 13, 0) and packet.checksum_at == 6
    assert packet.payload[0] is payload
    assert (packet.source, packet.destination, packet.interface) == (HERE, PEER, 0)
    assert (packet.ttl, packet.tos, packet.dont_fragment) == (None, 0, True)
    assert udp.core.counts["OutDatagrams"] == 1


def test_an_empty_datagram_leaves():
    packet = Udp().sends(1, b"")
    assert packet.payload == () and wire.parse(packet.header, 0)[2] == 8


def test_an_unbound_socket_is_bound_by_its_first_send():
    udp = Udp()
    (bound,) = udp.asks(transport.Send(1, b"x", PEER, 53))
    assert bound == transport.Bound(1, ANY, bound.port) and bound.port
    assert udp.asks(transport.Send(1, b"x", PEER, 53)) == []
    assert udp.arrives(source=(OTHER, 1), to=(HERE, bound.port)) == [1]


def test_the_bound_address_is_the_source_but_no_group_or_broadcast_is():
    for address, source in ((HERE_TOO, HERE_TOO), (ANY, HERE), (GROUP, HERE), (EVERYBODY, HERE)):
        udp = Udp()
        udp.bind(1, address, 1000)
        assert udp.sends(1).source == source


def test_a_connected_socket_sends_to_its_peer_or_to_whom_it_is_told():
    udp = Udp()
    udp.connect(1, PEER, 53)
    assert udp.sends(1, address=None, port=0).destination == PEER
    packet = udp.sends(1, address=OTHER, port=99)
    assert packet.destination == OTHER and wire.parse(packet.header, 0)[1] == 99


def test_without_a_checksum_if_the_program_wants_none():
    """RFC 1122 §4.1.3.4: optional for the sender."""
    udp = Udp()
    udp.sets(1, no_check=True)
    packet = udp.sends(1)
    assert packet.checksum_at is None and wire.parse(packet.header, 0)[3] == 0


def test_what_cannot_be_sent_is_refused_with_its_cause():
    udp = Udp()
    assert udp.refuses(1, address=None, port=0) == errors.NO_DESTINATION
    assert udp.refuses(1, port=0) == errors.BAD_ADDRESS
    assert udp.refuses(1, address=NOWHERE) == errors.NET_UNREACHABLE
    assert udp.refuses(1, address=EVERYBODY) == errors.BROADCAST_FORBIDDEN
    assert udp.refuses(1, bytes(LARGEST + 1)) == errors.MESSAGE_TOO_BIG
    assert udp.refuses(1, source=OTHER) == errors.BAD_ADDRESS
    assert udp.told == [] and "OutDatagrams" not in udp.core.counts


def test_the_largest_datagram_leaves_to_be_cut():
    packet = Udp().sends(1, bytes(LARGEST))
    assert not packet.dont_fragment and wire.parse(packet.header, 0)[2] == 65_515


def test_a_broadcast_leaves_if_the_program_asked_for_it():
    udp = Udp()
    udp.sets(1, broadcast=True)
    for address in (EVERYBODY, b"\xff" * 4):
        packet = udp.sends(1, address=address)
        assert (packet.destination, packet.interface, packet.ttl) == (address, ETH, None)


def test_the_unspecified_address_is_this_host():
    udp = Udp()
    packet = udp.sends(1, address=ANY)
    assert (packet.source, packet.destination) == (LOOPBACK, LOOPBACK)
    udp.bind(2, HERE, 1000)
    assert udp.sends(2, address=ANY).destination == HERE


def test_ttl_and_tos_of_the_socket_and_of_one_datagram():
    udp = Udp()
    udp.sets(1, ttl=9, tos=0x20)
    packet = udp.sends(1)
    assert (packet.ttl, packet.tos) == (9, 0x20)
    packet = udp.sends(1, ttl=3, tos=0)
    assert (packet.ttl, packet.tos) == (3, 0)


def test_source_and_interface_of_one_datagram():
    """IP_PKTINFO."""
    udp = Udp()
    udp.bind(1, HERE, 1000)
    packet = udp.sends(1, source=HERE_TOO, interface=ETH_TOO)
    assert (packet.source, packet.interface) == (HERE_TOO, ETH_TOO)
    assert udp.sends(1).source == HERE


def test_an_interface_that_is_not_there_is_refused():
    assert Udp().refuses(1, address=GROUP, interface=77) == errors.NO_DEVICE


def test_a_socket_of_one_device_sends_by_it():
    udp = Udp()
    udp.bind(1, port=1000, interface=ETH_TOO)
    packet = udp.sends(1)
    assert (packet.interface, packet.source) == (ETH_TOO, HERE_TOO)


@pytest.mark.parametrize(
    ("mode", "small", "large"),
    [
        (settings.PMTU_DONT, False, False),
        (settings.PMTU_WANT, True, False),
        (settings.PMTU_DO, True, None),
        (settings.PMTU_PROBE, True, None),
        (settings.PMTU_INTERFACE, False, None),
        (settings.PMTU_OMIT, False, False),
    ],
)
def test_df_as_ip_mtu_discover_says(mode, small, large):
    """Linux's __ip_make_skb and __ip_append_data: whether DF is set on what fits in the path's MTU, and on what does
    not (None: refused)."""
    udp = Udp()
    udp.sets(1, discover_pmtu=mode)
    assert udp.sends(1, bytes(MTU - 28)).dont_fragment == small
    if large is None:
        assert udp.refuses(1, bytes(MTU - 27)) == errors.MESSAGE_TOO_BIG
    else:
        assert udp.sends(1, bytes(MTU - 27)).dont_fragment == large
    udp.paths.mtu = 1000
    assert udp.sends(1, bytes(1000 - 28)).dont_fragment == small
    if large is not None:
        assert udp.sends(1, bytes(1000 - 27)).dont_fragment == large


def test_a_refusal_for_its_size_says_the_mtu_to_who_wants_errors():
    """IP_RECVERR: Linux's ip_local_error."""
    udp = Udp()
    udp.connect(1, PEER, 53)
    udp.sets(1, discover_pmtu=settings.PMTU_DO, recv_error=True)
    (event,) = udp.asks(transport.Send(1, bytes(2000)))
    message = event.message
    assert (message.cause, message.mtu, message.reporter) == (messages.PACKET_TOO_BIG, MTU, None)
    assert (message.source, message.destination) == (HERE, PEER)
    (event,) = udp.asks(transport.Send(1, bytes(70_000)))
    assert event.cause == errors.MESSAGE_TOO_BIG and event.message.mtu == MTU


def test_multicast_leaves_by_its_own_ttl_interface_and_source():
    """IP_MULTICAST_TTL is 1 unless set (RFC 1112 §6.1); IP_TTL is for the others."""
    udp = Udp()
    udp.sets(1, ttl=9)
    packet = udp.sends(1, address=GROUP)
    assert (packet.ttl, packet.interface, packet.source, packet.multicast_loop) == (1, ETH, HERE, True)
    udp.sets(1, multicast_ttl=0, multicast_loop=False, multicast_interface=ETH_TOO)
    packet = udp.sends(1, address=GROUP)
    assert (packet.ttl, packet.interface, packet.source, packet.multicast_loop) == (0, ETH_TOO, HERE_TOO, False)
    assert udp.sends(1, address=PEER).interface == 0
    assert udp.sends(1, address=GROUP, interface=ETH, ttl=5).interface == ETH
    udp.sets(1, multicast_interface=0, multicast_source=HERE_TOO)
    packet = udp.sends(1, address=GROUP)
    assert (packet.interface, packet.source) == (ETH_TOO, HERE_TOO)
    udp.sets(1, multicast_interface=LO, multicast_source=None)
    assert udp.sends(1, address=GROUP).source == LOOPBACK
