"""The round-trip time and the retransmission timeout (RFC 6298, with Linux's floor)."""

from collections import deque

FIRST_RTO = 1.0  # seconds, before the first sample (RFC 6298 §2.1)
AFTER_SYN_TIMEOUT = 3.0  # seconds, when the SYN had to be sent again (RFC 6298 §5.7)
MIN_RTT_WINDOW = 300.0  # seconds (net.ipv4.tcp_min_rtt_wlen)


class RttEstimator:
    """All times in seconds. ``rto`` includes the backoff."""

    __slots__ = ("_minima", "_rto_max", "_rto_min", "backoff_shift", "latest", "rto", "rttvar", "srtt")

    def __init__(self, rto_min, rto_max):
        self._rto_min = rto_min
        self._rto_max = rto_max
        self._minima = deque()  # (time, rtt), rising in both
        self.srtt = 0.0  # 0 before the first sample, as `rttvar`
        self.rttvar = 0.0
        self.latest = 0.0
        self.backoff_shift = 0
        self.rto = FIRST_RTO

    @property
    def min_rtt(self):
        """The least sample of the last five minutes; infinity before the first."""
        return self._minima[0][1] if self._minima else float("inf")

    def sample(self, rtt, now):
        """Take one measurement (never of a retransmitted segment: Karn's rule is the caller's)."""
        self.latest = rtt
        minima = self._minima
        while minima and minima[-1][1] >= rtt:
            minima.pop()
        minima.append((now, rtt))
        while minima[0][0] < now - MIN_RTT_WINDOW:
            minima.popleft()
        if not self.srtt:
            self.srtt = max(rtt, 1e-6)
            self.rttvar = rtt / 2
        else:
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt = max(self.srtt + (rtt - self.srtt) / 8, 1e-6)
        self.backoff_shift = 0
        self._set_rto()

    def backoff(self):
        """The timer has expired: twice as long next time (RFC 6298 §5.5)."""
        self.backoff_shift += 1
        self.rto = min(self.rto * 2, self._rto_max)

    def reset_backoff(self):
        """New data was acknowledged."""
        if self.backoff_shift:
            self.backoff_shift = 0
            self._set_rto()

    def after_syn_timeout(self):
        """The SYN was sent again, so nothing is known of the path."""
        self.backoff_shift = 0
        self.rto = AFTER_SYN_TIMEOUT if not self.srtt else self.rto

    def _set_rto(self):
        # Linux: the floor is under 4 * RTTVAR, not under the sum, so that a long path has its margin too.
        self.rto = min(self.srtt + max(4 * self.rttvar, self._rto_min), self._rto_max) if self.srtt else FIRST_RTO
