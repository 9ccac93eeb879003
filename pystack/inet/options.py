"""The IPv4 options of an echo reply: those of the request, with this host written in (RFC 1122 §3.2.2.6)."""

from pystack.wire import ipv4

_STAMP_ONLY = 0  # flags of the timestamp option (RFC 791 §3.1)
_STAMP_AND_ADDRESS = 1
_STAMP_PRESPECIFIED = 3
NONSTANDARD = 0x80000000  # RFC 791: a timestamp that is not milliseconds since midnight UT has its high bit set


def nonstandard_time(now):
    """The clock's seconds as a timestamp of 4 bytes: a core does not know the time of day."""
    return (NONSTANDARD | int(now * 1000) & 0x7FFFFFFF).to_bytes(4, "big")


def echoed(options, us, now):
    """Options for the reply: record route and timestamp updated with the address *us*, other options left out."""
    found, _ = ipv4.walk_options(options)
    reply = []
    for kind, start, end in found:
        option = bytearray(options[start:end])
        if kind == ipv4.RECORD_ROUTE:
            _record(option, us)
        elif kind == ipv4.TIMESTAMP:
            _stamp(option, us, now)
        else:
            continue
        reply.append(option)
    return ipv4.pad_options(b"".join(reply))


def fault(kind, option):
    """Offset within *option* of what is wrong with it, or None. As Linux's ip_options_compile judges."""
    size = len(option)
    if kind == ipv4.RECORD_ROUTE:
        if size < 3:
            return 1
        if option[2] < 4 or (option[2] <= size and option[2] + 3 > size):
            return 2
    elif kind == ipv4.TIMESTAMP:
        if not 4 <= size <= 40:
            return 1
        pointer = option[2]
        if pointer < 5:
            return 2
        if pointer <= size:
            each = 4 if option[3] & 15 == _STAMP_ONLY else 8
            if pointer + each - 1 > size:
                return 2
    return None


def _record(option, us):
    pointer = option[2]  # 1-based
    if pointer + 3 <= len(option):
        option[pointer - 1 : pointer + 3] = us
        option[2] = pointer + 4


def _stamp(option, us, now):
    pointer, flags = option[2], option[3] & 15
    size = 4 if flags == _STAMP_ONLY else 8
    if pointer + size - 1 > len(option):
        if pointer <= 255 and option[3] < 0xF0:
            option[3] += 0x10  # the overflow counter
        return
    at = pointer - 1
    if flags == _STAMP_PRESPECIFIED and option[at : at + 4] != us:
        return
    if flags in (_STAMP_AND_ADDRESS, _STAMP_PRESPECIFIED):
        option[at : at + 4] = us
        at += 4
    option[at : at + 4] = nonstandard_time(now)
    option[2] = pointer + size
