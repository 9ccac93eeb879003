"""The round-trip time and the retransmission timeout (RFC 6298, with Linux's floor)."""

from math import inf

FIRST_RTO = 1.0  # seconds, before the first sample (RFC 6298 §2.1)
AFTER_SYN_TIMEOUT = 3.0  # seconds, when the SYN had to be sent again (RFC 6298 §5.7)
MIN_RTT_WINDOW = 300.0  # seconds (net.ipv4.tcp_min_rtt_wlen)
SHORTEST = 1e-6  # seconds: 0 is for "no sample yet"


class RttEstimator:
    """One connection's round trips. All times are seconds.

    Attributes:
        srtt, rttvar: smoothed round trip and its variation (RFC 6298 §2); 0.0 before the first sample.
        latest: the last sample.
        min_rtt: the least sample of the last five minutes; infinity before the first.
        rto: the timeout, with the backoff.
        backoff_shift: timeouts since the last sample or acknowledgement.
    """

    __slots__ = ("_least", "_rto_max", "_rto_min", "backoff_shift", "latest", "min_rtt", "rto", "rttvar", "srtt")

    def __init__(self, rto_min, rto_max):
        self._rto_min = rto_min
        self._rto_max = rto_max
        self._least = None  # three of (sample, time), the least and its successors, rising in both
        self.srtt = 0.0
        self.rttvar = 0.0
        self.latest = 0.0
        self.min_rtt = inf
        self.backoff_shift = 0
        self.rto = FIRST_RTO

    def sample(self, rtt, now):
        """Take one measurement (never of a retransmitted segment: Karn's rule, RFC 6298 §3, is the caller's)."""
        self.latest = rtt
        self._note(rtt, now)
        if not self.srtt:
            self.srtt = max(rtt, SHORTEST)
            self.rttvar = rtt / 2
        else:
            # RFC 6298 §2.3: the variation first, for it is taken about the old SRTT.
            self.rttvar += (abs(self.srtt - rtt) - self.rttvar) / 4
            self.srtt = max(self.srtt + (rtt - self.srtt) / 8, SHORTEST)
        self.backoff_shift = 0
        self._set_rto()

    def _note(self, rtt, now):
        """The least of a sliding window in constant room (Linux's lib/win_minmax.c, by K. Nichols).

        The second and third are the least since the first and second; they take over when those are too old. Each is
        renewed after a quarter and a half of the window, so that there is one to take over.
        """
        least = self._least
        new = (rtt, now)
        if least is None or rtt <= least[0][0] or now - least[2][1] > MIN_RTT_WINDOW:
            self._least = [new, new, new]
            self.min_rtt = rtt
            return
        if rtt <= least[1][0]:
            least[1] = least[2] = new
        elif rtt <= least[2][0]:
            least[2] = new
        age = now - least[0][1]
        if age > MIN_RTT_WINDOW:
            least[:] = least[1], least[2], new
            if now - least[0][1] > MIN_RTT_WINDOW:
                least[:] = least[1], least[2], new
            self.min_rtt = least[0][0]
        elif least[1][1] == least[0][1] and age > MIN_RTT_WINDOW / 4:
            least[1] = least[2] = new
        elif least[2][1] == least[1][1] and age > MIN_RTT_WINDOW / 2:
            least[2] = new

    def backoff(self):
        """The timer has expired: twice as long next time (RFC 6298 §5.5)."""
        self.backoff_shift += 1
        self.rto = min(self.rto * 2, self._rto_max)

    def reset_backoff(self):
        """New data was acknowledged, but not measured. As Linux; RFC 6298 §5.7 would wait for a sample."""
        if self.backoff_shift:
            self.backoff_shift = 0
            self._set_rto()

    def after_syn_timeout(self):
        """The SYN was sent again, so nothing is known of the path but that it may be slow (RFC 6298 §5.7)."""
        self.backoff_shift = 0
        if not self.srtt:
            self.rto = min(AFTER_SYN_TIMEOUT, self._rto_max)

    def _set_rto(self):
        # Linux: the floor is under 4 * RTTVAR, not under the sum, so that a long path has its margin too.
        self.rto = min(self.srtt + max(4 * self.rttvar, self._rto_min), self._rto_max) if self.srtt else FIRST_RTO
