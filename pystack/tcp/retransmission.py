"""The timers of what is in flight: RTO (RFC 6298), tail loss probe and RACK's reordering timer (RFC 8985)."""

from pystack.deadlines import NEVER
from pystack.tcp import recovery

DELAYED_ACK = 0.2  # seconds for which a peer may keep an ACK back (RFC 8985 §7.2: WCDelAckT)
CLOCK_MARGIN = 0.002  # seconds: Linux's two ticks

PROBE = "probe"
TIMEOUT = "timeout"


class Retransmission:
    """One connection's. Owns when the three are due, and how many timeouts there were in a row.

    Args:
        board, repair, rtt: the `Scoreboard`, `Recovery` and `RttEstimator`.
        config: a `TcpConfig`.
    """

    __slots__ = (
        "_board",
        "_config",
        "_probe_resent",
        "_probed_to",
        "_rack_at",
        "_repair",
        "_rto_at",
        "_rtt",
        "_tlp_at",
        "due_at",
        "stalled_at",
        "timeouts",
    )

    def __init__(self, board, repair, rtt, config):
        self._board = board
        self._repair = repair
        self._rtt = rtt
        self._config = config
        self._rto_at = self._tlp_at = self._rack_at = NEVER
        self._probed_to = None  # SND.NXT when the tail loss probe was sent, until it is acknowledged
        self._probe_resent = False
        self.timeouts = 0
        self.stalled_at = None  # when what the first of the timeouts was about had been sent
        self.due_at = NEVER

    def sent(self, mss, head_again, now):
        """Something has left; *head_again*: the first that is not acknowledged among it, as a retransmission."""
        if (self._rto_at == NEVER or head_again) and self._board.records:
            self._rto_at = now + self._rtt.rto
        if self._tlp_at == NEVER:
            self._arm_probe(mss, now)
        self._arm()

    def acknowledged(self, una, delivered, advanced, duplicate_reported, wait, mss, now):
        """An ACK was entered. *wait*: seconds until RACK looks again, or None. Returns whether a tail loss was repaired
        by the probe, which is a sign of congestion (RFC 8985 §7.4)."""
        self._rack_at = NEVER if wait is None else now + wait
        repaired = False
        if self._probed_to is not None and una >= self._probed_to:
            repaired = self._probe_resent and not duplicate_reported and una > self._probed_to
            self._probed_to = None
        if advanced:
            self.timeouts = 0
            self.stalled_at = None
        if not self._board.records:
            self._rto_at = self._tlp_at = NEVER
        elif advanced or delivered:
            if advanced:
                self._rto_at = now + self._rtt.rto
            self._tlp_at = NEVER
            self._arm_probe(mss, now)
        self._arm()
        return repaired

    def hasten(self, now):
        """The timeout is to come at once."""
        self._rto_at = now + CLOCK_MARGIN
        self._arm()

    def stop(self):
        """Nothing is to be timed any more."""
        self._rto_at = self._tlp_at = self._rack_at = self.due_at = NEVER

    def expire(self, una, nxt, now):
        """What is to be done: `PROBE`, `TIMEOUT` or None; RACK's look is done here."""
        verdict = None
        if self._rack_at <= now:
            wait = self._repair.reordering_timer(una, nxt, now, self._rtt)
            self._rack_at = NEVER if wait is None else now + wait
        if self._rto_at <= now:
            self._rto_at = NEVER
            if self._board.records:
                verdict = TIMEOUT
        elif self._tlp_at <= now:
            verdict = PROBE
        if verdict is not None:
            self._tlp_at = NEVER
        self._arm()
        return verdict

    def probing(self, nxt, resent):
        """A tail loss probe goes out: the last segment again (*resent*), or new data."""
        self._probed_to = nxt
        self._probe_resent = resent

    def timed_out(self, now):
        """A timeout was acted on."""
        if self.stalled_at is None:
            self.stalled_at = self._board.records[0].sent_at
        self.timeouts += 1
        self._rtt.backoff()
        self._probed_to = None
        self._rack_at = NEVER
        self._rto_at = now + self._rtt.rto
        self._arm()

    def patience(self, retries):
        """Seconds that *retries* timeouts take, beginning with the least RTO: Linux's tcp_model_timeout."""
        config = self._config
        total, rto = 0.0, config.tcp_rto_min
        for _ in range(retries + 1):
            total += rto
            rto = min(rto * 2, config.tcp_rto_max)
        return total

    def _arm_probe(self, mss, now):
        """RFC 8985 §7.2: only with SACK, in good order, and once per flight."""
        board, rtt = self._board, self._rtt
        if (
            not self._repair.sack_ok
            or self._repair.state > recovery.DISORDER
            or self._probed_to is not None
            or board.sacked
            or not board.records
            or not rtt.srtt
        ):
            return
        timeout = 2 * rtt.srtt + (DELAYED_ACK if board.size <= mss else CLOCK_MARGIN)
        if now + timeout < self._rto_at:
            self._tlp_at = now + timeout

    def _arm(self):
        self.due_at = min(self._rto_at, self._tlp_at, self._rack_at)
