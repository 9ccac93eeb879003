"""The connections of a listening socket on their way to the program that accepts them."""

import errno
import fcntl
import os
import struct
import termios
from collections import deque
from socket import SCM_RIGHTS, SOCK_STREAM, SOL_SOCKET

from pystack import transport
from pystack.sockets import kernel, protocol

# Linux: no descriptor to be had, or too many on their way to the user. More may be free later.
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS))


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
        self._record_size = 0  # bytes that SIOCOUTQ counts for one

    def add(self, event):
        """Take a `transport.Accepted`."""
        end = self._service.make_stream(event.socket)
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
        self._count_taken()
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
        self._offered.clear()

    def _offer(self, end):
        """Make the connection's pair and send its end; False: later."""
        try:
            if self._theirs is None:
                ours, self._theirs = kernel.pair(SOCK_STREAM)
                end.limit_pair(ours, self._theirs)
                ours.send(protocol.MARK)
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
        record = protocol.pack_endpoint(*end.remote) + protocol.pack_endpoint(*end.local)
        descriptor = struct.pack("i", self._theirs.fileno())
        self._listener.sock.sendmsg([record], [(SOL_SOCKET, SCM_RIGHTS, descriptor)])
        if not self._record_size:
            self._record_size = self._unread() // (len(self._offered) + 1)  # 0 if it has been read already

    def _unread(self):
        return struct.unpack("i", fcntl.ioctl(self._listener.sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]

    def _count_taken(self):
        if not self._offered:
            return
        unread = self._unread()
        left = -(-unread // self._record_size) if self._record_size else (len(self._offered) if unread else 0)
        taken = len(self._offered) - left
        for _ in range(taken):
            self._offered.popleft()
        if taken > 0:
            self._listener.post(transport.Taken(self._listener.number, taken))


def inode_of(sock):
    """By which a program's end is known."""
    return os.fstat(sock.fileno()).st_ino
