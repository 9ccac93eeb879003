"""When to acknowledge: delayed as RFC 9293 §3.8.6.3 and RFC 5681 §4.2 want it, and quickly as Linux does."""

_QUICK = 16  # ACKs not delayed, at the start and after a gap (TCP_MAX_QUICKACKS)
_LONG_GAP = 1.0  # seconds of silence after which the peer begins in slow start again (Linux: its RTO)
_FIRST_MSS = 536  # TCP_MSS_DEFAULT: what a full segment of the peer's is taken to be, until one has come
_LEAST_MSS = 88  # TCP_MIN_RCVMSS


class DelayedAck:
    """One connection's delay, which follows the gaps between the peer's segments.

    ``ato`` is the delay in seconds, ``rcv_mss`` the bytes of a full segment of the peer's, as far as seen.
    """

    __slots__ = ("_last_at", "_last_size", "_least", "_most", "_quick", "_settings", "ato", "rcv_mss")

    def __init__(self, settings, config, mss):
        self._settings = settings
        self._least = config.delayed_ack_min
        self._most = config.delayed_ack_max
        self.ato = self._least
        self.rcv_mss = max(min(_FIRST_MSS, mss), _LEAST_MSS)
        self._last_size = 0
        self._last_at = None  # when a segment with text last came
        self._quick = _QUICK

    def received(self, size, pending, push, now):
        """Text has come in order.

        Args:
            size: bytes of one segment on the wire.
            pending: bytes received since an ACK was last sent, these included.

        Returns:
            The delay after which it must be acknowledged, or 0.
        """
        if size > self.rcv_mss:
            self.rcv_mss = size
        elif size != self.rcv_mss and size == self._last_size and size >= _LEAST_MSS and not push:
            self.rcv_mss = size  # two alike that end no message: the path takes no more now
        self._last_size = size
        self._adapt(now)
        # More than one full segment, as Linux's __tcp_ack_snd_check, so at the latest every second (MUST-59).
        if pending > self.rcv_mss or self._quick or self._settings.quickack:
            return 0.0
        return min(self.ato, self._most)

    def quicken(self):
        """Order is disturbed: the peer needs every ACK to recover."""
        self._quick = _QUICK

    def sent(self):
        """An ACK has been sent."""
        if self._quick:
            self._quick -= 1

    def expired(self):
        """Nothing came before the delay was over: next time wait longer, as Linux's tcp_delack_timer_handler."""
        self.ato = min(self.ato * 2, self._most)

    def _adapt(self, now):
        """Linux's tcp_event_data_recv."""
        last, self._last_at = self._last_at, now
        if last is None:
            return
        gap = now - last
        least = self._least
        if gap <= least / 2:
            self.ato = self.ato / 2 + least / 2
        elif gap < self.ato:
            self.ato = self.ato / 2 + gap
        elif gap > _LONG_GAP:
            self._quick = _QUICK
