"""SYN cookies (RFC 4987 §3.6): a SYN-ACK whose number holds all that must be remembered, so that nothing is stored."""

import hashlib

from pystack.wire import tcp_options
from pystack.wire.seq import MASK

# What an MSS is rounded down to, by the length of an address; Linux's tables.
MSS_TABLE = {4: (536, 1300, 1440, 1460), 16: (1280 - 60, 1480 - 60, 1500 - 60, 9000 - 60)}
PERIOD = 64  # seconds of one count
MAX_AGE = 2  # counts
# Where the table's index stands in the 24 bits that hold it. Linux has it in the lowest, so that a segment which
# overtakes the first ACK, and is numbered one higher, passes with another MSS, and the byte before it is lost.
_INDEX_SHIFT = 20

# In the low bits of the timestamp, which the peer echoes, as Linux: the window scale (15: none), SACK and ECN.
_TIMESTAMP_BITS = 6
_NO_SCALE = 15
_SACK = 1 << 4
_ECN = 1 << 5


class Cookie:
    """What came back: ``options`` of the SYN, as far as they were kept, whether ECN was agreed on, and our ``iss``."""

    __slots__ = ("ecn", "iss", "options")

    def __init__(self, iss, options, ecn):
        self.iss = iss
        self.options = options
        self.ecn = ecn


class Cookies:
    """*random* gives the secret. A key is the bytes of a segment's addresses and ports."""

    __slots__ = ("_secret",)

    def __init__(self, random):
        self._secret = random.randbytes(16)

    def make(self, key, irs, options, now):
        """The number of the SYN-ACK to a SYN numbered *irs* (32 bits) with these options, and the MSS that it keeps."""
        table = MSS_TABLE[4 if len(key) == 12 else 16]
        index = max((at for at, size in enumerate(table) if size <= options.mss), default=0)
        count = int(now) // PERIOD
        fixed = self._digest(key, b"") + irs + (count << 24)
        secret = self._digest(key, count.to_bytes(8, "big"))
        return (fixed + ((secret + (index << _INDEX_SHIFT)) & 0xFFFFFF)) & MASK

    def check(self, key, segment, timestamp_offset, now):
        """The `Cookie` that the ACK *segment*, its numbers as on the wire, brings back; None if it is not one."""
        iss = (segment.ack - 1) & MASK
        rest = (iss - self._digest(key, b"") - (segment.seq - 1)) & MASK
        count = int(now) // PERIOD
        age = (count - (rest >> 24)) & 0xFF
        if age >= MAX_AGE or age > count:  # the clock's first period has none before it
            return None
        data = (rest - self._digest(key, (count - age).to_bytes(8, "big"))) & 0xFFFFFF
        index, excess = divmod(data, 1 << _INDEX_SHIFT)
        table = MSS_TABLE[4 if len(key) == 12 else 16]
        if excess or index >= len(table):
            return None
        options = tcp_options.Options()
        options.mss = table[index]
        stamp = segment.options.timestamp
        ecn = False
        if stamp is not None:
            options.timestamp = stamp
            bits = (stamp[1] - timestamp_offset) & ((1 << _TIMESTAMP_BITS) - 1)
            options.sack_permitted = bool(bits & _SACK)
            if bits & 15 != _NO_SCALE:
                options.window_scale = bits & 15
            ecn = bool(bits & _ECN)
        return Cookie(iss, options, ecn)

    def _digest(self, key, count):
        return int.from_bytes(hashlib.blake2s(key + count, key=self._secret, digest_size=4).digest(), "big")


def timestamp(milliseconds, options, ecn):
    """The clock's *milliseconds*, never later, with the SYN's *options* in the low bits."""
    bits = _NO_SCALE if options.window_scale is None else options.window_scale
    bits |= _SACK if options.sack_permitted else 0
    bits |= _ECN if ecn else 0
    value = milliseconds >> _TIMESTAMP_BITS << _TIMESTAMP_BITS | bits
    return value if value <= milliseconds else value - (1 << _TIMESTAMP_BITS)
