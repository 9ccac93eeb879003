"""An immutable snapshot of the routes: longest prefix first, then lowest metric. Made anew when a route changes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """One route. Addresses are 4 or 16 bytes; a ``gateway`` of ``None`` means that destinations are on the link."""

    network: bytes
    prefix_length: int
    interface: int
    gateway: bytes | None = None
    source: bytes | None = None  # the preferred source address (``ip route ... src``)
    metric: int = 0


class RouteTable:
    """Routes of one address family.

    Raises ValueError if a route's network has bits set beyond its prefix.
    """

    def __init__(self, routes=()):
        self.routes = tuple(routes)
        by_length = {}
        for route in self.routes:
            bits = len(route.network) * 8
            shift = bits - route.prefix_length
            network = int.from_bytes(route.network, "big")
            if shift < 0 or network & ((1 << shift) - 1):
                raise ValueError(f"route {route.network.hex()}/{route.prefix_length} has host bits set")
            by_length.setdefault(shift, {}).setdefault(network >> shift, []).append(route)
        for networks in by_length.values():
            for candidates in networks.values():
                candidates.sort(key=lambda route: route.metric)
        self._by_length = sorted(by_length.items())  # (shift, {prefix: [routes]}), longest prefix first

    def lookup(self, destination, interface=0):
        """The best route for *destination* (bytes), only by *interface* if it is not 0; ``None`` if there is none."""
        value = int.from_bytes(destination, "big")
        for shift, networks in self._by_length:
            for route in networks.get(value >> shift, ()):
                if not interface or route.interface == interface:
                    return route
        return None

    def adding(self, route):
        """A new table with *route*."""
        return RouteTable((*self.routes, route))

    def without(self, unwanted):
        """A new table without the routes for which ``unwanted(route)`` holds."""
        return RouteTable(route for route in self.routes if not unwanted(route))
