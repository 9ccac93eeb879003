"""x"""

UNLIMITED = 1 << 62


class Ack:
    __slots__ = ("acked", "in_flight", "min_rtt", "now", "round_start", "rtt", "srtt")

    def __init__(self, now, acked, rtt, min_rtt, srtt, in_flight, round_start):
        self.now, self.acked, self.rtt, self.min_rtt = now, acked, rtt, min_rtt
        self.srtt, self.in_flight, self.round_start = srtt, in_flight, round_start


class NewReno:
    name = "reno"
    beta = 0.5

    def __init__(self, mss, initial_window):
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = UNLIMITED
        self._credit = 0
        self._prior = None

    def set_mss(self, mss):
        self.mss = mss

    @property
    def in_slow_start(self):
        return self.cwnd < self.ssthresh

    def on_ack(self, ack):
        acked = ack.acked
        if self.in_slow_start:
            grown = min(acked, self.ssthresh - self.cwnd)
            self.cwnd += grown
            acked -= grown
        self.avoid(acked, ack)

    def avoid(self, acked, ack):
        self._credit += acked
        while self._credit >= self.cwnd:
            self._credit -= self.cwnd
            self.cwnd += self.mss

    def on_congestion(self, now, in_flight):
        self._prior = (self.cwnd, self.ssthresh)
        self.ssthresh = max(int(self.cwnd * self.beta), 2 * self.mss)

    def on_timeout(self, now, in_flight):
        self.on_congestion(now, in_flight)
        self.cwnd = self.mss

    def undo(self):
        if self._prior:
            self.cwnd = max(self.cwnd, self._prior[0])
            self.ssthresh = max(self.ssthresh, self._prior[1])

    def on_idle(self, now, idle, rto):
        pass


class Cubic(NewReno):
    name = "cubic"
    beta = 0.7

    def __init__(self, mss, initial_window):
        super().__init__(mss, initial_window)
        self._epoch = None
        self._w_max = 0.0

    def avoid(self, acked, ack):
        w = self.cwnd / self.mss
        if self._epoch is None:
            self._epoch = ack.now
            if w < self._w_max:
                self._k = ((self._w_max - w) / 0.4) ** (1 / 3)
                self._origin = self._w_max
            else:
                self._k, self._origin = 0.0, w
            self._w_est = w
        t = ack.now - self._epoch + ack.min_rtt if ack.min_rtt < 1e9 else ack.now - self._epoch
        target = self._origin + 0.4 * (t - self._k) ** 3
        self._w_est += 3 * 0.3 / 1.7 * (acked / self.cwnd)
        if target > w:
            cnt = w / (min(target, 1.5 * w) - w) if min(target, 1.5 * w) > w else 100 * w
        else:
            cnt = 100 * w
        if self._w_est > w:
            cnt = min(cnt, w / (self._w_est - w))
        cnt = max(cnt, 2)
        self._credit += acked
        step = int(cnt * self.mss)
        if self._credit >= step:
            n = self._credit // step
            self._credit -= n * step
            self.cwnd += n * self.mss

    def on_congestion(self, now, in_flight):
        w = self.cwnd / self.mss
        self._w_max = w * (1 + self.beta) / 2 if w < self._w_max else w
        self._epoch = None
        super().on_congestion(now, in_flight)


ALGORITHMS = {"reno": NewReno, "cubic": Cubic}


def make(name, mss, initial_window):
    return ALGORITHMS[name](mss, initial_window)
