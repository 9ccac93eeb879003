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
_DETAILS = struct.Struct("!BBH")  # flags and QRV, QQIC, number of sources
_RECORDS = struct.Struct("!BxHxxH")  # type, checksum, number of records
_RECORD = struct.Struct("!BBH")  # type, words of auxiliary data, number of sources; the group and the sources follow


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
        records = parse_records(buf, at, end, 4)
        return None if records is None else ReportV3(records)
    if kind == LEAVE:
        return Leave(group)
    if kind == REPORT_V1:
        return Report(1, group)
    return None


def _parse_query(buf, at, size, code, group):
    if size == 8:
        return Query(2, group, code / 10) if code else Query(1, group, 10.0)
    details = parse_details(buf, at + 8, at + size, 4)
    return None if details is None else Query(3, group, decode_time(code) / 10, *details)


def build_query(query):
    """The bytes of a Query, its times rounded down to what the format can tell."""
    tenths = round(query.max_response * 10)
    if query.version == 1:
        return _finish(_HEADER.pack(QUERY, 0, 0, query.group))
    if query.version == 2:
        return _finish(_HEADER.pack(QUERY, max(1, min(tenths, 255)), 0, query.group))
    return _finish(_HEADER.pack(QUERY, encode_time(tenths), 0, query.group) + build_details(query))


def build_report(version, group):
    """A report of version 1 or 2; version 3 is `build_report_v3`."""
    return _finish(_HEADER.pack(REPORT_V1 if version == 1 else REPORT_V2, 0, 0, group))


def build_leave(group):
    """A version 2 leave."""
    return _finish(_HEADER.pack(LEAVE, 0, 0, group))


def build_report_v3(records):
    """A version 3 report of the Records."""
    return _finish(build_records(REPORT_V3, records))


def _finish(message):
    message = bytearray(message)
    struct.pack_into("!H", message, 2, checksum.checksum(message))
    return bytes(message)


# What MLD version 2 has in common with IGMP version 3, but for the length of addresses: RFC 3810 §5.


def decode_time(code, bits=8):
    """The value of a Max Resp Code (in 0.1 s) or QQIC (in s): from 128 on a floating point number (RFC 3376 §4.1.1).

    With 16 *bits* it is MLD's Maximum Response Code (in ms): from 32768 on (RFC 3810 §5.1.3).
    """
    implied = 1 << bits - 4  # the first bit of the mantissa
    if code < implied << 3:
        return code
    return (code & implied - 1 | implied) << (code >> bits - 4 & 7) + 3


def encode_time(value, bits=8):
    """The code of the greatest time that is not above *value*, at most 31744, or 8387584 with 16 bits."""
    implied = 1 << bits - 4
    if value < implied << 3:
        return value
    value = min(value, 2 * implied - 1 << 10)
    shift = value.bit_length() - (bits - 3)
    return implied << 3 | shift - 3 << bits - 4 | value >> shift & implied - 1


def parse_details(buf, at, end, address_length):
    """What follows the group in a query about sources: the fields of a Query from ``sources`` on, or ``None``."""
    if at + _DETAILS.size > end:
        return None
    flags, interval_code, count = _DETAILS.unpack_from(buf, at)
    at += _DETAILS.size
    if at + address_length * count > end:
        return None
    return _addresses(buf, at, count, address_length), bool(flags & 8), flags & 7, decode_time(interval_code)


def build_details(query):
    """The bytes that `parse_details` reads."""
    flags = (8 if query.suppress else 0) | query.robustness
    return _DETAILS.pack(flags, encode_time(query.interval), len(query.sources)) + b"".join(query.sources)


def parse_records(buf, at, end, address_length):
    """A tuple of the Records of the report in ``buf[at:end]``, at least 8 bytes; ``None`` if it claims more."""
    _, _, count = _RECORDS.unpack_from(buf, at)
    at += _RECORDS.size
    size = _RECORD.size + address_length
    if count * size > end - at:
        return None
    records = []
    for _ in range(count):
        if at + size > end:
            return None
        kind, auxiliary_words, sources = _RECORD.unpack_from(buf, at)
        group = bytes(buf[at + _RECORD.size : at + size])
        at += size
        behind = at + address_length * sources + 4 * auxiliary_words
        if behind > end:
            return None
        records.append(Record(kind, group, _addresses(buf, at, sources, address_length)))
        at = behind
    return tuple(records)


def build_records(kind, records):
    """A report of type *kind* of the Records, its checksum field 0."""
    parts = [_RECORDS.pack(kind, 0, len(records))]
    for record_type, group, sources in records:
        parts.extend((_RECORD.pack(record_type, 0, len(sources)), group, *sources))
    return b"".join(parts)


def _addresses(buf, at, count, length):
    return tuple(bytes(buf[start : start + length]) for start in range(at, at + length * count, length))
