"""HyStart++ (RFC 9406): leave the first slow start before it overruns the bottleneck's queue."""

from math import inf

# RFC 9406 §4.3
MIN_RTT_THRESH = 0.004  # seconds
MAX_RTT_THRESH = 0.016  # seconds
MIN_RTT_DIVISOR = 8
N_RTT_SAMPLE = 8  # in one round
CSS_GROWTH_DIVISOR = 4
CSS_ROUNDS = 5


class HyStart:
    """Watches the round trips of a slow start. A round whose least is clearly longer than that of the round before
    begins the conservative slow start (CSS), which ends slow start unless the round trips shorten again.

    Attributes:
        conservative: whether it is in CSS, so that the window is to grow by a quarter of what is acknowledged.
    """

    __slots__ = ("_baseline", "_last", "_least", "_rounds", "_samples", "conservative")

    def __init__(self):
        self.conservative = False
        self._last = inf  # lastRoundMinRTT, seconds
        self._least = inf  # currentRoundMinRTT
        self._samples = 0  # rttSampleCount
        self._baseline = inf  # cssBaselineMinRtt
        self._rounds = 0  # of CSS, with the one in which it began

    def on_ack(self, ack, mss):
        """Take a `congestion.Ack` in slow start, before the window grows; True if slow start is over.

        An ACK of many segments, of *mss* bytes each, counts for as many as a receiver sends that acknowledges each
        second one: others came together with it and were left out (`link.coalescing`), or were not sent.
        """
        if ack.round_start:
            self._last = self._least
            self._least = inf
            self._samples = 0
            if self.conservative:
                self._rounds += 1
                if self._rounds > CSS_ROUNDS:
                    return True
        rtt = ack.rtt
        if rtt is None:
            return False
        self._samples += max(ack.acked // (2 * mss), 1)
        if rtt < self._least:
            self._least = rtt
        if self._samples >= N_RTT_SAMPLE:
            self._judge()
        return False

    def _judge(self):
        """RFC 9406 §4.2: enter CSS, or find that it was a mistake."""
        if self.conservative:
            if self._least < self._baseline:
                self.conservative = False
                self._baseline = inf
            return
        if self._last == inf:
            return
        threshold = max(MIN_RTT_THRESH, min(self._last / MIN_RTT_DIVISOR, MAX_RTT_THRESH))
        if self._least >= self._last + threshold:
            self.conservative = True
            self._baseline = self._least
            self._rounds = 1  # what is left of a round counts as one
