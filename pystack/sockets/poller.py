"""Which of many descriptors are ready: one edge-triggered epoll set, itself one watcher of the hub."""

import logging
import select
from collections import deque

import gevent

from pystack.sockets.kernel import epoll

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP, ERROR, URGENT = select.EPOLLHUP, select.EPOLLERR, select.EPOLLPRI
ENDING = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR  # nothing more will be written
_ALWAYS = select.EPOLLRDHUP | select.EPOLLET  # and hanging up and errors, which epoll tells unasked
_MOST = 256  # events of one call; the rest wait for the hub's next round
_EV_READ = 1

log = logging.getLogger("pystack.sockets")


class Poller:
    """Edge-triggered, so that what nobody can take now costs nothing: who is told must read, or write, until EAGAIN, or
    remember that there is more. A thousand idle sockets are not looked at, and one wake serves all that are ready.

    Args:
        after: called with no argument after each round, when all that were ready have been told.
    """

    def __init__(self, after):
        self._epoll = epoll()
        self._handlers = {}  # descriptor -> its handler
        self._last = set()  # descriptors whose turn comes when all others have had theirs
        self._waiting = deque()  # (descriptor, handler, events) of such
        self._after = after
        self._loop = gevent.get_hub().loop
        self._watcher = self._loop.io(self._epoll.fileno(), _EV_READ)
        self._watcher.start(self._round)

    def add(self, fd, handler, events, last=False):
        """From now on call ``handler(events)`` for *events* (READ, WRITE, URGENT) and for its end; of those that are
        ready together, the *last* ones after the others.

        Raises OSError (no memory, too many watches).
        """
        self._epoll.register(fd, events | _ALWAYS)
        self._handlers[fd] = handler
        if last:
            self._last.add(fd)

    def change(self, fd, events):
        """Call for *events* from now on; those that hold already are told."""
        self._epoll.modify(fd, events | _ALWAYS)

    def remove(self, fd):
        """Before it is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
            self._last.discard(fd)

    def catch_up(self):
        """Tell those that are ready at this moment, but the last ones."""
        self._tell(self._epoll.poll(0, _MOST))
        if self._waiting:
            self._loop.run_callback(self._round)

    def close(self):
        """Watch nothing any more."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            self._handlers.clear()
            self._waiting.clear()
            self._epoll.close()

    def _round(self):
        if self._watcher is None:
            return
        self._tell(self._epoll.poll(0, _MOST))
        while self._waiting:
            self._tell_one(*self._waiting.popleft())
        self._after()

    def _tell(self, ready):
        handlers, last = self._handlers, self._last
        if len(ready) == 1 and ready[0][0] not in last:
            fd, events = ready[0]
            self._tell_one(fd, handlers.get(fd), events)
            return
        # Looked up before the first is told: it may close others of this round, and the number of one be given to a new
        # descriptor, whose these events are not.
        for fd, handler, events in [(fd, handlers.get(fd), events) for fd, events in ready]:
            if fd in last:
                self._waiting.append((fd, handler, events))
            else:
                self._tell_one(fd, handler, events)

    def _tell_one(self, fd, handler, events):
        if handler is not None and self._handlers.get(fd) is handler:
            try:
                handler(events)
            except Exception:  # the others' events come only once
                log.exception("a bug: events %x of descriptor %d were not handled", events, fd)
