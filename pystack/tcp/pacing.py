"""Pacing: segments leave evenly over the round trip instead of in bursts (Linux's internal pacing, tcp_pacing_*)."""

from pystack.deadlines import NEVER


class Pacer:
    """A leaky bucket. It computes; the sender enforces it, or not, and `rate` is for TCP_INFO either way.

    Attributes:
        rate: bytes per second; 0.0 while there is neither a round trip nor a cap to go by, that is, no limit.
        ready_at: when the next may leave; in the past if now.
    """

    __slots__ = ("rate", "ready_at")

    def __init__(self):
        self.rate = 0.0
        self.ready_at = -NEVER

    def update(self, cwnd, srtt, in_slow_start, config, cap):
        """Compute the rate (Linux's tcp_update_pacing_rate): somewhat more than a window per round trip.

        Args:
            cwnd: bytes.
            srtt: seconds; 0.0 before the first sample.
            in_slow_start: whether the window is to double in this round trip, so that the rate must be twice as high.
            config: the `TcpConfig` with ``tcp_pacing_ss_ratio`` and ``tcp_pacing_ca_ratio``.
            cap: SO_MAX_PACING_RATE, bytes per second; 0 for none.
        """
        rate = 0.0
        if srtt > 0:
            rate = cwnd / srtt * (config.tcp_pacing_ss_ratio if in_slow_start else config.tcp_pacing_ca_ratio) / 100
        if cap and (rate > cap or not rate):
            rate = float(cap)
        self.rate = rate

    def sent(self, size, now):
        """*size* bytes have left at *now*, which is not before ``ready_at`` unless they were forced out."""
        if not self.rate:
            return
        wait = size / self.rate
        # As Linux: who was woken late makes up for it, by at most half of this wait, so that a coarse clock does not
        # lower the rate and a long pause does not end in a burst.
        late = now - self.ready_at
        if late > 0:
            wait -= min(late, wait / 2)
            self.ready_at = now + wait
        else:
            self.ready_at += wait
