"""TCP options: MSS (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323), SACK (RFC 2018)."""

import struct

END = 0
NOP = 1
MSS = 2
WINDOW_SCALE = 3
SACK_PERMITTED = 4
SACK = 5
TIMESTAMP = 8

MAX_WINDOW_SCALE = 14  # RFC 7323 §2.3
MAX_LENGTH = 40  # bytes of all options

ALIGNED = b"\x01\x01\x08\x0a"  # how timestamps begin that nearly every segment has, and nothing else
ALIGNED_LENGTH = 12  # bytes of that
_TWO = struct.Struct("!II")
_TIMESTAMP = struct.Struct("!4sII")


class Options:
    """What a header's options say. Unknown ones are skipped (RFC 9293 MUST-6)."""

    __slots__ = ("mss", "sack_permitted", "sacks", "timestamp", "window_scale")

    def __init__(self, timestamp=None):
        self.mss = 0  # bytes; 0: no option
        self.window_scale = None  # bits, at most 14; None: no option
        self.sack_permitted = False
        self.timestamp = timestamp  # (TSval, TSecr) or None
        self.sacks = ()  # (left, right) pairs as on the wire


NONE = Options()
"""No options at all; shared, so not to be changed."""


def parse(buf, at, end):
    """Read the options in ``buf[at:end]``: `Options`.

    A malformed length ends the list, and an option of a wrong length is skipped, as on Linux: neither is an error.
    """
    if at == end:
        return NONE
    if end - at == ALIGNED_LENGTH and buf[at : at + 4] == ALIGNED:
        return Options(_TWO.unpack_from(buf, at + 4))
    options = Options()
    while at < end:
        kind = buf[at]
        if kind == END:
            break
        if kind == NOP:
            at += 1
            continue
        if at + 2 > end:
            break
        length = buf[at + 1]
        if length < 2 or at + length > end:
            break
        _read(options, kind, buf, at + 2, length)
        at += length
    return options


def _read(options, kind, buf, at, length):
    if kind == TIMESTAMP:
        if length == 10:
            options.timestamp = _TWO.unpack_from(buf, at)
    elif kind == SACK:
        if length >= 10 and (length - 2) % 8 == 0:
            options.sacks = tuple(_TWO.unpack_from(buf, each) for each in range(at, at + length - 2, 8))
    elif kind == MSS:
        if length == 4:
            options.mss = buf[at] << 8 | buf[at + 1]
    elif kind == WINDOW_SCALE:
        if length == 3:
            options.window_scale = min(buf[at], MAX_WINDOW_SCALE)  # RFC 7323 §2.3: more is taken for 14
    elif kind == SACK_PERMITTED and length == 2:
        options.sack_permitted = True


def timestamp(value, echo):
    """The 12 bytes of an aligned timestamp option."""
    return _TIMESTAMP.pack(ALIGNED, value, echo)


def sack(blocks):
    """A SACK option of one to four ``(left, right)`` pairs of 32-bit numbers, aligned as on Linux."""
    return b"\x01\x01" + bytes((SACK, 2 + 8 * len(blocks))) + b"".join(_TWO.pack(*block) for block in blocks)


def syn(mss, window_scale=None, sack_permitted=False, timestamps=None):
    """The options of a SYN in Linux's order, padded to 4 bytes: *mss* always, the others unless None or False.

    Args:
        timestamps: ``(TSval, TSecr)``.
    """
    parts = [bytes((MSS, 4)), mss.to_bytes(2, "big")]
    if timestamps is not None:
        # Linux puts SACK-permitted where the timestamp option's padding would be.
        parts.append(bytes((SACK_PERMITTED, 2)) if sack_permitted else b"\x01\x01")
        parts += [bytes((TIMESTAMP, 10)), _TWO.pack(*timestamps)]
    elif sack_permitted:
        parts.append(b"\x01\x01" + bytes((SACK_PERMITTED, 2)))
    if window_scale is not None:
        parts.append(bytes((NOP, WINDOW_SCALE, 3, window_scale)))
    return b"".join(parts)
