import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import checksum, icmp, ipv4, udp

addresses = st.binary(min_size=4, max_size=4)
word = st.integers(0, 0xFFFF)
byte = st.integers(0, 0xFF)
padded_options = st.binary(max_size=40).map(lambda raw: raw[: len(raw) & ~3])


@given(addresses, addresses, byte, byte, byte, word, word, padded_options, st.binary(max_size=64))
def test_ipv4_header_round_trips_and_dpkt_agrees(source, destination, protocol, ttl, tos, ident, flags, options, data):
    total = 20 + len(options) + len(data)
    packet = (
        ipv4.build(
            source,
            destination,
            protocol,
            total,
            identification=ident,
            flags_offset=flags,
            ttl=ttl,
            tos=tos,
            options=options,
        )
        + data
    )
    check = int.from_bytes(packet[10:12], "big")
    expected = (0x45 + len(options) // 4, tos, total, ident, flags, ttl, protocol, check, source, destination)
    assert ipv4.parse(packet, 0) == expected
    assert checksum.valid(packet[: 20 + len(options)])

    theirs = dpkt.ip.IP(packet[: 20 + len(options)])
    assert (theirs.src, theirs.dst, theirs.p, theirs.ttl, theirs.tos) == (source, destination, protocol, ttl, tos)
    assert (theirs.id, theirs.len, theirs.opts, theirs.sum) == (ident, total, options, check)
    theirs.sum = 0  # dpkt computes it, and the length, only then
    theirs.data = data
    assert bytes(theirs) == packet


@given(addresses, addresses, byte, byte, word)
def test_our_parser_reads_what_dpkt_builds(source, destination, protocol, ttl, ident):
    theirs = dpkt.ip.IP(src=source, dst=destination, p=255 if protocol in (6, 17) else protocol, ttl=ttl, id=ident)
    theirs.data = b"payload"
    theirs.len = 27
    packet = bytes(theirs)
    fields = ipv4.parse(packet, 0)
    assert (fields[2], fields[3], fields[5], fields[8], fields[9]) == (27, ident, ttl, source, destination)
    assert checksum.valid(packet[:20])


@given(byte, byte, st.binary(min_size=4, max_size=4), st.binary(max_size=200))
def test_icmp_round_trips_and_its_checksum_is_dpkts(kind, code, rest, data):
    message = icmp.build(kind, code, rest, data)
    got = icmp.parse(message, 0)
    assert (got[0], got[1], got[3]) == (kind, code, rest)
    assert checksum.valid(message)
    zeroed = message[:2] + b"\0\0" + message[4:]
    assert dpkt.in_cksum(zeroed) == got[2]


@given(word, word, st.binary(max_size=300))
def test_the_reply_checksum_is_the_requests_adjusted(identifier, sequence, data):
    rest = identifier.to_bytes(2, "big") + sequence.to_bytes(2, "big")
    request = icmp.build(icmp.ECHO_REQUEST, 0, rest, data)
    check = icmp.reply_checksum(icmp.parse(request, 0)[2])
    assert checksum.valid(bytes((0, 0)) + check.to_bytes(2, "big") + request[4:]) or not any(request[4:])


@given(word, word, word, word)
def test_udp_header_round_trips_and_dpkt_agrees(source_port, destination_port, length, check):
    header = udp.build(source_port, destination_port, length, check)
    assert udp.parse(header, 0) == (source_port, destination_port, length, check)
    theirs = dpkt.udp.UDP(header)
    assert (theirs.sport, theirs.dport, theirs.ulen, theirs.sum) == (source_port, destination_port, length, check)


@given(st.binary(max_size=40))
def test_any_bytes_are_walked_as_options(raw):
    found, wrong = ipv4.walk_options(raw)
    assert all(0 <= start < end <= len(raw) and end - start >= 2 for _, start, end in found)
    assert wrong is None or 0 <= wrong <= len(raw)


@pytest.mark.parametrize(
    ("raw", "found", "wrong"),
    [
        (b"", [], None),
        (b"\x01\x01\x01\x00", [], None),
        (b"\x07\x03\x04\x00", [(7, 0, 3)], None),
        (b"\x01\x07\x03\x04\x94\x04\x00\x00", [(7, 1, 4), (148, 4, 8)], None),
        (b"\x07", [], 0),
        (b"\x07\x01\x00\x00", [], 0),
        (b"\x01\x07\x09\x00", [], 1),
    ],
)
def test_option_lists(raw, found, wrong):
    assert ipv4.walk_options(raw) == (found, wrong)


def test_later_fragments_carry_only_copied_options():
    record_route = b"\x07\x07\x04\0\0\0\0"
    router_alert = b"\x94\x04\0\0"
    assert ipv4.copied_options(ipv4.pad_options(record_route + router_alert)) == router_alert
