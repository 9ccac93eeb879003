"""Which of many descriptors are ready: one edge-triggered epoll set, itself one watcher of the hub."""

import select

import gevent

from pystack.sockets.kernel import epoll

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP, ERROR, URGENT = select.EPOLLHUP, select.EPOLLERR, select.EPOLLPRI
_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLPRI | select.EPOLLET
_MOST = 256  # events of one call; the rest wait for the hub's next round
_EV_READ = 1


class Poller:
    """Edge-triggered, so that what nobody can take now costs nothing: who is told must read, or write, until EAGAIN, or
    remember that there is more. A thousand idle sockets are not looked at, and one wake serves all that are ready.

    Args:
        after: called with no argument after each round, when all that were ready have been told.
    """

    def __init__(self, after):
        self._epoll = epoll()
        self._handlers = {}  # descriptor -> its handler
        self._after = after
        self._watcher = gevent.get_hub().loop.io(self._epoll.fileno(), _EV_READ)
        self._watcher.start(self._round)

    def add(self, fd, handler):
        """From now on call ``handler(events)``. Raises OSError (no memory, too many watches)."""
        self._epoll.register(fd, _ALL)
        self._handlers[fd] = handler

    def remove(self, fd):
        """Before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self):
        """Watch nothing any more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._handlers.clear()
            self._epoll.close()

    def _round(self):
        handlers = self._handlers
        for fd, events in self._epoll.poll(0, _MOST):
            handler = handlers.get(fd)
            if handler is not None:  # else an earlier one of this round has closed it
                handler(events)
        self._after()
