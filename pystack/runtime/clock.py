"""Time: `now()` in seconds, and alarms that call back in the hub. Monotonic for use, virtual for tests."""

import heapq
import itertools
import time

import gevent

from pystack.deadlines import NEVER


class MonotonicClock:
    """``time.monotonic``, and libev timers of the hub of the thread that made it."""

    now = staticmethod(time.monotonic)

    def alarm(self, callback):
        """An `Alarm`, not yet set, that calls *callback* (no arguments) in the hub."""
        return _LoopAlarm(callback, gevent.get_hub().loop)


class _LoopAlarm:
    """One libev timer at a time; to make one costs 0.5 us, and the loop takes no new delay for an old one."""

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
        """Do not fire."""
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
    """Time that passes only by `run_until` and `advance`, from deadline to deadline."""

    def __init__(self, start=0.0):
        self._now = start
        self._heap = []
        self._order = itertools.count()

    def now(self):
        """Seconds."""
        return self._now

    def alarm(self, callback):
        """As `MonotonicClock.alarm`."""
        return _VirtualAlarm(callback, self)

    def push(self, at, alarm):
        """An alarm's call: it is due at *at*."""
        heapq.heappush(self._heap, (at, next(self._order), alarm))

    def run_until(self, at):
        """Let everything happen that is due up to *at*, in order; greenlets run until they all wait."""
        gevent.idle()
        while self._heap and self._heap[0][0] <= at:
            due, _, alarm = heapq.heappop(self._heap)
            if alarm.at != due:
                continue
            self._now = max(self._now, due)
            alarm.fire()
            gevent.idle()
        self._now = max(self._now, at)

    def advance(self, seconds):
        """`run_until` that much later."""
        self.run_until(self._now + seconds)


class _VirtualAlarm:
    __slots__ = ("_callback", "_clock", "at")

    def __init__(self, callback, clock):
        self._callback = callback
        self._clock = clock
        self.at = NEVER

    def set(self, at):
        """As `_LoopAlarm.set`."""
        if at != self.at:
            self.at = at
            self._clock.push(at, self)

    def cancel(self):
        """As `_LoopAlarm.cancel`."""
        self.at = NEVER

    def fire(self):
        """The clock's call: it is time."""
        self.at = NEVER
        self._callback()
