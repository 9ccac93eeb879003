"""Joining segments that came together into super-segments, before they are looked at one by one (Linux's GRO)."""

from pystack.wire import checksum, tcp

FEWEST = 3  # packets of a batch in which it is worth a look
_LARGEST = 65_535  # bytes of a super-segment's packet


def coalesce(batch):
    """The batch with its runs joined: consecutive RxPackets that differ in sequence number, checksum and text alone.

    As in Linux's tcp_gro_receive only plain ACKs with text are joined, all of one size but the last, PSH being on the
    last at most; checksums are checked before. A joined packet has a ``gso_size``, as one that the device has joined.
    """
    joined = []
    run, head, due, size = [], None, 0, 0  # packets; what they share; the next number; bytes of text of each
    for packet in batch:
        buf, at = packet.buf, packet.at
        length = packet.end - at
        text = length - (buf[at + 12] >> 4) * 4 if length >= tcp.HEADER_LENGTH else 0
        if text <= 0 or packet.gso_size or buf[at + 13] & ~tcp.PSH != tcp.ACK or packet.options:
            _end(joined, run)
            run = []
            joined.append(packet)
            continue
        seq = int.from_bytes(buf[at + 4 : at + 8], "big")
        options = buf[at + tcp.HEADER_LENGTH : packet.end - text]
        same = (
            packet.source,
            packet.destination,
            packet.tos,
            packet.cast,
            buf[at : at + 4] + buf[at + 8 : at + 13] + buf[at + 14 : at + 16],
            options,
        )
        fits = run and seq == due and text <= size and same == head and (len(run) + 1) * size < _LARGEST
        if not _is_valid(packet, length):
            _end(joined, run)
            run = []
            joined.append(packet)  # to be dropped, and counted, by who reads it
            continue
        if not fits:
            _end(joined, run)
            run, head, size = [], same, text
        run.append(packet)
        due = (seq + text) & 0xFFFFFFFF
        if text < size or buf[at + 13] & tcp.PSH:
            _end(joined, run)
            run = []
    _end(joined, run)
    return joined


def _is_valid(packet, length):
    if not packet.checksum_trusted:
        at = packet.at
        packet.checksum_trusted = checksum.valid(memoryview(packet.buf)[at : packet.end], packet.pseudo_sum(length))
    return packet.checksum_trusted


def _end(joined, run):
    """Put what the packets of a run are together to the end of *joined*."""
    if len(run) < 2:
        joined.extend(run)
        return
    first, last = run[0], run[-1]
    header = (first.buf[first.at + 12] >> 4) * 4
    parts = [memoryview(first.buf)[: first.end]]
    parts += [memoryview(packet.buf)[packet.at + header : packet.end] for packet in run[1:]]
    first.gso_size = first.end - first.at - header
    whole = bytearray(b"".join(parts))
    whole[first.at + 13] |= last.buf[last.at + 13]  # PSH
    first.buf = bytes(whole)
    first.end = len(whole)
    joined.append(first)
