"""The receive window: how far the peer may send, as it has been told."""

MAX_WINDOW = 0xFFFF  # of the header's field
MAX_SCALE = 14  # RFC 7323 §2.3


def initial_window(config, settings):
    """Bytes to offer on a SYN, whose window is never scaled: at most 65,535."""
    window = min((settings.receive_buffer or config.tcp_rmem[1]) // 2, MAX_WINDOW)
    return min(window, settings.window_clamp) if settings.window_clamp else window


def initial_window_scale(config, settings):
    """Bits to offer on a SYN, for the most that the buffer may become (Linux's tcp_select_initial_window)."""
    most = max(config.tcp_rmem[2], settings.receive_buffer)
    if settings.window_clamp:
        most = min(most, settings.window_clamp)
    return min(max(most.bit_length() - 16, 0), MAX_SCALE)


class ReceiveWindow:
    """Its right edge moves only by a full segment or half the buffer (RFC 9293 §3.8.6.2.2), and never left.

    The one exception: when the buffer is full, the header cannot say what is left between two multiples of the scale.
    Then the window is rounded down, and what comes in that gap is taken all the same: RFC 7323 §2.4 has the receiver
    honour the furthest edge that it ever offered. Linux always rounds up, so that for a peer that sends single bytes
    the window never ends.

    Args:
        buffer: the `ReceiveBuffer` that the window promises room in.
        scale_bits: of the window on the wire.
        mss: bytes of a full segment.
        edge: the right edge that the SYN has offered.
    """

    __slots__ = ("_advertised", "_buffer", "_mss", "adv", "scale_bits")

    def __init__(self, buffer, scale_bits, mss, edge):
        self._buffer = buffer
        self._mss = mss
        self.scale_bits = scale_bits
        self.adv = edge  # the furthest right edge that was ever offered
        self._advertised = edge  # the last one

    def advertise(self, nxt):
        """Bytes beyond *nxt* to offer in the segment that is now sent, a multiple of what the scale can say."""
        window = self._offer(nxt)
        edge = self._advertised = nxt + window
        if edge > self.adv:
            self.adv = edge
        return window

    def update_due(self, nxt):
        """Whether the peer must be told: the window would at least double (Linux's tcp_cleanup_rbuf)."""
        offered = self._advertised - nxt
        if self._advertised == self.adv and 2 * offered > self._buffer.room():
            return False  # as there is no room for that: the usual case, sooner found
        window = self._offer(nxt)
        return window > 0 and window >= 2 * offered

    def _offer(self, nxt):
        """What `advertise` will return."""
        bits = self.scale_bits
        below_unit = (1 << bits) - 1
        promised = max(self.adv - nxt, 0)
        room = min(self._buffer.room(), MAX_WINDOW << bits)
        window = room & ~below_unit
        if window - promised >= min(self._mss, self._buffer.capacity // 4):  # half of it, if half of it is payload
            return window
        rounded_up = (promised + below_unit) & ~below_unit
        return rounded_up if rounded_up <= room or rounded_up == promised else promised & ~below_unit
