"""DHCP clients at work: each core of `pystack.dhcp` with its UDP socket and its alarm, and what it has to configure."""

import logging

from pystack import messages, transport
from pystack.deadlines import NEVER
from pystack.dhcp import client4, client6
from pystack.routes import Route
from pystack.wire import ndp

CLIENT_PORT, SERVER_PORT = 68, 67  # RFC 2131 §4.1
CLIENT_PORT6, SERVER_PORT6 = 546, 547  # RFC 8415 §7.2
SERVERS6 = bytes((0xFF, 2)) + bytes(11) + b"\x01\x00\x02"  # all relay agents and servers
METRIC = 100  # of routes by DHCP: below those that were given by hand, above routers' (NetworkManager's choice)

MAX_MTU = 65_535  # of a server that says none: the device's is less

log = logging.getLogger("pystack")


class _Client:
    """What both versions do alike: run the core, by the events of its socket, its alarm and of inet.

    Args:
        core: a `client4.Client4` or `client6.Client6`.
        interface: index.
        name: of the interface.
        clock: the stack's.
        endpoints: the stack's `Endpoints`.
        control: takes a list of messages for inet.
        configuration: the `Configuration`, which is told of name servers.
    """

    transport = "udp"

    def __init__(self, core, interface, name, clock, endpoints, control, configuration):
        self.number = endpoints.number()
        self.core = core
        self._interface = interface
        self._name = name
        self._clock = clock
        self._endpoints = endpoints
        self._control = control
        self._configuration = configuration
        self._alarm = clock.alarm(self._expire)
        self._addresses = {}  # address -> prefix length, of those that were given to inet
        endpoints.add(self.transport, self)

    def release(self):
        """Give back what is leased: the stack is about to close."""
        self.core.release(self._clock.now())
        self.act()

    # -- what happens -------------------------------------------------------------------------------------------------

    def event(self, event):
        """Of the transport. Failures to send are the network's; the core sends again."""
        if type(event) is transport.Datagram:
            self._endpoints.post(self.transport, transport.Read(self.number, event.charge))
            self.core.receive(bytes(event.payload), event.source[0], self._clock.now())
            self.act()
        elif type(event) is transport.Failed:
            log.error("%s: DHCP has no port to speak from: %s", self._name, event.cause)

    def stop(self, failure):
        """The stack has stopped."""
        self._alarm.cancel()

    def _expire(self):
        self.core.expire(self._clock.now())
        self.act()

    def act(self):
        """Do what the core has put out."""
        core = self.core
        while core.messages or core.events:
            sending, core.messages = core.messages, []
            happened, core.events = core.events, []
            for message in sending:
                self._send(message)
            self._endpoints.flush()  # before the address that they are sent from goes
            for event in happened:
                self._handle(event)
        at = core.next_deadline()
        if at is None or at == NEVER:
            self._alarm.cancel()
        else:
            self._alarm.set(at)
        self._endpoints.flush()

    # -- inet ---------------------------------------------------------------------------------------------------------

    def _give(self, address, prefix_length, probe, **lifetimes):
        self._addresses[address] = prefix_length
        self._control([messages.AddAddress(self._interface, address, prefix_length, probe, **lifetimes)])

    def _take_back(self, addresses):
        for address in addresses:
            if self._addresses.pop(address, None) is not None:
                self._control([messages.RemoveAddress(self._interface, address)])

    def _post(self, request):
        self._endpoints.post(self.transport, request)


class Dhcp6(_Client):
    """DHCPv6, as the routers ask for it (`messages.RouterFlags`)."""

    def __init__(self, mac, random, *rest):
        super().__init__(client6.Client6(mac, random), *rest)
        self._wanted = None
        self._bound = False

    def routers_say(self, managed, other):
        """Whether there are addresses, or other configuration, to be had."""
        wanted = True if managed else False if other else None
        if wanted == self._wanted:
            return
        if not self._bound:
            self._bind()
        self._wanted = wanted
        now = self._clock.now()
        if wanted is None:
            self.core.stop(now)
        else:
            self.core.start(wanted, now)
        self.act()

    def claimed(self, address):
        """Duplicate address detection has found nobody else."""
        if address in self._addresses:
            self.core.address_clear(address, self._clock.now())
            self.act()

    def conflict(self, address):
        """It has found somebody."""
        if self._addresses.pop(address, None) is not None:
            self.core.address_duplicate(address, self._clock.now())
            self.act()

    def _bind(self):
        self._bound = True
        for name in ("ipv6", "v6_only"):
            self._post(transport.SetOption(self.number, name, True))
        self._post(transport.Bind(self.number, bytes(16), CLIENT_PORT6, interface=self._interface))

    def _send(self, payload):
        self._post(transport.Send(self.number, payload, SERVERS6, SERVER_PORT6, interface=self._interface))

    def _handle(self, event):
        kind = type(event)
        if kind is client6.Check:
            for address in event.addresses:
                self._give(address, 128, True, on_link=False, preferred=ndp.INFINITE, valid=ndp.INFINITE)
        elif kind is client6.Bound:
            self._apply(event.lease)
        elif kind is client6.Lost:
            log.info("%s: the DHCPv6 lease has ended: %s", self._name, event.reason)
            self._take_back(list(self._addresses))
        else:
            self._configuration.set_name_servers(self._interface, "dhcp6", event.dns, event.search)

    def _apply(self, lease):
        held = {address for address, _, _ in lease.addresses}
        self._take_back([address for address in self._addresses if address not in held])
        passed = self._clock.now() - lease.obtained_at
        for address, preferred, valid in lease.addresses:
            left = [_lifetime(seconds - passed) for seconds in (preferred, valid)]
            self._give(address, 128, True, on_link=False, preferred=left[0], valid=left[1])
        self._configuration.set_name_servers(self._interface, "dhcp6", lease.dns, lease.search)


class Dhcp4(_Client):
    """DHCPv4."""

    def __init__(self, mac, random, hostname, *rest):
        super().__init__(client4.Client4(mac, random, hostname), *rest)

    def start(self):
        """Ask for an address."""
        self._bind()
        self.core.start(self._clock.now())
        self.act()

    def claimed(self, address):
        """Nobody else has it (RFC 5227)."""
        if address in self._addresses:
            self.core.address_clear(self._clock.now())
            self.act()

    def conflict(self, address):
        """Somebody else has it."""
        if self._addresses.pop(address, None) is not None:
            self.core.address_conflict(self._clock.now())
            self.act()

    def _bind(self):
        self._post(transport.SetOption(self.number, "broadcast", True))
        self._post(transport.Bind(self.number, bytes(4), CLIENT_PORT, interface=self._interface))

    def _send(self, message):
        payload, destination, source = message
        self._post(
            transport.Send(self.number, payload, destination, SERVER_PORT, source=source, interface=self._interface)
        )

    def _handle(self, event):
        kind = type(event)
        if kind is client4.Check:
            self._give(event.lease.address, event.lease.prefix_length, True)
        elif kind is client4.Bound:
            self._apply(event.lease)
        else:
            log.info("%s: the DHCP lease has ended: %s", self._name, event.reason)
            self._control([messages.SetRoutes(self._interface, "dhcp", ())])
            self._take_back(list(self._addresses))

    def _apply(self, lease):
        routes = [
            Route(network, length, self._interface, gateway if any(gateway) else None, metric=METRIC + rank)
            for rank, (network, length, gateway) in enumerate(lease.routes)
        ]
        self._control([messages.SetRoutes(self._interface, "dhcp", tuple(routes))])
        self._control([messages.SetMtu(self._interface, lease.mtu or MAX_MTU)])
        self._configuration.set_name_servers(self._interface, "dhcp", lease.dns, lease.search)


def _lifetime(seconds):
    return ndp.INFINITE if seconds == NEVER else max(int(seconds), 0)
