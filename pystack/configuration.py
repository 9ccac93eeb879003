"""What inet says of addresses, routers and name servers: logged, and kept for those who ask."""

import logging

from gevent.event import Event

from pystack import messages
from pystack.scope import on_wire
from pystack.text import format_address

log = logging.getLogger("pystack")


class Configuration:
    """The target of inet's outbox ``events``.

    Args:
        name_of: ``name_of(index)``, an interface's name.

    Attributes:
        changed: an Event that is set at each event, and is its waiters' to clear.
    """

    def __init__(self, name_of):
        self.changed = Event()
        self._name_of = name_of
        self._servers = {}  # (interface index, origin) -> (addresses, search domains)
        self._handlers = {
            messages.AddressClaimed: self._claimed,
            messages.AddressConflict: self._conflict,
            messages.IdentifiersExhausted: self._exhausted,
            messages.RouterFlags: self._flags,
            messages.NameServersLearned: self._learned,
        }

    def put(self, batch):
        """Take events."""
        for message in batch:
            self._handlers[type(message)](message)
        self.changed.set()

    def name_servers(self):
        """The addresses of all name servers learned, as text, each once; and all search domains."""
        servers, search = {}, {}
        for addresses, domains in self._servers.values():
            servers.update(dict.fromkeys(format_address(address, self._name_of) for address in addresses))
            search.update(dict.fromkeys(domains))
        return list(servers), list(search)

    def set_name_servers(self, interface, origin, addresses, search):
        """What *origin* ("ra", "dhcp") says of them now, in the place of what it said before."""
        self._servers[interface, origin] = tuple(addresses), tuple(search)

    def _claimed(self, message):
        log.info("%s: %s is ours", self._name_of(message.interface), format_address(on_wire(message.address)))

    def _conflict(self, message):
        other = f"{message.mac.hex(':')}" if message.mac else "another host"
        address = format_address(on_wire(message.address))
        log.error("%s: %s is used by %s too and was given up", self._name_of(message.interface), address, other)

    def _exhausted(self, message):
        prefix = format_address(on_wire(message.prefix))
        log.error(
            "%s: no address with the prefix %s: others have all that were tried",
            self._name_of(message.interface),
            prefix,
        )

    def _flags(self, message):
        if message.managed or message.other:
            what = "addresses" if message.managed else "configuration"
            log.info("%s: a router says that there is DHCPv6 for %s", self._name_of(message.interface), what)

    def _learned(self, message):
        self.set_name_servers(message.interface, "ra", message.servers, message.search)
