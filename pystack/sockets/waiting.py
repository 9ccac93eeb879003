"""Greenlets that wait until something holds, by the stack's clock."""

from gevent.event import Event


class Waiting:
    """Any number of greenlets may wait on one; *clock* has the timeouts."""

    __slots__ = ("_changed", "_clock")

    def __init__(self, clock):
        self._clock = clock
        self._changed = Event()

    def wake(self):
        """Something has changed: let those that wait look."""
        self._changed.set()

    def until(self, done, timeout=None):
        """Return once ``done()`` holds. Raises TimeoutError after *timeout* seconds, None being for ever."""
        if timeout is None:
            while not done():
                self._changed.clear()
                self._changed.wait()
            return
        end = self._clock.now() + timeout
        alarm = self._clock.alarm(self._changed.set)
        try:
            while not done():
                if self._clock.now() >= end:
                    raise TimeoutError(110, "timed out")
                alarm.set(end)
                self._changed.clear()
                self._changed.wait()
        finally:
            alarm.cancel()
