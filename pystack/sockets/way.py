"""The way down to one transport, on which no request of a program is ever dropped."""

import gevent


class Way:
    """A stage drops what its full queue does not hold. A packet's sender has a remedy for that, a program has none: so
    here the program's greenlet waits for room.

    That a program has read something, `transport.Consumed` or `Read`, nobody waits for. What is posted later waits, one
    request for each socket, until *most_later* have come, or another request, but for data: that may go before it.

    Args:
        handler: the transport's inlet for requests.
        most_later: how often something may be posted later before all that goes.
    """

    __slots__ = (
        "_all",
        "_flushing",
        "_given",
        "_handled",
        "_handler",
        "_has_room",
        "_later",
        "_later_times",
        "_most_later",
        "_posted",
        "_put",
        "_stopped",
    )

    def __init__(self, handler, most_later=16):
        self._handler = handler
        self._most_later = most_later
        self._put = None
        self._has_room = None
        self._given = 0  # requests
        self._handled = 0
        self._posted = []
        self._all = False  # what waits for others goes before what is posted
        self._later = {}  # socket -> what waits for others
        self._later_times = 0  # how often it was added to
        self._flushing = False  # a greenlet waits for room
        self._stopped = False

    def connect(self, put, has_room):
        """*put* leads to `take` by the stage's queue; ``has_room()`` says whether it would hold a batch now."""
        self._put = put
        self._has_room = has_room

    def take(self, batch, now):
        """The inlet: have the transport do what is asked."""
        self._handler(batch, now)
        self._handled += len(batch)

    def give(self, request, check):
        """Pass on one request; ``check()`` raises if there is no use in waiting any longer."""
        self.flush()
        while self._posted or not self._has_room():
            gevent.sleep(0)  # what waits there has made the stage ready to run
            check()
        batch = self._take_later()
        batch.append(request)
        self._given += len(batch)
        self._put(batch)

    def post(self, request):
        """Pass on one request with the next `flush`: for those who must not wait, such as the hub and the stages."""
        self._posted.append(request)
        self._all = True

    def post_data(self, request):
        """As `post`; but it does not matter whether what is posted later goes before."""
        self._posted.append(request)

    def post_later(self, kind, socket, size):
        """Pass on ``kind(socket, size)`` with the next other request, or with `flush_all`. Returns whether it is time
        for that."""
        known = self._later.get(socket)
        if known is None:
            self._later[socket] = kind(socket, size)
        else:
            known.size += size
        self._later_times += 1
        return self._later_times >= self._most_later

    def flush(self):
        """Pass on what was posted, in one batch; as soon as there is room."""
        if not self._posted:
            return
        if self._has_room():
            batch, self._posted = self._posted, []
            if self._all:
                batch = self._take_later() + batch
            self._given += len(batch)
            self._put(batch)
        elif not self._flushing:
            self._flushing = True
            gevent.spawn(self._flush_later)

    def flush_all(self):
        """As `flush`, also what waits for others."""
        if self._later:
            self._posted = self._take_later() + self._posted
        self.flush()

    def settle(self, check):
        """Return when all that was given up to now has been done, and what came of it is here; *check* as above.

        A stage's turn is not interrupted, so that whoever runs after it finds all its events.
        """
        mine = self._given
        while self._handled < mine:
            gevent.sleep(0)
            check()

    def _flush_later(self):
        while not self._has_room() and not self._stopped:
            gevent.sleep(0)
        self._flushing = False
        self.flush()

    def _take_later(self):
        self._all = False
        if not self._later:
            return []
        found = list(self._later.values())
        self._later.clear()
        self._later_times = 0
        return found

    def stop(self):
        """Nobody is there to take anything any more."""
        self._stopped = True
        self._posted.clear()
        self._later.clear()
