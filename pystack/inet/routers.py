"""What the routers of one IPv6 link say: RFC 4861 §6.3, RFC 4191, RFC 7559, RFC 8106.

Addresses in here are 16 bytes; link-local ones carry the index of their interface (`pystack.scope`).
"""

from typing import NamedTuple

from pystack import scope
from pystack.deadlines import NEVER, Deadlines
from pystack.wire import ndp

MAX_ROUTERS = 16
MAX_PREFIXES = 64
MAX_ROUTES = 64
MAX_RESOLVERS = 8
MAX_SEARCH = 8
MIN_MTU = 1280  # RFC 8200 §5
LEAST_REACHABLE = 0.1  # seconds; this and the next are Linux's
LEAST_RETRANSMIT = 0.01
# The most that RFC 4861 §6.2.1 allows of the reachable time. Linux believes 49 days, of both: one false message then
# keeps duplicate address detection from its end.
MOST_TIME = 3600.0
UNREACHABLE = -3  # added to the preference of a route whose router does not answer: it is below any that does

OFF, SOLICITING, FOUND = range(3)

STARTED = 0  # events: the interface has an address to solicit from, and knows no router
HEARD = 1  # a router has said all that may be hoped for
STOPPED = 2

TRANSITIONS = {
    (OFF, STARTED): SOLICITING,
    (OFF, HEARD): FOUND,
    (SOLICITING, HEARD): FOUND,
    (SOLICITING, STOPPED): OFF,
    (FOUND, STARTED): SOLICITING,
    (FOUND, STOPPED): OFF,
}


class DefaultRouters(NamedTuple):
    """All default routers, the best first: those that answer, by preference, by their age (RFC 4191 §3.2); then the
    others, that which has been silent for longest first, so that each has its turn (RFC 4861 §6.3.6)."""

    addresses: tuple


class OnLink(NamedTuple):
    """Whether destinations with this prefix are on the link."""

    prefix: bytes  # 16
    length: int
    present: bool


class RouteVia(NamedTuple):
    """A route of RFC 4191, new, changed or gone. ``preference`` is the higher the better: HIGH, MEDIUM or LOW of
    `wire.ndp`, plus `UNREACHABLE` if so."""

    prefix: bytes  # 16
    length: int
    router: bytes
    preference: int
    present: bool


class Parameters(NamedTuple):
    """Each is None until a router says it. Times are in seconds."""

    hop_limit: int | None = None
    mtu: int | None = None
    reachable: float | None = None
    retransmit: float | None = None


class Flags(NamedTuple):
    """What DHCPv6 is there for: addresses, or other things alone."""

    managed: bool = False
    other: bool = False


class NameServers(NamedTuple):
    """In the order in which they came."""

    addresses: tuple = ()
    search: tuple = ()  # of domain names, str


class _Timer:
    __slots__ = ("due_at", "queued_at")

    def __init__(self):
        self.due_at = self.queued_at = NEVER


class _Entry:
    """Something with a lifetime, in the dict *table* under *key*; due when that is over."""

    __slots__ = ("due_at", "key", "preference", "queued_at", "reachable", "silence", "table")

    def __init__(self, table, key):
        self.table = table
        self.key = key
        self.preference = None
        self.reachable = True  # or not known: RFC 4861 §6.3.6 has it "probably reachable"
        self.silence = 0  # of a default router that is not: the number of its last silence, counted over all
        self.due_at = self.queued_at = NEVER


class Routers:
    """The routers of one interface, and what they have said. When a table is full, what is new is ignored.

    What has changed collects in ``changes``, a list of the NamedTuples above; ``solicitations`` counts the router
    solicitations to be sent now. The owner empties both after each call.

    Args:
        random: a ``random.Random``.
        config: an Ipv6Config.
        link_mtu: the most that the link carries, bytes.
        agenda: see `Deadlines`.
    """

    def __init__(self, random, config, link_mtu=1500, agenda=None):
        self.changes = []
        self.solicitations = 0
        self._random = random
        self._config = config
        self._link_mtu = link_mtu
        self._state = OFF
        self._interval = 0.0  # to the next solicitation, seconds
        self._solicit = _Timer()
        self._deadlines = Deadlines(agenda)
        self._default = {}  # router -> _Entry
        self._on_link = {}  # (prefix, length) -> _Entry
        self._routes = {}  # (prefix, length, router) -> _Entry
        self._resolvers = {}  # address -> _Entry
        self._search = {}  # name -> _Entry
        self._silences = 0
        self._parameters = Parameters()
        self._flags = Flags()
        self._reported = self._summary()

    def start(self, now):
        """The link-local address may be used: solicit, unless a router is known already.

        At once: duplicate address detection has had the random delay of RFC 4861 §6.3.7.
        """
        if self._config.accept_ra and not self._default and self._step(STARTED):
            self._interval = self._config.router_solicitation_interval * self._spread(1.0)
            self._send(now)

    def stop(self):
        """The interface is down: nothing is solicited, and what was heard holds no more."""
        self._step(STOPPED)
        self._deadlines.cancel(self._solicit)
        for table in (self._default, self._on_link, self._routes, self._resolvers, self._search):
            for entry in list(table.values()):
                self._remove(entry)
        self._parameters = Parameters()
        self._flags = Flags()
        self._report()

    def advertised(self, message, source, now):
        """A router says *message*, an ndp.RouterAdvertisement that has passed the checks of RFC 4861 §6.1.2; *source*
        is its link-local address."""
        if not self._config.accept_ra:
            return
        self.expire(now)
        self._flags = Flags(message.managed, message.other)
        if self._config.accept_ra_defrtr:
            self._hear_default(message, source, now)
        self._hear_parameters(message)
        self._hear_routes(message, source, now)
        if self._config.accept_ra_pinfo:
            self._hear_prefixes(message, now)
        self._hear_names(message, source, now)
        # RFC 7559 §2.1: a router that is none by default does not end the search. In Linux any does.
        if self._default or not self._config.accept_ra_defrtr:
            self._step(HEARD)
            self._deadlines.cancel(self._solicit)
        self._report()

    def is_default(self, router):
        """Whether it is a default router."""
        return router in self._default

    def resigned(self, router):
        """It says that it is a host now (RFC 4861 §7.2.5). Its routes of RFC 4191 stay, as on Linux."""
        entry = self._default.get(router)
        if entry is not None:
            self._remove(entry)
            self._report()

    def reachable(self, router):
        """It answers neighbour discovery."""
        self._set_reachable(router, True)

    def unreachable(self, router):
        """It does not: others are preferred until it does (RFC 4861 §6.3.6)."""
        self._set_reachable(router, False)

    def expire(self, now):
        """Solicit, and forget what is over."""
        for item in self._deadlines.due(now):
            if item is self._solicit:
                self._send(now)
            else:
                self._remove(item)
        self._report()

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def _step(self, event):
        """Returns whether the event means anything in this state."""
        state = TRANSITIONS.get((self._state, event))
        if state is None:
            return False
        self._state = state
        return True

    # Solicitation: RFC 7559 §2, whose times are those of RFC 8415 §15.

    def _send(self, now):
        self.solicitations += 1
        self._deadlines.set(self._solicit, now + self._interval)
        most = self._config.router_solicitation_max_interval
        self._interval *= self._spread(2.0)
        if self._interval > most:
            self._interval = most * self._spread(1.0)

    def _spread(self, factor):
        return factor + 0.2 * self._random.random() - 0.1

    # What a message says: RFC 4861 §6.3.4 and the options of the others.

    def _hear_default(self, message, source, now):
        """A route to ::/0 has the last word on the router itself (RFC 4191 §3.1)."""
        lifetime, preference = message.lifetime, message.preference
        for route in message.routes:
            if route.length == 0:
                lifetime, preference = route.lifetime, route.preference
        if lifetime and source not in self._default and len(self._default) >= MAX_ROUTERS:
            silent = next((entry for entry in self._default.values() if not entry.reachable), None)
            if silent is not None:
                self._remove(silent)
        answers = self._answers(source)
        entry = self._keep(self._default, source, lifetime, MAX_ROUTERS, now)
        if entry is not None:
            entry.preference = preference
            entry.reachable = answers

    def _hear_parameters(self, message):
        """Linux leaves the hop limit out without accept_ra_defrtr."""
        hop_limit, mtu, reachable, retransmit = self._parameters
        if message.hop_limit and message.hop_limit >= self._config.accept_ra_min_hop_limit:
            hop_limit = message.hop_limit
        if self._config.accept_ra_mtu and message.mtu is not None and MIN_MTU <= message.mtu <= self._link_mtu:
            mtu = message.mtu
        if 0 < message.reachable <= MOST_TIME:
            reachable = max(message.reachable, LEAST_REACHABLE)
        if 0 < message.retransmit <= MOST_TIME:
            retransmit = max(message.retransmit, LEAST_RETRANSMIT)
        self._parameters = Parameters(hop_limit, mtu, reachable, retransmit)

    def _hear_routes(self, message, source, now):
        answers = self._answers(source)
        for route in message.routes:
            if not 0 < route.length <= self._config.accept_ra_rt_info_max_plen or _is_local(route.prefix):
                continue
            entry = self._keep(self._routes, (route.prefix, route.length, source), route.lifetime, MAX_ROUTES, now)
            if entry is None or entry.preference == route.preference:
                continue
            entry.preference = route.preference
            entry.reachable = answers
            self._put_route(entry, True)

    def _hear_prefixes(self, message, now):
        """Linux ignores one that is preferred for longer than it is valid; RFC 4861 knows nothing of preference."""
        for each in message.prefixes:
            if each.on_link and not _is_local(each.prefix):
                key = (each.prefix, each.length)
                known = key in self._on_link
                entry = self._keep(self._on_link, key, each.valid, MAX_PREFIXES, now)
                if entry is not None and not known:
                    self.changes.append(OnLink(*key, True))

    def _hear_names(self, message, source, now):
        interface = scope.scope_of(source)
        for lifetime, addresses in message.resolvers:
            for address in filter(_is_unicast, addresses):
                self._keep(self._resolvers, scope.scoped(address, interface), lifetime, MAX_RESOLVERS, now)
        for lifetime, names in message.search:
            for name in names:
                self._keep(self._search, name, lifetime, MAX_SEARCH, now)

    # Tables.

    def _keep(self, table, key, lifetime, most, now):
        """The entry of *table*, of *most*, that now lasts for *lifetime* seconds; None if it is over or was not
        taken."""
        entry = table.get(key)
        if not lifetime:
            if entry is not None:
                self._remove(entry)
            return None
        if entry is None:
            if len(table) >= most:
                return None
            entry = table[key] = _Entry(table, key)
        if lifetime == ndp.INFINITE:
            self._deadlines.cancel(entry)
        else:
            self._deadlines.set(entry, now + lifetime)
        return entry

    def _remove(self, entry):
        del entry.table[entry.key]
        self._deadlines.cancel(entry)
        if entry.table is self._on_link:
            self.changes.append(OnLink(*entry.key, False))
        elif entry.table is self._routes:
            self._put_route(entry, False)

    def _answers(self, router):
        """What was last said of it; of a new one nothing bad is believed."""
        entries = [entry for entry in self._routes.values() if entry.key[2] == router]
        return all(entry.reachable for entry in (self._default.get(router), *entries) if entry is not None)

    def _set_reachable(self, router, reachable):
        entry = self._default.get(router)
        if entry is not None:
            entry.reachable = reachable
            self._silences += not reachable
            entry.silence = 0 if reachable else self._silences
        for route in self._routes.values():
            if route.key[2] == router and route.reachable != reachable:
                route.reachable = reachable
                self._put_route(route, True)
        self._report()

    def _put_route(self, entry, present):
        preference = entry.preference + (0 if entry.reachable else UNREACHABLE)
        self.changes.append(RouteVia(*entry.key, preference, present))

    # Changes.

    def _summary(self):
        best = sorted(self._default.values(), key=lambda entry: (not entry.reachable, entry.silence, -entry.preference))
        return (
            DefaultRouters(tuple(entry.key for entry in best)),
            self._parameters,
            self._flags,
            NameServers(tuple(self._resolvers), tuple(self._search)),
        )

    def _report(self):
        """Put out what is another than when it was last put out."""
        summary = self._summary()
        if summary != self._reported:
            self.changes.extend(new for new, old in zip(summary, self._reported, strict=True) if new != old)
            self._reported = summary


def _is_unicast(address):
    """Whether it may be one host's on a network."""
    return address[0] != 0xFF and any(address[:15])  # ::/120 has the unspecified address and the loopback's


def _is_local(prefix):
    """Whether no router has a say in it: link-local, or multicast."""
    return scope.is_link_local(prefix) or prefix[0] == 0xFF
