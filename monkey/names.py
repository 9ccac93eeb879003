"""The names of the stack's interfaces, by `_socket`'s functions."""

import errno
import sys

from monkey.client import refusal

_NEGATIVE = OverflowError if sys.version_info >= (3, 13) else ValueError


class Names:
    """*engine*: an `engine.Engine`."""

    def __init__(self, engine):
        self._engine = engine

    def if_nameindex(self):
        """Returns a list of network interface information (index, name) tuples."""
        return self._engine.interfaces()

    def if_nametoindex(self, name):
        """Returns the interface index corresponding to the interface name."""
        if isinstance(name, bytes):
            name = name.decode()
        elif not isinstance(name, str):
            raise TypeError(f"expected str, bytes or os.PathLike object, not {type(name).__name__}")
        for index, other in self._engine.interfaces():
            if other == name:
                return index
        raise OSError("no interface with this name")

    def if_indextoname(self, index):
        """Returns the interface name corresponding to the interface index."""
        if not isinstance(index, int):
            raise TypeError(f"'{type(index).__name__}' object cannot be interpreted as an integer")
        if index < 0:
            raise _NEGATIVE("can't convert negative value to unsigned int")
        if index > 0xFFFFFFFF:
            raise OverflowError("index is too large")
        for other, name in self._engine.interfaces():
            if other == index:
                return name
        raise refusal(errno.ENXIO)
