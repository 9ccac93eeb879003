"""A clock that runs faster than the world, so that what takes minutes between a stack and a real server does not."""

import time

from pystack.runtime.clock import MonotonicClock


class HastenedClock:
    """*factor* of its seconds pass in one of the world's."""

    def __init__(self, factor):
        self._factor = factor
        self._clock = MonotonicClock()

    def now(self):
        return time.monotonic() * self._factor

    def alarm(self, callback):
        return _Alarm(self._clock.alarm(callback), self._factor)


class _Alarm:
    def __init__(self, alarm, factor):
        self._alarm = alarm
        self._factor = factor

    @property
    def at(self):
        return self._alarm.at * self._factor

    def set(self, at):
        self._alarm.set(at / self._factor)

    def cancel(self):
        self._alarm.cancel()
