"""Loss: what is taken to be lost and when, how fast it is repaired, and when that was a mistake.

RACK-TLP (RFC 8985) finds losses where there is SACK, duplicate ACKs (RFC 5681, 6582) where there is not; PRR (RFC 6937)
paces the repair; F-RTO (RFC 5682), timestamps (Eifel, RFC 3522) and D-SACK (RFC 2883) undo what was spurious.
"""

from pystack.deadlines import NEVER

OPEN, DISORDER, CWR, RECOVERY, LOSS = range(5)  # Linux's tcp_ca_state
DUPLICATES = 3  # RFC 5681 §3.2
REORDERING_ROUNDS = 16  # recoveries after which a widened reordering window is forgotten (RFC 8985 §6.2)


class Rack:
    """What was sent before something delivered, and by more than the reordering window, is lost (RFC 8985 §6)."""

    __slots__ = ("_dsack_round", "_persist", "end", "fack", "reo_wnd_mult", "reordering_seen", "rtt", "sent_at")

    def __init__(self):
        self.sent_at = -NEVER  # of the most recently sent record that was delivered
        self.end = 0
        self.rtt = 0.0
        self.fack = 0  # the highest number delivered
        self.reordering_seen = False
        self.reo_wnd_mult = 1
        self._persist = 0
        self._dsack_round = 0

    def delivered(self, record, min_rtt, now, echoed_at):
        """A record was acknowledged, cumulatively or selectively."""
        if record.transmissions > 1:
            # An ACK of the original would look like a very short round trip of the retransmission.
            if echoed_at is not None and echoed_at + 0.001 < record.sent_at:
                return
            if now - record.sent_at < min_rtt:
                return
        if record.end < self.fack and record.transmissions == 1:
            self.reordering_seen = True
        if record.end > self.fack:
            self.fack = record.end
        if (record.sent_at, record.end) > (self.sent_at, self.end):
            self.sent_at, self.end = record.sent_at, record.end
            self.rtt = now - record.sent_at

    def window(self, srtt, min_rtt, hurry):
        """The reordering window, in seconds; none in a *hurry* unless the path reorders."""
        if not self.reordering_seen and hurry:
            return 0.0
        quarter = min_rtt / 4 if min_rtt != NEVER else 0.0
        return min(self.reo_wnd_mult * quarter, srtt)

    def duplicate_seen(self, una, nxt):
        """A D-SACK: a retransmission was needless, so wait longer; once per round trip."""
        if una >= self._dsack_round:
            self._dsack_round = nxt
            self.reo_wnd_mult = min(self.reo_wnd_mult + 1, 255)
            self._persist = REORDERING_ROUNDS

    def recovered(self):
        """A recovery is over."""
        if self._persist:
            self._persist -= 1
            if not self._persist:
                self.reo_wnd_mult = 1

    def detect(self, board, window, now):
        """Mark what is lost by now. Returns (whether anything was, seconds until more may be, or None)."""
        found = False
        wait = None
        for record in board.records:
            if record.sacked or (record.lost and not record.again):
                continue
            if (record.sent_at, record.end) >= (self.sent_at, self.end):
                continue  # sent after what was delivered, so nothing is known of it
            remaining = record.sent_at + self.rtt + window - now
            if remaining <= 0:
                board.mark_lost(record)
                found = True
            elif wait is None or remaining > wait:
                wait = remaining
        return found, wait


class Recovery:
    """The state of one sender's repair. ``state`` is Linux's tcp_ca_state; *board* is the `Scoreboard`.

    It decides; the sender sends. ``cwnd`` is the congestion control's, except in `RECOVERY` and `CWR`: then PRR has it.
    """

    __slots__ = (
        "_board",
        "_congestion",
        "_delivered",
        "_frto",
        "_out",
        "_prior_cwnd",
        "duplicates",
        "high_seq",
        "needless",
        "rack",
        "resent_at",
        "sack_ok",
        "spurious",
        "state",
        "undo_marker",
    )

    def __init__(self, board, congestion):
        self._board = board
        self._congestion = congestion
        self.rack = Rack()
        self.state = OPEN
        self.sack_ok = False
        self.high_seq = 0  # SND.NXT when the trouble began
        self.undo_marker = None  # SND.UNA when cwnd was reduced, while that may yet be undone
        self.needless = 0  # retransmissions since then that no D-SACK has called needless; -1: not to be counted
        self.resent_at = None  # the first retransmission since then
        self.duplicates = 0  # duplicate ACKs in a row, without SACK
        self.spurious = 0
        self._frto = False
        self._delivered = self._out = 0  # PRR
        self._prior_cwnd = 0

    # -- PRR ----------------------------------------------------------------------------------------------------------

    def sent(self, length, again, now):
        """*length* numbers have left."""
        self._out += length
        if again and self.undo_marker is not None:
            self.needless += 1
            if self.resent_at is None:
                self.resent_at = now

    def _reduce(self, delivered, newly_lost, advanced):
        """RFC 6937 with the slow-start bound, as Linux's tcp_cwnd_reduction."""
        congestion = self._congestion
        if delivered <= 0 or not self._prior_cwnd:
            return
        in_flight = self._board.in_flight
        self._delivered += delivered
        room = congestion.ssthresh - in_flight
        if room < 0:
            allowed = -(-congestion.ssthresh * self._delivered // self._prior_cwnd) - self._out
        else:
            allowed = max(self._delivered - self._out, delivered)
            if advanced and not newly_lost:
                allowed += congestion.mss
            allowed = min(room, allowed)
        allowed = max(allowed, 0 if self._out else congestion.mss)
        congestion.cwnd = in_flight + allowed

    def _enter(self, state, una, nxt, now, in_flight):
        congestion = self._congestion
        if self.state not in (CWR, RECOVERY, LOSS):
            self._prior_cwnd = congestion.cwnd
            congestion.on_congestion(now, in_flight)
            self._delivered = self._out = 0
            self.undo_marker = una if state == RECOVERY else None
            self.needless = 0
            self.resent_at = None
        self.state = state
        self.high_seq = nxt

    def _leave(self):
        """cwnd is what it was reduced to."""
        if self.state in (CWR, RECOVERY) and self._congestion.ssthresh < 1 << 61:
            self._congestion.cwnd = self._congestion.ssthresh
        self.state = OPEN
        self.undo_marker = None
        self._forget_duplicates()
        self.rack.recovered()

    def congestion_echoed(self, una, nxt, now):
        """ECE: reduce, once per window (RFC 3168 §6.1.2). Whether it did."""
        if self.state in (OPEN, DISORDER):
            self._enter(CWR, una, nxt, now, self._board.in_flight)
            return True
        return False

    def tail_repaired(self, una, nxt, now):
        """A tail loss probe has repaired a loss that nothing else told of: reduce at once (RFC 8985 §7.4.2)."""
        if self.state in (OPEN, DISORDER):
            self._enter(CWR, una, nxt, now, self._board.in_flight)
            self._leave()

    # -- undoing ------------------------------------------------------------------------------------------------------

    def _undo(self):
        self._congestion.undo()
        for record in self._board.records:
            if record.lost:
                self._board.mark_found(record)
        self.spurious += 1
        self._frto = False
        self.state = OPEN
        self.undo_marker = None
        self._forget_duplicates()

    def _was_spurious(self, echoed_at):
        if self.undo_marker is None:
            return False
        if self.needless == 0 and self.resent_at is not None:
            return True  # every retransmission was reported as a duplicate
        return (
            echoed_at is not None and self.resent_at is not None and echoed_at + 0.001 <= self.resent_at
        )  # the ACK is older than the retransmission

    def duplicate_reported(self, start, una, nxt, count):
        """A D-SACK for *count* retransmissions, the lowest at *start*."""
        self.rack.duplicate_seen(una, nxt)
        if self.undo_marker is not None and self.needless > 0 and start >= self.undo_marker:
            self.needless = max(self.needless - count, 0)

    # -- events -------------------------------------------------------------------------------------------------------

    def timed_out(self, una, nxt, now, frto):
        """The retransmission timer has expired: all is lost, unless F-RTO shows otherwise."""
        board, congestion = self._board, self._congestion
        fresh = self.state <= DISORDER or una >= self.high_seq
        if fresh:
            congestion.on_timeout(now, board.in_flight)
            self.undo_marker = una
            self.needless = 0
            self.resent_at = None
        congestion.cwnd = congestion.mss
        if board.records and board.records[0].sacked:
            board.forget_sacks()
        for record in board.records:
            if not record.sacked:
                board.mark_lost(record)
        self._frto = frto and fresh and self.sack_ok
        self.state = LOSS
        self.high_seq = nxt
        self._forget_duplicates()

    def resegmented(self, nxt):
        """What is in flight was too large for the path, so it is sent again, and not for congestion (Linux's
        tcp_simple_retransmit)."""
        self.state = LOSS
        self.high_seq = nxt
        self.undo_marker = None
        self._frto = False
        self._forget_duplicates()

    def acknowledged(self, una, nxt, now, delivered, advanced, original, duplicate, echoed_at, rtt):
        """An ACK has been entered in the board.

        Args:
            delivered: bytes that it reports for the first time.
            advanced: whether it moved SND.UNA.
            original: whether it reports something below ``high_seq`` that was never retransmitted.
            duplicate: whether it is a duplicate ACK in the sense of RFC 5681, for peers without SACK.
            rtt: the `RttEstimator`.

        Returns:
            Seconds until RACK must look again, or None.
        """
        board = self._board
        before = board.lost
        if self.state == LOSS and self._in_loss(una, advanced, original, echoed_at):
            return None
        # CWR lasts until something above high_seq is acknowledged, with which our CWR flag went: up to there the peer
        # goes on to echo (RFC 3168 §6.1.2, Linux's tcp_fastretrans_alert).
        if (self.state == RECOVERY and una >= self.high_seq) or (self.state == CWR and una > self.high_seq):
            if self.state == RECOVERY and self._was_spurious(echoed_at):
                self._undo()
            else:
                self._leave()
        elif self.state == RECOVERY and advanced and self._was_spurious(echoed_at) and not board.again:
            self._undo()
        wait = self._find_losses(una, nxt, now, delivered, advanced, duplicate, rtt)
        newly_lost = board.lost - before > 0
        if board.lost and self.state < RECOVERY:
            self._enter(RECOVERY, una, nxt, now, board.in_flight + board.lost)
            newly_lost = True
        elif self.state in (OPEN, DISORDER):
            self.state = DISORDER if board.sacked or self.duplicates else OPEN
        if self.state in (CWR, RECOVERY):
            self._reduce(delivered, newly_lost, advanced)
        return wait

    def _in_loss(self, una, advanced, original, echoed_at):
        """Linux's tcp_process_loss; True if the timeout was spurious."""
        if (self._frto and original) or (advanced and self._was_spurious(echoed_at)):
            self._undo()
            return True
        if advanced:
            self._frto = False
        if una >= self.high_seq:
            self.state = OPEN
            self.undo_marker = None
            self._forget_duplicates()
            self.rack.recovered()
        return False

    def _find_losses(self, una, nxt, now, delivered, advanced, duplicate, rtt):
        board = self._board
        if self.sack_ok:
            if not board.sacked and not board.lost:
                return None
            return self.look(nxt, now, rtt)
        if duplicate:
            self.duplicates += 1
            board.presumed = min(self.duplicates * self._congestion.mss, max(board.size - self._congestion.mss, 0))
            if self.duplicates == DUPLICATES and self.state < RECOVERY and board.records:
                self._lose_head()
        elif advanced:
            self.duplicates = 0
            # What arrived beyond the hole is in part acknowledged now; the hole itself was not among it (Linux's
            # tcp_remove_reno_sacks).
            rest = board.presumed - max(delivered - self._congestion.mss, 0)
            board.presumed = min(max(rest, 0), board.size - board.lost) if self.state == RECOVERY else 0
            if self.state == RECOVERY and una < self.high_seq and board.records and not board.lost:
                self._lose_head()  # a partial ACK (RFC 6582 §3.2 step 5)
        return None

    def _forget_duplicates(self):
        self.duplicates = 0
        self._board.presumed = 0

    def _lose_head(self):
        board = self._board
        head = board.records[0]
        if head.end - head.start > self._congestion.mss:
            board.records.insert(1, head.split(head.start + self._congestion.mss))
        board.mark_lost(head)

    def look(self, nxt, now, rtt):
        """RACK's detection, also when its timer has expired."""
        board = self._board
        sacked_enough = board.sacked >= DUPLICATES * self._congestion.mss
        hurry = self.state >= RECOVERY or sacked_enough
        window = self.rack.window(rtt.srtt, rtt.min_rtt, hurry)
        _, wait = self.rack.detect(board, window, now)
        return wait

    def reordering_timer(self, una, nxt, now, rtt):
        """RACK's timer has expired; returns the next wait."""
        wait = self.look(nxt, now, rtt)
        if self._board.lost and self.state < RECOVERY:
            self._enter(RECOVERY, una, nxt, now, self._board.in_flight + self._board.lost)
            self._reduce(self._congestion.mss, True, False)
        return wait
