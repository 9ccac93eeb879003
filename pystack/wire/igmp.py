"""IGMP messages: version 1 (RFC 1112), 2 (RFC 2236) and 3 (RFC 3376)."""

import struct
from typing import NamedTuple

from pystack.wire import checksum

QUERY = 0x11
REPORT_V1 = 0x12
REPORT_V2 = 0x16
LEAVE = 0x17
REPORT_V3 = 0x22

# Group record types (RFC 3376 §4.2.12).
IS_INCLUDE = 1
IS_EXCLUDE = 2
TO_INCLUDE = 3
TO_EXCLUDE = 4
ALLOW_NEW_SOURCES = 5
BLOCK_OLD_SOURCES = 6

ANY_GROUP = bytes(4)  # the group of a general query
HEADER_LENGTH = 8
RECORD_LENGTH = 8  # of a group record without sources

_HEADER = struct.Struct("!BBH4s")
_QUERY_V3 = struct.Struct("!BBH")  # flags and QRV, QQIC, number of sources
_REPORT_V3 = struct.Struct("!BxHxxH")
_RECORD = struct.Struct("!BBH4s")


class Query(NamedTuple):
    """``version`` is the querier's, told by length and code (RFC 3376 §7.1). Times are in seconds. The fields from
    ``sources`` on are version 3's: ``robustness`` (0 to 7) and ``interval`` are 0 if the querier does not say."""

    version: int
    group: bytes
    max_response: float
    sources: tuple = ()
    suppress: bool = False
    robustness: int = 0
    interval: int = 0


class Report(NamedTuple):
    """A report of version 1 or 2."""

    version: int
    group: bytes


class Leave(NamedTuple):
    """A version 2 host left the group."""

    group: bytes


class Record(NamedTuple):
    """A group record of a version 3 report; auxiliary data is skipped, none is defined."""

    type: int
    group: bytes
    sources: tuple = ()


class ReportV3(NamedTuple):
    """``records`` is a tuple of Record."""

    records: tuple


def parse(buf, at, end):
    """Read the message in ``buf[at:end]``, any bytes-like object.

    Returns:
        A Query, Report, Leave or ReportV3; or ``None`` if the checksum is wrong, the message is shorter than it claims,
        or its type is not one of these (which RFC 3376 §4 wants ignored in silence).
    """
    size = end - at
    if size < HEADER_LENGTH or not checksum.valid(memoryview(buf)[at:end]):
        return None
    kind, code, _, group = _HEADER.unpack_from(buf, at)
    if kind == QUERY:
        return _parse_query(buf, at, size, code, group)
    if kind == REPORT_V2:
        return Report(2, group)
    if kind == REPORT_V3:
        return _parse_report_v3(buf, at, end)
    if kind == LEAVE:
        return Leave(group)
    if kind == REPORT_V1:
        return Report(1, group)
    return None


def _parse_query(buf, at, size, code, group):
    if size == 8:
        return Query(2, group, code / 10) if code else Query(1, group, 10.0)
    if size < 12:
        return None
    flags, interval_code, count = _QUERY_V3.unpack_from(buf, at + 8)
    if size < 12 + 4 * count:
        return None
    return Query(
        3,
        group,
        decode_time(code) / 10,
        _addresses(buf, at + 12, count),
        bool(flags & 8),
        flags & 7,
        decode_time(interval_code),
    )


def _parse_report_v3(buf, at, end):
    _, _, count = _REPORT_V3.unpack_from(buf, at)
    at += HEADER_LENGTH
    if count * RECORD_LENGTH > end - at:
        return None
    records = []
    for _ in range(count):
        if at + RECORD_LENGTH > end:
            return None
        kind, auxiliary_words, sources, group = _RECORD.unpack_from(buf, at)
        at += RECORD_LENGTH
        behind = at + 4 * (sources + auxiliary_words)
        if behind > end:
            return None
        records.append(Record(kind, group, _addresses(buf, at, sources)))
        at = behind
    return ReportV3(tuple(records))


def _addresses(buf, at, count):
    return tuple(bytes(buf[start : start + 4]) for start in range(at, at + 4 * count, 4))


def decode_time(code):
    """The value of a Max Resp Code (in 0.1 s) or QQIC (in s): from 128 on a floating point number (RFC 3376 §4.1.1)."""
    if code < 128:
        return code
    return (code & 0x0F | 0x10) << (code >> 4 & 7) + 3


def encode_time(value):
    """The code of the greatest time that is not above *value*, at most 31744."""
    if value < 128:
        return value
    value = min(value, 31744)
    shift = value.bit_length() - 5
    return 0x80 | shift - 3 << 4 | value >> shift & 0x0F


def build_query(query):
    """The bytes of a Query, its times rounded down to what the format can tell."""
    tenths = round(query.max_response * 10)
    if query.version == 1:
        return _finish(_HEADER.pack(QUERY, 0, 0, query.group))
    if query.version == 2:
        return _finish(_HEADER.pack(QUERY, max(1, min(tenths, 255)), 0, query.group))
    flags = (8 if query.suppress else 0) | query.robustness
    head = _HEADER.pack(QUERY, encode_time(tenths), 0, query.group)
    return _finish(head + _QUERY_V3.pack(flags, encode_time(query.interval), len(query.sources)), query.sources)


def build_report(version, group):
    """A report of version 1 or 2; version 3 is `build_report_v3`."""
    return _finish(_HEADER.pack(REPORT_V1 if version == 1 else REPORT_V2, 0, 0, group))


def build_leave(group):
    """A version 2 leave."""
    return _finish(_HEADER.pack(LEAVE, 0, 0, group))


def build_report_v3(records):
    """A version 3 report of the Records."""
    parts = []
    for kind, group, sources in records:
        parts.append(_RECORD.pack(kind, 0, len(sources), group))
        parts.extend(sources)
    return _finish(_REPORT_V3.pack(REPORT_V3, 0, len(records)), parts)


def _finish(head, parts=()):
    message = bytearray().join((head, *parts))
    struct.pack_into("!H", message, 2, checksum.checksum(message))
    return bytes(message)
