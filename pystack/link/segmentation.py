"""Cutting a TCP super-segment into wire segments, for devices that cannot: the last thing done to it (Linux's GSO)."""

from pystack.wire import checksum, ipv4, tcp, vnet
from pystack.wire.vnet import IP_AT

_ONLY_LAST = tcp.FIN | tcp.PSH
_ONLY_FIRST = tcp.CWR  # RFC 3168 §6.1.2
_DONT_FRAGMENT = ipv4.DONT_FRAGMENT >> 8


def segments(frame, gso_size, checksum_offload):
    """The frames that one with a super-segment stands for: ``(headers, *views)`` each.

    They differ in lengths, numbers, flags and checksums alone: what they share is made once. A packet that may be
    fragmented has an identification of its own, counted on from the super-segment's.

    Args:
        frame: ``(headers, *payload)``, the virtio-net header first, as for a device that cuts: with the pseudo-header's
            sum in the checksum's place.
        gso_size: bytes of payload of each but the last.
        checksum_offload: whether the device completes the checksum.
    """
    whole, *payload = frame
    at = vnet.SIZE + vnet.parse(whole)[4]  # of TCP's header
    size = sum(map(len, payload))
    pieces = _cut(payload, gso_size)
    last = len(pieces) - 1
    seq = int.from_bytes(whole[at + 4 : at + 8], "big")
    identification = int.from_bytes(whole[IP_AT + 4 : IP_AT + 6], "big")
    marked = whole[at + 13] & _ONLY_FIRST  # the first is of its own kind
    numbered = whole[IP_AT] >> 4 == 4 and not whole[IP_AT + 6] & _DONT_FRAGMENT
    cut = []
    for index, (views, length) in enumerate(pieces):
        if index == 0 or index == last or (index == 1 and marked):
            headers = _template(whole, at, length - size, index > 0, index == last, checksum_offload)
            before, rest, tail = bytes(headers[: at + 4]), bytes(headers[at + 8 : at + 16]), bytes(headers[at + 18 :])
            total = checksum.partial(headers[at:])
            sum_ = bytes(headers[at + 16 : at + 18])
        if numbered:
            headers[IP_AT + 4 : IP_AT + 6] = (identification + index & 0xFFFF).to_bytes(2, "big")
            ipv4.renew_checksum(headers, IP_AT)
            before = bytes(headers[: at + 4])
        number = (seq & 0xFFFFFFFF).to_bytes(4, "big")
        if not checksum_offload:
            text = views[0] if len(views) == 1 else b"".join(views)
            # As `checksum.checksum`; the pseudo-header is never all zeros.
            value = (total + int.from_bytes(number, "big") + checksum.total(text)) % 0xFFFF
            sum_ = ((0xFFFF - value) % 0xFFFF).to_bytes(2, "big")
        cut.append((b"".join((before, number, rest, sum_, tail)), *views))
        seq += length
    return cut


def _template(whole, at, more, later, last, checksum_offload):
    """The headers of a segment with *more* bytes than the super-segment, a *later* one than the first, or the *last*;
    its number 0, and in the checksum's place the pseudo-header's sum."""
    headers = bytearray(whole)
    if checksum_offload:
        headers[: vnet.SIZE] = vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_NONE, 0, 0, at - vnet.SIZE, tcp.CHECKSUM_AT)
    else:
        headers[: vnet.SIZE] = vnet.ZERO
    length_at = IP_AT + (2 if headers[IP_AT] >> 4 == 4 else 4)
    length = int.from_bytes(headers[length_at : length_at + 2], "big") + more
    headers[length_at : length_at + 2] = length.to_bytes(2, "big")
    if headers[IP_AT] >> 4 == 4:
        ipv4.renew_checksum(headers, IP_AT)
    headers[at + 4 : at + 8] = bytes(4)
    if later:
        headers[at + 13] &= ~_ONLY_FIRST
    if not last:
        headers[at + 13] &= ~_ONLY_LAST
    # The length is a part of the pseudo-header. 0 and 0xffff are the same sum.
    pseudo = (int.from_bytes(headers[at + 16 : at + 18], "big") + more) % 0xFFFF or 0xFFFF
    headers[at + 16 : at + 18] = pseudo.to_bytes(2, "big")
    return headers


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
