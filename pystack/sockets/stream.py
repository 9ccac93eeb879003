"""TCP sockets of the library: a stream, and a listener that accepts streams."""

import errno
from collections import deque

from pystack import errors, transport
from pystack.sockets.endpoints import Endpoint, failure


class TcpStream(Endpoint):
    """One connection. ``local`` and ``remote`` are ``(address, port)``, the address 4 or 16 bytes."""

    transport = "tcp"

    def __init__(self, endpoints, number=None):
        super().__init__(endpoints, number)
        self.remote = None
        self._buffers = deque()  # memoryviews of what has come and not been read
        self._unread = 0
        self._room = 0  # bytes that TCP will take
        self._ended = False  # no more will come
        self._shut = False
        self._finished = False
        self._info = None
        self._urgent = None

    # -- the program --------------------------------------------------------------------------------------------------

    def connect(self, address, port, timeout=None):
        """Connect, and return when the connection stands. Raises OSError."""
        if self.remote is not None:
            raise failure(errors.ALREADY_CONNECTED)
        self._cause = None
        self._request(transport.Connect(self.number, address, port))
        self._wait(lambda: self.remote is not None or self._cause is not None, timeout)
        if self._cause is not None:
            raise failure(self._cause)

    def recv(self, size):
        """At most *size* bytes, at least one; ``b""`` at the end of the stream. Raises OSError."""
        if size < 0:
            raise ValueError(f"recv: the size must not be negative, as {size} is")
        if not self._await_data():
            return b""
        first = self._buffers[0]
        if len(first) >= size or len(self._buffers) == 1:
            data = bytes(self._take(size))
        else:
            parts = []
            while size and self._buffers:
                part = self._take(size)
                size -= len(part)
                parts.append(part)
            data = b"".join(parts)
        self._tell_consumed(len(data))
        return data

    def recv_into(self, buffer):
        """As `recv` of ``len(buffer)`` bytes, into *buffer*; returns how many."""
        if not self._await_data():
            return 0
        view, at = memoryview(buffer).cast("B"), 0
        while at < len(view) and self._buffers:
            part = self._take(len(view) - at)
            view[at : at + len(part)] = part
            at += len(part)
        self._tell_consumed(at)
        return at

    def send(self, data):
        """Hand over some of *data* (bytes-like), once there is room; returns how much. Raises OSError."""
        data = _frozen(data)
        if not data:
            return 0
        self._await_room()
        part = data[: self._room]
        self._room -= len(part)
        self._request(transport.Write(self.number, [part]))
        return len(part)

    def sendall(self, data):
        """Hand over all of *data*. Raises OSError."""
        view = _frozen(data)
        while view:
            view = view[self.send(view) :]

    def send_urgent(self, data):
        """Hand over *data*, at most what there is room for, its last byte being urgent (MSG_OOB)."""
        data = _frozen(data)
        self._await_room()
        part = data[: self._room]
        self._room -= len(part)
        self._request(transport.Write(self.number, [part], urgent=True))
        return len(part)

    def urgent(self):
        """``(byte, mark)`` of urgent data that has come, or None; *mark* counts the bytes of the stream before it."""
        urgent, self._urgent = self._urgent, None
        return urgent

    def shutdown(self):
        """End the sending side."""
        self._shut = True
        self._request(transport.Shutdown(self.number))

    def abort(self):
        """Reset the connection. As `close`, it may be called twice, and after the stack has stopped."""
        if not self._closed:
            if self._stopped is None:
                self._request(transport.Abort(self.number))
            self._closed = True
            self._endpoints.forget(self.transport, self)
            self._waiting.wake()

    def info(self):
        """A `tcp.info.TcpInfo`, or None once the connection is over."""
        self._info = ()
        self._request(transport.GetInfo(self.number, None))
        self._wait(lambda: self._info != ())
        return self._info

    def await_end(self):
        """Return when the connection is over in good order, both ways. Raises OSError if it fails."""
        self._wait(lambda: self._finished or self._cause is not None)
        if not self._finished:
            self._raise_cause()

    @property
    def ended(self):
        """Whether all has come that will come, though it may be unread."""
        return self._ended

    @property
    def unread(self):
        """Bytes that have come and have not been read."""
        return self._unread

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def event(self, event):
        kind = type(event)
        if kind is transport.Received:
            for buffer in event.buffers:
                self._buffers.append(memoryview(buffer))
                self._unread += len(buffer)
        elif kind is transport.Room:
            self._room += event.size
        elif kind is transport.Connected:
            self.local, self.remote = event.local, event.remote
        elif kind is transport.EndOfStream:
            self._ended = True
        elif kind is transport.Finished:
            self._ended = self._shut = self._finished = True
        elif kind is transport.Info:
            self._info = event.info
        elif kind is transport.UrgentReceived:
            self._urgent = event.byte, event.mark
        else:
            super().event(event)
        self._waiting.wake()

    def _await_data(self):
        """Wait for data; False at the end of the stream. What came before a failure is read before it is raised."""
        if not self._buffers:
            self._wait(lambda: self._buffers or self._ended or self._cause is not None)
        if self._buffers:
            return True
        if self._cause is not None and not self._ended:
            self._raise_cause()
        return False

    def _await_room(self):
        self._wait(lambda: self._room > 0 or self._cause is not None or self._shut)
        if self._cause is not None:
            self._raise_cause()
        if self._shut:
            raise BrokenPipeError(errno.EPIPE, "the sending side has ended")

    def _raise_cause(self):
        """Raise why the connection has failed, once: as on Linux the stream has ended then, both ways."""
        cause, self._cause = self._cause, None
        self._ended = self._shut = True
        raise failure(cause)

    def _take(self, size):
        """The first *size* bytes of the first buffer, or all of it; TCP is to be told."""
        first = self._buffers[0]
        if len(first) <= size:
            self._buffers.popleft()
            part = first
        else:
            part = first[:size]
            self._buffers[0] = first[size:]
        self._unread -= len(part)
        return part

    def _tell_consumed(self, size):
        if size and self._cause is None and self._stopped is None:
            self._request(transport.Consumed(self.number, size))


class TcpListener(Endpoint):
    """A listening socket. ``local`` is ``(address, port)``."""

    transport = "tcp"

    def __init__(self, endpoints):
        super().__init__(endpoints)
        self._streams = deque()

    def listen(self, backlog=128, every_port=False):
        """Begin to listen, or change the backlog; with *every_port* where no other listens. Raises OSError."""
        self._ask(transport.Listen(self.number, backlog, every_port), lambda: self.local is not None)

    def accept(self):
        """The next connection, a `TcpStream`; waits for it. Raises OSError."""
        self._wait(lambda: self._streams)
        stream = self._streams.popleft()  # first, for the request may let another greenlet run
        self._request(transport.Taken(self.number, 1))
        return stream

    def event(self, event):
        if type(event) is transport.Accepted:
            stream = TcpStream(self._endpoints, event.socket)
            stream.local, stream.remote = event.local, event.remote
            self._streams.append(stream)
        else:
            super().event(event)
        self._waiting.wake()

    def _let_go(self):
        super()._let_go()
        while self._streams:
            self._streams.popleft().abort()  # as Linux: what was not accepted is reset


def _frozen(data):
    """A view of *data* that nobody else can change: a copy, unless it is of bytes."""
    view = memoryview(data)  # a read-only one may still be of what its owner can change
    return view.cast("B") if type(view.obj) is bytes else memoryview(bytes(view))
