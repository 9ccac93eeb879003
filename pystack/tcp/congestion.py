"""Congestion control: how much may be in flight. Windows are bytes, times seconds.

An algorithm is a subclass of `CongestionControl` with a ``name``, which `register` makes known to `make`; `sender`
imports the modules of ours. `NewReno` shows how little it takes. The sender validates the window (it reports only
ACKs that used it), PRR in `recovery` has it while losses are repaired, and whoever undoes a reduction has found that
it was for nothing.
"""

UNLIMITED = 1 << 62  # bytes: ssthresh, until the first congestion (RFC 5681 §3.1)

_algorithms = {}  # name: class


def make(name, mss, initial_window):
    """The named algorithm at the beginning of a connection.

    Args:
        name: one of `names`, as TCP_CONGESTION has it; `KeyError` if it is not.
        mss: bytes of payload in a full segment.
        initial_window: bytes.
    """
    return _algorithms[name](mss, initial_window)


def register(algorithm):
    """Let `make` know a subclass of `CongestionControl` by its name."""
    _algorithms[algorithm.name] = algorithm


def names():
    """The algorithms that there are, sorted (net.ipv4.tcp_available_congestion_control)."""
    return sorted(_algorithms)


class Ack:
    """What one acknowledgement says about the path.

    Attributes:
        now: when it came.
        acked: bytes that it reports delivered for the first time, cumulatively or selectively.
        rtt: its round trip, 0.0 on a loopback; None if it cannot be told (Karn).
        min_rtt: the least of late; infinity before the first.
        srtt: smoothed (RFC 6298); 0.0 before the first.
        in_flight: bytes in flight before it.
        round_start: whether a new round trip begins: what was in flight at the beginning of the last is acknowledged.
    """

    __slots__ = ("acked", "in_flight", "min_rtt", "now", "round_start", "rtt", "srtt")

    def __init__(self, now, acked, rtt, min_rtt, srtt, in_flight, round_start):
        self.now = now
        self.acked = acked
        self.rtt = rtt
        self.min_rtt = min_rtt
        self.srtt = srtt
        self.in_flight = in_flight
        self.round_start = round_start


class CongestionControl:
    """Slow start, reduction and its undoing; a subclass says in `avoid` what comes after slow start.

    Attributes:
        name: what TCP_CONGESTION calls it.
        beta: the part of the window that a congestion leaves, unless `reduced` is overridden.
        restored: names of the attributes that `undo` puts back as they were, besides the windows.
        cwnd, ssthresh, mss: bytes; the sender and `recovery` may set ``cwnd``. It is never below one segment.
    """

    name = ""
    beta = 0.5  # RFC 5681 §3.1, equation 4
    restored = ()

    def __init__(self, mss, initial_window):
        self.mss = mss
        self.cwnd = max(initial_window, mss)
        self.ssthresh = UNLIMITED
        self._initial_window = initial_window // mss  # segments
        self._credit = 0  # bytes acknowledged that have not yet made the window grow (RFC 3465 §2.1)
        self._before = None  # as it was before the last reduction

    def set_mss(self, mss):
        """A full segment has another size. The window stays, in bytes (RFC 4821 §5.3)."""
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)

    @property
    def in_slow_start(self):
        return self.cwnd < self.ssthresh

    # -- growth -------------------------------------------------------------------------------------------------------

    def on_ack(self, ack):
        """An `Ack` of data that filled the window, while nothing is being repaired after a congestion."""
        acked = ack.acked
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked, ack)
            if not acked:
                return
        self.avoid(acked, ack)

    def slow_start(self, acked, ack):
        """Grow by what is acknowledged, up to ssthresh; returns the bytes that are left for congestion avoidance.

        RFC 3465 §2.2 with Linux's L: unlimited, since one ACK may stand for 64 KB where segments are coalesced.
        """
        grown = min(acked, self.ssthresh - self.cwnd)
        self.cwnd += grown
        return acked - grown

    def avoid(self, acked, ack):
        """Congestion avoidance: *acked* bytes of *ack* are to be taken into account."""
        raise NotImplementedError

    def grow(self, acked, window):
        """Grow by one segment for each *window* bytes acknowledged, *acked* more by now (Linux's tcp_cong_avoid_ai)."""
        if self._credit >= window:
            # Saved up while growth was dearer: worth one segment, not a burst.
            self._credit = 0
            self.cwnd += self.mss
        self._credit += acked
        if self._credit >= window:
            segments, self._credit = divmod(self._credit, window)
            self.cwnd += segments * self.mss

    # -- reduction ----------------------------------------------------------------------------------------------------

    def reduced(self, now):
        """The window that a congestion leaves, in bytes; whatever the algorithm must remember of it, it does here."""
        # RFC 5681 has FlightSize for cwnd. As Linux: validation keeps cwnd near what was in flight, and FlightSize
        # would be too small after an ACK of much.
        return int(self.cwnd * self.beta)

    def on_congestion(self, now, in_flight):
        """Loss or ECN-Echo, once per window: sets ssthresh. cwnd is led there by PRR."""
        self._before = (self.cwnd, self.ssthresh, [getattr(self, name) for name in self.restored])
        self.ssthresh = max(self.reduced(now), 2 * self.mss)
        self._credit = 0

    def on_timeout(self, now, in_flight):
        """The first timeout in a row: one segment, and slow start from there (RFC 5681 §3.1)."""
        self.on_congestion(now, in_flight)
        self.cwnd = self.mss

    def undo(self):
        """The last reduction was for nothing (RFC 4015 §3.2, Linux's tcp_undo_cwnd_reduction)."""
        if self._before is None:
            return
        cwnd, ssthresh, values = self._before
        self._before = None
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)
        for name, value in zip(self.restored, values, strict=True):
            setattr(self, name, value)

    def on_idle(self, now, idle, rto):
        """Sending begins again, nothing being in flight, *idle* seconds after the last transmission.

        RFC 5681 §4.1 begins anew after one RTO. As RFC 2861 and Linux's tcp_cwnd_restart: half for each RTO that was
        idle, down to the restart window, and ssthresh keeps what was known. Up to one *rto* does nothing.
        """
        if idle <= rto:
            return
        self.ssthresh = max(self.ssthresh, self.cwnd * 3 // 4)
        restart = min(self._initial_window * self.mss, self.cwnd)
        idle -= rto
        while idle > 0 and self.cwnd > restart:
            self.cwnd >>= 1
            idle -= rto
        self.cwnd = max(self.cwnd, restart, self.mss)


class NewReno(CongestionControl):
    """RFC 5681 §3.1: a segment more per round trip, counted in bytes (RFC 3465 §2.1)."""

    name = "reno"

    def avoid(self, acked, ack):
        self.grow(acked, self.cwnd)


register(NewReno)
