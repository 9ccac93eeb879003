"""MLD messages: round trips, known bytes, and what must be ignored."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import checksum, igmp, mld

GROUP = bytes.fromhex("ff0e 0000 0000 0000 0000 0000 0001 0203")
S1 = bytes.fromhex("2001 0db8 0000 0000 0000 0000 0000 0001")
ADDRESS = st.binary(min_size=16, max_size=16)
SOURCES = st.lists(ADDRESS, max_size=20).map(tuple)


def parse(message):
    return mld.parse(message, 0, len(message))


@given(st.integers(0, 65535))
def test_response_times_are_floating_point_from_32768_on(code):
    """RFC 3810 §5.1.3."""
    value = igmp.decode_time(code, 16)
    if code < 32768:
        assert value == code
    else:
        assert value == ((code & 0xFFF) | 0x1000) << ((code >> 12 & 7) + 3)
    assert igmp.encode_time(value, 16) == code


@given(st.integers(0, 10_000_000))
def test_response_times_are_rounded_down(value):
    code = igmp.encode_time(value, 16)
    assert igmp.decode_time(code, 16) <= value
    assert code == 65535 or igmp.decode_time(code + 1, 16) > value


def test_query_of_each_version_is_told_by_length():
    """RFC 3810 §8.1: 24 bytes are version 1's, 28 and more version 2's, all else nobody's."""
    v2 = b"\x82\x00\xab\xcd\x90\x00\x00\x00" + GROUP + b"\x0a\x7d\x00\x01" + S1
    assert parse(v2[:24]) == mld.Query(1, GROUP, 36.864), "version 1 knows no floating point"
    assert parse(v2) == mld.Query(2, GROUP, 65.536, (S1,), True, 2, 125)
    assert parse(b"\x82\x00\x00\x00\x27\x10\x00\x00" + mld.ANY_GROUP) == mld.Query(1, mld.ANY_GROUP, 10.0)
    assert parse(v2[:24] + b"\x02\x84\x00\x00") == mld.Query(2, GROUP, 65.536, (), False, 2, 160)
    for length in (*range(24), 25, 26, 27, *range(28, 44)):
        assert parse(v2[:length]) is None


def test_query_v2_may_be_followed_by_more():
    """RFC 3810 §5.1.12."""
    query = mld.Query(2, GROUP, 1.0, (S1,))
    assert parse(mld.build_query(query) + b"more") == query


@given(ADDRESS, st.integers(0, 65535), SOURCES, st.booleans(), st.integers(0, 7), st.integers(0, 255))
def test_query_v2_round_trip(group, code, sources, suppress, robustness, interval):
    max_response = igmp.decode_time(code, 16) / 1000
    query = mld.Query(2, group, max_response, sources, suppress, robustness, igmp.decode_time(interval))
    message = mld.build_query(query)
    assert len(message) == 28 + 16 * len(sources) and message[2:4] == bytes(2)
    assert message[4:6] == code.to_bytes(2, "big") and parse(message) == query


@given(ADDRESS, st.integers(0, 65535))
def test_version_1_round_trip(group, milliseconds):
    """RFC 2710 §3."""
    query = mld.Query(1, group, milliseconds / 1000)
    for message, head, expected in (
        (mld.build_query(query), b"\x82\0\0\0" + milliseconds.to_bytes(2, "big"), query),
        (mld.build_report(group), b"\x83\0\0\0\0\0", mld.Report(1, group)),
        (mld.build_done(group), b"\x84\0\0\0\0\0", mld.Done(group)),
    ):
        assert message == head + bytes(2) + group
        assert parse(message) == expected


def test_version_1_cannot_tell_longer_times():
    assert parse(mld.build_query(mld.Query(1, GROUP, 99.0))) == mld.Query(1, GROUP, 65.535)


def test_version_1_reports_may_be_followed_by_more():
    """RFC 2710 §3.7."""
    assert parse(mld.build_report(GROUP) + b"more") == mld.Report(1, GROUP)
    assert parse(mld.build_done(GROUP) + b"more") == mld.Done(GROUP)


RECORDS = st.lists(st.builds(mld.Record, st.integers(0, 255), ADDRESS, SOURCES), max_size=20).map(tuple)


@given(RECORDS, st.binary(max_size=9))
def test_report_v2_round_trip(records, before):
    message = mld.build_report_v2(records)
    assert len(message) == 8 + sum(mld.RECORD_LENGTH + 16 * len(record.sources) for record in records)
    frame = memoryview(before + message + b"padding")
    assert mld.parse(frame, len(before), len(before) + len(message)) == mld.ReportV2(records)


def test_the_checksum_is_left_to_who_knows_the_addresses():
    """RFC 3810 §5.2.2: a join of ff02::fb, from fe80::1 to ff02::16."""
    group = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 00fb")
    message = mld.build_report_v2([mld.Record(igmp.TO_EXCLUDE, group)])
    assert message == bytes.fromhex("8f00 0000 0000 0001 0400 0000") + group
    source = bytes.fromhex("fe80 0000 0000 0000 0000 0000 0000 0001")
    routers = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 0016")
    start = checksum.pseudo_header(source, routers, 58, len(message))
    finished = message[:2] + checksum.checksum(message, start).to_bytes(2, "big") + message[4:]
    assert finished[2:4] == bytes.fromhex("6f0f")
    assert checksum.valid(finished, start) and parse(finished) == parse(message)


def test_report_v2_skips_auxiliary_data_and_what_follows():
    """RFC 3810 §5.2.10, §5.2.11; auxiliary data is counted in words of 4 bytes."""
    message = b"\x8f\x00\x00\x00\x00\x00\x00\x02"
    message += struct.pack("!BBH16s16s", 4, 2, 1, GROUP, S1) + b"auxilary"
    message += struct.pack("!BBH16s", 3, 0, 0, GROUP) + b"more"
    assert parse(message) == mld.ReportV2((mld.Record(4, GROUP, (S1,)), mld.Record(3, GROUP)))


@given(RECORDS.filter(bool), st.data())
def test_a_report_v2_cut_short_is_ignored(records, data):
    message = mld.build_report_v2(records)
    assert parse(message[: data.draw(st.integers(0, len(message) - 1))]) is None


@given(st.binary(max_size=120), st.sampled_from([130, 131, 132, 143, None]))
def test_no_message_raises(junk, kind):
    parse(junk if kind is None else bytes([kind]) + junk)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x82\x00\x00\x00\x00\x01\x00\x00" + GROUP + b"\x02\x7d\x00\x02" + S1,
        b"\x8f\x00\x00\x00\x00\x00\x00",
        b"\x8f\x00\x00\x00\x00\x00\xff\xff",
        b"\x8f\x00\x00\x00\x00\x00\x00\x01\x04\x00\x00\x01" + GROUP,
        b"\x8f\x00\x00\x00\x00\x00\x00\x01\x04\x01\x00\x00" + GROUP,
        b"\x8f\x00\x00\x00\x00\x00\x00\x02\x04\x00\x00\x02" + GROUP + S1 * 2,
        b"\x83\x00\x00\x00\x00\x00\x00\x00" + GROUP[:15],
        b"\x85\x00\x00\x00\x00\x00\x00\x00" + GROUP,
    ],
)
def test_truncated_or_unknown_is_ignored(message):
    assert parse(message) is None
