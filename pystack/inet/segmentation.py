"""Cutting a TCP super-segment into wire segments, for devices that cannot: the last thing done to it (Linux's GSO)."""

from pystack.packet import TxPacket
from pystack.wire import tcp

_SEQ = slice(4, 8)
_FLAGS = 13  # offset of the low eight
_ONLY_LAST = tcp.FIN | tcp.PSH
_ONLY_FIRST = tcp.CWR  # RFC 3168 §6.1.2


def segments(packet):
    """The TxPackets, still without IP header and checksum, that *packet*, one with a ``gso_size``, stands for."""
    header, size = packet.header, packet.gso_size
    seq = int.from_bytes(header[_SEQ], "big")
    pieces = _cut(packet.payload, size)
    last = len(pieces) - 1
    cut = []
    for index, (payload, length) in enumerate(pieces):
        own = bytearray(header)
        own[_SEQ] = (seq & 0xFFFFFFFF).to_bytes(4, "big")
        if index != last:
            own[_FLAGS] &= ~_ONLY_LAST
        if index:
            own[_FLAGS] &= ~_ONLY_FIRST
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
        segment.checksum_at = packet.checksum_at
        cut.append(segment)
        seq += length
    return cut


def _cut(buffers, size):
    """``[(views, bytes), ...]`` of *size* bytes each, but the last; nothing is copied."""
    pieces = []
    views, length = [], 0
    for buffer in buffers:
        view = memoryview(buffer)
        at = 0
        while at < len(view):
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
