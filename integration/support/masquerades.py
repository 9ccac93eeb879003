"""A Masquerade open in a namespace of the test's, and what can be seen of it."""

from pystack.device import nftables
from pystack.device.masquerade import Masquerade


class Opened:
    """A Masquerade that is open; a context manager."""

    def __init__(self, namespace, interface, networks):
        self._namespace = namespace
        self.masquerade = Masquerade(interface, networks)
        with namespace.entered():
            self.masquerade.open()

    def close(self):
        with self._namespace.entered():
            self.masquerade.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def tables(namespace, version=4):
    """The names of the namespace's nftables tables for that version of IP."""
    with namespace.entered():
        connection = nftables.Nftables()
        try:
            return set(connection.tables(version))
        finally:
            connection.close()


def pings(namespace, address):
    """Whether *address* answers one echo request within a second."""
    return namespace.run(["ping", "-c", "1", "-W", "1", address]).returncode == 0
