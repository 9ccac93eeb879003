"""A connection in TIME-WAIT: what must be remembered for 2 MSL, and no more (Linux's inet_timewait_sock)."""

from pystack.deadlines import NEVER
from pystack.wire import tcp
from pystack.wire.seq import extend

# What a segment asks for.
NOTHING = "nothing"
ACK = "ack"
CHALLENGE = "challenge"
REOPEN = "reopen"
END = "end"


class TimeWait:
    """Made of a `Connection`; its ``due_at`` is when 2 MSL have passed.

    Args:
        facts: `Connection.time_wait_facts`.
        timestamp_offset: that of its timestamps.
    """

    __slots__ = (
        "_answered_at",
        "_timestamps",
        "due_at",
        "key",
        "local",
        "queued_at",
        "rcv_nxt",
        "remote",
        "snd_nxt",
        "socket",
        "timestamp_offset",
        "ts_recent",
        "ts_recent_at",
        "window",
    )

    def __init__(self, connection, facts, timestamp_offset, now):
        self.key = connection.key
        self.socket = connection.socket
        self.local = connection.local
        self.remote = connection.remote
        self.snd_nxt, self.rcv_nxt, self.window, self._timestamps, self.ts_recent = facts
        self.ts_recent_at = now
        self.timestamp_offset = timestamp_offset
        self.due_at = self.queued_at = NEVER
        self._answered_at = -NEVER

    @property
    def timestamps(self):
        """Whether they were agreed on."""
        return self._timestamps

    def receive(self, segment, ignores_rst, now):
        """RFC 9293 §3.10.7.4 for TIME-WAIT, RFC 6191 for a new SYN, as Linux's tcp_timewait_state_process.

        Args:
            segment: with its numbers as on the wire.
            ignores_rst: RFC 1337 is wanted.

        Returns:
            `NOTHING`, `ACK` (answer with an ACK, and begin 2 MSL again), `CHALLENGE` (answer with an ACK alone),
            `REOPEN` (the SYN may open a new connection), or `END` (forget it). Both answers if `may_answer`.
        """
        flags = segment.flags
        seq = extend(segment.seq, self.rcv_nxt)
        stamp = segment.options.timestamp if self._timestamps else None
        old = stamp is not None and bool((stamp[0] - self.ts_recent) & 0x80000000)
        length = len(segment.payload) + (flags & tcp.FIN) + (flags >> 1 & 1)
        if not old and seq == self.rcv_nxt and (not length or flags & tcp.RST):
            if flags & tcp.RST:
                return NOTHING if ignores_rst else END
            self._heard(stamp, now)
            return NOTHING
        if flags & (tcp.SYN | tcp.RST | tcp.ACK) == tcp.SYN and not old:
            newer = stamp is not None and stamp[0] != self.ts_recent
            if seq > self.rcv_nxt or newer:
                return REOPEN
        if flags & tcp.RST:
            return NOTHING
        # A SYN may be an old one, or a new one with a low number, whose sender then ends this with a RST and tries
        # again: so RFC 9293 §3.10.7.4 and Linux, where RFC 6191 §2 would be silent.
        return ACK if old or flags & tcp.ACK else CHALLENGE

    def may_answer(self, segment, interval, now):
        """Whether an ACK may go out. If there is nothing in the segment it is limited to one in *interval* seconds, or
        two ends that disagree would answer each other for ever (Linux's tcp_oow_rate_limited)."""
        flags = segment.flags
        if not flags & tcp.SYN and (segment.payload or flags & tcp.FIN):
            return True
        if now - self._answered_at < interval:
            return False
        self._answered_at = now
        return True

    def may_be_replaced(self, now):
        """Whether a connect of our own may use the same ports again: timestamps tell the segments apart (RFC 6191)."""
        return self._timestamps and now - self.ts_recent_at >= 1.0

    def next_iss(self):
        """A number beyond all that the old connection has sent (Linux)."""
        return self.snd_nxt + 65_537

    def _heard(self, stamp, now):
        if stamp is not None:
            self.ts_recent = stamp[0]
            self.ts_recent_at = now
