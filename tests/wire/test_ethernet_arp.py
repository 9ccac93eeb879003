"""Ethernet and ARP: round trips, and dpkt as the independent reader and writer."""

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import arp, ethernet

MAC = st.binary(min_size=6, max_size=6)
ADDRESS = st.binary(min_size=4, max_size=4)
PACKETS = st.tuples(st.integers(0, 65535), MAC, ADDRESS, MAC, ADDRESS)


@given(MAC, MAC, st.integers(0, 65535), st.binary(max_size=20))
def test_ethernet_header_round_trips_at_any_offset(destination, source, ethertype, before):
    frame = before + ethernet.build(destination, source, ethertype)
    assert len(frame) == len(before) + ethernet.HEADER_LENGTH
    assert ethernet.parse(frame, len(before)) == (destination, source, ethertype)


@given(MAC, MAC, st.sampled_from((ethernet.IPV6, 0x88CC, 0xFFFF)))
def test_ethernet_header_is_dpkts(destination, source, ethertype):
    ours = ethernet.build(destination, source, ethertype)
    theirs = dpkt.ethernet.Ethernet(dst=destination, src=source, type=ethertype)
    assert ours == bytes(theirs)[: ethernet.HEADER_LENGTH]
    header = dpkt.ethernet.Ethernet(ours + bytes(46))
    assert (header.dst, header.src, header.type) == (destination, source, ethertype)


@given(PACKETS, st.binary(max_size=20), st.binary(max_size=20))
def test_arp_round_trips_between_other_bytes(fields, before, padding):
    """Frames on the wire are padded to 60 bytes: what follows the packet is no part of it."""
    packet = arp.build(*fields)
    assert len(packet) == arp.LENGTH
    frame = before + packet + padding
    assert arp.parse(frame, len(before), len(frame)) == fields


@given(PACKETS)
def test_arp_is_read_by_dpkt(fields):
    theirs = dpkt.arp.ARP(arp.build(*fields))
    assert (theirs.op, theirs.sha, theirs.spa, theirs.tha, theirs.tpa) == fields
    assert (theirs.hrd, theirs.pro, theirs.hln, theirs.pln) == (1, 0x0800, 6, 4)


@given(PACKETS)
def test_arp_from_dpkt_is_read(fields):
    operation, sender_mac, sender, target_mac, target = fields
    theirs = bytes(dpkt.arp.ARP(op=operation, sha=sender_mac, spa=sender, tha=target_mac, tpa=target))
    assert arp.parse(theirs, 0, len(theirs)) == fields


@pytest.mark.parametrize("at, value", [(1, 6), (0, 1), (2, 0x86), (3, 6), (4, 8), (5, 16), (4, 0), (5, 0)])
def test_arp_about_anything_but_ipv4_over_ethernet_is_refused(at, value):
    packet = bytearray(arp.build(arp.REQUEST, bytes(6), bytes(4), bytes(6), bytes(4)))
    packet[at] = value
    assert arp.parse(bytes(packet), 0, len(packet)) is None


@pytest.mark.parametrize("length", range(arp.LENGTH))
def test_truncated_arp_is_refused(length):
    packet = arp.build(arp.REQUEST, bytes(6), bytes(4), bytes(6), bytes(4))
    assert arp.parse(packet, 0, length) is None
    assert arp.parse(packet[:length], 0, length) is None


@given(st.binary(max_size=60))
def test_no_bytes_raise(data):
    arp.parse(data, 0, len(data))


@pytest.mark.parametrize(
    "group, mac",
    [
        ((224, 0, 0, 1), "01005e000001"),
        ((239, 255, 255, 255), "01005e7fffff"),
        ((224, 128, 1, 2), "01005e000102"),  # 5 bits of the group are lost: RFC 1112 §6.4
        ((225, 0, 1, 2), "01005e000102"),
    ],
)
def test_ipv4_groups_map_their_low_23_bits(group, mac):
    assert ethernet.multicast_mac(bytes(group)) == bytes.fromhex(mac)


@given(st.binary(min_size=15, max_size=15))
def test_ipv6_groups_map_their_last_four_bytes(rest):
    """RFC 2464 §7."""
    assert ethernet.multicast_mac(b"\xff" + rest) == b"\x33\x33" + rest[-4:]
