"""Devices whose far end is in this process: frames wait in a bounded queue, and ``wake`` tells of the first."""

from collections import deque

from pystack.device.base import RECEIVE_BYTES, RECEIVE_FRAMES, Device
from pystack.errors import QUEUE_FULL


class FrameQueue:
    """Frames that wait for their reader: bounded in frames and in bytes, as a frame may be 60 or 65,000 of them."""

    def __init__(self, max_frames, max_bytes):
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self.bytes = 0
        self._frames = deque()

    def __len__(self):
        return len(self._frames)

    def put(self, frame):
        """Append one ``bytes`` frame; False if there is no room."""
        size = len(frame)
        if len(self._frames) >= self.max_frames or self.bytes + size > self.max_bytes:
            return False
        self._frames.append(frame)
        self.bytes += size
        return True

    def take(self):
        """The oldest frames, within the budget of one `Device.receive`."""
        taken = []
        budget = RECEIVE_BYTES
        waiting = self._frames
        while waiting and len(taken) < RECEIVE_FRAMES and budget > 0:
            frame = waiting.popleft()
            budget -= len(frame)
            taken.append(frame)
        self.bytes -= RECEIVE_BYTES - budget
        return taken

    def clear(self):
        self._frames.clear()
        self.bytes = 0


class QueuedDevice(Device):
    """Base of such devices: what is put by `enqueue` is received.

    Args:
        max_frames, max_bytes: what may wait to be received; more is dropped as QUEUE_FULL.
    """

    def __init__(self, max_frames, max_bytes):
        super().__init__()
        self._queue = FrameQueue(max_frames, max_bytes)

    def enqueue(self, frames):
        """Take a list of frames as `transmit` gets them; each is joined, and from then on bytes of this device's."""
        queue = self._queue
        was_empty = not queue
        for frame in frames:
            if not queue.put(b"".join(frame)):
                self.drops[QUEUE_FULL] += 1
        if was_empty and queue and self.wake is not None:
            self.wake()

    def receive(self, now):
        return self._queue.take()

    def next_deadline(self):
        return 0.0 if self._queue else None

    def close(self):
        self._queue.clear()

    def abandon(self):
        self.close()
