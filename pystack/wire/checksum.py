"""The Internet checksum (RFC 1071), by one big-integer remainder.

``int.from_bytes(view, "big") % 0xffff`` is the one's-complement sum of the 16-bit words, save that a sum of 0xffff
comes out as 0: 3.6 us for 1,460 bytes where struct and sum take 17. In the compiled build a loop is faster still: 0.3.
"""

_COMPILED = not __file__.endswith(".py")


def total(view):
    """The 16-bit words of *view* summed up, an odd last byte padded with zero; it may be taken by 0xffff, and is 0 only
    if all bytes are. Add such sums freely."""
    if _COMPILED:
        return _sum(bytes(view), len(view))
    value = int.from_bytes(view, "big")
    return value << 8 if len(view) & 1 else value


def _sum(octets, size):
    words = octets
    value = 0
    for at in range(0, size - 1, 2):
        value += words[at] << 8 | words[at + 1]
    if size & 1:
        value += words[size - 1] << 8
    return value


def partial(view):
    """The one's-complement sum of *view*, an odd last byte padded with zero, in [0, 0xfffe]; add such sums freely."""
    return total(view) % 0xFFFF


def checksum(view, start=0):
    """The checksum to store in a header whose checksum field is 0.

    Args:
        view: the covered bytes.
        start: what else is covered, as a sum (`pseudo_header`, or `partial` of an even number of bytes).
    """
    # All-zero data sums to 0 and stores 0xffff; anything else that sums to 0 mod 0xffff is 0xffff and stores 0.
    value = total(view) + start
    rest = value % 0xFFFF
    return 0xFFFF - rest if rest or not value else 0


def valid(view, start=0):
    """Whether *view*, with the checksum stored in it, sums to 0xffff."""
    value = total(view) + start
    return value % 0xFFFF == 0 and value > 0  # all zeros sum to 0, and 0xffff is missing: RFC 1071, and Linux


def pseudo_header(source, destination, protocol, length):
    """The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) of 4- or 16-byte addresses; *length* in bytes."""
    return (int.from_bytes(source, "big") + int.from_bytes(destination, "big") + protocol + length) % 0xFFFF
