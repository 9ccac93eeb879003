"""IPv4 addresses and routes."""

from pystack.inet.addresses import Addresses, Path, network_of
from pystack.inet.interfaces import LIMITED_BROADCAST
from pystack.messages import BROADCAST, LOCAL, MULTICAST, UNICAST
from pystack.routes import Route

ANY = bytes(4)


class Addresses4(Addresses):
    """See `Addresses`."""

    def __init__(self, interfaces):
        super().__init__(interfaces)
        self._broadcasts = frozenset()  # of all interfaces: nobody's source
        self._accepts_any = False  # whether some interface does

    def held_by(self, interface):
        return interface.addresses

    def is_local(self, destination, interface):
        """Whether a packet for *destination* that came in by *interface* is for this host alone."""
        if destination[0] == 127:
            return interface.loopback  # RFC 1122 §3.2.1.3 (g): never seen on a network
        return destination in self.local or (interface.accepts_any and self._is_unicast(destination))

    def is_ours(self, address):
        """Whether *address* is one host's, and this host may be it: a socket may be bound to it."""
        if address in self.local or address[0] == 127:
            return True
        return self._accepts_any and self._is_unicast(address)

    def valid_source(self, source, interface):
        """Whether a packet may have come from *source* by *interface*: Linux's martian check, which covers the list of
        RFC 1122 §3.2.1.3. The unspecified address is judged by the caller."""
        first = source[0]
        if interface.loopback:
            return first < 224
        # Linux also refuses a packet that claims to come from one of our own addresses (fib_validate_source).
        return source not in self.local and self._is_unicast(source)

    def changed(self):
        super().changed()
        for state in self._interfaces.values():
            state.broadcasts = frozenset((LIMITED_BROADCAST, *_broadcasts(state)))
        self._accepts_any = any(state.accepts_any for state in self._interfaces.values())
        self._broadcasts = frozenset().union(*(state.broadcasts for state in self._interfaces.values()))

    def _may_redirect_to(self, gateway, destination, interface):
        return self._is_on_link(gateway, interface.index) and self.valid_source(gateway, interface)

    def _find_path(self, destination, index):
        if destination in self.local or destination[0] == 127:
            loopback = self._loopback()
            if loopback is None:
                return None
            return Path(LOCAL, loopback, destination, destination)
        limited = destination == LIMITED_BROADCAST
        multicast = 224 <= destination[0] < 240
        route = self.routes.lookup(destination, index)
        if route is None and (limited or multicast):
            # Linux wants a route here and gets one by `ip route add 224.0.0.0/4`; one interface needs no such help.
            interface = self._interfaces.get(index) or self._first_outward()
            route = interface and Route(ANY, 0, interface.index)
        if not route:
            return None
        interface = self._interfaces[route.interface]
        if limited or destination in interface.broadcasts:
            kind, next_hop = BROADCAST, LIMITED_BROADCAST
        elif multicast:
            kind, next_hop = MULTICAST, destination
        else:
            kind, next_hop = UNICAST, self._redirects.get(destination) or route.gateway or destination
        return Path(kind, interface, next_hop, self._source(route, interface, next_hop))

    def _is_unicast(self, address):
        """Whether it may be one host's on a network."""
        return 0 < address[0] < 224 and address[0] != 127 and address not in self._broadcasts

    def _source(self, route, interface, next_hop):
        """The route's preferred source, else the address that shares the next hop's prefix, else the interface's first,
        else the first of any other interface (Linux's inet_select_addr)."""
        usable = [held for held in interface.addresses if held.usable]
        if route.source is not None and any(held.address == route.source for held in usable):
            return route.source
        for held in usable:
            if network_of(next_hop, held.prefix_length) == network_of(held.address, held.prefix_length):
                return held.address
        if usable:
            return usable[0].address
        for state in self._interfaces.values():
            for held in state.addresses:
                if held.usable and not state.loopback:
                    return held.address
        return None


def _broadcasts(interface):
    """The directed broadcasts of an interface, and the old all-zeros form of RFC 1122 §3.3.6, which Linux takes too."""
    for held in interface.addresses:
        if held.prefix_length < 31 and not interface.loopback:  # RFC 3021: a /31 has none
            network = network_of(held.address, held.prefix_length)
            yield network
            hosts = (1 << (32 - held.prefix_length)) - 1
            yield (int.from_bytes(network, "big") | hosts).to_bytes(4, "big")
