"""Neighbour Discovery (RFC 4861): answers who asks for us, asks for others, believes redirects.

Who is where and whether it lives is the link's to know (`link.neighbors`); what it needs crosses as messages.
"""

from pystack import errors, messages
from pystack.inet.interface6 import Interface6
from pystack.packet import TxPacket
from pystack.scope import is_link_local, on_wire, scoped
from pystack.wire import icmp6, ipv6, ndp


class NeighborDiscovery:
    """*host* is the `Ipv6Host`, *layer* the `InetLayer`."""

    def __init__(self, host, layer, config, random):
        self._host = host
        self._layer = layer
        self._config = config.ipv6
        self._random = random
        self._interfaces = {}  # index -> Interface6, of those that have neighbours
        self._handlers = {
            ndp.RouterAdvertisement: self._router_advertised,
            ndp.NeighborSolicitation: self._solicited,
            ndp.NeighborAdvertisement: self._advertised,
            ndp.Redirect: self._redirected,
        }

    # -- addresses ----------------------------------------------------------------------------------------------------

    def add_interface(self, interface):
        """Take an `interfaces.InterfaceState` that has neighbours."""
        self._interfaces[interface.index] = Interface6(
            self, self._host.addresses, self._layer, interface, self._config, self._random
        )

    def of(self, index):
        """The `Interface6` of that index; None of a loopback, and of one without IPv6."""
        return self._interfaces.get(index)

    def link_local(self, index):
        """The usable link-local address of an interface, or None."""
        for held in self._layer.interfaces[index].addresses6:
            if held.usable and is_link_local(held.address):
                return held.address
        return None

    def start(self, now):
        """The stack runs."""
        for interface in self._interfaces.values():
            interface.start(now)

    def set_hop_limit(self, hop_limit):
        """A router says what packets leave with whose program does not choose."""
        self._host.set_hop_limit(hop_limit)

    # -- timers -------------------------------------------------------------------------------------------------------

    def timed(self):
        """The parts that have a deadline."""
        return [part for interface in self._interfaces.values() for part in interface.timed()]

    def expire(self, now):
        """Do what is due."""
        for interface in self._interfaces.values():
            interface.expire(now)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, packet, fragmented, now):
        """Take an RxPacket at an ICMPv6 message of the types 133 to 137 whose checksum is right."""
        message = None
        # RFC 4861 §6.1 and others: no router has passed it on; RFC 6980 §5: not in fragments.
        if packet.ttl == ndp.HOP_LIMIT and not fragmented:
            message = ndp.parse(packet.buf, packet.at, packet.end)
        handler = self._handlers.get(type(message))
        interface = self._layer.interfaces[packet.interface]
        if interface.index not in self._interfaces:
            return
        if handler is None and type(message) is ndp.RouterSolicitation:
            self._layer.counts["NdpIgnored"] += 1  # for routers
        elif handler is None or _is_group(message.link_address) or not handler(interface, packet, message, now):
            self._layer.drops[errors.BAD_NDP] += 1

    def _solicited(self, interface, packet, message, now):
        """RFC 4861 §7.1.1, §7.2.3, §7.2.4. False if it must be ignored."""
        target = scoped(message.target, interface.index)
        source = packet.source
        if source == ipv6.UNSPECIFIED and (
            message.link_address is not None or packet.destination != ipv6.solicited_node(target)
        ):
            return False
        if not self._is_held(interface, target):
            if source == ipv6.UNSPECIFIED:
                self._interfaces[interface.index].duplicates.solicited(target, message.nonce, now)
                self._interfaces[interface.index].act(now)
            return True
        if source != ipv6.UNSPECIFIED and message.link_address is not None:
            self._tell_link(interface, messages.NeighborHeard(source, message.link_address))
        answer = ndp.NeighborAdvertisement(
            on_wire(target), solicited=source != ipv6.UNSPECIFIED, override=True, link_address=interface.mac
        )
        destination = ipv6.ALL_NODES if source == ipv6.UNSPECIFIED else source
        self._send(interface.index, answer, destination, target, now)
        return True

    def _advertised(self, interface, packet, message, now):
        """RFC 4861 §7.1.2, §7.2.5. False if it must be ignored."""
        if message.solicited and packet.destination[0] == 0xFF:
            return False
        target = scoped(message.target, interface.index)
        own = self._interfaces[interface.index]
        if self._host.addresses.find(target) in interface.addresses6:
            own.duplicates.advertised(target, message.link_address, now)
            own.act(now)
            return True
        if message.solicited:
            own.routers.reachable(target)
            own.act(now)
        resigns = not message.router and own.routers.is_default(target)
        self._tell_link(
            interface,
            messages.NeighborAdvertised(target, message.link_address, message.solicited, message.override, resigns),
        )
        return True

    def _router_advertised(self, interface, packet, message, now):
        """RFC 4861 §6.1.2, §6.3.4. False if it must be ignored."""
        if not is_link_local(packet.source):
            return False
        if message.link_address is not None:
            self._tell_link(interface, messages.NeighborHeard(packet.source, message.link_address))
        own = self._interfaces[interface.index]
        own.routers.advertised(message, packet.source, now)
        own.autoconf.advertised(message, now)
        own.act(now)
        return True

    def _redirected(self, interface, packet, message, now):
        """RFC 4861 §8.1, §8.3. False if it must be ignored."""
        target, destination = (scoped(each, interface.index) for each in (message.target, message.destination))
        if not self._config.accept_redirects or not is_link_local(packet.source):
            return False
        if not self._host.addresses.redirect(destination, packet.source, target, interface.index):
            return False
        self._layer.counts["Icmp6InRedirects"] += 1
        if message.link_address is not None:
            self._tell_link(interface, messages.NeighborHeard(target, message.link_address))
        return True

    def _is_held(self, interface, address):
        return any(held.address == address and held.usable for held in interface.addresses6)

    def _tell_link(self, interface, message):
        self._layer.outboxes[interface.control_outbox].append(message)

    # -- sending ------------------------------------------------------------------------------------------------------

    def solicit(self, message, now):
        """Ask for a neighbour, as a `messages.Solicit` of the link wants (RFC 4861 §7.2.2)."""
        interface = self._layer.interfaces[message.interface]
        source = message.source
        if source is None or not self._is_held(interface, source):
            source = self._host.addresses.select_source(message.address, interface)
        if source is None:
            return  # the address has gone; the neighbour will be given up
        question = ndp.NeighborSolicitation(on_wire(message.address), interface.mac)
        destination = message.address if message.unicast else ipv6.solicited_node(message.address)
        self._send(message.interface, question, destination, source, now)

    def probe(self, interface, target, nonce, now):
        """Ask, without an address, whether somebody has *target* (RFC 4862 §5.4.2)."""
        question = ndp.NeighborSolicitation(on_wire(target), nonce=nonce)
        self._send(interface.index, question, ipv6.solicited_node(target), ipv6.UNSPECIFIED, now)

    def solicit_routers(self, interface, now):
        """RFC 4861 §6.3.7."""
        source = self.link_local(interface.index)
        question = ndp.RouterSolicitation(interface.mac if source is not None else None)
        self._send(interface.index, question, ipv6.ALL_ROUTERS, source or ipv6.UNSPECIFIED, now)

    def unreachable(self, index, address, now):
        """A neighbour does not answer; it may be a router."""
        interface = self._interfaces.get(index)
        if interface is not None:
            interface.routers.unreachable(address)
            interface.act(now)

    def resigned(self, index, address, now):
        """A default router is none any more: its destinations go by others (RFC 4861 §7.2.5)."""
        interface = self._interfaces[index]
        interface.routers.resigned(address)
        interface.act(now)
        self._host.addresses.forget_redirects_to(address)

    def _send(self, index, message, destination, source, now):
        packet = TxPacket(destination, ipv6.ICMPV6, ndp.build(message), source=source, ttl=ndp.HOP_LIMIT)
        packet.checksum_at = icmp6.CHECKSUM_AT
        packet.interface = index
        packet.multicast_loop = False
        packet.dont_fragment = True
        self._layer.counts["NdpOutMsgs"] += 1
        self._host.transmit(packet, now)


def _is_group(mac):
    return mac is not None and mac[0] & 1 == 1
