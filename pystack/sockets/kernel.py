"""The kernel's own sockets, whatever has been patched since."""

import _socket
import select

# Where the seam is in place already, it says what was there before.
socket = getattr(_socket.socket, "kernel_class", _socket.socket)
epoll = getattr(select, "epoll", None)
if epoll is None:  # gevent has removed it
    from gevent.monkey import get_original

    epoll = get_original("select", "epoll")


def pair(kind):
    """Two connected AF_UNIX sockets of type *kind*, neither blocking nor inherited over exec."""
    first, second = _socket.socketpair(_socket.AF_UNIX, kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    if type(first) is not socket:
        first, second = (socket(fileno=end.detach()) for end in (first, second))
        first.setblocking(False)
        second.setblocking(False)
    return first, second
