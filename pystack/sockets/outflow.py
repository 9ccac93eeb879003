"""The bytes of a TCP connection on their way to the program, into the engine's end of its pair."""

from collections import deque
from itertools import islice
from socket import MSG_OOB

_MOST_BUFFERS = 64  # of one sendmsg
_NOTHING = ()


class Outflow:
    """What the pair does not take waits here, in order, and counts as not yet consumed.

    Attributes:
        sock: the engine's end, or None as long as there is none: then all waits.
        deaf: whether the program reads no more; what comes is thrown away then. Linux delivers it.
        starved: whether the kernel was short of memory: `flush` is to be called again, though no event will say so.
        urgent: ``(byte, how many bytes come before it)`` of urgent data that is not written yet, or None.
    """

    __slots__ = ("_passed", "_pending", "deaf", "sock", "starved", "urgent", "waiting")

    def __init__(self, sock):
        self.sock = sock
        self.deaf = False
        self.starved = False
        self.urgent = None
        self.waiting = 0  # bytes
        self._pending = _NOTHING  # memoryviews; a deque once there are any, as an empty one occupies 600 bytes
        self._passed = 0  # bytes written so far

    def put(self, buffers):
        """Take over a list of buffers. Returns how many bytes are consumed."""
        size = sum(map(len, buffers))
        if self.deaf:
            return size
        if self._pending or self.urgent is not None or self.sock is None or len(buffers) > _MOST_BUFFERS:
            self._keep(buffers, size)
            return self.flush()
        sent = self._send(buffers)
        if sent < size:
            self._keep(buffers, size)
            self._drop(sent)
        return sent

    def flush(self):
        """Write what waits, as far as there is room. Returns how many bytes are consumed."""
        if self.sock is None:
            return 0
        consumed = 0
        while not self.deaf:
            before = None if self.urgent is None else max(self.urgent[1] - self._passed, 0)
            if before == 0:
                if not self._send_urgent():
                    break
                continue
            if not self._pending:
                break
            buffers = list(islice(self._pending, _MOST_BUFFERS))
            sent = self._send(buffers if before is None else _first(buffers, before))
            if not sent:
                break
            self._drop(sent)
            consumed += sent
        if self.deaf:
            consumed += self.waiting
            self._pending = _NOTHING
            self.waiting = 0
        return consumed

    def _send_urgent(self):
        try:
            self.sock.send(bytes([self.urgent[0]]), MSG_OOB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the kernel has no urgent data on such pairs (before Linux 5.15), or the program reads no more
        self.urgent = None
        return True

    def _send(self, buffers):
        """Write into the pair; returns how much of it went."""
        try:
            sent = self.sock.sendmsg(buffers)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionError):
            self.deaf = True
            return sum(map(len, buffers))
        except OSError:  # ENOBUFS, ENOMEM: there may be more later
            self.starved = True
            return 0
        self._passed += sent
        return sent

    def _keep(self, buffers, size):
        """*size* bytes more wait."""
        if self._pending is _NOTHING:
            self._pending = deque()
        self._pending.extend(map(memoryview, buffers))
        self.waiting += size

    def _drop(self, size):
        """The first *size* bytes of what waits are written."""
        pending = self._pending
        self.waiting -= size
        while size:
            first = pending[0]
            if len(first) <= size:
                size -= len(first)
                pending.popleft()
            else:
                pending[0] = first[size:]
                size = 0


def _first(buffers, size):
    """The first *size* bytes of a list of buffers, as a list."""
    found = []
    for buffer in buffers:
        if size <= 0:
            break
        found.append(buffer[:size])
        size -= len(buffer)
    return found
