"""IGMP messages: round trips, agreement with dpkt, and what must be ignored."""

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import checksum, igmp

GROUP = b"\xe9\x01\x02\x03"
ADDRESS = st.binary(min_size=4, max_size=4)
SOURCES = st.lists(ADDRESS, max_size=40).map(tuple)
CODES = st.integers(0, 255)


def parse(message):
    return igmp.parse(message, 0, len(message))


def with_checksum(message):
    """dpkt's, not ours."""
    message = message[:2] + bytes(2) + message[4:]
    return message[:2] + dpkt.dpkt.in_cksum(message).to_bytes(2, "big") + message[4:]


@given(CODES)
def test_times_are_floating_point_from_128_on(code):
    """RFC 3376 §4.1.1, §4.1.7."""
    value = igmp.decode_time(code)
    if code < 128:
        assert value == code
    else:
        assert value == ((code & 0xF) | 0x10) << ((code >> 4 & 7) + 3)
    assert igmp.encode_time(value) == code


@given(st.integers(0, 40000))
def test_times_are_rounded_down(value):
    code = igmp.encode_time(value)
    assert igmp.decode_time(code) <= value
    assert code == 255 or igmp.decode_time(code + 1) > value


def test_query_of_each_version_is_told_by_length_and_code():
    """RFC 3376 §7.1."""
    assert parse(with_checksum(b"\x11\x00\x00\x00" + bytes(4))) == igmp.Query(1, bytes(4), 10.0)
    assert parse(with_checksum(b"\x11\x64\x00\x00" + GROUP)) == igmp.Query(2, GROUP, 10.0)
    assert parse(with_checksum(b"\x11\xff\x00\x00" + GROUP)) == igmp.Query(2, GROUP, 25.5)
    v3 = b"\x11\x80\x00\x00" + GROUP + b"\x0a\x7d\x00\x01" + b"\x0a\x00\x00\x01"
    assert parse(with_checksum(v3)) == igmp.Query(3, GROUP, 12.8, (b"\x0a\x00\x00\x01",), True, 2, 125)
    for length in (9, 10, 11):
        assert parse(with_checksum(v3[:length])) is None


@given(ADDRESS, CODES, SOURCES, st.booleans(), st.integers(0, 7), CODES)
def test_query_v3_round_trip(group, code, sources, suppress, robustness, interval):
    query = igmp.Query(3, group, igmp.decode_time(code) / 10, sources, suppress, robustness, igmp.decode_time(interval))
    message = igmp.build_query(query)
    assert checksum.valid(message) and len(message) == 12 + 4 * len(sources)
    assert message[1] == code and parse(message) == query


@given(ADDRESS, st.integers(1, 255))
def test_query_v2_round_trip_agrees_with_dpkt(group, code):
    query = igmp.Query(2, group, code / 10)
    message = igmp.build_query(query)
    assert message == bytes(dpkt.igmp.IGMP(type=0x11, maxresp=code, group=group)) and parse(message) == query


@given(ADDRESS)
def test_messages_of_versions_1_and_2_agree_with_dpkt(group):
    for message, kind, expected in (
        (igmp.build_query(igmp.Query(1, group, 10.0)), 0x11, igmp.Query(1, group, 10.0)),
        (igmp.build_report(1, group), 0x12, igmp.Report(1, group)),
        (igmp.build_report(2, group), 0x16, igmp.Report(2, group)),
        (igmp.build_leave(group), 0x17, igmp.Leave(group)),
    ):
        read = dpkt.igmp.IGMP(message)
        assert (read.type, read.maxresp, read.group) == (kind, 0, group)
        assert bytes(dpkt.igmp.IGMP(type=kind, group=group)) == message
        assert parse(message) == expected


RECORDS = st.lists(st.builds(igmp.Record, st.integers(0, 255), ADDRESS, SOURCES), max_size=20).map(tuple)


@given(RECORDS, st.binary(max_size=9))
def test_report_v3_round_trip(records, before):
    message = igmp.build_report_v3(records)
    assert checksum.valid(message)
    read = dpkt.igmp.IGMP(message)
    assert read.type == 0x22 and read.sum == dpkt.dpkt.in_cksum(message[:2] + bytes(2) + message[4:])
    assert parse(message) == igmp.ReportV3(records)
    frame = memoryview(before + message + b"padding")
    assert igmp.parse(frame, len(before), len(before) + len(message)) == igmp.ReportV3(records)


def test_report_v3_skips_auxiliary_data_and_what_follows():
    """RFC 3376 §4.2.6, §4.2.11: both must be ignored, both are under the checksum."""
    message = b"\x22\x00\x00\x00\x00\x00\x00\x02"
    message += struct.pack("!BBH4s4s", 4, 2, 1, GROUP, b"\x01\x01\x01\x01") + b"auxilary"
    message += struct.pack("!BBH4s", 3, 0, 0, GROUP) + b"more"
    records = (igmp.Record(4, GROUP, (b"\x01\x01\x01\x01",)), igmp.Record(3, GROUP))
    assert parse(with_checksum(message)) == igmp.ReportV3(records)


def test_query_v3_may_be_followed_by_more():
    """RFC 3376 §4.1.10."""
    query = igmp.Query(3, GROUP, 1.0, (GROUP,))
    assert parse(with_checksum(igmp.build_query(query) + b"more")) == query


@given(st.sampled_from([igmp.build_leave(GROUP), igmp.build_report_v3([(4, GROUP, (GROUP,))])]), st.integers(0, 159))
def test_a_flipped_bit_is_found(message, bit):
    message = bytearray(message)
    bit %= 8 * len(message)
    message[bit >> 3] ^= 1 << (bit & 7)
    assert parse(message) is None


@given(st.binary(max_size=80), st.sampled_from([0x11, 0x22, None]))
def test_no_message_raises(junk, kind):
    if kind is not None and len(junk) >= 4:
        junk = with_checksum(bytes([kind]) + junk[1:])
    parse(junk)


@pytest.mark.parametrize(
    "message",
    [
        b"\x11\x00\x00\x00" + GROUP + b"\x02\x7d\x00\x02" + GROUP,
        b"\x22\x00\x00\x00\x00\x00\xff\xff",
        b"\x22\x00\x00\x00\x00\x00\x00\x01\x04\x00\x00\x01" + GROUP,
        b"\x22\x00\x00\x00\x00\x00\x00\x01\x04\x01\x00\x00" + GROUP,
        b"\x22\x00\x00\x00\x00\x00\x00\x01\x04\x00",
        b"\x22\x00\x00\x00\x00\x00\x00\x02\x04\x00\x00\x02" + GROUP * 3,
        b"\x13\x00\x00\x00" + GROUP,
        b"\x11\x00\x00\x00\x00\x00\x00",
    ],
)
def test_truncated_or_unknown_is_ignored(message):
    assert parse(with_checksum(message)) is None
