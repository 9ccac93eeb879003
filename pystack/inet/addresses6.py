"""IPv6 addresses and routes, and which address to send from (RFC 6724)."""

from pystack.inet.addresses import Addresses, Path
from pystack.messages import LOCAL, MULTICAST, UNICAST
from pystack.routes import Route
from pystack.scope import is_link_local, on_wire, scope_of
from pystack.wire.ipv6 import LOOPBACK, UNSPECIFIED, V4_MAPPED

LINK_LOCAL, SITE_LOCAL, GLOBAL = 2, 5, 14  # scopes (RFC 4291 §2.7)
INTERFACE_LOCAL = 1

# RFC 6724 §2.1: prefix, its length, label. The longest that fits counts.
_POLICY = (
    (LOOPBACK, 128, 0),
    (V4_MAPPED, 96, 4),
    (UNSPECIFIED, 96, 3),
    (bytes.fromhex("20010000") + bytes(12), 32, 5),
    (bytes.fromhex("2002") + bytes(14), 16, 2),
    (bytes.fromhex("3ffe") + bytes(14), 16, 12),
    (bytes.fromhex("fec0") + bytes(14), 10, 11),
    (bytes.fromhex("fc00") + bytes(14), 7, 13),
    (UNSPECIFIED, 0, 1),
)
_LABELS = {}
for _prefix, _length, _label in _POLICY:
    _LABELS.setdefault(128 - _length, {})[int.from_bytes(_prefix, "big") >> (128 - _length)] = _label


class Addresses6(Addresses):
    """See `Addresses`. Link-local addresses carry their interface (`pystack.scope`)."""

    def __init__(self, interfaces, prefer_temporary):
        super().__init__(interfaces)
        self._prefer_temporary = prefer_temporary
        self._homes = {}  # link-local address of ours as on the wire -> the same with its interface

    def held_by(self, interface):
        return interface.addresses6

    def changed(self):
        super().changed()
        self._homes = {on_wire(address): address for address in self.local if is_link_local(address)}

    def at_home(self, address):
        """A link-local address that came by the loopback, with the interface that has it.

        One that two interfaces have, which no address of the stack's own making is, counts as one of them.
        """
        return self._homes.get(on_wire(address), address)

    def is_local(self, destination, interface):
        """Whether a packet for *destination* that came in by *interface* is for this host alone."""
        if destination == LOOPBACK:
            return interface.loopback
        return destination in self.local or (interface.accepts_any and _is_unicast(destination))

    def is_ours(self, address):
        """Whether *address* is one host's, and this host may be it: a socket may be bound to it."""
        if address in self.local:
            return True
        return _is_unicast(address) and any(state.accepts_any for state in self._interfaces.values())

    def valid_source(self, source, interface):
        """Whether a packet may have come from *source* by *interface* (RFC 4291 §2.5.2, §2.5.3, §2.7).

        A v4-mapped one is refused as on Linux; one of our own addresses too, which Linux lets through.
        """
        if source[0] == 0xFF or source[:12] == V4_MAPPED:
            return False
        return interface.loopback or (source != LOOPBACK and source not in self.local)

    def set_deprecated(self, address, deprecated):
        """Prefer others to it, or no more so (RFC 4862 §5.5.4)."""
        held = self.find(address)
        if held is not None:
            held.deprecated = deprecated
            self.changed()

    def set_temporary(self, address):
        """It is a temporary address (RFC 8981)."""
        held = self.find(address)
        if held is not None:
            held.temporary = True
            self.changed()

    def _is_on_link(self, gateway, index):
        return scope_of(gateway) == index if is_link_local(gateway) else super()._is_on_link(gateway, index)

    def _may_redirect_to(self, gateway, destination, interface):
        # RFC 4861 §8.1: a router's link-local address, or the destination itself, which is on the link then.
        if is_link_local(destination):
            return False  # it is on the link as it is
        return gateway not in self.local and (gateway == destination or is_link_local(gateway))

    def _find_path(self, destination, index):
        if destination in self.local or destination == LOOPBACK:
            loopback = self._loopback()
            return None if loopback is None else Path(LOCAL, loopback, destination, destination)
        if destination[0] == 0xFF:
            return self._multicast_path(destination, index)
        if destination == UNSPECIFIED:
            return None  # RFC 4291 §2.5.2; a socket that connects there means the loopback, and says so
        if is_link_local(destination):
            scope = scope_of(destination)
            if index and index != scope:
                return None
            route = Route(UNSPECIFIED, 0, scope)
        else:
            route = self.routes.lookup(destination, index)
        interface = route and self._interfaces.get(route.interface)
        if not interface or not interface.has_ipv6 or (interface.loopback and is_link_local(destination)):
            return None
        next_hop = self._redirects.get(destination) or route.gateway or destination
        return Path(UNICAST, interface, next_hop, self.select_source(destination, interface))

    def _multicast_path(self, destination, index):
        """By the interface that is asked for, else the first; on the node alone by the loopback."""
        if destination[1] & 15 == INTERFACE_LOCAL and not index:
            interface = self._loopback()
        else:
            interface = self._interfaces.get(index) if index else self._first_outward() or self._loopback()
        if interface is None or not interface.has_ipv6:
            return None
        source = LOOPBACK if interface.loopback else self.select_source(destination, interface)
        return Path(MULTICAST, interface, destination, source)

    def select_source(self, destination, interface):
        """RFC 6724 §5: the best address to send from to *destination* by *interface*; None if there is none."""
        near = is_link_local(destination) or destination[0] == 0xFF  # §4: only the interface's own addresses
        candidates = [(held, True) for held in interface.addresses6 if held.usable]
        for state in () if near else self._interfaces.values():
            if state is not interface and not state.loopback:
                # A link-local address means nothing on another link.
                others = (held for held in state.addresses6 if held.usable and not is_link_local(held.address))
                candidates += [(held, False) for held in others]
        if not candidates:
            return None
        wanted, label = _scope(destination), _label(destination)
        value = int.from_bytes(destination, "big")

        def rank(candidate):
            held, outgoing = candidate
            scope = _scope(held.address)
            alike = 128 - (value ^ int.from_bytes(held.address, "big")).bit_length()
            return (
                held.address == destination,  # rule 1
                (1, -scope) if scope >= wanted else (0, scope),  # rule 2
                not held.deprecated,  # rule 3
                outgoing,  # rule 5
                _label(held.address) == label,  # rule 6
                held.temporary == self._prefer_temporary,  # rule 7; Linux's default prefers public ones
                min(alike, held.prefix_length),  # rule 8
            )

        return max(candidates, key=rank)[0].address


def _is_unicast(address):
    return address[0] != 0xFF and address not in (UNSPECIFIED, LOOPBACK)


def _scope(address):
    """RFC 6724 §3.1, §3.2."""
    if address[0] == 0xFF:
        return address[1] & 15
    if is_link_local(address) or address == LOOPBACK:
        return LINK_LOCAL
    return SITE_LOCAL if address[0] == 0xFE and address[1] & 0xC0 == 0xC0 else GLOBAL


def _label(address):
    value = int.from_bytes(address, "big")
    for shift, labels in _LABELS.items():
        label = labels.get(value >> shift)
        if label is not None:
            return label
    return None
