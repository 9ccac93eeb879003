"""Cutting a TCP super-segment into wire segments, for devices that cannot: the last thing done to it (Linux's GSO)."""

from pystack.wire import checksum, ethernet, ipv4, tcp, vnet

_IP_AT = vnet.SIZE + ethernet.HEADER_LENGTH
_ONLY_LAST = tcp.FIN | tcp.PSH
_ONLY_FIRST = tcp.CWR  # RFC 3168 §6.1.2
_DONT_FRAGMENT = ipv4.DONT_FRAGMENT >> 8


def segments(frame, checksum_offload):
    """The frames that one with a super-segment stands for: ``(headers, *views)`` each.

    They differ in lengths, numbers, flags and checksums alone: what they share is made once. A packet that may be
    fragmented has an identification of its own, counted on from the super-segment's.

    Args:
        frame: ``(headers, *payload)``, the virtio-net header first, as for a device that cuts: with the pseudo-header's
            sum in the checksum's place.
        checksum_offload: whether the device completes that.
    """
    whole, *payload = frame
    _, _, _, gso_size, start, _ = vnet.parse(whole)
    at = vnet.SIZE + start  # of TCP's header
    pieces = _cut(payload, gso_size)
    last = len(pieces) - 1
    size = sum([length for _, length in pieces])
    seq = int.from_bytes(whole[at + 4 : at + 8], "big")
    numbered = whole[_IP_AT] >> 4 == 4 and not whole[_IP_AT + 6] & _DONT_FRAGMENT
    cut = []
    for index, (views, length) in enumerate(pieces):
        if index < 2 or index == last:
            headers = _template(whole, at, size, length, index > 0, index == last, checksum_offload)
            before, rest, tail = bytes(headers[: at + 4]), bytes(headers[at + 8 : at + 16]), bytes(headers[at + 18 :])
            total = checksum.partial(headers[at:])
            sum_ = bytes(headers[at + 16 : at + 18])
        if numbered:
            before = _numbered(headers, whole, index)[: at + 4]
        number = (seq & 0xFFFFFFFF).to_bytes(4, "big")
        if not checksum_offload:
            text = views[0] if len(views) == 1 else b"".join(views)
            # As `checksum.checksum`; the pseudo-header is never all zeros.
            value = (total + int.from_bytes(number, "big") + checksum.total(text)) % 0xFFFF
            sum_ = ((0xFFFF - value) % 0xFFFF).to_bytes(2, "big")
        cut.append((b"".join((before, number, rest, sum_, tail)), *views))
        seq += length
    return cut


def _template(whole, at, size, length, later, last, checksum_offload):
    """The headers of a segment of *length* bytes of *size*, a *later* one than the first, or the *last*; its number 0,
    and in the checksum's place the pseudo-header's sum."""
    headers = bytearray(whole)
    if checksum_offload:
        headers[: vnet.SIZE] = vnet.build(vnet.F_NEEDS_CSUM, csum_start=at - vnet.SIZE, csum_offset=tcp.CHECKSUM_AT)
    else:
        headers[: vnet.SIZE] = vnet.ZERO
    if headers[_IP_AT] >> 4 == 4:
        headers[_IP_AT + 2 : _IP_AT + 4] = (len(headers) - _IP_AT + length).to_bytes(2, "big")
        _sum_up(headers)
    else:
        headers[_IP_AT + 4 : _IP_AT + 6] = (len(headers) - _IP_AT - 40 + length).to_bytes(2, "big")
    headers[at + 4 : at + 8] = bytes(4)
    if later:
        headers[at + 13] &= ~_ONLY_FIRST
    if not last:
        headers[at + 13] &= ~_ONLY_LAST
    # The length is a part of the pseudo-header. 0 and 0xffff are the same sum.
    pseudo = (int.from_bytes(headers[at + 16 : at + 18], "big") - size + length) % 0xFFFF or 0xFFFF
    headers[at + 16 : at + 18] = pseudo.to_bytes(2, "big")
    return headers


def _numbered(headers, whole, index):
    """IPv4 headers with the identification that comes *index* after the super-segment's."""
    identification = int.from_bytes(whole[_IP_AT + 4 : _IP_AT + 6], "big") + index
    headers[_IP_AT + 4 : _IP_AT + 6] = (identification & 0xFFFF).to_bytes(2, "big")
    _sum_up(headers)
    return bytes(headers)


def _sum_up(headers):
    """Put the checksum of an IPv4 header where it belongs."""
    end = _IP_AT + (headers[_IP_AT] & 15) * 4
    headers[_IP_AT + 10 : _IP_AT + 12] = b"\0\0"
    headers[_IP_AT + 10 : _IP_AT + 12] = checksum.checksum(headers[_IP_AT:end]).to_bytes(2, "big")


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
