"""A lazy heap of deadlines: one for each core, whatever it has to time.

An item is any object with the attributes ``due_at`` and ``queued_at``, both `NEVER` at first. To move a deadline
later, or to cancel it, is one store to ``due_at``: the heap entry stays, fires early once, and is queued again. Only a
deadline that moves earlier must go through `Deadlines.set`.
"""

import heapq
import itertools

NEVER = float("inf")


class Agenda:
    """The earliest deadline of the parts of one core, ``at``, or `NEVER`: it may be early, never late.

    A part that has something to time lowers it (`Deadlines` does by itself), and the core sets it anew with `renew`
    when it has let its parts do what was due. So a turn asks one field and not each part, of which inet has a dozen.
    """

    __slots__ = ("at",)

    def __init__(self):
        self.at = NEVER

    def note(self, at):
        """A part wants to be called at *at*, or earlier."""
        if at < self.at:
            self.at = at

    def renew(self, parts):
        """*parts* are all that there are; each has ``next_deadline()``."""
        self.at = NEVER
        for part in parts:
            at = part.next_deadline()
            if at is not None and at < self.at:
                self.at = at


class Deadlines:
    """Times are the clock's seconds; ties fire in the order in which they were queued, so always the same.

    Of n items it holds at most 2 n + 64 entries or so, however often they move.

    Args:
        agenda: the core's, if that has several parts with deadlines.
    """

    def __init__(self, agenda=None):
        self._agenda = Agenda() if agenda is None else agenda
        self._heap = []  # (queued_at, tie break, item)
        self._order = itertools.count()
        self._stale = 0  # entries cancelled or replaced by an earlier one, at most: counted, never looked for

    def set(self, item, at):
        """Let *item* be due at *at*, earlier or later than it was."""
        item.due_at = at
        if at < item.queued_at:
            replaces = item.queued_at != NEVER
            item.queued_at = at
            heapq.heappush(self._heap, (at, next(self._order), item))
            self._agenda.note(at)
            if replaces:
                self._count_stale()

    def cancel(self, item):
        """Never let it fire. The entry is dropped when its old time comes, or when such entries are the majority."""
        item.due_at = NEVER
        if item.queued_at != NEVER:
            self._count_stale()

    def next(self):
        """The earliest time at which `due` may have something, or ``None``; early, never late."""
        return self._heap[0][0] if self._heap else None

    def due(self, now):
        """Take out and return the items that are due, in order of time."""
        heap = self._heap
        due = []
        while heap and heap[0][0] <= now:
            at, _, item = heapq.heappop(heap)
            if at != item.queued_at:
                continue  # an entry that an earlier one has replaced
            item.queued_at = NEVER
            if item.due_at <= at:
                item.due_at = NEVER
                due.append(item)
            elif item.due_at != NEVER:
                self.set(item, item.due_at)  # moved later; if that is due too, it has its turn among the others
        if not heap:
            self._stale = 0
        return due

    def __len__(self):
        """Entries held, the cancelled ones that wait for their time included."""
        return len(self._heap)

    def _count_stale(self):
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._heap):
            self._rebuild()

    def _rebuild(self):
        old = sorted(self._heap)  # so that ties keep their order
        self._heap.clear()
        self._stale = 0
        for at, _, item in old:
            if at == item.queued_at:
                item.queued_at = NEVER
                if item.due_at != NEVER:
                    self.set(item, item.due_at)
