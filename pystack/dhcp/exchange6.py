"""When a DHCPv6 message is sent, sent again, and given up (RFC 8415 §14.1, §15)."""

from typing import NamedTuple

from pystack.wire import dhcp6

RATE = 1.0  # messages a second in the long run, whatever servers make us do (§14.1)
BURST = 20
RAND = 0.1  # §15: RT is drawn from this much around its mean
MAX_ELAPSED = 0xFFFF


class Schedule(NamedTuple):
    """§7.6, in seconds. ``most`` is MRT, ``tries`` MRC, 0 for no limit; MRD is a deadline of the client's."""

    kind: int
    first: float
    most: float = 0
    tries: int = 0
    delay: float = 0


SOLICIT = Schedule(dhcp6.SOLICIT, first=1.0, most=3600.0, delay=1.0)
REQUEST = Schedule(dhcp6.REQUEST, first=1.0, most=30.0, tries=10)
RENEW = Schedule(dhcp6.RENEW, first=10.0, most=600.0)
REBIND = Schedule(dhcp6.REBIND, first=10.0, most=600.0)
RELEASE = Schedule(dhcp6.RELEASE, first=1.0, tries=4)
DECLINE = Schedule(dhcp6.DECLINE, first=1.0, tries=4)
INFORMATION_REQUEST = Schedule(dhcp6.INFORMATION_REQUEST, first=1.0, most=3600.0, delay=1.0)


class Exchange:
    """One message and its answer. ``server`` is the DUID of the only server that may answer, or None; ``addresses``
    are those that the message is about, the held ones if empty; ``limits`` is what servers told of the greatest RT,
    by message type."""

    __slots__ = ("_random", "_rt", "addresses", "count", "limits", "schedule", "server", "started_at", "transaction")

    def __init__(self, schedule, random, server, addresses):
        self.schedule = schedule
        self.server = server
        self.addresses = addresses
        self.transaction = random.getrandbits(24)
        self.count = 0  # messages sent
        self.started_at = None
        self.limits = {}
        self._random = random
        self._rt = 0.0

    def elapsed(self, now):
        """Hundredths of a second since the first message (§21.9)."""
        return 0 if self.started_at is None else min(round((now - self.started_at) * 100), MAX_ELAPSED)

    def sent(self, now, most):
        """A message goes out now; returns when the next is due. *most* is MRT."""
        spread = RAND * (2 * self._random.random() - 1)
        if self.count == 0:
            self.started_at = now
            if self.schedule.kind == dhcp6.SOLICIT:
                spread = RAND * (1 - self._random.random())  # §18.2.1: more than 0, so that all servers have IRT
            self._rt = self.schedule.first * (1 + spread)
        else:
            self._rt *= 2 + spread
        if most and self._rt > most:
            self._rt = most * (1 + spread)
        self.count += 1
        return now + self._rt

    def is_over(self):
        """Whether all tries have been made."""
        return 0 < self.schedule.tries <= self.count


class Allowance:
    """A token bucket for all that one client sends."""

    __slots__ = ("_at", "_tokens")

    def __init__(self):
        self._tokens = BURST
        self._at = 0.0

    def take(self, now):
        """Take one; returns 0.0, or the seconds until there is one again."""
        self._tokens = min(BURST, self._tokens + max(now - self._at, 0.0) * RATE)
        self._at = now
        if self._tokens < 1 - 1e-6:  # the sum of what was waited for may fall short by a rounding
            return (1 - self._tokens) / RATE
        self._tokens -= 1
        return 0.0
