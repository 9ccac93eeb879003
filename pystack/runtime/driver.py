"""The runtime side of a device: reads when it is readable, writes what the link stage puts, minds its deadlines."""

import gevent

from pystack.deadlines import NEVER

ROUNDS = 16  # polls in a row of a device that has ever more to read, before the hub gets its turn

_READ = 1  # libev's EV_READ
_BEFORE_TIMERS = 1  # a libev priority above the default, 0


class DeviceDriver:
    """*device* is open. Frames go to the port given to `connect`; frames to send come by `put`.

    There is no polling: the device is read when its descriptor is readable, when it calls ``wake``, or when its
    deadline is due. An exception of the device stops the driver and is the *supervisor*'s.
    """

    def __init__(self, name, device, clock, supervisor):
        self.name = name
        self._device = device
        self._clock = clock
        self._supervisor = supervisor
        self._hand_on = None  # the put of the port
        self._watcher = None
        self._alarm = None
        self._running = False
        self._polling = False
        self._again = False  # woken while polling

    def connect(self, port):
        """Let received frames go to *port*."""
        self._hand_on = port.put

    def start(self):
        """Watch the device, and read what it has already. Raises ValueError if no port is connected."""
        if self._hand_on is None:
            raise ValueError(f"driver {self.name}: nothing is connected to receive its frames")
        self._running = True
        self._alarm = self._clock.alarm(self._poll)
        fd = self._device.fileno()
        if fd >= 0:
            # Before timers: who was late must see the ACK that waits before it takes it for lost.
            self._watcher = gevent.get_hub().loop.io(fd, _READ, priority=_BEFORE_TIMERS)
            self._watcher.start(self._poll)
        self._device.wake = self._poll
        self._poll()

    def stop(self):
        """Watch no more. May be called twice."""
        self._running = False
        self._device.wake = None
        if self._alarm is not None:
            self._alarm.cancel()
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def put(self, frames):
        """Send frames; those put after `stop` are lost."""
        if not self._running:
            return
        try:
            self._device.transmit(frames, self._clock.now())
            if self._running and not self._polling:  # else _poll does it
                self._arm()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise

    def _poll(self):
        """Read and hand on, in whatever greenlet this is.

        To hand on may be to run the link stage and those behind it, and what they send may wake this device again: a
        loop does that round, not a recursion.
        """
        if self._polling:
            self._again = True
            return
        self._polling = True
        try:
            for _ in range(ROUNDS):
                if not self._running:
                    return
                self._again = False
                now = self._clock.now()
                frames = self._device.receive(now)
                if frames:
                    self._hand_on(frames)
                if not self._again:
                    due = self._device.next_deadline()
                    if due is None or due > now:
                        break
            if self._running:
                self._arm()
        except BaseException as error:
            self._fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._polling = False

    def _arm(self):
        due = self._device.next_deadline()
        if self._again:
            self._again = False
            due = self._clock.now()  # at once, but after the hub's turn
        if (NEVER if due is None else due) < self._alarm.at:
            self._alarm.set(due)

    def _fail(self, error):
        if self._running:  # what a device raises while it is being closed is of no interest
            self.stop()
            self._supervisor.failed(self.name, error)
