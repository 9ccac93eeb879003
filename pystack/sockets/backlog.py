"""The connections of a listening socket on their way to the program that accepts them."""

import errno
import fcntl
import os
import struct
import termios
from collections import deque
from functools import cache
from socket import SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET

from pystack import transport
from pystack.sockets import kernel, protocol
from pystack.sockets.ends import pack_endpoint

# Linux: no descriptor to be had, or too many on their way to the user. More may be free later.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.ETOOMANYREFS))


class Backlog:
    """Each connection is a record with a descriptor, on the pair of the listening socket: whichever process reads it
    has accepted the connection. How many are unread the kernel tells by the memory that they occupy (SIOCOUTQ).

    Args:
        service: the `Service`.
        listener: the `StreamEnd` that listens.
    """

    def __init__(self, service, listener):
        self._service = service
        self._listener = listener
        self._waiting = deque()  # StreamEnds that are not in the pair yet
        self._theirs = None  # the program's end for the first of them, made already
        self._offered = deque()  # those in the pair, as far as we know
        self._record_size = _record_size()

    def add(self, event):
        """Take a `transport.Accepted`."""
        end = self._service.make_stream(self._listener.family, event.socket)
        end.accepted(event, self._listener.values)
        self._waiting.append(end)
        self.offer()

    def offer(self):
        """Put into the pair what fits."""
        while self._waiting and self._listener.sock is not None:
            if not self._offer(self._waiting[0]):
                break
            self._offered.append(self._waiting.popleft())

    def writable(self):
        """A record has been read, perhaps."""
        self.count_taken()
        self.offer()

    def close(self):
        """The program has let go of the listening socket: what it has not accepted is reset, as Linux does."""
        for end in self._waiting:
            end.let_go(transport.Abort(end.number))
        self._waiting.clear()
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
        # The kernel closes what nobody has read, and as nobody has taken the mark out of it either, that is a reset.
        for end in self._offered:
            end.offered_in = None
        self._offered.clear()

    def _offer(self, end):
        """Make the connection's pair and send its end; False: later."""
        try:
            if self._theirs is None:
                ours, self._theirs = kernel.pair(SOCK_STREAM)
                end.limit_pair(ours, self._theirs)
                ours.send(protocol.MARK)
                end.offered_in = self
                self._service.attach(end, ours, inode_of(self._theirs))
            self._send(end)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _SHORTAGES:
                self._service.starving(self, error)
                return False
            # The program has closed the listening socket: its hanging up is on the way.
        self._theirs.close()
        self._theirs = None
        return True

    def _send(self, end):
        record = pack_endpoint(*end.remote) + pack_endpoint(*end.local) + protocol.INODE.pack(end.inode)
        descriptor = struct.pack("i", self._theirs.fileno())
        self._listener.sock.sendmsg([record], [(SOL_SOCKET, SCM_RIGHTS, descriptor)])

    def count_taken(self):
        """Tell TCP of those that have been accepted since. Each wakes us by its own pair, as its mark is read; the
        listener's says nothing until three quarters of it are free."""
        if not self._offered or self._listener.sock is None:
            return
        taken = len(self._offered) - _unread(self._listener.sock) // self._record_size
        for _ in range(taken):
            end = self._offered.popleft()
            end.offered_in = None
            end.review_interest()
        if taken > 0:
            self._listener.post(transport.Taken(self._listener.number, taken))


def _unread(sock):
    """What SIOCOUTQ counts: not bytes, but the memory of what is unread."""
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]


@cache
def _record_size():
    """That of one record with its descriptor."""
    ours, theirs = kernel.pair(SOCK_STREAM)
    try:
        ours.sendmsg([bytes(protocol.ACCEPTED.size)], [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", theirs.fileno()))])
        return _unread(ours)
    finally:
        ours.close()
        theirs.close()


def inode_of(sock):
    """By which a program's end is known."""
    return os.fstat(sock.fileno()).st_ino
