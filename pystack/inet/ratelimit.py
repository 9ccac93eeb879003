"""Token buckets for the errors that we send (RFC 1812 §4.3.2.8): one for all destinations, one for each."""

BURST_PER_DESTINATION = 6  # Linux's XRLIM_BURST_FACTOR
DESTINATIONS = 1024  # remembered; beyond it the one that was limited longest ago is forgotten


class TokenBucket:
    """*rate* tokens a second up to *burst*; full at first."""

    __slots__ = ("_at", "_burst", "_rate", "_tokens")

    def __init__(self, rate, burst):
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now):
        """Take one token; False if there is none."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ErrorLimit:
    """Linux's two limits together: *interval* seconds per error and destination (0: no limit), *rate* errors a second
    in all with bursts of *burst*."""

    def __init__(self, interval, rate, burst):
        self._interval = interval
        self._all = TokenBucket(rate, burst)
        self._each = {}

    def allows(self, destination, now):
        """Whether one more error may be sent to *destination*; takes the tokens if so."""
        if self._interval:
            bucket = self._each.pop(destination, None) or TokenBucket(1 / self._interval, BURST_PER_DESTINATION)
            if len(self._each) >= DESTINATIONS:
                del self._each[next(iter(self._each))]
            self._each[destination] = bucket  # at the end: the dict is in order of last use
            if not bucket.take(now):
                return False
        return self._all.take(now)
