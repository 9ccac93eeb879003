"""Numbers that nobody else can guess: initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323 §7.1)."""

import hashlib

from pystack.wire.seq import MASK

TICKS = 250_000  # per second: RFC 9293 §3.4.1, one every 4 us


class InitialSequence:
    """*random* gives the secret."""

    __slots__ = ("_secret",)

    def __init__(self, random):
        self._secret = random.randbytes(16)

    def number(self, key, now):
        """ISN = M + F(addresses, ports, secret); *key* is the bytes of these."""
        return (int(now * TICKS) + self._digest(b"isn", key)) & MASK

    def timestamp_offset(self, local, remote):
        """Of all connections between two addresses, so that RFC 6191 can compare their timestamps (as Linux)."""
        return self._digest(b"tso", local + remote)

    def _digest(self, purpose, data):
        digest = hashlib.blake2s(data, key=self._secret, digest_size=4, person=purpose).digest()
        return int.from_bytes(digest, "big")
