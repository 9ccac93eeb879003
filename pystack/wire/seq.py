"""Sequence numbers: 32 bits on the wire, integers without bounds inside, so that everywhere else ``<`` means before."""

MASK = 0xFFFFFFFF
_HALF = 1 << 31


def extend(wire, near):
    """The integer nearest to *near* whose low 32 bits are *wire* (RFC 9293 §3.4); of two equally near, the lower.

    ``extend(x & MASK, near) == x`` for every x with ``-2**31 <= x - near < 2**31``. The result may be negative.
    """
    return near + ((wire - near + _HALF) & MASK) - _HALF
