"""CUBIC (RFC 9438), with what Linux does differently, and HyStart++ (RFC 9406)."""

from math import inf

from pystack.tcp.congestion import UNLIMITED, CongestionControl, register
from pystack.tcp.hystart import CSS_GROWTH_DIVISOR, HyStart

C = 0.4  # segments per second cubed (RFC 9438 §5.1)
BETA = 717 / 1024  # Linux's 0.7 (RFC 9438 §4.6)
ALPHA = 3 * (1 - BETA) / (1 + BETA)  # segments per round trip, as fair as Reno with BETA (RFC 9438 §4.3)
SLOWEST_BEFORE_LOSS = 20  # windows' 5 percent per round trip, while no loss is known (Linux)


class Cubic(CongestionControl):
    """The window is a cubic function of the time since the last reduction: it is flat where the congestion was.

    Where Reno would be faster, as fast as Reno (RFC 9438 §4.3). Sizes are bytes, so `C` is times the segment size.
    """

    name = "cubic"
    beta = BETA
    restored = ("_epoch", "_k", "_origin", "_prior", "_w_est", "_w_max")  # RFC 9438 §4.9.2

    def __init__(self, mss, initial_window):
        super().__init__(mss, initial_window)
        self._hystart = HyStart()
        self._forget()

    def _forget(self):
        self._epoch = None  # when this congestion avoidance began; None: with the next ACK
        self._w_max = 0  # the window at the last congestion, less if that was below the one before; 0: none known
        self._prior = 0  # the window at the last congestion (cwnd_prior)
        self._origin = 0  # where the curve is flat
        self._k = 0.0  # seconds from the epoch until there
        self._w_est = 0.0  # the window that Reno would have

    def slow_start(self, acked, ack):
        if self.ssthresh != UNLIMITED:
            return super().slow_start(acked, ack)
        # RFC 9406 §4.3: only the first slow start; the others know where to stop.
        if self._hystart.on_ack(ack, self.mss):
            self.ssthresh = self.cwnd
            return acked
        self.cwnd += acked // CSS_GROWTH_DIVISOR if self._hystart.conservative else acked
        return 0

    def avoid(self, acked, ack):
        cwnd, mss = self.cwnd, self.mss
        if self._epoch is None:
            self._begin(ack.now)
        # RFC 9438 §4.2 aims at where the curve is one (smoothed) round trip ahead. As Linux: the least round trip.
        ahead = ack.min_rtt if ack.min_rtt != inf else 0.0
        target = self._origin + C * mss * (ack.now - self._epoch + ahead - self._k) ** 3
        # RFC 9438 §4.3. From the old window on, as fast as Reno itself.
        self._w_est += (ALPHA if self._w_est < self._prior else 1.0) * mss * acked / cwnd
        # *gain* bytes per round trip. Linux never stands quite still, and does not tarry before any loss is known.
        gain = max(target - cwnd, self._w_est - cwnd, mss / 100)
        if not self._w_max:
            gain = max(gain, cwnd / SLOWEST_BEFORE_LOSS)
        gain = min(gain, cwnd / 2)  # RFC 9438 §4.2: target is at most 1.5 cwnd
        self.grow(acked, max(int(cwnd * mss / gain), 2 * mss))

    def _begin(self, now):
        """A congestion avoidance begins (RFC 9438 §4.2)."""
        self._epoch = now
        self._w_est = self.cwnd
        if self.cwnd < self._w_max:
            self._origin = self._w_max
            self._k = ((self._w_max - self.cwnd) / (C * self.mss)) ** (1 / 3)
        else:
            self._origin = self.cwnd
            self._k = 0.0

    def reduced(self, now):
        cwnd = self.cwnd
        # Fast convergence (RFC 9438 §4.7): who got less than the last time leaves room for a newcomer.
        self._w_max = int(cwnd * (1 + BETA) / 2) if cwnd < self._w_max else cwnd
        self._prior = cwnd
        self._epoch = None
        return super().reduced(now)

    def on_timeout(self, now, in_flight):
        """As Linux, and as RFC 9438 §4.8 has it for the first one: what was known of the path is void."""
        super().on_timeout(now, in_flight)
        self._forget()

    def on_idle(self, now, idle, rto):
        """RFC 9438 §5.8: time in which nothing is sent does not count."""
        if idle > rto:
            super().on_idle(now, idle, rto)
        if self._epoch is not None:
            self._epoch = min(self._epoch + idle, now)


register(Cubic)
