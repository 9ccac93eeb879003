"""How many challenge ACKs all connections may send (RFC 5961 §7)."""


class ChallengeLimiter:
    """*per_second* in each second of the clock.

    A count that all connections share can be read from outside (CVE-2016-5696), so each connection has a limit of its
    own before this one, and this one is high.
    """

    __slots__ = ("_left", "_per_second", "_second")

    def __init__(self, per_second):
        self._per_second = per_second
        self._second = None
        self._left = 0

    def allow(self, now):
        """Whether one more may be sent; if so, it counts."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._left = self._per_second
        if not self._left:
            return False
        self._left -= 1
        return True
