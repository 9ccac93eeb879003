"""Addresses and routes of all interfaces: who we are, and which way a destination lies."""

from dataclasses import dataclass

from pystack.messages import UNICAST
from pystack.routes import Route, RouteTable

PATH_CACHE_LIMIT = 4096  # destinations; the cache is emptied when full, and whenever an address or route changes
REDIRECT_LIMIT = 1024  # destinations; beyond it the oldest is forgotten


@dataclass(slots=True)
class Address:
    """One address of an interface. It is answered for and sent from only while ``usable`` (RFC 5227, 4862)."""

    address: bytes
    prefix_length: int
    usable: bool
    deprecated: bool = False  # IPv6: not for new flows, if there is another (RFC 4862 §5.5.4)
    temporary: bool = False  # IPv6: RFC 8981


class Path:
    """The answer of `Addresses.path`: immutable by convention, and cached."""

    __slots__ = ("interface", "kind", "next_hop", "source")

    def __init__(self, kind, interface, next_hop, source):
        self.kind = kind  # UNICAST, LOCAL, BROADCAST or MULTICAST
        self.interface = interface  # InterfaceState
        self.next_hop = next_hop  # the neighbour's address
        self.source = source  # the address to send from, or None


class Addresses:
    """Those of one version of IP: `Addresses4` or `Addresses6`. As on Linux (the weak host model of RFC 1122
    §3.3.4.2), an address of any interface is answered for on all of them.

    Args:
        interfaces: the layer's, index -> `interfaces.InterfaceState`.
    """

    def __init__(self, interfaces):
        self.local = frozenset()  # the usable addresses
        self.routes = RouteTable()
        self._interfaces = interfaces
        self._paths = {}
        self._redirects = {}  # destination -> gateway, from ICMP
        self._learned = {}  # (interface index, what) -> routes of routers and of DHCP

    def held_by(self, interface):
        """The list of `Address`es of an interface."""
        raise NotImplementedError

    def add(self, index, address, prefix_length, usable=True, on_link=True):
        """Give an interface one more address, with the connected route that comes with it if it is *on_link*.

        Raises ValueError if some interface has it already.
        """
        if self.find(address) is not None:
            raise ValueError(f"address {address.hex()} is already assigned")
        self.held_by(self._interfaces[index]).append(Address(address, prefix_length, usable))
        if on_link:
            network = network_of(address, prefix_length)
            self.routes = self.routes.adding(Route(network, prefix_length, index, None, address))
        self.changed()

    def remove(self, index, address):
        """Take an address away, with its connected route and the routes that send from it; False if it is not there."""
        held_here = self.held_by(self._interfaces[index])
        for held in held_here:
            if held.address == address:
                held_here.remove(held)
                self.routes = self.routes.without(lambda route: route.source == address)
                self.changed()
                return True
        return False

    def find(self, address):
        """The `Address` that some interface has, usable or not; None if none has."""
        for state in self._interfaces.values():
            for held in self.held_by(state):
                if held.address == address:
                    return held
        return None

    def set_usable(self, index, address):
        """The address has passed its conflict detection."""
        for held in self.held_by(self._interfaces[index]):
            if held.address == address:
                held.usable = True
        self.changed()

    def add_route(self, route):
        """Raises ValueError if the gateway is not on the link of the route's interface."""
        if route.gateway is not None and not self._is_on_link(route.gateway, route.interface):
            raise ValueError(f"gateway {route.gateway.hex()} is not on the link of interface {route.interface}")
        self.routes = self.routes.adding(route)
        self.changed()

    def learn(self, index, what, routes):
        """Replace the routes that others have told of under the name *what* (any hashable)."""
        old = self._learned.pop((index, what), ())
        if routes:
            self._learned[index, what] = tuple(routes)
        if old or routes:
            kept = [route for route in self.routes.routes if not any(route is each for each in old)]
            self.routes = RouteTable([*kept, *routes])
            self.changed()

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
        for index, interface in self._interfaces.items():
            if any(held.address == address and held.usable for held in self.held_by(interface)):
                return index
        return 0

    def redirect(self, destination, by, gateway, index):
        """Send to *destination* by *gateway* from now on, as *by*, a neighbour on interface *index*, has said.

        Believed as on Linux (and RFC 1122 §3.2.2.2, RFC 4861 §8.1): only from the gateway that is used now, and only if
        the new one is another unicast address on the same link. Unlike Linux's (300 s for IPv4), it holds until the
        gateway is found dead, or a route changes.

        Returns:
            False if it is not believed.
        """
        path = self.path(destination)
        if path is None or path.kind != UNICAST or path.interface.index != index or path.next_hop != by:
            return False
        if gateway == by or not self._may_redirect_to(gateway, destination, path.interface):
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

    def changed(self):
        """Addresses or routes are others now: forget what followed from them."""
        self._paths.clear()
        self._redirects.clear()
        self.local = frozenset(
            held.address for state in self._interfaces.values() for held in self.held_by(state) if held.usable
        )

    def _is_on_link(self, gateway, index):
        towards = self.routes.lookup(gateway, index)
        return towards is not None and towards.gateway is None

    def _loopback(self):
        return next((state for state in self._interfaces.values() if state.loopback), None)

    def _first_outward(self):
        return next((state for state in self._interfaces.values() if not state.loopback), None)


def network_of(address, prefix_length):
    """*address* with the bits beyond the prefix cleared."""
    shift = len(address) * 8 - prefix_length
    return (int.from_bytes(address, "big") >> shift << shift).to_bytes(len(address), "big")
