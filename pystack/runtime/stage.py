"""The one greenlet loop around any core."""

from collections import Counter

import gevent
from gevent.queue import Full

from pystack import errors
from pystack.deadlines import NEVER
from pystack.runtime.mailbox import Mailbox


class Port:
    """One inlet of a stage: what is put here, the stage hands to *handler* as ``handler(batch, now)``."""

    __slots__ = ("_drops", "_handler", "_queue")

    def __init__(self, handler, queue, drops):
        self._handler = handler
        self._queue = queue
        self._drops = drops

    def put(self, batch):
        """Pass on a list and its ownership; never blocks: if the stage's queue is full, it is dropped and counted."""
        try:
            self._queue.put_nowait((self._handler, batch))
        except Full:
            self._drops[errors.QUEUE_FULL] += len(batch)


class Stage:
    """Runs a core: takes everything that waits, lets the core do it, passes on its outboxes, sets one alarm.

    Args:
        name: for messages about it.
        core: see docs/architecture.md.
        clock: `MonotonicClock` or `VirtualClock`.
        supervisor: told of an exception in the core, after which the stage discards what it gets.
        make_queue: makes the queue of the interface of `gevent.queue.SimpleQueue`.
    """

    def __init__(self, name, core, clock, supervisor, make_queue=Mailbox):
        self.name = name
        self.core = core
        self.drops = Counter()
        self.counts = Counter()
        self._clock = clock
        self._supervisor = supervisor
        self._queue = make_queue()
        self._wires = []  # (outbox key, its target's put)
        self._greenlet = None
        self._alarm = None

    def port(self, handler):
        """The way to one inlet, a method of the core."""
        return Port(handler, self._queue, self.drops)

    def connect(self, key, target):
        """Let the outbox *key* go to *target*, which has ``put(batch)``."""
        self._wires.append((key, target.put))

    def start(self):
        """Raises ValueError if an outbox leads nowhere."""
        loose = set(self.core.outboxes) - {key for key, _ in self._wires}
        if loose:
            raise ValueError(f"stage {self.name}: nothing is connected to {', '.join(sorted(map(str, loose)))}")
        self._alarm = self._clock.alarm(self._wake)
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = self.name

    def stop(self):
        """End the greenlet; what waits is lost. May be called twice, and by the stage itself."""
        if self._greenlet is not None:
            self._alarm.cancel()
            self._greenlet.kill(block=False)
            self._greenlet = None

    def _wake(self):
        self.counts["wakes"] += 1
        try:
            self._queue.put_nowait((None, ()))
        except Full:
            pass  # then it has enough to wake it

    def _run(self):
        queue = self._queue
        failed = False
        while True:
            item = queue.get()
            if failed:
                continue
            try:
                self._turn(item)
            except Exception as error:
                failed = True
                self._alarm.cancel()
                self._supervisor.failed(self.name, error)

    def _turn(self, item):
        core, queue = self.core, self._queue
        now = self._clock.now()
        waiting = queue.qsize()
        while True:
            handler, batch = item
            if handler is not None:
                handler(batch, now)
            if not waiting:
                break
            waiting -= 1
            item = queue.get_nowait()
        due = core.next_deadline()
        if due is not None and due <= now:
            core.expire(now)
            due = core.next_deadline()
        self.counts["turns"] += 1
        # A later deadline needs no new alarm: the old one fires early, once.
        if (NEVER if due is None else due) < self._alarm.at:
            self._alarm.set(due)
        outboxes = core.outboxes
        for key, put in self._wires:
            batch = outboxes[key]
            if batch:
                outboxes[key] = []
                put(batch)
