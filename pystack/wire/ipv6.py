"""The IPv6 header (RFC 8200 §3), its extension headers (§4) and their options."""

import struct

HEADER = struct.Struct("!IHBB16s16s")
HEADER_LENGTH = 40
MIN_MTU = 1280  # RFC 8200 §5
MAX_PAYLOAD = 65535

# Values of Next Header.
HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
ICMPV6 = 58
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60
EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS))

# Option types (RFC 8200 §4.2).
PAD1 = 0
PADN = 1
ROUTER_ALERT = 5  # RFC 2711
ALERT_MLD = 0  # its value

FRAGMENT_HEADER = struct.Struct("!BBHI")
FRAGMENT_LENGTH = 8
MORE_FRAGMENTS = 1
OFFSET_MASK = 0xFFF8  # in bytes, as it stands there

ALL_NODES = bytes((0xFF, 2)) + bytes(13) + b"\x01"
ALL_ROUTERS = bytes((0xFF, 2)) + bytes(13) + b"\x02"
UNSPECIFIED = bytes(16)
LOOPBACK = bytes(15) + b"\x01"
_SOLICITED_NODE = bytes((0xFF, 2)) + bytes(9) + b"\x01\xff"
V4_MAPPED = bytes(10) + b"\xff\xff"

# A hop-by-hop header with the Router Alert of MLD (RFC 2711 §2.1, RFC 3810 §5), but for its Next Header.
MLD_ALERT = bytes((0, 0, ROUTER_ALERT, 2, 0, 0, PADN, 0))

parse = HEADER.unpack_from
"""``parse(buf, at)`` reads the fixed header, which must be there in full:
``(version_class_label, payload_length, next_header, hop_limit, source, destination)``."""


def build(source, destination, next_header, payload_length, *, hop_limit=64, traffic_class=0, flow_label=0):
    """The fixed header, 40 bytes."""
    first = 0x60000000 | traffic_class << 20 | flow_label
    return HEADER.pack(first, payload_length, next_header, hop_limit, source, destination)


def walk_options(buf, at, end):
    """Yield ``(type, start of the data, its end, offset of the option)`` of a hop-by-hop or destination options
    header's options in ``buf[at:end]``, padding included.

    An option that passes the end comes out as ``(None, at, at, at)``, and is the last.
    """
    while at < end:
        kind = buf[at]
        if kind == PAD1:
            yield kind, at + 1, at + 1, at
            at += 1
            continue
        if at + 2 > end or at + 2 + buf[at + 1] > end:
            yield None, at, at, at
            return
        behind = at + 2 + buf[at + 1]
        yield kind, at + 2, behind, at
        at = behind


def solicited_node(address):
    """The group in which who has *address* listens for neighbour solicitations (RFC 4291 §2.7.1)."""
    return _SOLICITED_NODE + address[13:]
