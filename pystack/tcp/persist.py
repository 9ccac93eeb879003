"""The persist timer: probes of a window that is closed, or too small to be worth filling (RFC 9293 §3.8.6.1)."""

from pystack.deadlines import NEVER

MAX_SHIFT = 12  # doublings: rto_max ends them before


class Persist:
    """Runs while there is something to send, nothing in flight, and the window does not allow it.

    ``probes`` counts those that were not answered; their interval grows whether they are answered or not, until the
    window opens.
    """

    __slots__ = ("_rto_max", "_shift", "answered_at", "due_at", "probes", "since")

    def __init__(self, rto_max):
        self._rto_max = rto_max
        self._shift = 0
        self.due_at = NEVER
        self.answered_at = -NEVER  # when the peer was last heard
        self.probes = 0
        self.since = None  # when the first unanswered probe was sent

    def start(self, rto, now):
        """There is something to wait for."""
        if self.due_at == NEVER:
            self.due_at = now + min(rto * (1 << self._shift), self._rto_max)

    def stop(self):
        """Something could be sent."""
        self.due_at = NEVER
        self._shift = 0
        self.probes = 0
        self.since = None

    def answered(self, now):
        """The peer lives, so it may keep its window closed for ever (RFC 9293 MUST-37)."""
        self.answered_at = now
        self.probes = 0
        self.since = None

    def slowed(self, rto, retries):
        """Whether there were *retries* probes, answered or not, and they cannot get rarer. An orphan gets no more, or a
        peer that never opens its window could hold it for ever (Linux's tcp_probe_timer; RFC 6429 allows it)."""
        return self._shift >= retries and rto * (1 << self._shift) >= self._rto_max

    def probed(self, rto, now):
        """One more probe is sent; the next is due after twice the time."""
        if self.since is None:
            self.since = now
        self.probes += 1
        self._shift = min(self._shift + 1, MAX_SHIFT)
        self.due_at = now + min(rto * (1 << self._shift), self._rto_max)
