"""What IPv4 takes and what it drops (RFC 1122 §3.2.1), addresses, fragments out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import errors
from pystack.device import memory
from pystack.inet import ipv4 as ip_core
from pystack.inet.finishing import finish_checksum
from pystack.layers import Interface
from pystack.packet import TxPacket
from pystack.wire import checksum, icmp, ipv4, ipv6
from tests.support.frames import A, B, echo, ethernet, ip
from tests.support.netsim import Host, Network, two_hosts
from tests.support.peer import Peer, parsed


def broken(**changes):
    """An echo request whose header bytes are changed, with its checksum right again."""
    packet = bytearray(ip(echo()))
    for at, value in changes.items():
        packet[int(at[1:])] = value
    packet[10:12] = bytes(2)
    packet[10:12] = struct.pack("!H", checksum.checksum(bytes(packet[:20])))
    return ethernet(bytes(packet))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (ethernet(ip(echo())[:19]), errors.TRUNCATED_HEADER),
        (broken(_0=0x55), errors.NOT_IP),
        (broken(_0=0x44), errors.BAD_HEADER_LENGTH),
        (ethernet(b"\x4f" + ip(echo())[1:40]), errors.TRUNCATED_HEADER),
        (ethernet(ip(echo())[:10] + b"\x12\x34" + ip(echo())[12:]), errors.BAD_IP_CHECKSUM),
        (broken(_3=255), errors.BAD_TOTAL_LENGTH),
        (broken(_3=10), errors.BAD_TOTAL_LENGTH),
        (ethernet(ip(echo(), destination=bytes((10, 0, 0, 77)))), errors.NOT_OURS),
        (ethernet(ip(echo(), destination=bytes((127, 0, 0, 1)))), errors.NOT_OURS),
        (ethernet(ip(echo(), destination=bytes((239, 1, 1, 1)))), errors.NOT_A_MEMBER),
        (ethernet(ip(echo(), source=bytes(4))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=bytes((0, 1, 2, 3)))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=bytes((127, 0, 0, 1)))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=bytes((224, 0, 0, 1)))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=b"\xff" * 4)), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=bytes((10, 0, 0, 255)))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=bytes((250, 0, 0, 1)))), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo(), source=B)), errors.MARTIAN_SOURCE),
        (ethernet(ip(echo()[:5])), errors.TRUNCATED_ICMP),
    ],
)
def test_a_bad_packet_is_dropped_for_its_reason_and_not_answered(frame, reason):
    peer = Peer()
    assert peer.sends(frame) == []
    assert peer.drops == {reason: 1}
    assert len(peer.sends(ethernet(ip(echo())))) == 1


def test_link_padding_is_no_part_of_the_packet():
    (reply,) = Peer().sends(ethernet(ip(echo(b"")) + bytes(18)))
    assert len(reply) == 28


def test_no_interfaces_broadcast_is_a_source():
    """Else an echo from it would be answered to all hosts of that other network."""
    (left, near), (right, _) = memory.pair(offload=False), memory.pair(offload=False)
    host = Host(
        [
            Interface(device=near, addresses=["10.0.0.2/24"]),
            Interface(device=right, addresses=["10.9.0.1/24"], name="eth1"),
        ]
    )
    network = Network(host)
    left.open()
    left.transmit([(ethernet(ip(echo(), source=bytes((10, 9, 0, 255))), destination=near.mac),)], network.now)
    network.settle()
    assert host.drops() == {errors.MARTIAN_SOURCE: 1}
    assert host.link("eth1").counts["OutPackets"] == 0


@pytest.mark.parametrize("ttl", [0, 1, 255])
def test_a_host_takes_any_ttl(ttl):
    """RFC 1122 §3.2.1.7."""
    assert len(Peer().sends(ethernet(ip(echo(), ttl=ttl)))) == 1


def test_several_addresses_are_answered_each_from_itself():
    peer = Peer(addresses=("10.0.0.2/24", "10.0.0.9/24", "10.5.0.1/16"))
    for destination in (B, bytes((10, 0, 0, 9)), bytes((10, 5, 0, 1))):
        (reply,) = peer.sends(ethernet(ip(echo(), destination=destination)))
        assert parsed(reply)[0][8] == destination


def test_the_source_shares_the_next_hops_prefix():
    peer = Peer(addresses=("10.0.0.2/24", "10.5.0.1/16"))
    inet = peer.host.inet
    assert inet.v4.addresses.path(bytes((10, 5, 3, 3))).source == bytes((10, 5, 0, 1))
    assert inet.v4.addresses.path(bytes((10, 0, 0, 3))).source == B
    assert inet.v4.addresses.path(bytes((192, 0, 2, 1))).source == B  # through the gateway 10.0.0.1
    assert inet.v4.addresses.path(bytes((192, 0, 2, 1))).next_hop == A
    assert inet.v4.addresses.path(bytes((127, 0, 0, 1))).source == bytes((127, 0, 0, 1))


def test_a_host_reaches_itself_by_its_loopback():
    peer = Peer()
    for destination in (B, bytes((127, 0, 0, 1)), bytes((127, 9, 9, 9))):
        peer.host.echoes.clear()
        peer.host.ping(destination, peer.network.now, payload=b"me")
        peer.network.settle()
        assert [reply.source for reply in peer.host.echoes] == [destination]
    assert peer.sees() == []


def test_without_a_route_the_sender_is_told():
    peer = Peer(gateway=None)
    peer.host.ping(bytes((192, 0, 2, 1)), peer.network.now)
    peer.network.settle()
    (message,) = peer.host.echoes
    assert (message.cause, message.reporter) == ("net_unreachable", None)
    assert peer.drops == {errors.NO_ROUTE: 1}


def test_a_removed_address_is_no_longer_ours():
    peer = Peer(addresses=("10.0.0.2/24", "10.0.0.9/24"))
    assert peer.host.inet.remove_address(2, bytes((10, 0, 0, 9)))
    assert not peer.host.inet.remove_address(2, bytes((10, 0, 0, 9)))
    peer.network.settle()
    assert peer.sends(ethernet(ip(echo(), destination=bytes((10, 0, 0, 9))))) == []
    assert len(peer.sends(ethernet(ip(echo())))) == 1


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 65507])
@pytest.mark.parametrize("mtu", [128, 576, 1500])  # 65507 bytes are 631 frames of 128
def test_echoes_of_every_size_cross_in_fragments(size, mtu):
    network = two_hosts(mtu=mtu)
    a, b = network.hosts
    network.run_for(0.1)
    data = bytes(range(256)) * 256
    a.ping(B, network.now, payload=data[:size])
    network.run_for(1.0)
    assert [(reply.payload, reply.ttl) for reply in a.echoes] == [(data[:size], 64)]
    assert a.drops() == b.drops() == {}


@given(
    st.integers(68, 1500),
    st.lists(st.binary(max_size=3000), max_size=3),
    st.sampled_from([b"", b"\x94\x04\0\0", b"\x07\x07\x04\0\0\0\0\0", b"\x94\x04\0\0\x07\x07\x04\0\0\0\0\0"]),
)
def test_fragments_fit_line_up_and_carry_the_whole(mtu, payload, options):
    packet = TxPacket(B, 99, b"header!!", payload, source=A, options=options)
    whole = b"".join((b"header!!", *payload))
    at = 0
    fragments = ip_core.fragment(packet, mtu, 77, 64)
    for cut in fragments:
        raw = b"".join((cut.header, *cut.payload))
        fields, piece = parsed(raw)
        assert fields[2] == len(raw) <= mtu
        assert checksum.valid(cut.header)
        assert fields[3] == 77 and (fields[4] & ipv4.OFFSET_MASK) * 8 == at
        assert piece == whole[at : at + len(piece)]
        at += len(piece)
        assert bool(fields[4] & ipv4.MORE_FRAGMENTS) == (at < len(whole))
    assert at == len(whole)


def test_a_transport_checksum_is_completed_or_left_to_the_device():
    for offload in (False, True):
        packet = TxPacket(B, ipv4.UDP, bytearray(b"\x03\xe8\x07\xd0\x00\x0d\x00\x00"), (b"hello",), source=A)
        packet.checksum_at = 6
        finish_checksum(packet, 33, ipv4.HEADER_LENGTH, offload)
        pseudo = checksum.pseudo_header(A, B, ipv4.UDP, 13)
        if offload:
            assert int.from_bytes(packet.header[6:8], "big") == pseudo
            assert packet.vnet[0] == 1 and struct.unpack_from("<HH", packet.vnet, 6) == (34, 6)
        else:
            assert checksum.valid(bytes(packet.header) + b"hello", pseudo)
            assert packet.vnet is None


def test_a_pseudo_header_that_sums_to_nothing_is_no_missing_checksum():
    """RFC 768, RFC 8200 §8.1: a UDP checksum of 0 would say that there is none."""
    source, destination = (bytes((0xFD, 0x77, *bytes(13), last)) for last in (2, 1))
    packet = TxPacket(destination, ipv4.UDP, bytearray(8), (bytes(1268),), source=source)
    packet.checksum_at = 6
    assert checksum.pseudo_header(source, destination, ipv4.UDP, 1276) == 0
    finish_checksum(packet, 1316, ipv6.HEADER_LENGTH, offload=True)
    assert packet.header[6:8] == b"\xff\xff"


def test_a_dead_neighbour_is_reported_for_each_waiting_packet():
    peer = Peer()
    for sequence in (1, 2):
        peer.host.ping(bytes((10, 0, 0, 50)), peer.network.now, sequence=sequence, payload=bytes(3000))
    assert peer.after(5) == []
    assert [message.cause for message in peer.host.echoes] == ["host_unreachable"] * 2
    assert icmp.parse(peer.host.echoes[0].quoted, 0)[0] == icmp.ECHO_REQUEST
