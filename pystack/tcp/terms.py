"""What the two ends have agreed on in their SYNs, and the segment size that follows from it and from the path."""

from pystack.wire import tcp

MAX_WINDOW_SCALE = 14  # RFC 7323 §2.3
DEFAULT_MSS = {4: 536, 16: 1220}  # without an MSS option, by the length of an address (RFC 9293 MUST-15)
HEADERS = {4: 40, 16: 60}  # bytes of IP and TCP headers without options, by the length of an address
TIMESTAMP_BYTES = 12


class Terms:
    """One connection's: at first what is offered, from `settle` on what is agreed.

    Args:
        config, settings: `TcpConfig` and `Settings`.
        path_mss: bytes of payload that the path's MTU leaves without TCP options.
        window_scale: bits, ours.
    """

    __slots__ = (
        "_least_mss",
        "_settings",
        "ecn",
        "path_mss",
        "peer_mss",
        "peer_window_scale",
        "sack",
        "timestamps",
        "window_scale",
        "window_scaling",
    )

    def __init__(self, config, settings, path_mss, window_scale):
        self._settings = settings
        self._least_mss = config.tcp_min_snd_mss
        self.path_mss = path_mss
        self.timestamps = config.tcp_timestamps
        self.sack = config.tcp_sack
        self.window_scaling = config.tcp_window_scaling
        self.window_scale = window_scale if config.tcp_window_scaling else 0
        self.ecn = config.tcp_ecn == 1
        self.peer_window_scale = 0
        self.peer_mss = 0

    def settle(self, options, address_length):
        """Keep of the offer what the peer's SYN, with these `tcp_options.Options`, has too."""
        self.timestamps = self.timestamps and options.timestamp is not None
        self.sack = self.sack and options.sack_permitted
        self.window_scaling = self.window_scaling and options.window_scale is not None
        if self.window_scaling:
            self.peer_window_scale = min(options.window_scale, MAX_WINDOW_SCALE)
        else:
            self.window_scale = 0
        self.peer_mss = options.mss or DEFAULT_MSS[address_length]

    def settle_ecn(self, flags, config):
        """RFC 3168 §6.1.1, as Linux: a passive opener agrees unless tcp_ecn is 0, an active one if it has asked."""
        asked = flags & (tcp.ECE | tcp.CWR)
        if flags & tcp.ACK:
            self.ecn = self.ecn and asked == tcp.ECE
        else:
            self.ecn = bool(config.tcp_ecn) and asked == tcp.ECE | tcp.CWR

    def mss(self):
        """Payload bytes of a full segment: the least of what the path, the peer and the program allow."""
        mss = max(min(self.advertised_mss(), self.peer_mss), self._least_mss)
        return mss - TIMESTAMP_BYTES if self.timestamps else mss

    def advertised_mss(self):
        """What our SYN says: what we can receive, whatever its options (RFC 9293 §3.7.1, RFC 6691)."""
        maximum = self._settings.maximum_segment_size
        return min(self.path_mss, maximum) if maximum else self.path_mss
