"""What the program has written and the peer has not acknowledged: buffers as they came, found by sequence number."""

from bisect import bisect_right

# Bytes: shorter writes are gathered, so that 1-byte writes do not make 65,000 views of a super-segment; but the first,
# behind which there may come none.
SMALL = 2048
CHUNK = 16_384  # bytes of a chunk that gathers them, at most: the first is small, each next one twice as large
_FIRST_CHUNK = 256


class SendBuffer:
    """Bytes from ``start`` up to ``end``, unbounded sequence numbers; nothing is copied but short writes.

    Args:
        start: the number of the first byte.
        memory: charged for what is held.
    """

    __slots__ = ("_buffers", "_memory", "_starts", "_tail", "_tail_used", "end", "start")

    def __init__(self, start, memory):
        self.start = self.end = start
        self._memory = memory
        self._buffers = []  # memoryviews
        self._starts = []  # the number of the first byte of each
        self._tail = None  # the bytearray that is the last buffer, while it has room
        self._tail_used = 0

    def __len__(self):
        return self.end - self.start

    def append(self, buffer):
        """Take over one bytes-like object."""
        size = len(buffer)
        if not size:
            return
        self._memory.charge(size)
        if size < SMALL and self._buffers:
            self._gather(buffer, size)
        else:
            self._tail = None
            self._buffers.append(memoryview(buffer).cast("B") if type(buffer) is not memoryview else buffer)
            self._starts.append(self.end)
        self.end += size

    def view(self, seq, length):
        """``buffer[seq : seq + length]`` as a list of memoryviews."""
        if not length:
            return []
        at = bisect_right(self._starts, seq) - 1
        offset = seq - self._starts[at]
        views = []
        while length:
            piece = self._buffers[at][offset : offset + length]
            views.append(piece)
            length -= len(piece)
            offset = 0
            at += 1
        return views

    def release(self, seq):
        """Let go of everything before *seq*."""
        freed = seq - self.start
        if freed <= 0:
            return
        self._memory.release(freed)
        self.start = seq
        starts = self._starts
        keep = bisect_right(starts, seq) - 1 if seq < self.end else len(starts)
        if keep > 0:
            del starts[:keep]
            del self._buffers[:keep]
        if not starts:
            self._tail = None

    def drop(self):
        """Let go of all."""
        self.release(self.end)

    def _gather(self, buffer, size):
        """Put a short write behind those before it. The chunk does not move, so views of it stay good."""
        if self._tail is None or self._tail_used + size > len(self._tail):
            twice = _FIRST_CHUNK if self._tail is None else 2 * len(self._tail)
            self._tail = bytearray(max(min(twice, CHUNK), size))
            self._tail_used = 0
            self._buffers.append(memoryview(self._tail)[:0])
            self._starts.append(self.end)
        used = self._tail_used
        self._tail[used : used + size] = buffer
        self._tail_used = used + size
        # The view begins where the buffer did, also when part of it has been released meanwhile.
        self._buffers[-1] = memoryview(self._tail)[: self._tail_used]
