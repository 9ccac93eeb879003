"""The virtio-net header before every frame of a device: struct virtio_net_hdr (virtio 1.2 §5.1.6), 10 bytes.

TAP speaks the legacy form: fields in the host's byte order. Offsets in it count from the Ethernet header.
"""

import struct

from pystack.wire import ethernet
from pystack.wire.checksum import checksum

SIZE = 10
IP_AT = SIZE + ethernet.HEADER_LENGTH  # where a frame's IP header begins
_HEADER = struct.Struct("=BBHHHH")

# flags
F_NEEDS_CSUM = 1  # the checksum field holds the pseudo-header's sum; the rest is still to be added
F_DATA_VALID = 2  # the checksum was verified
VOUCHED = F_NEEDS_CSUM | F_DATA_VALID  # by either the device vouches for it

# gso_type
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_UDP = 3  # IP fragmentation of one datagram; no longer sent by Linux
GSO_TCPV6 = 4
GSO_UDP_L4 = 5  # a train of equal datagrams
GSO_ECN = 0x80  # added to a TCP type: CWR goes on the first segment only

ZERO = bytes(SIZE)


def parse(buf):
    """Read the header at the start of *buf* (at least `SIZE` bytes).

    Returns:
        ``(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)``; nothing in it is checked.
    """
    return _HEADER.unpack_from(buf)


def build(flags=0, gso_type=GSO_NONE, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0):
    """The header as bytes.

    Args:
        hdr_len: bytes of all headers before the transport payload of a super-segment.
        gso_size: bytes of transport payload per wire segment.
        csum_start: where the sum begins, from the Ethernet header on.
        csum_offset: where the checksum field is, from csum_start on.
    """
    return _HEADER.pack(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)


def complete_checksum(frame):
    """Finish a partial checksum in software.

    Args:
        frame: bytes that start with the virtio-net header.

    Returns:
        The frame with its checksum complete, and flags and checksum offsets cleared; *frame* itself if nothing is to
        be done, or if its offsets point outside it.
    """
    if len(frame) < SIZE:
        return frame
    flags, gso_type, hdr_len, gso_size, csum_start, csum_offset = _HEADER.unpack_from(frame)
    if not flags & F_NEEDS_CSUM:
        return frame
    start = SIZE + csum_start
    field = start + csum_offset
    if field + 2 > len(frame):
        return frame
    # A computed 0 is sent as 0xffff for every protocol, as Linux does (CSUM_MANGLED_0): UDP needs it (RFC 768), and to
    # the others the two are the same number.
    value = checksum(memoryview(frame)[start:]) or 0xFFFF
    done = bytearray(frame)
    _HEADER.pack_into(done, 0, 0, gso_type, hdr_len, gso_size, 0, 0)
    done[field : field + 2] = value.to_bytes(2, "big")
    return bytes(done)
