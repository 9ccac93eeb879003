"""What one ACK tells of what was in flight: enters it in the scoreboard, measures, and looks for losses."""

from pystack.tcp import recovery
from pystack.tcp.congestion import Ack

_REDUCING = (recovery.CWR, recovery.RECOVERY, recovery.LOSS)


class Acknowledgement:
    """Works for one sender; its fields are about the latest ACK.

    Attributes:
        delivered: bytes (numbers) reported for the first time.
        duplicate_reported: it had a D-SACK.
        largest: bytes of the largest segment ever delivered.
        reduced: it began a reduction of the window.
        acked_total, sacked_total, duplicates_total: bytes acknowledged and D-SACKs, ever.
    """

    __slots__ = (
        "_board",
        "_delivery",
        "_in_flight",
        "_measured",
        "_original",
        "_repair",
        "_round_end",
        "_round_start",
        "_rtt",
        "acked_total",
        "delivered",
        "duplicate_reported",
        "duplicates_total",
        "largest",
        "reduced",
    )

    def __init__(self, board, repair, rtt, delivery):
        self._board = board
        self._repair = repair
        self._rtt = rtt
        self._delivery = delivery
        self._round_end = 0
        self._round_start = False
        self._in_flight = 0
        self._measured = None
        self._original = False
        self.delivered = 0
        self.duplicate_reported = False
        self.reduced = False
        self.acked_total = 0
        self.duplicates_total = 0
        self.largest = 0

    def enter(self, snd, ack, sacks, newly, duplicate, echoed_at, now):
        """Take an ACK of *ack* with *sacks*; *snd* has SND.UNA (already moved), SND.NXT and the like to read.

        Returns:
            seconds until RACK must look again, or None.
        """
        board, repair, una, nxt = self._board, self._repair, snd.snd_una, snd.snd_nxt
        self.delivered = 0
        self.duplicate_reported = False
        self._original = False
        self._in_flight = board.in_flight
        state = repair.state
        measured, again = None, False
        if newly:
            self.acked_total += newly
            self._round_start = una >= self._round_end
            if self._round_start:
                self._round_end = nxt
            measured, again = self._take(board.acknowledge(una), snd.mss, echoed_at, now)
        else:
            self._round_start = False
        if sacks:
            if newly == 0 or ack >= una:
                sacks = self._without_duplicate(snd, ack, sacks)
            blocks = [block for block in sacks if una < block[0] < block[1] <= nxt]
            if blocks and repair.sack_ok:
                sacked, _ = self._take(board.sack(blocks), snd.mss, echoed_at, now)
                if measured is None and not again:
                    measured = sacked
        self._measure(measured, again, newly, echoed_at, now)
        delivered = self.delivered
        if duplicate and not repair.sack_ok and board.records:
            delivered = snd.mss  # as Linux's tcp_add_reno_sack: something has arrived
        wait = repair.acknowledged(
            una,
            nxt,
            now,
            delivered,
            newly > 0,
            self._original,
            duplicate and bool(board.records) and not repair.sack_ok,
            echoed_at,
            self._rtt,
        )
        self.reduced = repair.state in _REDUCING and state not in _REDUCING
        return wait

    def sample(self, now):
        """What the congestion control gets to know."""
        rtt = self._rtt
        return Ack(now, self.delivered, self._measured, rtt.min_rtt, rtt.srtt, self._in_flight, self._round_start)

    def _take(self, records, mss, echoed_at, now):
        """Records are delivered: (the round trip of the last sent only once or None, whether one was sent again)."""
        measured, again = None, False
        rack, min_rtt, high_seq = self._repair.rack, self._rtt.min_rtt, self._repair.high_seq
        for record in records:
            if record.sacked and not record.fresh:
                continue
            record.fresh = False
            size = record.end - record.start
            self.delivered += size
            if size > self.largest:
                self.largest = max(self.largest, min(size, mss))
            rack.delivered(record, min_rtt, now, echoed_at)
            self._delivery.sample(record, now, min_rtt)
            if record.transmissions > 1:
                again = True
            else:
                measured = now - record.sent_at
                if record.end <= high_seq:
                    self._original = True
        return measured, again

    def _measure(self, measured, again, newly, echoed_at, now):
        """One sample per ACK: never of what was sent twice (Karn), unless the timestamp says which of them it was."""
        if again and newly:
            measured = max(now - echoed_at, 0.0) if echoed_at is not None else None
        self._measured = measured
        if measured is not None:
            self._rtt.sample(measured, now)
        elif newly:
            self._rtt.reset_backoff()

    def _without_duplicate(self, snd, ack, sacks):
        """RFC 2883: the first block is a D-SACK if it is below the ACK, or within the second."""
        left, right = sacks[0]
        within = len(sacks) > 1 and sacks[1][0] <= left and right <= sacks[1][1]
        if not left < right or not (right <= ack or within):
            return sacks
        if left >= snd.snd_una - snd.snd_max_wnd:
            self.duplicate_reported = True
            self.duplicates_total += 1
            self._repair.duplicate_reported(left, snd.snd_una, snd.snd_nxt, max((right - left) // snd.mss, 1))
        return sacks[1:]
