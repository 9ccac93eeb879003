"""How one interface comes to its IPv6 addresses, routers and parameters: who decides what is in the parts."""

from pystack import errors, messages
from pystack.inet.autoconf import Add, Autoconf, Deprecate, GaveUp, Remove
from pystack.inet.duplicates import RETRANS_TIME, Duplicates
from pystack.inet.routers import DefaultRouters, Flags, NameServers, OnLink, Parameters, Routers, RouteVia
from pystack.routes import Route
from pystack.scope import is_link_local
from pystack.wire import ipv6

REACHABLE_TIME = 30.0  # seconds, until a router says otherwise (RFC 4861 §10)
ON_LINK_METRIC, ROUTER_METRIC = 256, 1024  # Linux's
PREFERENCE_METRIC = 64  # by which a route of the next preference is better (RFC 4191)


class Interface6:
    """Passes on what `Duplicates`, `Routers` and `Autoconf` decide: to the addresses and routes, to the link, to the
    group memberships and to whoever listens to events.

    Args:
        discovery: the `NeighborDiscovery`, for what is to be sent.
        addresses: the `Addresses6`.
        layer: the `InetLayer`.
        interface: the `interfaces.InterfaceState`.
        config: an Ipv6Config.
        random: a ``random.Random``.
    """

    def __init__(self, discovery, addresses, layer, interface, config, random):
        self.duplicates = Duplicates(random, config, layer.agenda)
        self.routers = Routers(random, config, interface.mtu, layer.agenda)
        self.autoconf = Autoconf(random, config, interface.index, interface.name, layer.agenda)
        self._discovery = discovery
        self._addresses = addresses
        self._layer = layer
        self._interface = interface
        self._waiting = []  # (address, probe) that were given before the start
        self.unheard = False  # group memberships were told of without an address, which routers do not hear
        self._groups = {}  # address -> solicited-node group that is joined for it
        self._started = False
        self._appliers = {
            Add: self._add_automatic,
            Remove: lambda change, now: self.remove(change.address, now),
            Deprecate: lambda change, now: addresses.set_deprecated(change.address, change.deprecated),
            GaveUp: self._tell_exhausted,
            DefaultRouters: self._set_default_routers,
            OnLink: self._set_on_link,
            RouteVia: self._set_route,
            Parameters: self._set_parameters,
            Flags: self._tell_flags,
            NameServers: self._tell_name_servers,
        }

    def timed(self):
        """The parts that have a deadline."""
        return self.duplicates, self.routers, self.autoconf

    def expire(self, now):
        """Do what is due."""
        for part in self.timed():
            part.expire(now)
        self.act(now)

    def start(self, now):
        """The stack runs: claim what it was given, and make what it was not."""
        self._started = True
        waiting, self._waiting = self._waiting, []
        for address, probe in waiting:
            self._claim(address, probe, now)
        if not any(is_link_local(held.address) for held in self._interface.addresses6):
            self.autoconf.start(now)
        self.act(now)

    def add(self, address, prefix_length, probe, now, on_link=True):
        """Give the interface an address; with *probe* it is used when nobody is found to have it (RFC 4862 §5.4)."""
        self._addresses.add(self._interface.index, address, prefix_length, usable=not probe, on_link=on_link)
        if self._started:
            self._claim(address, probe, now)
            self.act(now)
        else:
            self._waiting.append((address, probe))

    def lend(self, message, now):
        """The address of a `messages.AddAddress` has its lifetimes from now on."""
        self.autoconf.add(message.address, message.prefix_length, message.preferred, message.valid, now)
        self.act(now)

    def remove(self, address, now):
        """Take an address away. False if the interface does not have it."""
        if not self._addresses.remove(self._interface.index, address):
            return False
        self._waiting = [each for each in self._waiting if each[0] != address]
        if self._started:
            self.duplicates.release(address)
            self.autoconf.forget(address)
            self._leave(address, now)
            self.act(now)  # its temporary addresses go with it
        return True

    def act(self, now):
        """Do what the parts have put out."""
        duplicates, routers, autoconf = self.duplicates, self.routers, self.autoconf
        while True:
            solicitations, duplicates.solicitations = duplicates.solicitations, []
            won, duplicates.won = duplicates.won, []
            lost, duplicates.lost = duplicates.lost, []
            questions, routers.solicitations = routers.solicitations, 0
            changes = [*routers.changes, *autoconf.changes]
            routers.changes, autoconf.changes = [], []
            if not (solicitations or won or lost or questions or changes):
                return
            for target, nonce in solicitations:
                self._discovery.probe(self._interface, target, nonce, now)
            for address in won:
                self._won(address, now)
            for address, mac in lost:
                self._lost(address, mac, now)
            for _ in range(questions):
                self._discovery.solicit_routers(self._interface, now)
            for change in changes:
                self._appliers[type(change)](change, now)

    def _claim(self, address, probe, now):
        try:
            self._interface.membership6.join(ipv6.solicited_node(address), now)
        except OSError:  # programs have joined as many groups as there may be; a router cannot know
            self._layer.drops[errors.MEMBERSHIP_REFUSED] += 1
        else:
            self._groups[address] = ipv6.solicited_node(address)
        self.duplicates.add(address, now, probe)

    def _leave(self, address, now):
        group = self._groups.pop(address, None)
        if group is not None:
            self._interface.membership6.leave(group, now)

    def _won(self, address, now):
        index = self._interface.index
        self._addresses.set_usable(index, address)
        self.autoconf.assigned(address, now)
        self._layer.outboxes["events"].append(messages.AddressClaimed(index, address))
        if is_link_local(address):
            self.routers.start(now)
            if self.unheard:
                self.unheard = False
                self._interface.membership6.repeat(now)

    def _lost(self, address, mac, now):
        self._addresses.remove(self._interface.index, address)
        self._leave(address, now)
        self._layer.outboxes["events"].append(messages.AddressConflict(self._interface.index, address, mac))
        self.autoconf.duplicate(address, now)

    # -- changes ------------------------------------------------------------------------------------------------------

    def _add_automatic(self, change, now):
        if self._addresses.find(change.address) is None:
            self.add(change.address, change.prefix_length, True, now, on_link=False)
            if change.temporary:
                self._addresses.set_temporary(change.address)

    def _set_default_routers(self, change, now):
        index = self._interface.index
        routes = [
            Route(ipv6.UNSPECIFIED, 0, index, router, metric=ROUTER_METRIC + rank)
            for rank, router in enumerate(change.addresses)
        ]
        self._addresses.learn(index, "default", routes)

    def _set_on_link(self, change, now):
        index = self._interface.index
        route = Route(change.prefix, change.length, index, metric=ON_LINK_METRIC)
        self._addresses.learn(index, (change.prefix, change.length), [route] if change.present else [])

    def _set_route(self, change, now):
        index = self._interface.index
        metric = ROUTER_METRIC - PREFERENCE_METRIC * change.preference
        route = Route(change.prefix, change.length, index, change.router, metric=metric)
        what = change.prefix, change.length, change.router
        self._addresses.learn(index, what, [route] if change.present else [])

    def _set_parameters(self, change, now):
        interface = self._interface
        if change.hop_limit is not None:
            self._discovery.set_hop_limit(change.hop_limit)
        interface.mtu6 = min(change.mtu or interface.device_mtu, interface.device_mtu)
        retransmit = change.retransmit or RETRANS_TIME
        self.duplicates.retransmit = self.autoconf.retransmit = retransmit
        times = messages.SetNeighborTimes(change.reachable or REACHABLE_TIME, retransmit)
        self._layer.outboxes[interface.control_outbox].append(times)

    def _tell_exhausted(self, change, now):
        event = messages.IdentifiersExhausted(self._interface.index, change.prefix)
        self._layer.outboxes["events"].append(event)

    def _tell_flags(self, change, now):
        event = messages.RouterFlags(self._interface.index, change.managed, change.other)
        self._layer.outboxes["events"].append(event)

    def _tell_name_servers(self, change, now):
        event = messages.NameServersLearned(self._interface.index, change.addresses, change.search)
        self._layer.outboxes["events"].append(event)
