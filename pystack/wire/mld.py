"""MLD messages, which are ICMPv6's: version 1 (RFC 2710) and 2 (RFC 3810). Groups and sources are 16 bytes.

An igmp.Query, igmp.Report and igmp.Record mean the same here; versions are MLD's. Checksums are the caller's, who knows
the pseudo-header: `parse` verifies none, and what is built has 0 in its place.
"""

import struct
from typing import NamedTuple

from pystack.wire import igmp

QUERY = 130
REPORT_V1 = 131
DONE = 132
REPORT_V2 = 143

Query = igmp.Query  # of version 1 or 2; the fields from ``sources`` on are version 2's
Report = igmp.Report  # of version 1
Record = igmp.Record  # a multicast address record, of a type of igmp's

ANY_GROUP = bytes(16)  # the group of a general query
RECORD_LENGTH = 20  # of a record without sources

_HEADER = struct.Struct("!BxHHxx16s")  # type, checksum, Maximum Response Code, group


class Done(NamedTuple):
    """A version 1 host left the group."""

    group: bytes


class ReportV2(NamedTuple):
    """``records`` is a tuple of Record."""

    records: tuple


def parse(buf, at, end):
    """Read the ICMPv6 message in ``buf[at:end]``, any bytes-like object.

    Returns:
        A Query, Report, Done or ReportV2; or ``None`` if it is shorter than it claims, a query of a length that no
        version has (RFC 3810 §8.1), or of another type.
    """
    size = end - at
    if size >= igmp.HEADER_LENGTH and buf[at] == REPORT_V2:
        records = igmp.parse_records(buf, at, end, 16)
        return None if records is None else ReportV2(records)
    if size < _HEADER.size:
        return None
    kind, _, code, group = _HEADER.unpack_from(buf, at)
    if kind == QUERY:
        if size == _HEADER.size:
            return Query(1, group, code / 1000)
        details = igmp.parse_details(buf, at + _HEADER.size, end, 16)
        return None if details is None else Query(2, group, igmp.decode_time(code, 16) / 1000, *details)
    if kind == REPORT_V1:
        return Report(1, group)
    if kind == DONE:
        return Done(group)
    return None


def build_query(query):
    """The bytes of a Query, its times rounded down to what the format can tell."""
    milliseconds = round(query.max_response * 1000)
    if query.version == 1:
        return _HEADER.pack(QUERY, 0, min(milliseconds, 65535), query.group)
    return _HEADER.pack(QUERY, 0, igmp.encode_time(milliseconds, 16), query.group) + igmp.build_details(query)


def build_report(group):
    """A version 1 report; version 2 is `build_report_v2`."""
    return _HEADER.pack(REPORT_V1, 0, 0, group)


def build_done(group):
    """A version 1 done."""
    return _HEADER.pack(DONE, 0, 0, group)


def build_report_v2(records):
    """A version 2 report of the Records."""
    return igmp.build_records(REPORT_V2, records)
