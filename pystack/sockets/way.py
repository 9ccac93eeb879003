"""The way down to one transport, on which no request of a program is ever dropped."""

import gevent


class Way:
    """A stage drops what its full queue does not hold. A packet's sender has a remedy for that, a program has none: so
    here the program's greenlet waits for room.

    Args:
        handler: the transport's inlet for requests.
    """

    __slots__ = ("_given", "_handled", "_handler", "_has_room", "_put")

    def __init__(self, handler):
        self._handler = handler
        self._put = None
        self._has_room = None
        self._given = 0  # requests
        self._handled = 0

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
        while not self._has_room():
            gevent.sleep(0)  # what waits there has made the stage ready to run
            check()
        self._given += 1
        self._put([request])

    def settle(self, check):
        """Return when all that was given up to now has been done, and what came of it is here; *check* as above.

        A stage's turn is not interrupted, so that whoever runs after it finds all its events.
        """
        mine = self._given
        while self._handled < mine:
            gevent.sleep(0)
            check()
