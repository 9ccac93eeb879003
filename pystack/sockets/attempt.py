"""Who waits for a connect, and who has been told of what came of it."""

import errno


class Attempt:
    """The last attempt of a stream to connect.

    Attributes:
        told: whether the program knows that the connection stands; else its next connect is told.
    """

    __slots__ = ("_answered", "_reply", "told")

    def __init__(self):
        self.told = True
        self._reply = None  # to be called when it is over
        self._answered = None  # the errno that it was called with

    def begin(self):
        """Nobody waits for a new one yet."""
        self.told = True
        self._answered = None

    @property
    def is_waited_for(self):
        """Whether a program wants to be told when it is over."""
        return self._reply is not None

    def wait(self, reply):
        """``reply(errno)`` is to be called when it is over."""
        self._reply = reply

    def over(self, number):
        """It has ended so, as an errno."""
        if self._reply is not None:
            reply, self._reply, self._answered = self._reply, None, number
            reply(number)

    def give_up(self):
        """Whoever waited does so no more, and has had no answer. Returns the errno that was lost, 0 if there was none;
        None if nobody has waited."""
        lost, self._answered = self._answered, None
        if self._reply is not None:
            reply, self._reply = self._reply, None
            reply(errno.EINPROGRESS)  # if it is another thread that waits
            lost = 0
        if lost == 0:
            self.told = False
        return lost
