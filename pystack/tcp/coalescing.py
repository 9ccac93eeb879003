"""Joining segments that came together into super-segments, before they are looked at one by one (Linux's GRO)."""

from pystack.wire import checksum, tcp

FEWEST = 3  # packets of a batch in which it is worth a look
_LARGEST = 65_535  # bytes of a super-segment's packet
_IP_HEADER = {4: 20, 16: 40}  # bytes, without options or extensions: the addresses stand just before TCP's header


def coalesce(batch):
    """The batch with its runs joined: consecutive RxPackets that differ in sequence number, checksum and text alone.

    As in Linux's tcp_gro_receive only plain ACKs with text are joined, all of one size but the last, PSH being on the
    last at most; checksums are checked before. A joined packet has a ``gso_size``, as one that the device has joined.
    """
    joined = []
    run, due = [], 0  # packets, and the next number
    head = size = header = 0  # the first's headers; bytes of text and of TCP's header of each
    for packet in batch:
        buf, at = packet.buf, packet.at
        length = packet.end - at
        text = length - (buf[at + 12] >> 4) * 4 if length >= tcp.HEADER_LENGTH else 0
        if (
            text <= 0
            or packet.gso_size
            or buf[at + 13] & ~tcp.PSH != tcp.ACK
            or at - packet.ip_at != _IP_HEADER[len(packet.source)]
            or length - text < tcp.HEADER_LENGTH
            or not _is_valid(packet, length)  # to be dropped, and counted, by who reads it
        ):
            _end(joined, run, header)
            run = []
            joined.append(packet)
            continue
        # From the addresses on to the text, as one number: 1 us less than by slices.
        both = int.from_bytes(buf[at - 2 * len(packet.source) : packet.end - text], "big")
        below = 8 * (length - text)  # bits from the beginning of TCP's header on
        seq = both >> below - 64 & 0xFFFFFFFF
        if not (
            run
            and seq == due
            and text <= size
            and length - text == header
            and not (both ^ head) & ~_differing(below)
            and packet.tos == run[0].tos
            and packet.cast == run[0].cast
            and packet.interface == run[0].interface  # a link-local address means another host on each
            and (len(run) + 1) * size < _LARGEST
        ):
            _end(joined, run, header)
            run, head, size, header = [], both, text, length - text
        run.append(packet)
        due = (seq + text) & 0xFFFFFFFF
        if text < size or buf[at + 13] & tcp.PSH:
            _end(joined, run, header)
            run = []
    _end(joined, run, header)
    return joined


_masks = {}


def _differing(bits):
    """The bits in which the packets of a run may differ, of a TCP header of so many: number, PSH and checksum."""
    mask = _masks.get(bits)
    if mask is None:
        mask = _masks[bits] = 0xFFFFFFFF << bits - 64 | tcp.PSH << bits - 112 | 0xFFFF << bits - 144
    return mask


def _is_valid(packet, length):
    """Whether the checksum is right, by one sum: the addresses of the pseudo-header stand before what it covers."""
    if not packet.checksum_trusted:
        covered = packet.buf[packet.at - 2 * len(packet.source) : packet.end]
        packet.checksum_trusted = checksum.valid(covered, packet.protocol + length)
    return packet.checksum_trusted


def _end(joined, run, header):
    """Put what the packets of a run are together, with TCP headers of *header* bytes, to the end of *joined*."""
    if len(run) < 2:
        joined.extend(run)
        return
    first, last = run[0], run[-1]
    buf, flags_at = first.buf, first.at + 13
    flags = buf[flags_at] | last.buf[last.at + 13]  # PSH
    parts = [buf[:flags_at], flags.to_bytes(1, "big"), buf[flags_at + 1 : first.end]]
    parts += [packet.buf[packet.at + header : packet.end] for packet in run[1:]]
    first.gso_size = first.end - first.at - header
    first.buf = b"".join(parts)
    first.end = len(first.buf)
    joined.append(first)
