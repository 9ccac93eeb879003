"""ICMP for IPv4 (RFC 792)."""

import struct

from pystack.wire import checksum

HEADER = struct.Struct("!BBH4s")
HEADER_LENGTH = 8

ECHO_REPLY = 0
DESTINATION_UNREACHABLE = 3
SOURCE_QUENCH = 4
REDIRECT = 5
ECHO_REQUEST = 8
TIME_EXCEEDED = 11
PARAMETER_PROBLEM = 12
TIMESTAMP_REQUEST = 13
TIMESTAMP_REPLY = 14

NET_UNREACHABLE = 0  # codes of DESTINATION_UNREACHABLE (RFC 792, 1122 §3.2.2.1, 1812 §5.2.7.1)
HOST_UNREACHABLE = 1
PROTOCOL_UNREACHABLE = 2
PORT_UNREACHABLE = 3
FRAGMENTATION_NEEDED = 4
SOURCE_ROUTE_FAILED = 5
NET_PROHIBITED = 9
HOST_PROHIBITED = 10
COMMUNICATION_PROHIBITED = 13
REASSEMBLY_EXCEEDED = 1  # code of TIME_EXCEEDED

QUERIES = frozenset((ECHO_REPLY, ECHO_REQUEST, 9, 10, TIMESTAMP_REQUEST, TIMESTAMP_REPLY, 15, 16, 17, 18))

parse = HEADER.unpack_from
"""``parse(buf, at)`` gives ``(type, code, checksum, rest)``; *rest* is the 4 bytes whose meaning the type decides."""


def build(kind, code, rest, payload=b""):
    """The whole message, checksum and all; *rest* is 4 bytes."""
    head = HEADER.pack(kind, code, 0, rest)
    total = checksum.checksum(head + payload)
    return HEADER.pack(kind, code, total, rest) + payload


def reply_checksum(request_checksum):
    """An echo reply's checksum from its request's: only the type went from 8 to 0 (RFC 1624)."""
    total = request_checksum + (ECHO_REQUEST << 8)
    return (total & 0xFFFF) + (total >> 16)
