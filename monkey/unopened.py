"""Sockets that the engine has not heard of yet: each is opened by the first request that names it.

Until then the process has both ends of the pair, so that nobody else can open it: before another process can get such
a socket, by fork, exec or a message, all are opened.
"""

import _socket
import errno
import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET, SOCK_STREAM, socketpair
from contextlib import suppress

from monkey.client import is_still
from pystack.sockets import protocol

_MOST = 4  # each occupies a second descriptor


class Unopened:
    """The engine's end of one, and what it will be told.

    Args:
        sock: the end.
        what: family, type and protocol.
        sent: called with no argument when the engine has the end.
    """

    __slots__ = ("_inode", "_options", "_sent", "_what", "sock")

    def __init__(self, sock, what, sent=lambda: None):
        self.sock = sock
        self._sent = sent
        self._inode = os.fstat(sock.fileno()).st_ino
        self._what = protocol.INTS.pack(*what)
        self._options = {}  # (level, name) -> value

    def add_option(self, level, name, value):
        """Set it when the socket is opened; *value* is an int, and the option one that takes any."""
        self._options[level, name] = value

    def head(self):
        """What comes before the body of a request with `protocol.NEW`."""
        options = list(self._options.items())
        packed = [protocol.INTS.pack(level, name, value) for (level, name), value in options]
        return self._what + protocol.COUNT.pack(len(packed)) + b"".join(packed)

    def is_waiting(self):
        """Whether the engine's end is here still."""
        return is_still(self.sock, self._inode)

    def sent(self):
        """The engine has the end."""
        self.sock.close()
        self._sent()

    def has_user(self):
        """Whether there is still a descriptor of the program's end."""
        try:
            return self.sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


class UnopenedSockets:
    """All of this process.

    Args:
        open_one: called with an inode; has the engine open that one. Raises OSError.
    """

    def __init__(self, open_one):
        self._open_one = open_one
        self._by_inode = {}
        os.register_at_fork(before=self.open_all, after_in_child=self.drop_all)

    def make(self, what):
        """Make a pair for a socket that is *what*. Returns ``(inode, the program's end)``. Raises OSError."""
        if len(self._by_inode) >= _MOST:
            self._open_those_in_use()
        try:
            ours, theirs = pair(what[1])
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._by_inode:
                raise
            self._open_those_in_use()
            ours, theirs = pair(what[1])
        inode = os.fstat(ours.fileno()).st_ino
        self._drop(inode)  # of a socket that is closed, and whose number the kernel has given to this one
        self._by_inode[inode] = Unopened(theirs, what, lambda: self._by_inode.pop(inode, None))
        return inode, ours

    def __contains__(self, inode):
        return inode in self._by_inode

    def get(self, inode):
        """The `Unopened` of that inode; None if there is none, or no more.

        It stays until the request has been sent, so that another thread's, or a signal handler's, may be first.
        """
        if not self._by_inode:
            return None
        found = self._by_inode.get(inode)
        if found is not None and not found.is_waiting():
            self._by_inode.pop(inode, None)
            return None
        return found

    def closed(self, inode):
        """The program has closed a descriptor of that socket. It may have others, by dup: then the engine is told of
        the socket, now or later."""
        found = self.get(inode)
        if found is not None:
            with suppress(OSError):
                self._open_or_drop(inode, found)

    def open_all(self):
        """Another process may be about to get them. What cannot be opened stays."""
        for inode in list(self._by_inode):
            with suppress(OSError):
                if self.get(inode) is not None:
                    self._open_one(inode)

    def drop_all(self):
        """They are nobody's, or another process's."""
        for inode in list(self._by_inode):
            self._drop(inode)

    def _open_those_in_use(self):
        for inode in list(self._by_inode):
            found = self.get(inode)
            if found is not None:
                self._open_or_drop(inode, found)

    def _open_or_drop(self, inode, found):
        if found.has_user():
            self._open_one(inode)
        else:
            self._drop(inode)

    def _drop(self, inode):
        found = self._by_inode.pop(inode, None)
        if found is not None and found.is_waiting():
            found.sock.close()


def pair(kind):
    """Two connected sockets of the kernel's that are not inherited, for a socket of type *kind*."""
    return socketpair(AF_UNIX, (SOCK_STREAM if kind == SOCK_STREAM else SOCK_SEQPACKET) | SOCK_CLOEXEC)
