"""The IPv6 header, its options, and ICMPv6's, against dpkt."""

import dpkt
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import checksum, icmp6, ipv6
from tests.support.frames6 import address, icmp, option, options

addresses = st.binary(min_size=16, max_size=16)
word = st.integers(0, 0xFFFF)
byte = st.integers(0, 0xFF)
kinds = st.integers(2, 0xFF)
option_lists = st.lists(st.tuples(kinds, st.binary(max_size=20)), max_size=9)


@given(addresses, addresses, byte, word, byte, byte, st.integers(0, 0xFFFFF))
def test_the_header_round_trips_and_dpkt_agrees(source, destination, protocol, length, hop_limit, traffic, label):
    built = ipv6.build(
        source, destination, protocol, length, hop_limit=hop_limit, traffic_class=traffic, flow_label=label
    )
    assert len(built) == ipv6.HEADER_LENGTH
    first = 6 << 28 | traffic << 20 | label
    assert ipv6.parse(b"before" + built, 6) == (first, length, protocol, hop_limit, source, destination)

    theirs = dpkt.ip6.IP6(
        src=source, dst=destination, nxt=protocol, plen=length, hlim=hop_limit, v=6, fc=traffic, flow=label
    )
    assert theirs.pack_hdr() == built


@given(option_lists, st.lists(st.integers(0, 3), max_size=9), st.binary(max_size=9))
def test_the_options_that_were_put_in_are_walked(wanted, padding, before):
    """Padding of either kind comes out too, each option where it stands."""
    body, expected = b"", []
    for number, (kind, data) in enumerate(wanted):
        body += bytes(padding[number] if number < len(padding) else 0)
        expected.append((kind, data, len(body)))
        body += option(kind, data)
    _, header = options(ipv6.DESTINATION_OPTIONS, body)
    assert len(header) % 8 == 0 and len(header) == 8 * (header[1] + 1)
    buf = before + header
    start = len(before) + 2
    walked = list(ipv6.walk_options(buf, start, len(buf)))
    found = [(kind, buf[at:end], offset - start) for kind, at, end, offset in walked if kind > ipv6.PADN]
    assert found == expected
    at = start
    for _, data_at, end, offset in walked:  # nothing is left out
        assert offset == at and offset < data_at <= end
        at = end
    assert at == len(buf)


@given(st.binary(max_size=64), st.integers(0, 9))
def test_whatever_the_options_are_the_walk_ends_within_them(body, at):
    """An option that passes the end is told, and is the last."""
    at = min(at, len(body))
    position = at
    for kind, data_at, end, offset in ipv6.walk_options(body, at, len(body)):
        assert offset == position < len(body)
        if kind is None:
            assert (data_at, end) == (offset, offset)
            position = None
        else:
            assert offset < data_at <= end <= len(body)
            position = end
    assert position is None or position == len(body)


@given(addresses)
def test_the_solicited_node_group_has_the_last_three_bytes(each):
    """RFC 4291 §2.7.1."""
    group = ipv6.solicited_node(each)
    assert group[:13] == address("ff02::1:ff00:0")[:13] and group[13:] == each[13:] and len(group) == 16


def test_solicited_node_example():
    """RFC 4291 §2.7.1."""
    assert ipv6.solicited_node(address("4037::01:800:200e:8c6c")) == address("ff02::1:ff0e:8c6c")


@given(byte, word, st.booleans(), st.integers(0, 0xFFFFFFFF))
def test_the_fragment_header_is_dpkts(protocol, units, more, identification):
    bits = (units & 0x1FFF) * 8 | more
    built = ipv6.FRAGMENT_HEADER.pack(protocol, 0, bits, identification)
    assert len(built) == ipv6.FRAGMENT_LENGTH
    theirs = dpkt.ip6.IP6FragmentHeader(built)
    assert (theirs.nxt, theirs.frag_off, theirs.m_flag, theirs.id) == (protocol, units & 0x1FFF, more, identification)
    assert (bits & ipv6.OFFSET_MASK, bool(bits & ipv6.MORE_FRAGMENTS)) == ((units & 0x1FFF) * 8, more)


@given(byte, byte, st.binary(min_size=4, max_size=4), st.binary(max_size=200), addresses, addresses)
def test_icmpv6_round_trips_and_its_checksum_is_dpkts(kind, code, rest, data, source, destination):
    message = icmp6.build(kind, code, rest, data)
    assert icmp6.parse(message, 0) == (kind, code, 0, rest) and message[8:] == data
    summed = icmp(kind, code, rest, data, source=source, destination=destination)
    pseudo = checksum.pseudo_header(source, destination, ipv6.ICMPV6, len(summed))
    assert checksum.valid(summed, pseudo)
    whole = source + destination + len(summed).to_bytes(4, "big") + bytes(3) + bytes((ipv6.ICMPV6,)) + bytes(message)
    assert int.from_bytes(summed[2:4], "big") == dpkt.in_cksum(whole)
