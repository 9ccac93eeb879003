"""The one greenlet loop around any core."""

import gevent
from gevent.queue import Full

from pystack.counts import Counts
from pystack.deadlines import NEVER
from pystack.errors import QUEUE_FULL
from pystack.runtime.mailbox import Mailbox

_WAKE = (None, ())  # the item without a batch: have a turn


class Port:
    """One inlet of a stage: what is put here, the stage hands to *handler* as ``handler(batch, now)``."""

    __slots__ = ("_drops", "_handler", "_put")

    def __init__(self, handler, queue, drops):
        self._handler = handler
        self._put = queue.put_nowait
        self._drops = drops

    def put(self, batch):
        """Pass on a list and its ownership; never blocks: if the stage's queue is full, it is dropped and counted."""
        try:
            self._put((self._handler, batch))
        except Full:
            self._drops[QUEUE_FULL] += len(batch)


class Stage:
    """Runs a core: takes everything that waits, lets the core do it, passes on its outboxes, sets one alarm.

    Attributes:
        drops: `Counts` of what did not fit into the queue, in packets or messages.

    Args:
        name: for messages about it.
        core: see docs/architecture.md.
        clock: `MonotonicClock` or `VirtualClock`.
        supervisor: told of an exception in the core, with which the stage ends.
        make_queue: makes the queue, of the interface of `gevent.queue.SimpleQueue`; a bounded one, for what waits
            here is what an overloaded stack holds.
    """

    def __init__(self, name, core, clock, supervisor, make_queue=Mailbox):
        self.name = name
        self.core = core
        self.drops = Counts()
        self._clock = clock
        self._supervisor = supervisor
        self._queue = make_queue()
        self._wires = {}  # outbox key -> its target's put
        self._outgoing = ()  # (outbox, its target's put) of each, once started
        # What each turn calls, looked up once.
        self._now = clock.now
        self._waiting = self._queue.qsize
        self._next_deadline = core.next_deadline
        self._greenlet = None
        self._alarm = None
        self._running = False
        self._turns = 0
        self._batches = 0
        self._wakes = 0
        self._max_batch = 0

    @property
    def counts(self):
        """Turns of the loop, batches handled, wakes by the alarm, and the longest batch yet."""
        return {
            "turns": self._turns,
            "batches": self._batches,
            "wakes": self._wakes,
            "max_batch": self._max_batch,
        }

    def port(self, handler):
        """The way to one inlet, a method of the core."""
        return Port(handler, self._queue, self.drops)

    def connect(self, key, target):
        """Let the outbox *key* go to *target*, which has ``put(batch)``, before `start`."""
        if self._running:
            raise ValueError(f"stage {self.name}: it runs already")
        if key in self._wires:
            raise ValueError(f"stage {self.name}: outbox {key} is connected already")
        self._wires[key] = target.put

    def start(self):
        """Have a first turn soon, for what the core has to send or to time already.

        Raises ValueError if an outbox leads nowhere, or a connection is to none.
        """
        unmatched = set(self.core.outboxes) ^ set(self._wires)
        if unmatched:
            names = ", ".join(sorted(map(str, unmatched)))
            raise ValueError(f"stage {self.name}: outbox without a connection, or the reverse: {names}")
        self._outgoing = tuple((self.core.outboxes[key], put) for key, put in self._wires.items())
        self._alarm = self._clock.alarm(self._wake)
        self._running = True
        self._greenlet = gevent.spawn(self._run)
        self._greenlet.name = self.name

    def stop(self):
        """End the greenlet, at the latest when the hub runs; what waits is lost.

        May be called twice, and by the stage itself: then the turn is finished first.
        """
        self._running = False
        if self._greenlet is not None:
            self._alarm.cancel()
            if self._greenlet is not gevent.getcurrent():
                self._greenlet.kill(block=False)
            self._greenlet = None

    def _wake(self):
        self._wakes += 1
        try:
            self._queue.put_nowait(_WAKE)
        except Full:
            pass  # then it has enough to wake it

    def _run(self):
        get = self._queue.get
        item = _WAKE
        try:
            while self._running:
                self._turn(item)
                if not self._running:
                    break
                item = get()
        except gevent.GreenletExit:
            if self._running:
                raise
        except BaseException as error:
            # A KeyboardInterrupt is raised in whatever runs, and a stage without its turn's end is as broken as by a
            # bug: the stack stops, and the main greenlet gets the interrupt all the same.
            self._running = False
            self._alarm.cancel()
            self._supervisor.failed(self.name, error)
            if not isinstance(error, Exception):
                raise

    def _turn(self, item):
        core, now = self.core, self._now()
        waiting = self._waiting()  # what comes meanwhile is for the next turn, so that expire has its turn, too
        while True:
            handler, batch = item
            if handler is not None:
                self._batches += 1
                if len(batch) > self._max_batch:
                    self._max_batch = len(batch)
                handler(batch, now)
            if not waiting:
                break
            waiting -= 1
            item = self._queue.get_nowait()
        due = self._next_deadline()
        if due is not None and due <= now:
            core.expire(now)
            due = self._next_deadline()
        self._turns += 1
        # A later deadline needs no new alarm: the old one fires early, once. Before the outboxes, as a put may switch
        # to another stage, and that to the next.
        if (NEVER if due is None else due) < self._alarm.at and self._running:
            self._alarm.set(due)
        for outbox, put in self._outgoing:
            if outbox:
                batch = outbox[:]
                outbox.clear()
                put(batch)
