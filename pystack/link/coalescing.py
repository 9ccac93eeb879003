"""Joining TCP segments that came together into super-segments, before anybody looks at them (Linux's GRO), and leaving
out ACKs that a later one makes needless (what sch_cake calls an ACK filter)."""

import struct

from pystack.wire import checksum, ipv4, tcp, tcp_options, vnet
from pystack.wire.seq import MASK
from pystack.wire.vnet import IP_AT

FEWEST = 3  # frames of a batch in which it is worth a look
_TCP_AT4 = IP_AT + 20  # behind an IPv4 header without options
_TCP_AT6 = IP_AT + 40  # behind an IPv6 header without extensions
_LARGEST = 65_535  # bytes of a super-segment's packet
_STAMPED = tcp.HEADER_LENGTH + tcp_options.ALIGNED_LENGTH  # bytes of a header with timestamps, and nothing else
_ACK_AND_STAMP = struct.Struct("!I12xI")
_HALF = 1 << 31  # of the numbers of 32 bits


def coalesce(frames, mac):
    """The frames with their runs joined, as a device with offload would have done: consecutive ones for *mac* that
    differ in sequence number, lengths, identification, checksums and text alone.

    As in Linux's tcp_gro_receive only ACKs with text and nothing else to say are joined, all of one size but the last,
    PSH being on the last at most. Super-segments that the device has joined, which on Linux have PSH all, are not
    copied: a run of them is a tuple of the first and a list of the others' text, views. Of ACKs with nothing to say but
    how much has come, the last alone is left: they come at one and the same time, so that one counts for all. Checksums
    are verified; what is wrong is left to who drops and counts it.
    """
    joined = []
    told = None  # what the last of them says, if it is an ACK without text; see `_read_ack`
    intact = False  # whether it is known to be
    run, due = [], 0  # frames, and the next number
    large = False  # whether they are super-segments already, which are kept as they are
    head = same = below = 0  # the headers of the first as a number; its bits that must be so; where TCP's number ends
    header = whole = at = 0  # bytes of them and of the frame; where TCP's begins
    for frame in frames:
        size = len(frame)
        if run:
            both = int.from_bytes(frame[:header], "big")
            if (
                not (both ^ head) & same
                and both >> below & 0xFFFFFFFF == due
                and header < size
                and (large or (size <= whole and header - IP_AT + (len(run) + 1) * (whole - header) <= _LARGEST))
                and (len(run) > 1 or _is_intact(run[0], at, whole))  # not before: most runs may be of one
                and _is_intact(frame, at, size)
            ):
                run.append(frame)
                due = (due + size - header) & 0xFFFFFFFF
                if not large and (size < whole or frame[at + 13] & tcp.PSH):
                    _end(joined, run, header, at)
                    run = []
                continue
            _end(joined, run, header, at)
            run = []
        at = _tcp_at(frame, size, mac)
        header = at + (frame[at + 12] >> 4) * 4 if at else 0
        if at and header == size:
            before, told = told, _read_ack(frame, at, size)
            if (
                _is_superseded(before, told)
                and (intact or _is_intact(joined[-1], at, size))
                and _is_intact(frame, at, size)
            ):
                joined[-1] = frame
                intact = True
            else:
                joined.append(frame)
                intact = False
            continue
        told = None
        large = at > 0 and frame[1] != vnet.GSO_NONE
        if not at or (frame[at + 13] & tcp.PSH and not large):
            joined.append(frame)
        else:
            run, whole = [frame], size
            head, same = int.from_bytes(frame[:header], "big"), _same(at, header, _LARGE if large else _TEXT)
            below = 8 * (header - at - 8)
            due = ((head >> below) + size - header) & 0xFFFFFFFF
    _end(joined, run, header, at)
    return joined


def _tcp_at(frame, size, mac):
    """Where the TCP header of a frame begins that may belong to a run, of text or of ACKs without; else 0."""
    if size < _TCP_AT4 + tcp.HEADER_LENGTH:
        return 0
    kind = frame[IP_AT - 2 : IP_AT]
    if kind == b"\x08\x00":
        at = _TCP_AT4
    elif kind == b"\x86\xdd" and size >= _TCP_AT6 + tcp.HEADER_LENGTH:
        at = _TCP_AT6
    else:
        return 0
    header = (frame[at + 12] >> 4) * 4
    if size < at + header or header < tcp.HEADER_LENGTH:
        return 0
    if frame[1] != vnet.GSO_NONE and frame[1] != (vnet.GSO_TCPV4 if at == _TCP_AT4 else vnet.GSO_TCPV6):
        return 0
    if frame[10:16] != mac or frame[16] & 1:  # which the link layer drops, each by itself
        return 0
    if at == _TCP_AT4:  # without options, and of the flags and the fragment's offset no bit but DF
        if frame[IP_AT] != 0x45 or frame[IP_AT + 9] != 6 or frame[IP_AT + 6] & 0xBF or frame[IP_AT + 7]:
            return 0
    elif frame[IP_AT] >> 4 != 6 or frame[IP_AT + 6] != 6:
        return 0
    if frame[0] & vnet.F_NEEDS_CSUM and vnet.parse(frame)[4:] != (at - vnet.SIZE, tcp.CHECKSUM_AT):
        return 0
    return at if frame[at + 13] & ~(tcp.PSH | tcp.ECE) == tcp.ACK else 0


def _is_intact(frame, at, size):
    """Whether the IP header's length is the frame's, and the checksums are right."""
    if at == _TCP_AT4:
        length = frame[IP_AT + 2] << 8 | frame[IP_AT + 3]
        if length != size - IP_AT or int.from_bytes(frame[IP_AT:at], "big") % 0xFFFF:
            return False
        addresses_at = at - 8
    else:
        length = frame[IP_AT + 4] << 8 | frame[IP_AT + 5]
        if length != size - at:
            return False
        addresses_at = at - 32
    # By one sum: the addresses of the pseudo-header stand before what the checksum covers.
    return bool(frame[0] & vnet.VOUCHED) or checksum.valid(frame[addresses_at:], 6 + size - at)


def _read_ack(frame, at, size):
    """``(bytes, what another must share to take its place, ack, TSval)`` of an ACK without text; None if it has options
    but timestamps, as SACK blocks are each ACK's own."""
    if size - at == _STAMPED and frame[at + 20 : at + 24] == tcp_options.ALIGNED:
        ack, stamp = _ACK_AND_STAMP.unpack_from(frame, at + 8)
    elif size - at == tcp.HEADER_LENGTH:
        ack, stamp = int.from_bytes(frame[at + 8 : at + 12], "big"), 0
    else:
        return None
    return size, int.from_bytes(frame, "big") & _same(at, size, _BARE), ack, stamp


def _is_superseded(before, told):
    """Whether an ACK acknowledges more than the one before it, which has nothing else to say. One that acknowledges no
    more takes nobody's place, as it tells of a loss; nor does one with an old timestamp, which PAWS may drop."""
    return (
        before is not None
        and told is not None
        and before[:2] == told[:2]
        and 0 < (told[2] - before[2]) & MASK < _HALF
        and (told[3] - before[3]) & MASK < _HALF
    )


_TEXT, _LARGE, _BARE = range(3)  # kinds of runs: to be joined, of super-segments, of which the last alone is left
_masks = {}


def _same(at, header, kind):
    """The bits in which the headers of a run may not differ, as a number; *header* bytes, TCP's beginning at *at*."""
    mask = _masks.get((at, header, kind))
    if mask is None:
        bits = bytearray(b"\xff" * header)
        if at == _TCP_AT4:  # total length, identification, checksum
            bits[IP_AT + 2 : IP_AT + 6] = bytes(4)
            bits[IP_AT + 10 : IP_AT + 12] = bytes(2)
        else:  # payload length
            bits[IP_AT + 4 : IP_AT + 6] = bytes(2)
        bits[at + 16 : at + 18] = bytes(2)
        if kind == _BARE:  # ack, window, timestamps
            bits[at + 8 : at + 12] = bytes(4)
            bits[at + 14 : at + 16] = bytes(2)
            bits[at + 24 : header] = bytes(max(header - at - 24, 0))
        else:
            bits[at + 4 : at + 8] = bytes(4)
            if kind == _TEXT:
                bits[at + 13] &= ~tcp.PSH
            else:
                bits[2:4] = bytes(2)  # virtio's hdr_len is only a hint
        mask = _masks[at, header, kind] = int.from_bytes(bits, "big")
    return mask


def _end(joined, run, header, at):
    """Put what the frames of a run are together, with *header* bytes of headers each, to the end of *joined*."""
    if len(run) < 2:
        joined.extend(run)
        return
    first, last = run[0], run[-1]
    if first[1] != vnet.GSO_NONE:
        joined.append((first, [memoryview(frame)[header:] for frame in run[1:]]))
        return
    size = (len(run) - 1) * (len(first) - header) + len(last) - header
    head = bytearray(first[:header])
    if at == _TCP_AT4:
        kind = vnet.GSO_TCPV4
        head[IP_AT + 2 : IP_AT + 4] = (header - IP_AT + size).to_bytes(2, "big")
        ipv4.renew_checksum(head, IP_AT)
    else:
        kind = vnet.GSO_TCPV6
        head[IP_AT + 4 : IP_AT + 6] = (header - at + size).to_bytes(2, "big")
    head[at + 13] |= last[at + 13]  # PSH
    head[: vnet.SIZE] = vnet.build(vnet.F_DATA_VALID, kind, header - vnet.SIZE, len(first) - header)
    joined.append(b"".join([head, *[frame[header:] for frame in run]]))
