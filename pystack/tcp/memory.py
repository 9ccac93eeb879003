"""What all connections of a stack hold together, in bytes, against a limit (Linux's tcp_mem)."""


class Memory:
    """An account: who keeps bytes charges them, and releases as many when it lets go.

    Args:
        limit: bytes. Nothing refuses a charge beyond it; who charges asks first, and sheds what it may.
    """

    __slots__ = ("_pressure", "highest", "limit", "used")

    def __init__(self, limit):
        self.limit = limit
        self._pressure = limit - limit // 4
        self.used = 0
        self.highest = 0  # that ``used`` has been

    def charge(self, size):
        self.used = used = self.used + size
        if used > self.highest:
            self.highest = used

    def release(self, size):
        self.used -= size

    @property
    def under_pressure(self):
        """Above 3/4 of the limit: nobody's buffer grows any more."""
        return self.used > self._pressure

    @property
    def exhausted(self):
        """At the limit: what need not be kept is dropped."""
        return self.used >= self.limit
