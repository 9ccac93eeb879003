"""The kernel's own sockets, whatever has been patched since."""

import _socket
import os
import select
import struct
from _socket import AF_UNIX, SOCK_CLOEXEC

# Where the seam is in place already, it says what was there before.
socket = getattr(_socket.socket, "kernel_class", _socket.socket)
epoll = getattr(select, "epoll", None)
if epoll is None:  # gevent has removed it
    from gevent.monkey import get_original

    epoll = get_original("select", "epoll")


def pair(kind):
    """Two connected AF_UNIX sockets of type *kind*, not inherited over exec: ours, which does not block, and a
    program's, which does."""
    ours, theirs = _socket.socketpair(AF_UNIX, kind | SOCK_CLOEXEC)
    if type(ours) is not socket:
        ours, theirs = (socket(fileno=end.detach()) for end in (ours, theirs))
    ours.setblocking(False)
    return ours, theirs


def peer_pid(sock):
    """The process that connected an AF_UNIX socket, or made the pair; 0 if it was this one."""
    pid = struct.unpack("3i", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[0]
    return 0 if pid == os.getpid() else pid


__all__ = ["AF_UNIX", "SOCK_CLOEXEC", "epoll", "pair", "peer_pid", "socket"]
