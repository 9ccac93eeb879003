"""Time: `now()` in seconds, and alarms that call back in the hub. Monotonic for use, virtual for tests."""

import heapq
import itertools
import time

import gevent

from pystack.deadlines import NEVER

_STANDSTILL = 10_000  # alarms at one virtual instant that cannot be meant


class MonotonicClock:
    """``time.monotonic``, and libev timers of the hub of the thread that made it."""

    now = staticmethod(time.monotonic)

    def alarm(self, callback):
        """An `Alarm`, not yet set, that calls *callback* (no arguments) in the hub."""
        return _LoopAlarm(callback, gevent.get_hub().loop)


class _LoopAlarm:
    """One libev timer at a time. gevent has no way to give an old one a new delay; to make, start and close one costs
    0.25 us.
    """

    __slots__ = ("_callback", "_loop", "_timer", "at")

    def __init__(self, callback, loop):
        self._callback = callback
        self._loop = loop
        self._timer = None
        self.at = NEVER  # when it will fire

    def set(self, at):
        """Fire at *at*, earlier or later than before; at once if that is past."""
        self._discard()
        self.at = at
        self._timer = self._loop.timer(max(0.0, at - time.monotonic()))
        self._timer.start(self._fire, update=True)

    def cancel(self):
        """Do not fire. May be called at any time."""
        self._discard()

    def _discard(self):
        self.at = NEVER
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def _fire(self):
        self._discard()
        self._callback()


class VirtualClock:
    """Time that passes only by `advance`, `run_until` and `run_while_pending`, from alarm to alarm.

    The greenlets between them are gevent's own, so descriptors work, too; only what waits for gevent's timers would
    wait for real.
    """

    def __init__(self, start=0.0):
        self._now = start
        self._heap = []  # (at, tie break, alarm)
        self._order = itertools.count()

    def now(self):
        """Seconds."""
        return self._now

    def alarm(self, callback):
        """As `MonotonicClock.alarm`."""
        return _VirtualAlarm(callback, self._push)

    def advance(self, seconds):
        """`run_until` that much later."""
        self.run_until(self._now + seconds)

    def run_until(self, at):
        """Let everything happen that is due up to *at*, in order; between any two alarms greenlets run until all wait.

        Raises what a callback raised. Raises RuntimeError if time stands still because alarms are always due.
        """
        self._settle(at)
        self._now = max(self._now, at)

    def run_while_pending(self, limit):
        """As `run_until`, but only until no alarm is set, or *limit* seconds from now. Returns the time."""
        at = self._now + limit
        self._settle(at)
        if self._heap:
            self._now = max(self._now, at)
        return self._now

    def _settle(self, until):
        gevent.idle()
        fired = 0  # at this instant
        while self._forget_cancelled() and self._heap[0][0] <= until:
            at, _, alarm = heapq.heappop(self._heap)
            if at > self._now:
                self._now = at
                fired = 0
            fired += 1
            if fired > _STANDSTILL:
                raise RuntimeError(f"VirtualClock: at {self._now} there is always another alarm due")
            self._fire(alarm)

    def _forget_cancelled(self):
        heap = self._heap
        while heap and heap[0][2].at != heap[0][0]:
            heapq.heappop(heap)
        return bool(heap)

    def _fire(self, alarm):
        failures = []

        def fire():
            try:
                alarm.fire()
            except Exception as error:
                failures.append(error)

        gevent.get_hub().loop.run_callback(fire)  # where a libev timer would call it
        gevent.idle()
        if failures:
            raise failures[0]

    def _push(self, at, alarm):
        heapq.heappush(self._heap, (at, next(self._order), alarm))


class _VirtualAlarm:
    __slots__ = ("_callback", "_push", "at")

    def __init__(self, callback, push):
        self._callback = callback
        self._push = push
        self.at = NEVER

    def set(self, at):
        """As `_LoopAlarm.set`."""
        if at != self.at:
            self.at = at
            self._push(at, self)

    def cancel(self):
        """As `_LoopAlarm.cancel`."""
        self.at = NEVER

    def fire(self):
        """The clock's call: it is time."""
        self.at = NEVER
        self._callback()
