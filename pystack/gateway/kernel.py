"""The kernel's own sockets for greenlets, whatever has been patched: nonblocking, with waits in the hub."""

import _socket
import errno
import os
import struct
from weakref import WeakSet

import gevent

from pystack.sockets.kernel import epoll, socket

_READ, _WRITE = 1, 2  # libev's
_MAX_DATAGRAM = 65_535
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds
_PENDING = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR))


_open = WeakSet()  # all that are open, for `abandon`


def abandon():
    """In a forked child: drop the copies of all descriptors, at once; the parent's connections go on."""
    for each in list(_open):
        each.close()


def open_socket(family, kind, protocol=0):
    """A nonblocking socket of the kernel's."""
    made = socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
    made.setblocking(False)
    return made


def family_of(address):
    """AF_INET or AF_INET6, of an address as text."""
    return _socket.AF_INET6 if ":" in address else _socket.AF_INET


class Connection:
    """A TCP socket of the kernel's, used by greenlets. Takes over *sock*."""

    def __init__(self, sock):
        sock.setblocking(False)
        sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._sock = sock
        self._owner = os.getpid()
        _open.add(self)

    @classmethod
    def open(cls, address, port):
        """Connect to an address given as text. Raises OSError."""
        sock = open_socket(family_of(address), _socket.SOCK_STREAM)
        try:
            number = sock.connect_ex((address, port))
            if number in (errno.EINPROGRESS, errno.EINTR):
                _wait(sock.fileno(), _WRITE)
                number = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            return cls(sock)
        except BaseException:
            sock.close()
            raise

    def recv(self, size):
        """At most *size* bytes, at least one; ``b""`` at the end of the stream. Raises OSError."""
        while True:
            try:
                return self._sock.recv(size)
            except OSError as error:
                if error.errno not in _PENDING:
                    raise
            _wait(self._sock.fileno(), _READ)

    def sendall(self, data):
        """Return when the kernel has taken all of *data*. Raises OSError."""
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
                continue
            except OSError as error:
                if error.errno not in _PENDING:
                    raise
            _wait(self._sock.fileno(), _WRITE)

    def shutdown(self):
        """End the sending side."""
        self._sock.shutdown(_socket.SHUT_WR)

    def await_end(self):
        """Return when the connection is over both ways. Raises OSError if it was reset.

        A socket whose stream has ended is readable for ever, so this waits for hang-ups and errors alone.
        """
        poll = epoll()
        try:
            poll.register(self._sock.fileno(), 0)
            while not poll.poll(0):
                _wait(poll.fileno(), _READ)
        finally:
            poll.close()
        number = self._sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def close(self):
        """The kernel delivers what it has taken."""
        self._sock.close()

    def reset(self):
        """Close with RST; what the kernel has taken is lost. A forked child closes its copy alone."""
        try:
            if os.getpid() != self._owner:
                return
            self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
        except OSError:
            pass  # closed, or over already
        finally:
            self._sock.close()


class Listener:
    """A listening TCP socket of the kernel's. Raises OSError."""

    def __init__(self, address, port, backlog=128):
        self._sock = open_socket(family_of(address), _socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            self._sock.bind((address, port))
            self._sock.listen(backlog)
            self.port = self._sock.getsockname()[1]
            _open.add(self)
        except BaseException:
            self._sock.close()
            raise

    def accept(self):
        """The next `Connection`. Raises OSError: EMFILE and the like."""
        while True:
            try:
                fd, _ = self._sock._accept()
            except OSError as error:
                if error.errno not in _PENDING and error.errno != errno.ECONNABORTED:
                    raise
            else:
                return Connection(socket(fileno=fd))
            _wait(self._sock.fileno(), _READ)

    def close(self):
        self._sock.close()


def _wait(fd, events):
    """Let the hub run until *fd* is ready."""
    hub = gevent.get_hub()
    watcher = hub.loop.io(fd, events)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()


class Datagrams:
    """A datagram socket of the kernel's, connected or bound. ``on_readable()`` is called in the hub while it has some.

    Args:
        protocol: `UDP`, or `PING`: an ICMP or ICMPv6 socket, where net.ipv4.ping_group_range allows it.
        remote, local: ``(address as text, port)`` to connect to or to bind to, or None.

    Raises OSError.
    """

    __slots__ = ("__weakref__", "_sock", "_watcher")

    UDP = _socket.IPPROTO_UDP
    PING = _socket.IPPROTO_ICMP

    def __init__(self, protocol, on_readable, remote=None, local=None):
        self._watcher = None
        family = family_of((remote or local)[0])
        if protocol == self.PING and family == _socket.AF_INET6:
            protocol = _socket.IPPROTO_ICMPV6
        sock = self._sock = open_socket(family, _socket.SOCK_DGRAM, protocol)
        try:
            if local is not None:
                sock.bind(local)
            if remote is not None:
                sock.connect(remote)
            self._watcher = gevent.get_hub().loop.io(sock.fileno(), _READ)
            self._watcher.start(on_readable)
            _open.add(self)
        except BaseException:
            self.close()
            raise

    @property
    def port(self):
        """Its own."""
        return self._sock.getsockname()[1]

    def send(self, data, to=None):
        """Send one datagram, to *to* if it is not connected. Raises OSError; BlockingIOError if there is no room."""
        if to is None:
            self._sock.send(data)
        else:
            self._sock.sendto(data, to)

    def recv(self):
        """``(data, address)`` of one datagram, or None if none waits. Raises OSError: what became of an earlier one."""
        try:
            return self._sock.recvfrom(_MAX_DATAGRAM)
        except OSError as error:
            if error.errno in _PENDING:
                return None
            raise

    def close(self):
        """May be called twice."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        self._sock.close()
