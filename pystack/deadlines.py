"""A lazy heap of deadlines: one for each core, whatever it has to time.

An item is any object with the attributes ``due_at`` and ``queued_at``, both `NEVER` at first. To move a deadline later,
or to cancel it, is one store to ``due_at``: the heap entry stays, fires early once, and is queued again. Only a deadline
that moves earlier must go through `Deadlines.set`.
"""

import heapq
import itertools

NEVER = float("inf")


class Deadlines:
    """Times are the clock's seconds; ties fire in the order in which they were set."""

    def __init__(self):
        self._heap = []  # (queued_at, tie break, item)
        self._order = itertools.count()
        self._cancelled = 0

    def set(self, item, at):
        """Let *item* be due at *at*, earlier or later than it was."""
        item.due_at = at
        if at < item.queued_at:
            item.queued_at = at
            heapq.heappush(self._heap, (at, next(self._order), item))

    def cancel(self, item):
        """Never let it fire. The entry is dropped when its old time comes, or when such entries are the majority."""
        item.due_at = NEVER
        if item.queued_at == NEVER:
            return
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._rebuild()

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
            if item.due_at <= now:
                item.due_at = NEVER
                due.append(item)
            elif item.due_at != NEVER:
                self.set(item, item.due_at)
        if not heap:
            self._cancelled = 0
        return due

    def __len__(self):
        """Entries held, the cancelled ones that wait for their time included."""
        return len(self._heap)

    def _rebuild(self):
        live = {}
        for at, _, item in self._heap:
            if at == item.queued_at:
                item.queued_at = NEVER
                if item.due_at != NEVER:
                    live[id(item)] = item
        self._heap.clear()
        self._cancelled = 0
        for item in live.values():
            self.set(item, item.due_at)
