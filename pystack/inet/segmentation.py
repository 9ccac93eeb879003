"""Cutting a TCP super-segment into wire segments, for devices that cannot: the last thing done to it (Linux's GSO)."""

from pystack.packet import TxPacket
from pystack.scope import on_wire
from pystack.wire import checksum, tcp

_FLAGS = 13  # offset of the low eight
_ONLY_LAST = tcp.FIN | tcp.PSH
_ONLY_FIRST = tcp.CWR  # RFC 3168 §6.1.2


def segments(packet, with_checksum):
    """The TxPackets, still without IP header, that *packet*, one with a ``gso_size``, stands for.

    The headers differ in number, flags and checksum alone: what they share is read, and summed up, once. Without
    *with_checksum* the checksums are left to the caller, and the headers are bytearrays.
    """
    seq = int.from_bytes(packet.header[4:8], "big")
    pieces = _cut(packet.payload, packet.gso_size)
    last = len(pieces) - 1
    cut = []
    for index, (payload, length) in enumerate(pieces):
        if index < 2 or index == last:
            ports, rest, tail, total = _template(packet, index > 0, index == last)
        number = seq & 0xFFFFFFFF
        if with_checksum:
            text = payload[0] if len(payload) == 1 else b"".join(payload)
            # As `checksum.checksum`; the pseudo-header is never all zeros.
            sum_ = (0xFFFF - (total + number + length + checksum.total(text)) % 0xFFFF) % 0xFFFF
            own = b"%b%b%b%b%b" % (ports, number.to_bytes(4, "big"), rest, sum_.to_bytes(2, "big"), tail)
        else:
            own = bytearray(b"%b%b%b\0\0%b" % (ports, number.to_bytes(4, "big"), rest, tail))
        segment = TxPacket(
            packet.destination,
            packet.protocol,
            own,
            payload,
            source=packet.source,
            ttl=packet.ttl,
            tos=packet.tos,
            options=packet.options,
        )
        segment.dont_fragment = packet.dont_fragment
        segment.interface, segment.next_hop = packet.interface, packet.next_hop
        if not with_checksum:
            segment.checksum_at = packet.checksum_at
        cut.append(segment)
        seq += length
    return cut


def _template(packet, later, last):
    """The header of a segment that is a *later* one than the first, or the *last*.

    Returns:
        ``(before the number, between it and the checksum, after that, sum of all three and the pseudo-header)``
    """
    header = bytearray(packet.header)
    if later:
        header[_FLAGS] &= ~_ONLY_FIRST
    if not last:
        header[_FLAGS] &= ~_ONLY_LAST
    ports, rest, tail = bytes(header[:4]), bytes(header[8:16]), bytes(header[18:])
    pseudo = checksum.pseudo_header(on_wire(packet.source), on_wire(packet.destination), packet.protocol, len(header))
    return ports, rest, tail, pseudo + checksum.partial(ports + rest + tail)


def _cut(buffers, size):
    """``[(views, bytes), ...]`` of *size* bytes each, but the last; nothing is copied."""
    pieces = []
    views, length = [], 0
    for buffer in buffers:
        view = memoryview(buffer)
        at, end = 0, len(view)
        while at < end:
            part = view[at : at + size - length]
            views.append(part)
            at += len(part)
            length += len(part)
            if length == size:
                pieces.append((views, length))
                views, length = [], 0
    if length:
        pieces.append((views, length))
    return pieces
