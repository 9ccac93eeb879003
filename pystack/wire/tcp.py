"""The TCP header (RFC 9293 §3.1)."""

import struct

FIN = 1
SYN = 2
RST = 4
PSH = 8
ACK = 16
URG = 32
ECE = 64  # RFC 3168
CWR = 128
AE = 256  # RFC 9768; read, never set

HEADER_LENGTH = 20
CHECKSUM_AT = 16

_HEADER = struct.Struct("!HHIIHHHH")


def parse(buf, at, end):
    """Read the TCP header in ``buf[at:end]``; copies nothing.

    Args:
        buf: the whole frame, any bytes-like object.
        at, end: the segment's bounds, byte offsets into *buf*.

    Returns:
        ``(source_port, destination_port, seq, ack, flags, window, urgent, payload_at)``, or ``None`` if the segment is
        shorter than its own header claims, or that claims less than 20 bytes. The window is not yet scaled, the
        checksum not verified. The options are ``buf[at + 20 : payload_at]``.
    """
    if end - at < HEADER_LENGTH:
        return None
    source_port, destination_port, seq, ack, offset_flags, window, _, urgent = _HEADER.unpack_from(buf, at)
    length = offset_flags >> 12 << 2
    if length < HEADER_LENGTH or at + length > end:
        return None
    return source_port, destination_port, seq, ack, offset_flags & 0x1FF, window, urgent, at + length


def build(source_port, destination_port, seq, ack, flags, window, urgent=0, options=b""):
    """The header as a bytearray, its checksum field 0; *options* padded to a multiple of 4 already (at most 40)."""
    offset_flags = (HEADER_LENGTH + len(options)) << 10 | flags
    header = bytearray(_HEADER.pack(source_port, destination_port, seq, ack, offset_flags, window, 0, urgent))
    header += options
    return header
