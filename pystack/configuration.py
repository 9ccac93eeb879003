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
    """

    def __init__(self, name_of):
        self._name_of = name_of
        self._changed = Event()
        self._servers = {}  # (interface index, origin) -> (addresses, search domains)
        self._handlers = {
            messages.AddressClaimed: self._claimed,
            messages.AddressConflict: self._conflict,
            messages.IdentifiersExhausted: self._exhausted,
            messages.RouterFlags: self._flags,
            messages.NameServersLearned: self._learned,
        }
        self._clients = {}  # (interface index, length of an address) -> `leasing.Dhcp4`, `Dhcp6`

    def add_client(self, interface, length, client):
        """Let a DHCP client of an interface hear of its addresses, of *length* bytes."""
        self._clients[interface, length] = client

    def release(self):
        """Give back what servers have leased. Returns whether there is anything."""
        leased = [client for client in self._clients.values() if client.core.lease is not None]
        for client in leased:
            client.release()
        return bool(leased)

    def put(self, batch):
        """Take events."""
        for message in batch:
            self._handlers[type(message)](message)
        self._changed.set()

    def wait(self, ready, clock, timeout):
        """Return whether ``ready()`` holds, looking again after each event for *timeout* seconds."""
        end = clock.now() + timeout
        alarm = clock.alarm(self._changed.set)
        try:
            while not ready() and clock.now() < end:
                self._changed.clear()
                alarm.set(end)
                self._changed.wait()
        finally:
            alarm.cancel()
        return ready()

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
        client = self._clients.get((message.interface, len(message.address)))
        if client is not None:
            client.claimed(message.address)
        log.info("%s: %s is ours", self._name_of(message.interface), format_address(on_wire(message.address)))

    def _conflict(self, message):
        other = f"{message.mac.hex(':')}" if message.mac else "another host"
        address = format_address(on_wire(message.address))
        log.error("%s: %s is used by %s too and was given up", self._name_of(message.interface), address, other)
        client = self._clients.get((message.interface, len(message.address)))
        if client is not None:
            client.conflict(message.address)

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
        client = self._clients.get((message.interface, 16))
        if client is not None:
            client.routers_say(message.managed, message.other)

    def _learned(self, message):
        self.set_name_servers(message.interface, "ra", message.servers, message.search)
