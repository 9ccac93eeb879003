"""ICMP for IPv6 (RFC 4443)."""

import struct

HEADER = struct.Struct("!BBH4s")
HEADER_LENGTH = 8
CHECKSUM_AT = 2

DESTINATION_UNREACHABLE = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED = 3
PARAMETER_PROBLEM = 4
ECHO_REQUEST = 128
ECHO_REPLY = 129
MLD_QUERY = 130
MLD_REPORT = 131
MLD_DONE = 132
ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOR_SOLICITATION = 135
NEIGHBOR_ADVERTISEMENT = 136
REDIRECT = 137
MLD_REPORT_V2 = 143
INFORMATIONAL = 128  # types from here on are no errors (§2.1)

NO_ROUTE = 0  # codes of DESTINATION_UNREACHABLE (§3.1)
PROHIBITED = 1
BEYOND_SCOPE = 2
ADDRESS_UNREACHABLE = 3
PORT_UNREACHABLE = 4
FAILED_POLICY = 5
REJECTED_ROUTE = 6

HOP_LIMIT_EXCEEDED = 0  # codes of TIME_EXCEEDED
REASSEMBLY_EXCEEDED = 1

ERRONEOUS_FIELD = 0  # codes of PARAMETER_PROBLEM (§3.4)
UNKNOWN_NEXT_HEADER = 1
UNKNOWN_OPTION = 2
INCOMPLETE_CHAIN = 3  # RFC 7112

NEIGHBOR_DISCOVERY = frozenset(range(ROUTER_SOLICITATION, REDIRECT + 1))

parse = HEADER.unpack_from
"""``parse(buf, at)`` gives ``(type, code, checksum, rest)``; *rest* is the 4 bytes whose meaning the type decides."""


def build(kind, code, rest, payload=b""):
    """The message as a bytearray; *rest* is 4 bytes. The checksum, which needs both addresses, is 0."""
    return bytearray(HEADER.pack(kind, code, 0, rest) + payload)
