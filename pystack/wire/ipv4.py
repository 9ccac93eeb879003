"""The IPv4 header (RFC 791) and its options."""

import struct

from pystack.wire import checksum

HEADER = struct.Struct("!BBHHHBBH4s4s")
_WORDS = struct.Struct("!6H8s")
HEADER_LENGTH = 20
MAX_TOTAL_LENGTH = 65535

DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
OFFSET_MASK = 0x1FFF  # in units of 8 bytes

ICMP = 1
IGMP = 2
TCP = 6
UDP = 17

# Option types (RFC 791 §3.1); bit 7 says that every fragment carries it.
END = 0
NOP = 1
RECORD_ROUTE = 7
TIMESTAMP = 68
LOOSE_SOURCE_ROUTE = 131
STRICT_SOURCE_ROUTE = 137
COPIED = 0x80

parse = HEADER.unpack_from
"""``parse(buf, at)`` reads the fixed header, which must be there in full:
``(version_ihl, tos, total_length, identification, flags_offset, ttl, protocol, checksum, source, destination)``."""


def build(source, destination, protocol, total_length, identification=0, flags_offset=0, ttl=64, tos=0, options=b""):
    """The header with its checksum. *options* must be padded to a multiple of 4 bytes, at most 40."""
    first = (0x40 | (HEADER_LENGTH + len(options)) >> 2) << 8 | tos
    kind = ttl << 8 | protocol
    addresses = source + destination
    # As `checksum.checksum`, but of the fields before they are packed, so that it is done once.
    total = first + total_length + identification + flags_offset + kind + int.from_bytes(addresses, "big")
    if options:
        total += checksum.total(options)
    return _WORDS.pack(first, total_length, identification, flags_offset, kind, -total % 0xFFFF, addresses) + options


def renew_checksum(buf, at=0):
    """Sum up the header at *at* of a bytearray anew, and store the checksum in its place."""
    end = at + (buf[at] & 15) * 4
    buf[at + 10 : at + 12] = bytes(2)
    buf[at + 10 : at + 12] = checksum.checksum(buf[at:end]).to_bytes(2, "big")


def walk_options(options):
    """Walk the option list of a header.

    Returns:
        ``([(type, start, end), ...], None)`` with offsets into *options*, END and NOP left out; or, if an option's
        length is impossible, ``(what came before, its offset)``, the offset to point at in a Parameter Problem.
    """
    found = []
    at = 0
    size = len(options)
    while at < size:
        kind = options[at]
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 1 >= size:
            return found, at
        length = options[at + 1]
        if length < 2 or at + length > size:
            return found, at  # RFC 792 would point at the length; Linux points at the option
        found.append((kind, at, at + length))
        at += length
    return found, None


def pad_options(options):
    """*options* padded with END to a multiple of 4 bytes."""
    return bytes(options) + bytes(-len(options) % 4)


def copied_options(options):
    """What of *options* every fragment but the first carries (RFC 791 §3.1), padded."""
    found, _ = walk_options(options)
    return pad_options(b"".join(options[start:end] for kind, start, end in found if kind & COPIED))
