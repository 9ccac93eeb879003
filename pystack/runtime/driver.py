"""The runtime side of a device: reads when it is readable, writes what the link stage puts, minds its deadlines."""

import gevent

from pystack.deadlines import NEVER
from pystack.errors import DeviceError

ROUNDS = 16  # polls in a row of a device without descriptor before the hub gets its turn


class DeviceDriver:
    """*device* is open. Frames go to the port given to `connect`; frames to send come by `put`."""

    def __init__(self, name, device, clock, supervisor):
        self.name = name
        self._device = device
        self._clock = clock
        self._supervisor = supervisor
        self._put = None
        self._watcher = None
        self._alarm = None
        self._running = False
        self._polling = False

    def connect(self, port):
        """Let received frames go to *port*."""
        self._put = port.put

    def start(self):
        """Watch the device."""
        self._running = True
        self._alarm = self._clock.alarm(self._poll)
        fd = self._device.fileno()
        if fd >= 0:
            self._watcher = gevent.get_hub().loop.io(fd, 1)
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
        if self._running:
            self._device.transmit(frames, self._clock.now())
            self._arm()

    def _poll(self):
        """Read and hand on. A device that is woken by what the hand-over sends is read in this loop, not in another."""
        if self._polling or not self._running:
            return
        self._polling = True
        try:
            for _ in range(ROUNDS):
                now = self._clock.now()
                frames = self._device.receive(now)
                if frames:
                    self._put(frames)
                due = self._device.next_deadline() if self._running else None
                if due is None or due > now:
                    break
        except DeviceError as error:
            self.stop()
            self._supervisor.failed(self.name, error)
        finally:
            self._polling = False
        if self._running:
            self._arm()

    def _arm(self):
        due = self._device.next_deadline()
        if (NEVER if due is None else due) < self._alarm.at:
            self._alarm.set(due)
