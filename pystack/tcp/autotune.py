"""Dynamic right-sizing: how large the receive window must be so that it never limits the peer.

Linux's tcp_rcv_space_adjust: what the program reads in one round trip is what the peer's congestion window was in the
round trip before; the window must be twice that, and more while it grows.
"""

INFINITE = float("inf")


class Autotune:
    """Measures one connection; whoever owns the buffer asks `consumed` what it should be.

    Args:
        rcv_nxt: the first byte that will come.
        mss: bytes of a full segment.
        window: bytes offered at first.
    """

    __slots__ = ("_copied", "_mss", "_rtt_at", "_rtt_seq", "_since", "rtt", "space")

    def __init__(self, rcv_nxt, mss, window, now):
        self._mss = mss
        self.rtt = INFINITE  # seconds: the round trip, as far as a receiver can tell
        self._rtt_seq = rcv_nxt  # the first text comes a round trip after the SYN, or later
        self._rtt_at = now
        self.space = min(window, 10 * mss)  # bytes read in one round trip, the most so far
        self._copied = 0  # bytes read since
        self._since = now

    def received(self, rcv_nxt, window, now):
        """Text has come up to *rcv_nxt*, and *window* bytes more are offered now."""
        if rcv_nxt > self._rtt_seq:
            # What is beyond a window is sent a round trip later at least, and many if the window is not what limits
            # the peer: only the least counts (Linux's tcp_rcv_rtt_measure, which is one byte less strict). An average
            # would let a large window grow for ever. Text that came with the handshake says nothing.
            rtt = now - self._rtt_at
            if 0 < rtt < self.rtt:
                self.rtt = rtt
            self._rtt_at = now
            self._rtt_seq = rcv_nxt + max(window, self._mss)

    def measured(self, rtt):
        """A round trip has been timed by an echoed timestamp (Linux's tcp_rcv_rtt_measure_ts)."""
        if self.rtt == INFINITE:
            self.rtt = rtt
        else:
            self.rtt += (rtt - self.rtt) / 8

    def consumed(self, size, now):
        """The program has read *size* bytes. Returns the window that the connection needs, or 0 if it has enough."""
        self._copied += size
        if now - self._since < self.rtt:
            return 0
        copied, space = self._copied, self.space
        self._copied = 0
        self._since = now
        if copied <= space:
            return 0
        self.space = copied
        window = 2 * copied + 16 * self._mss
        return window + 2 * (window * (copied - space) // space)
