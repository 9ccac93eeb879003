"""The inet core: takes packets from the links, hands them to the transports, and sends what those give it."""

from pystack import errors, messages
from pystack.counts import Counts
from pystack.deadlines import NEVER, Agenda
from pystack.inet.host4 import Ipv4Host
from pystack.inet.host6 import Ipv6Host


class InetLayer:
    """Owns the two versions of IP, and which transports and interfaces there are.

    Inlets: `receive` (RxPackets from the links), `transmit` (TxPackets from the transports), `control` (messages from
    both). Outboxes: each interface's name (TxPackets) and ``NAME.control``, each transport's name (RxPackets) and
    ``NAME.control`` (Unreachable), ``echo`` (EchoReply and Unreachable, for the ping client), ``events`` (what a person
    would ask about: AddressConflict, AddressClaimed; and what routers say: RouterFlags, NameServersLearned).
    """

    def __init__(self, config, random):
        self.drops = Counts()
        self.counts = Counts()
        self.outboxes = {"echo": [], "events": []}
        self.transports = {}  # protocol number -> name of its outbox
        self.interfaces = {}  # index -> InterfaceState
        self.agenda = Agenda()
        self.v4 = Ipv4Host(self, config, random)
        self.v6 = Ipv6Host(self, config, random)
        self._hosts = (self.v4, self.v6)
        self._handlers = {
            messages.Start: self._start,
            messages.AddAddress: self._add_address,
            messages.RemoveAddress: self._remove_address,
            messages.SetRoutes: self._set_routes,
            messages.SetMtu: self._set_mtu,
            messages.SendError: self._send_error,
            messages.EchoRequest: self._send_echo,
            messages.PmtuChanged: self._learn_pmtu,
            messages.Solicit: self.v6.discovery.solicit,
            messages.SolicitFailed: self._solicit_failed,
            messages.RouterResigned: self._router_resigned,
            messages.AddressClaimed: self._address_claimed,
            messages.AddressConflict: self._address_conflict,
            messages.JoinGroup: self._join,
            messages.LeaveGroup: self._leave,
            messages.NeighborConfirmed: self._confirm_neighbor,
        }

    # -- setting up ---------------------------------------------------------------------------------------------------

    def add_interface(self, interface):
        """Take an `interfaces.InterfaceState`; its link listens on the outboxes named after it."""
        self.interfaces[interface.index] = interface
        self.outboxes[interface.name] = []
        self.outboxes[interface.control_outbox] = []
        for host in self._hosts:
            host.add_interface(interface)

    def add_transport(self, protocol, name):
        """Hand packets of this IANA protocol to the outbox *name*, and errors about them to ``NAME.control``."""
        self.transports[protocol] = name
        self.outboxes[name] = []
        self.outboxes[f"{name}.control"] = []

    def relay_echoes(self, name):
        """Hand echo requests to addresses that no interface has to the outbox *name*, where we would answer them."""
        self.outboxes[name] = []
        for host in self._hosts:
            host.echo_relay = name

    def add_address(self, index, address, prefix_length, probe=False, now=0.0):
        """Give an interface an address. With *probe* it is used only when its link has found no other user of it."""
        self._host(address).add_address(index, address, prefix_length, probe, now)

    def remove_address(self, index, address, now=0.0):
        """Take an address away; packets to it are no longer ours. False if the interface does not have it."""
        return self._host(address).remove_address(index, address, now)

    def add_route(self, route):
        """Raises ValueError if the gateway is not on the link of the `Route`'s interface."""
        self._host(route.network).addresses.add_route(route)

    # -- what transports ask ------------------------------------------------------------------------------------------

    def path(self, destination, interface=0, source=None):
        """How to reach *destination*, by *interface* if it is not 0: `messages.PathFacts`, or None without a route.

        *source* is the address that the sender has. What is sent from it need not leave by its interface, but a
        multicast or limited broadcast does, as on Linux.
        """
        return self._host(destination).path(destination, interface, source)

    def is_local(self, address):
        """Whether *address* is one host's, and ours: a socket may be bound to it."""
        return self._host(address).addresses.is_ours(address)

    # -- the four calls -----------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Take RxPackets whose ``at`` is at the IP header."""
        receive4, receive6 = self.v4.receive, self.v6.receive
        for packet in batch:
            version = packet.buf[packet.at] >> 4 if packet.at < packet.end else 0
            if version == 4:
                receive4(packet, now)
            elif version == 6 and self.interfaces[packet.interface].has_ipv6:
                receive6(packet, now)
            else:
                self.drops[errors.NOT_IP] += 1

    def transmit(self, batch, now):
        """Take TxPackets from transports; what cannot be sent comes back as an Unreachable."""
        transmit4, transmit6 = self.v4.transmit, self.v6.transmit
        for packet in batch:
            if len(packet.destination) == 4:
                transmit4(packet, now)
            else:
                transmit6(packet, now)

    def control(self, batch, now):
        """Take messages from links, transports and the ping client."""
        for message in batch:
            self._handlers[type(message)](message, now)

    def expire(self, now):
        """Let each version do what is due."""
        for host in self._hosts:
            host.expire(now)
        self.agenda.renew(part for host in self._hosts for part in host.timed())

    def next_deadline(self):
        """See `Agenda`."""
        at = self.agenda.at
        return None if at == NEVER else at

    def _host(self, address):
        return self.v4 if len(address) == 4 else self.v6

    # -- messages -----------------------------------------------------------------------------------------------------

    def _start(self, message, now):
        for host in self._hosts:
            host.start(now)

    def _add_address(self, message, now):
        if message.valid is not None:
            self.v6.lend_address(message, now)
            return
        try:
            self._host(message.address).add_address(
                message.interface, message.address, message.prefix_length, message.probe, now, message.on_link
            )
        except ValueError:  # it is there already
            self.outboxes["events"].append(messages.AddressClaimed(message.interface, message.address))

    def _remove_address(self, message, now):
        self.remove_address(message.interface, message.address, now)

    def _set_routes(self, message, now):
        for host, length in ((self.v4, 4), (self.v6, 16)):
            routes = [route for route in message.routes if len(route.network) == length]
            host.addresses.learn(message.interface, message.origin, routes)

    def _set_mtu(self, message, now):
        interface = self.interfaces[message.interface]
        interface.mtu = min(message.mtu, interface.device_mtu)

    def _send_error(self, message, now):
        self._host(message.packet.source).answer_error(message.packet, message.cause, now)

    def _send_echo(self, message, now):
        self._host(message.destination).send_echo(message, now)

    def _learn_pmtu(self, message, now):
        self._host(message.destination).pmtu.learn(message.destination, message.mtu, now)

    def _confirm_neighbor(self, message, now):
        self._host(message.address).confirm_neighbor(message.address)

    def _solicit_failed(self, message, now):
        self._host(message.address).solicit_failed(message, now)

    def _router_resigned(self, message, now):
        self.v6.discovery.resigned(message.interface, message.address, now)

    def _address_claimed(self, message, now):
        self.v4.addresses.set_usable(message.interface, message.address)
        self.outboxes["events"].append(message)

    def _address_conflict(self, message, now):
        self.remove_address(message.interface, message.address, now)
        self.outboxes["events"].append(message)

    def _join(self, message, now):
        self._host(message.group).change_membership(message, "join", now)

    def _leave(self, message, now):
        self._host(message.group).change_membership(message, "leave", now)
