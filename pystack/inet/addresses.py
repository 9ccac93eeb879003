"""Interfaces, their addresses and the routes: who we are, and which way a destination lies."""

from dataclasses import dataclass

from pystack.messages import BROADCAST, LOCAL, MULTICAST, UNICAST
from pystack.routes import Route, RouteTable

LIMITED_BROADCAST = b"\xff\xff\xff\xff"
ANY = bytes(4)
PATH_CACHE_LIMIT = 4096  # destinations; the cache is emptied when full, and whenever an address or route changes
REDIRECT_LIMIT = 1024  # destinations; beyond it the oldest is forgotten


@dataclass(slots=True)
class Address:
    """One address of an interface. It is answered for and sent from only while ``usable`` (RFC 5227, 4862)."""

    address: bytes
    prefix_length: int
    usable: bool


class InterfaceState:
    """What inet knows of one interface. ``membership`` is its `multicast.Membership`, or None on a loopback.

    With ``accepts_any`` each unicast packet that comes in by it is for this host, whatever its destination, and what
    answers it is sent from there (Linux: ``ip route add local default dev lo``).
    """

    __slots__ = (
        "accepts_any",
        "addresses",
        "broadcasts",
        "checksum_offload",
        "control_outbox",
        "index",
        "loopback",
        "membership",
        "mtu",
        "name",
        "segment_offload",
    )

    def __init__(
        self,
        index,
        name,
        mtu,
        *,
        loopback=False,
        checksum_offload=False,
        segment_offload=False,
        membership=None,
        accepts_any=False,
    ):
        self.index = index
        self.name = name
        self.mtu = mtu  # bytes of IP packet
        self.loopback = loopback
        self.checksum_offload = checksum_offload
        self.segment_offload = segment_offload
        self.membership = membership
        self.accepts_any = accepts_any
        self.addresses = []
        self.broadcasts = frozenset((LIMITED_BROADCAST,))
        self.control_outbox = f"{name}.control"


class Path:
    """The answer of `Addresses.path`: immutable by convention, and cached."""

    __slots__ = ("interface", "kind", "next_hop", "source")

    def __init__(self, kind, interface, next_hop, source):
        self.kind = kind  # UNICAST, LOCAL, BROADCAST or MULTICAST
        self.interface = interface  # InterfaceState
        self.next_hop = next_hop  # the neighbour's address
        self.source = source  # the address to send from, or None


class Addresses:
    """IPv4 addresses and routes of all interfaces. As on Linux (the weak host model of RFC 1122 §3.3.4.2), an address
    of any interface is answered for on all of them."""

    def __init__(self):
        self.interfaces = {}  # index -> InterfaceState
        self.local = frozenset()  # the usable addresses
        self.routes = RouteTable()
        self._paths = {}
        self._redirects = {}  # destination -> gateway, from ICMP
        self._broadcasts = frozenset()  # of all interfaces: nobody's source
        self._accepts_any = False  # whether some interface does

    def add_interface(self, interface):
        """Take an `InterfaceState`."""
        self.interfaces[interface.index] = interface
        self._changed()

    def add(self, index, address, prefix_length, usable=True):
        """Give an interface one more address, with the connected route that comes with it.

        Raises ValueError if some interface has it already.
        """
        if any(held.address == address for state in self.interfaces.values() for held in state.addresses):
            raise ValueError(f"address {address.hex()} is already assigned")
        interface = self.interfaces[index]
        interface.addresses.append(Address(address, prefix_length, usable))
        network = network_of(address, prefix_length)
        self.routes = self.routes.adding(Route(network, prefix_length, index, None, address))
        self._changed()

    def remove(self, index, address):
        """Take an address away, with its connected route and the routes that send from it; False if it is not there."""
        interface = self.interfaces[index]
        for held in interface.addresses:
            if held.address == address:
                interface.addresses.remove(held)
                self.routes = self.routes.without(lambda route: route.source == address)
                self._changed()
                return True
        return False

    def set_usable(self, index, address):
        """The address has passed its conflict detection."""
        for held in self.interfaces[index].addresses:
            if held.address == address:
                held.usable = True
        self._changed()

    def add_route(self, route):
        """Raises ValueError if the gateway is not on the link of the route's interface."""
        if route.gateway is not None:
            towards = self.routes.lookup(route.gateway, route.interface)
            if towards is None or towards.gateway is not None:
                raise ValueError(f"gateway {route.gateway.hex()} is not on the link of interface {route.interface}")
        self.routes = self.routes.adding(route)
        self._changed()

    def is_local(self, destination, interface):
        """Whether a packet for *destination* that came in by *interface* is for this host alone."""
        if destination[0] == 127:
            return interface.loopback  # RFC 1122 §3.2.1.3 (g): never seen on a network
        return destination in self.local or (interface.accepts_any and self._is_unicast(destination))

    def is_ours(self, address):
        """Whether *address* is one host's, and this host may be it: a socket may be bound to it."""
        if address in self.local:
            return True
        return len(address) == 4 and (address[0] == 127 or (self._accepts_any and self._is_unicast(address)))

    def path(self, destination, index=0):
        """How to reach *destination*, by interface *index* if it is not 0: a `Path`, or None without a route."""
        key = (destination, index)
        path = self._paths.get(key)
        if path is None:
            path = self._find_path(destination, index)
            if path is not None:
                if len(self._paths) >= PATH_CACHE_LIMIT:
                    self._paths.clear()
                self._paths[key] = path
        return path

    def interface_of(self, address):
        """The index of the interface that has *address*, usable; 0 if none has."""
        for index, interface in self.interfaces.items():
            if any(held.address == address and held.usable for held in interface.addresses):
                return index
        return 0

    def valid_source(self, source, interface):
        """Whether a packet may have come from *source* by *interface*: Linux's martian check, which covers the list of
        RFC 1122 §3.2.1.3. The unspecified address is judged by the caller."""
        first = source[0]
        if interface.loopback:
            return first < 224
        # Linux also refuses a packet that claims to come from one of our own addresses (fib_validate_source).
        return source not in self.local and self._is_unicast(source)

    def redirect(self, destination, by, gateway, index):
        """Send to *destination* by *gateway* from now on, as *by*, a neighbour on interface *index*, has said.

        Believed as on Linux (and RFC 1122 §3.2.2.2): only from the gateway that is used now, and only if the new one is
        another unicast address on the same link. Unlike Linux's (300 s), it holds until the gateway is found dead, or
        a route changes.

        Returns:
            False if it is not believed.
        """
        path = self.path(destination)
        if path is None or path.kind != UNICAST or path.interface.index != index or path.next_hop != by:
            return False
        towards = self.routes.lookup(gateway, index)
        if gateway == by or towards is None or towards.gateway is not None:
            return False
        if not self.valid_source(gateway, path.interface):
            return False
        if len(self._redirects) >= REDIRECT_LIMIT:
            del self._redirects[next(iter(self._redirects))]
        self._redirects[destination] = gateway
        self._paths.clear()
        return True

    def forget_redirects_to(self, gateway):
        """That neighbour does not answer: its destinations go by their routes again (RFC 1122 §3.3.1.4)."""
        if gateway in self._redirects.values():
            self._redirects = {to: by for to, by in self._redirects.items() if by != gateway}
            self._paths.clear()

    def _find_path(self, destination, index):
        if destination in self.local or destination[0] == 127:
            loopback = next((state for state in self.interfaces.values() if state.loopback), None)
            if loopback is None:
                return None
            return Path(LOCAL, loopback, destination, destination)
        limited = destination == LIMITED_BROADCAST
        multicast = 224 <= destination[0] < 240
        route = self.routes.lookup(destination, index)
        if route is None and (limited or multicast):
            # Linux wants a route here and gets one by `ip route add 224.0.0.0/4`; one interface needs no such help.
            interface = self.interfaces.get(index) or self._first_outward()
            route = interface and Route(ANY, 0, interface.index)
        if not route:
            return None
        interface = self.interfaces[route.interface]
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

    def _first_outward(self):
        return next((state for state in self.interfaces.values() if not state.loopback), None)

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
        for state in self.interfaces.values():
            for held in state.addresses:
                if held.usable and not state.loopback:
                    return held.address
        return None

    def _changed(self):
        self._paths.clear()
        self._redirects.clear()
        self.local = frozenset(
            held.address for state in self.interfaces.values() for held in state.addresses if held.usable
        )
        for state in self.interfaces.values():
            state.broadcasts = frozenset((LIMITED_BROADCAST, *_broadcasts(state)))
        self._accepts_any = any(state.accepts_any for state in self.interfaces.values())
        self._broadcasts = frozenset().union(*(state.broadcasts for state in self.interfaces.values()))


def network_of(address, prefix_length):
    """*address* with the bits beyond the prefix cleared."""
    shift = len(address) * 8 - prefix_length
    return (int.from_bytes(address, "big") >> shift << shift).to_bytes(len(address), "big")


def _broadcasts(interface):
    """The directed broadcasts of an interface, and the old all-zeros form of RFC 1122 §3.3.6, which Linux takes too."""
    for held in interface.addresses:
        if held.prefix_length < 31 and not interface.loopback:  # RFC 3021: a /31 has none
            network = network_of(held.address, held.prefix_length)
            yield network
            hosts = (1 << (32 - held.prefix_length)) - 1
            yield (int.from_bytes(network, "big") | hosts).to_bytes(4, "big")
