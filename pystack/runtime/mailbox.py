"""A gevent queue with a rendezvous: a put to an idle consumer switches to it at once."""

from collections import deque

from gevent import getcurrent, get_hub
from gevent.queue import Empty, Full


class Mailbox:
    """The interface of `gevent.queue.SimpleQueue`, for one consumer greenlet.

    When the consumer waits in `get`, `put_nowait` switches to it directly; it runs until it waits again, and then the
    producer goes on, be it a greenlet or the hub itself. While the consumer is busy items wait, at most *limit* of them.
    """

    def __init__(self, limit=None):
        self._limit = limit
        self._items = deque()
        self._consumer = None  # the greenlet parked in `get`
        self._producer = None  # who switched to the consumer, and is owed a switch back

    def put_nowait(self, item):
        """Raises gevent.queue.Full, and keeps nothing."""
        consumer = self._consumer
        if consumer is None:
            if self._limit is not None and len(self._items) >= self._limit:
                raise Full
            self._items.append(item)
            return
        self._consumer = None
        self._producer = getcurrent()
        consumer.switch(item)

    def put(self, item, block=True, timeout=None):
        """As `put_nowait`: a producer never waits."""
        self.put_nowait(item)

    def get(self, block=True, timeout=None):
        """Take the next item, waiting for it; only the consumer may call it."""
        if self._items:
            return self._items.popleft()
        if not block:
            raise Empty
        self._consumer = getcurrent()
        try:
            return self.release()
        finally:
            self._consumer = None

    def get_nowait(self):
        """Take the next item. Raises gevent.queue.Empty."""
        if not self._items:
            raise Empty
        return self._items.popleft()

    def release(self):
        """Let the producer that waits for the consumer go on, or else the hub."""
        producer, self._producer = self._producer, None
        if producer is None or producer.dead:
            return get_hub().switch()
        return producer.switch()

    def qsize(self):
        """Items that wait."""
        return len(self._items)

    def empty(self):
        """Whether none waits."""
        return not self._items

    def full(self):
        """Whether the next `put_nowait` would raise."""
        return self._limit is not None and self._consumer is None and len(self._items) >= self._limit
