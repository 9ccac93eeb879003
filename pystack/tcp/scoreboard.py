"""What is in flight: a record of each transmission, split where the peer's blocks or a loss divide it (RFC 6675)."""

from bisect import bisect_right
from operator import attrgetter

_start = attrgetter("start")


class Sent:
    """Numbers from ``start`` to ``end``, sent together. ``again``: a retransmission of it is in flight."""

    __slots__ = (
        "again",
        "app_limited",
        "delivered",
        "delivered_at",
        "end",
        "first_sent_at",
        "fresh",
        "lost",
        "mss",
        "sacked",
        "sent_at",
        "start",
        "transmissions",
    )

    def __init__(self, start, end, mss, now):
        self.start = start
        self.end = end
        self.mss = mss  # bytes of its segments: it is only ever split between them
        self.sent_at = now
        self.transmissions = 1
        self.sacked = False
        self.fresh = False  # sacked by the ACK that is being entered
        self.lost = False
        self.again = False
        self.delivered = 0  # these four: see `delivery`
        self.delivered_at = now
        self.first_sent_at = now
        self.app_limited = False

    def split(self, at):
        """Cut off what begins at *at*, and return it."""
        rest = Sent(at, self.end, self.mss, self.sent_at)
        rest.fresh = self.fresh
        for name in ("transmissions", "sacked", "lost", "again"):
            setattr(rest, name, getattr(self, name))
        for name in ("delivered", "delivered_at", "first_sent_at", "app_limited"):
            setattr(rest, name, getattr(self, name))
        self.end = at
        return rest


class Scoreboard:
    """Records that tile [SND.UNA, SND.NXT) without a gap, and sums over them in sequence numbers (bytes, SYN, FIN)."""

    __slots__ = ("_known", "again", "lost", "presumed", "records", "sacked", "size", "waiting")

    def __init__(self):
        self.records = []
        self.size = 0
        self.sacked = 0
        self.lost = 0  # and not sacked, retransmitted or not
        self.again = 0  # retransmissions in flight
        self.waiting = 0  # lost, and to be sent again
        self.presumed = 0  # delivered, as far as duplicate ACKs tell of peers without SACK
        self._known = frozenset()  # the blocks of the last ACK: most of them come again and again

    @property
    def in_flight(self):
        """RFC 6675's pipe."""
        return self.size - self.sacked - self.lost + self.again - self.presumed

    def sent(self, start, end, mss, now):
        """Something new has left, in segments of *mss* bytes; returns its record."""
        record = Sent(start, end, mss, now)
        self.records.append(record)
        self.size += end - start
        return record

    def acknowledge(self, una):
        """Take out what is below *una*; returns those records."""
        records = self.records
        count = 0
        for record in records:
            if record.end > una:
                break
            count += 1
        if count < len(records) and records[count].start < una:
            records.insert(count + 1, records[count].split(una))
            count += 1
        taken = records[:count]
        del records[:count]
        for record in taken:
            self._forget(record)
        return taken

    def _forget(self, record):
        size = record.end - record.start
        self.size -= size
        if record.sacked:
            self.sacked -= size
        self._clear_marks(record, size)

    def _clear_marks(self, record, size):
        """It is neither lost nor on its way again."""
        if record.lost:
            self.lost -= size
            if not record.again:
                self.waiting -= size
            record.lost = False
        if record.again:
            self.again -= size
            record.again = False

    def sack(self, blocks):
        """Mark the whole segments that lie in *blocks*, pairs within what is in flight; returns what is newly marked.

        As on Linux part of a segment counts for nothing: a peer could else cut records into single bytes.
        """
        fresh = []
        known, self._known = self._known, frozenset(blocks)
        for block in blocks:
            if block not in known:
                self._sack_block(*block, fresh)
        return fresh

    def _sack_block(self, left, right, fresh):
        records = self.records
        at = max(bisect_right(records, left, key=_start) - 1, 0)
        while at < len(records) and records[at].start < right:
            record = records[at]
            at += 1
            if record.sacked or record.end <= left:
                continue
            if record.start < left:
                whole = record.start + -(-(left - record.start) // record.mss) * record.mss
                if whole < record.end:
                    records.insert(at, record.split(whole))
                continue
            if record.end > right:
                whole = right - (right - record.start) % record.mss
                if whole == record.start:
                    continue
                records.insert(at, record.split(whole))
            size = record.end - record.start
            self._clear_marks(record, size)
            record.sacked = record.fresh = True
            self.sacked += size
            fresh.append(record)

    def mark_lost(self, record):
        """It, or its latest retransmission, is taken to be lost."""
        size = record.end - record.start
        if record.again:
            record.again = False
            self.again -= size
            if record.lost:
                self.waiting += size
        if not record.lost:
            record.lost = True
            self.lost += size
            self.waiting += size

    def mark_found(self, record):
        """It was not lost after all."""
        self._clear_marks(record, record.end - record.start)

    def forget_sacks(self):
        """The peer has thrown away what it had reported (RFC 2018 §8)."""
        for record in self.records:
            record.sacked = False
        self.sacked = 0
        self._known = frozenset()

    def resent(self, record, length, mss, now):
        """The first *length* numbers of a record leave again, in segments of *mss* bytes; returns their record."""
        if record.start + length < record.end:
            at = bisect_right(self.records, record.start, key=_start) - 1
            self.records.insert(at + 1, record.split(record.start + length))
        if not record.again:
            record.again = True
            self.again += length
            if record.lost:
                self.waiting -= length
        record.mss = mss
        record.transmissions += 1
        record.sent_at = now
        return record

    def to_resend(self):
        """The first record that is lost and not on its way again, or None."""
        if self.waiting:
            for record in self.records:
                if record.lost and not record.again:
                    return record
        return None
