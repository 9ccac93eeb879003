"""Path MTUs learned from ICMP (RFC 1191), aged, and hard to forge."""

from pystack.deadlines import NEVER, Deadlines

LIMIT = 4096  # destinations remembered; beyond it the oldest is forgotten
PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # RFC 1191 §7.1
IPV4_LEAST = 68  # bytes (RFC 791)


class _Learned:
    __slots__ = ("destination", "due_at", "fragment_below", "mtu", "queued_at")

    def __init__(self, destination):
        self.destination = destination
        self.mtu = 0  # bytes; `PathMtu.learn` sets it and the next
        self.fragment_below = False
        self.due_at = self.queued_at = NEVER


class PathMtu:
    """Destination -> MTU in bytes. *expires*, in seconds, and *least*, in bytes, as in `StackConfig`.

    No link has less than *floor*: a smaller claim is no truth. *agenda*: see `Deadlines`.
    Where ``learned`` is empty there is nothing to ask.
    """

    def __init__(self, expires, least, floor=IPV4_LEAST, agenda=None):
        self._expires = expires
        self._least = least
        self._floor = floor
        self.learned = {}
        self._deadlines = Deadlines(agenda)

    def of(self, destination, link_mtu):
        """The MTU to use towards *destination*, never above the link's."""
        learned = self.learned.get(destination)
        return link_mtu if learned is None else min(learned.mtu, link_mtu)

    def fragments(self, destination):
        """Whether the path needs packets so small that DF must stay off towards it (Linux's locked MTU)."""
        learned = self.learned.get(destination)
        return learned is not None and learned.fragment_below

    def plausible(self, destination, claimed, quoted_length, link_mtu):
        """The path's MTU if a Fragmentation Needed that claims *claimed* bytes is true, or None if it cannot be.

        *quoted_length* is the total length of the packet that it says did not fit: had it fitted, no router would have
        complained. A packet may have been on its way when a smaller MTU became known. A router older than RFC 1191
        claims 0 and gets the next plateau below the packet (§5).
        """
        if claimed == 0 and self._floor == IPV4_LEAST:
            claimed = next(plateau for plateau in PLATEAUS if plateau < max(quoted_length, 69))
        if claimed < self._floor or claimed >= min(quoted_length, link_mtu):
            return None
        return min(claimed, self.of(destination, link_mtu))

    def learn(self, destination, mtu, now):
        """Believe *mtu*, which only ever lowers the path's; the link's is tried again when it has expired."""
        learned = self.learned.get(destination)
        if learned is None:
            if len(self.learned) >= LIMIT:
                self._deadlines.cancel(self.learned.pop(next(iter(self.learned))))
            learned = self.learned[destination] = _Learned(destination)
        elif mtu >= learned.mtu:
            return
        # Linux: below min_pmtu the packets stay at min_pmtu and are fragmented, so a lie cannot make us send tiny ones.
        learned.fragment_below = mtu < self._least
        learned.mtu = max(mtu, self._least)
        self._deadlines.set(learned, now + self._expires)

    def expire(self, now):
        """Forget what is too old."""
        for learned in self._deadlines.due(now):
            if self.learned.get(learned.destination) is learned:
                del self.learned[learned.destination]

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def __len__(self):
        return len(self.learned)
