"""A program's side of the control channel: what it asks of the engine, process by process."""

import _socket
import errno
import os
import select
import struct
import sys
import time
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_SEQPACKET, SOL_SOCKET
from _thread import get_ident

from pystack.sockets import protocol

_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_ROOM = 64  # for a descriptor
_PATIENCE, _PAUSE = 1.0, 0.001  # seconds, where descriptors are short
_MOST_FREE = 16  # channels that are kept
_LONGEST = 0x7FFFFFFF  # milliseconds, of one poll
_poll = select.poll  # gevent puts another in its place

kernel_socket = getattr(_socket.socket, "kernel_class", _socket.socket)


def refusal(number):
    """An OSError of that errno."""
    return OSError(number, os.strerror(number))


class Unanswered(Exception):
    """There was no answer in time."""


def is_still(sock, inode):
    """Whether a socket of this process's own is what it was; if not, its descriptor is somebody else's, and let go.

    A program that becomes a daemon closes every descriptor, and its next files have the same numbers.
    """
    try:
        if os.fstat(sock.fileno()).st_ino == inode:
            return True
    except OSError:
        pass
    sock.detach()
    return False


class Channel(kernel_socket):
    """A control channel."""

    __slots__ = ("_inode",)

    def remember(self):
        """It is what its descriptor says now."""
        self._inode = os.fstat(self.fileno()).st_ino

    def is_open(self):
        """Whether it is still."""
        return is_still(self, self._inode)


class Client:
    """The control channels of this process. Any thread may `call`, and so may a signal handler, in the middle of
    another call: each call has a channel to itself, and nothing is locked.

    Args:
        path: where processes join.
        life: an inherited descriptor that is a channel already, or None.
    """

    def __init__(self, path, life=None):
        self._path = path
        self._closed = False
        self._free = []  # channels that nobody uses now; pop and append are atomic
        self._next_lives = {}  # thread -> for the child that it forks
        self._root = self._join() if life is None else _inherited(life)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def call(self, operation, inode=0, body=b"", new=None, timeout=None):
        """Ask, and wait for the answer. Returns its data.

        Args:
            new: the `unopened.Unopened` of a socket that is opened by this request, or None.
            timeout: seconds, or None.

        Raises:
            OSError: ENETDOWN if the engine has gone.
            Unanswered: after *timeout*.
        """
        return self._call(operation, inode, body, new, timeout)[0]

    def _call(self, operation, inode=0, body=b"", new=None, timeout=None):
        channel = self._channel()
        try:
            answer = _ask(channel, request(operation, inode, body, new), new, timeout)
        except BaseException:
            channel.close()  # its answer, if there will be one, is nobody's
            raise
        if len(self._free) < _MOST_FREE:
            self._free.append(channel)
        else:
            channel.close()
        return _read(*answer)

    def _channel(self):
        """One that nobody uses, old or new; where there is no descriptor for a new one, another thread's, soon."""
        end = None
        while True:
            channel = self._free_channel()
            if channel is not None:
                return channel
            try:
                return self._new_channel()
            except OSError as error:
                end = end or time.monotonic() + _PATIENCE
                if error.errno not in (errno.EMFILE, errno.ENFILE) or time.monotonic() > end:
                    raise
            time.sleep(_PAUSE)

    def _free_channel(self):
        while True:
            try:
                channel = self._free.pop()
            except IndexError:
                return None
            if channel.is_open():
                return channel

    def _new_channel(self):
        if self._closed:
            raise refusal(errno.ENETDOWN)
        if self._root is None or not self._root.is_open():
            self._root = self._join()
        # Threads may do so at once: it does not matter who gets which.
        return _read(*_ask(self._root, protocol.REQUEST.pack(protocol.NEW_CHANNEL, 0)))[1]

    def _join(self):
        sock = Channel(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            sock.setblocking(True)
            sock.connect(self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            raise refusal(errno.ENETDOWN) from None  # the engine has gone
        except BaseException:
            sock.close()
            raise
        sock.remember()
        return sock

    def close(self):
        """The process is done with the engine."""
        for sock in (self._root, *self._free):
            if sock is not None:
                sock.close()
        self._root, self._free, self._closed = None, [], True

    # -- fork ---------------------------------------------------------------------------------------------------------

    def _before_fork(self):
        """A child that gets none, because of a signal or for want of a descriptor, joins by the path."""
        try:
            self._next_lives[get_ident()] = self._call(protocol.NEW_LIFE)[1]
        except OSError:
            pass

    def _in_parent(self):
        sock = self._next_lives.pop(get_ident(), None)
        if sock is not None:
            sock.close()

    def _in_child(self):
        # First of all nothing is the parent's any more: two processes on one channel would read each other's answers.
        (root, self._root), (free, self._free) = (self._root, None), (self._free, [])
        lives, self._next_lives = self._next_lives, {}
        self._root = lives.pop(get_ident(), None)
        for sock in (root, *free, *lives.values()):  # the last are of children that other threads fork
            if sock is not None:
                sock.close()


def _inherited(life):
    os.set_inheritable(life, False)
    return _channel_of(life)


def _channel_of(fd):
    sock = Channel(fileno=fd)
    sock.setblocking(True)
    sock.remember()
    return sock


def request(operation, inode, body, new):
    """A message; *new*: as for `Client.call`."""
    if new is None:
        return protocol.REQUEST.pack(operation, inode) + body
    return protocol.REQUEST.pack(operation | protocol.NEW, inode) + new.head() + body


def _ask(channel, message, new=None, timeout=None):
    """One request and its answer: what recvmsg returns."""
    try:
        if new is None:
            channel.send(message)
        else:
            _give(channel, message, new)
        if timeout is not None and not wait(channel, select.POLLIN, timeout):
            raise Unanswered
        message, ancillary, flags, _ = channel.recvmsg(protocol.MAX_MESSAGE, _ROOM, _CLOEXEC)
    except (BrokenPipeError, ConnectionError):
        raise refusal(errno.ENETDOWN) from None
    if not message:
        raise refusal(errno.ENETDOWN)
    return message, ancillary, flags


def _give(channel, message, new):
    """Send a request with the engine's end of a new socket; if another thread has just sent that, without."""
    descriptor = new.sock.fileno()
    if descriptor >= 0:
        try:
            channel.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", descriptor))])
        except OSError as error:
            if error.errno != errno.EBADF or new.sock.fileno() >= 0:
                raise
        else:
            new.sent()
            return
    channel.send(message)


def wait(sock, events, timeout):
    """Wait for *events* of poll(2), so many seconds at most, None being for ever. Returns whether there are any."""
    poll = _poll()
    poll.register(sock.fileno(), events)
    if timeout is None:
        return bool(poll.poll())
    end = time.monotonic() + timeout
    while True:
        left = end - time.monotonic()
        if poll.poll(min(max(left, 0) * 1000, _LONGEST)):
            return True
        if left <= 0:
            return False


def has_hung_up(sock):
    """Whether a pair has ended both ways."""
    poll = _kernel_poll()
    poll.register(sock.fileno(), 0)  # hanging up is told unasked
    return bool(poll.poll(0))


def _original_poll():
    gevent = sys.modules.get("gevent.monkey")
    return select.poll if gevent is None else gevent.get_original("select", "poll")


_kernel_poll = _original_poll()


def _read(message, ancillary, flags):
    """``(data, socket or None)`` of an answer. Raises OSError."""
    sock = None
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS and len(data) >= 4:
            sock = _channel_of(struct.unpack_from("i", data)[0])
    (number,) = protocol.REPLY.unpack_from(message)
    if number:
        raise refusal(number)
    if sock is None and flags & _socket.MSG_CTRUNC:
        raise refusal(errno.EMFILE)
    return message[protocol.REPLY.size :], sock
