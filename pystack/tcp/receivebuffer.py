"""What a connection holds in order until its program has read it: bytes, what they pin, and what room there is left."""

from collections import deque

OVERHEAD = 200  # bytes charged beyond the frame for each buffer: its object, a view, list entries (measured: 184 + 8)
COPIED = 1024  # shorter pieces are copied, so that none pins a frame much larger than itself
_CHUNK = 4096  # copied pieces are joined up to this size
_MANY = 32  # buffers with the program, from which on it gets no short ones
_FIRST_RATIO = 0.5  # payload per byte charged, until it is measured (Linux's tcp_adv_win_scale 1)
_MARGIN = 0.94  # of what is measured: the next segments may be a little shorter


def keep(payload, frame_size):
    """``(buffer, charge)`` to hold *payload*, a view into a frame of *frame_size* bytes, by: itself, or a copy."""
    size = len(payload)
    if size < COPIED or size * 2 < frame_size:
        return bytearray(payload), size + OVERHEAD
    return payload, frame_size + OVERHEAD


class ReceiveBuffer:
    """In order means: acknowledged. Such bytes are never given up; what is out of order has no room here.

    ``ready`` are the buffers for `take`. ``charged`` counts what is held, pinned frames whole, and is part of what
    *memory* has. The buffer's size limits ``charged``; a window is of payload, so `room` converts by the ratio of the
    two, as Linux's tcp_win_from_space.
    """

    __slots__ = (
        "_config",
        "_first_read",
        "_held",
        "_memory",
        "_ratio",
        "_settings",
        "_tail",
        "_tuned",
        "charged",
        "read",
        "ready",
        "unread",
    )

    def __init__(self, settings, config, memory):
        self._settings = settings
        self._config = config
        self._memory = memory
        self._tuned = config.tcp_rmem[1]
        self._ratio = _FIRST_RATIO
        self.ready = []  # buffers for `take`
        self._tail = None  # the last of them, if it is a bytearray that may grow
        # (size, charge) of each buffer not read to its end, the ready ones included. A deque once there was one:
        # an empty one occupies 600 bytes.
        self._held = ()
        self._first_read = 0  # bytes of the first of them that are read
        self.charged = 0
        self.unread = 0  # bytes
        self.read = 0  # bytes, ever

    @property
    def capacity(self):
        """The buffer's size, in bytes charged: as the program has set it, or as it is tuned."""
        return self._settings.receive_buffer or self._tuned

    def append(self, payload, frame_size):
        """Hold the next bytes, a view into a frame of *frame_size* bytes."""
        size = len(payload)
        if size < COPIED or size * 2 < frame_size:
            self._copy(payload, size)
            return
        charge = frame_size + OVERHEAD
        self._memory.charge(charge)
        self._ratio += (max(_MARGIN * size / charge, _FIRST_RATIO) - self._ratio) / 16
        self._hold(payload, size, charge)

    def adopt(self, buffer, size, charge):
        """Hold the next *size* bytes; *charge* is in the memory's account already."""
        if size < COPIED:
            self._memory.release(charge)
            self._copy(buffer, size)
        else:
            self._hold(buffer, size, charge)

    def take(self, everything):
        """The buffers that have come since the last time, for the program.

        A few short bytes stay if it has much to read already, so that a peer that sends single bytes costs little
        more than they do; with *everything* none. It gets them after the next `consume`.
        """
        ready = self.ready
        if not ready:
            return []
        tail = self._tail
        if not everything and len(ready) == 1 and tail is not None and len(tail) < _CHUNK and len(self._held) > _MANY:
            return []
        self.ready = []
        self._tail = None
        return ready

    def consume(self, size):
        """The program has read the next *size* bytes. A frame is let go with its last byte."""
        size = min(size, self.unread)
        self.unread -= size
        self.read += size
        held = self._held
        size += self._first_read
        freed = 0
        while held and size >= held[0][0]:
            length, charge = held.popleft()
            size -= length
            freed += charge
        self._first_read = size
        if not held:
            self._tail = None
        if freed:
            self.charged -= freed
            self._memory.release(freed)

    def room(self):
        """Bytes of payload that the window may offer beyond what has come."""
        memory, clamp = self._memory, self._settings.window_clamp
        capacity = self._settings.receive_buffer or self._tuned
        if memory.under_pressure:
            # As Linux's tcp_rmem[0]: so much each may have whatever the others hold, or who reads would starve.
            capacity = min(capacity, self._config.tcp_rmem[0 if memory.exhausted else 1])
        room = max(int((capacity - self.charged) * self._ratio), 0)
        return min(room, clamp) if clamp else room

    def grow(self, window):
        """Become as large as it takes for *window* bytes of payload, if memory and the settings allow it."""
        if self._settings.receive_buffer or self._memory.under_pressure:
            return
        self._tuned = max(self._tuned, min(int(window / self._ratio), self._config.tcp_rmem[2]))

    def drop(self):
        """Let go of everything."""
        self._memory.release(self.charged)
        self.charged = self.unread = self._first_read = 0
        self._held = ()
        self.ready = []
        self._tail = None

    def _hold(self, buffer, size, charge):
        self.charged += charge
        self.unread += size
        if type(self._held) is tuple:
            self._held = deque()
        self._held.append((size, charge))
        self.ready.append(buffer)
        self._tail = None

    def _copy(self, payload, size):
        tail = self._tail
        if tail is None or len(tail) >= _CHUNK:
            self._memory.charge(size + OVERHEAD)
            self._hold(bytearray(payload), size, size + OVERHEAD)
            self._tail = self.ready[-1]
            return
        tail += payload
        length, charge = self._held[-1]
        self._held[-1] = (length + size, charge + size)
        self._memory.charge(size)
        self.charged += size
        self.unread += size
