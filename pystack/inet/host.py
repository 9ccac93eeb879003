"""What both versions of IP do alike: route, fit to the path's MTU, hand up, refuse, and tell of errors."""

from pystack import errors, messages
from pystack.inet.finishing import finish_checksum, length_of, length_of_segment, segment_count
from pystack.messages import BROADCAST, MULTICAST


class Host:
    """One version of IP; `Ipv4Host` and `Ipv6Host` have the rest.

    It owns the addresses and routes of its version, the path MTUs, the fragments and what its ICMP remembers.

    Args:
        layer: the `InetLayer`, for its outboxes, counters, interfaces and transports.
        addresses, pmtu, reassembly, icmp: the version's parts.
    """

    # What the version sets: its header module (`inet.ipv4` or `inet.ipv6`), the number of its ICMP, the address of
    # nobody, the lengths of the header without options and of the greatest packet, and a prefix for the names of its
    # counters.
    ip = None
    icmp_protocol = 0
    unspecified = b""
    header_length = 0
    max_length = 0
    prefix = ""

    def __init__(self, layer, addresses, pmtu, reassembly, icmp, default_ttl):
        self.addresses = addresses
        self.pmtu = pmtu
        self._layer = layer
        self._reassembly = reassembly
        self._icmp = icmp
        self._default_ttl = default_ttl
        self._memberships = {}  # interface index -> Membership, of those that multicast
        self._in_receives = f"{self.prefix}InReceives"
        self._in_delivers = f"{self.prefix}InDelivers"
        self._out_requests = f"{self.prefix}OutRequests"

    # -- what transports ask ------------------------------------------------------------------------------------------

    def path(self, destination, interface, source):
        """See `InetLayer.path`."""
        path = self.addresses.path(destination, interface)
        if path is None:
            return None
        state = path.interface
        # The loopback's MTU is one byte more than an IPv4 datagram can have; Linux's TCP has an MSS of 65495 there.
        mtu = min(self.pmtu.of(destination, self._link_mtu(state)), self.max_length)
        return messages.PathFacts(source or path.source, mtu, state.index, path.kind, state.loopback)

    def _link_mtu(self, interface):
        """Bytes of IP packet."""
        return interface.mtu

    def _is_confined(self, group):
        """Whether what is sent to *group* must not leave this host."""
        return False

    # -- timers -------------------------------------------------------------------------------------------------------

    def expire(self, now):
        """Time out fragments, path MTUs and membership reports."""
        for packet in self._reassembly.expire(now):
            self.answer_error(packet, messages.REASSEMBLY_EXCEEDED, now)
        self.pmtu.expire(now)
        for membership in self._memberships.values():
            membership.expire(now)
        self.send_reports(now)

    def timed(self):
        """The parts that have a deadline."""
        return self._reassembly, self.pmtu, *self._memberships.values()

    # -- receiving ----------------------------------------------------------------------------------------------------

    def hand_up_error(self, message, quoted_length, now):
        """An ICMP error goes to the transport that can match it with a flow; an echo's flow is matched here."""
        layer = self._layer
        if not self.addresses.is_ours(message.source):
            layer.drops[errors.ICMP_UNMATCHED] += 1
            return
        if message.cause == messages.PACKET_TOO_BIG:
            path = self.addresses.path(message.destination)
            mtu = path and self.pmtu.plausible(
                message.destination, message.mtu, quoted_length, self._link_mtu(path.interface)
            )
            if not mtu:
                layer.drops[errors.ICMP_UNMATCHED] += 1
                return
            message.mtu = mtu
        if message.protocol != self.icmp_protocol:
            name = layer.transports.get(message.protocol)
            if name is None:
                layer.drops[errors.ICMP_UNMATCHED] += 1
            else:
                layer.outboxes[f"{name}.control"].append(message)
        elif self._icmp.asked(message.destination, message.quoted[4:8]):
            if message.mtu:
                self.pmtu.learn(message.destination, message.mtu, now)
            layer.outboxes["echo"].append(message)
        else:
            layer.drops[errors.ICMP_UNMATCHED] += 1

    # -- sending ------------------------------------------------------------------------------------------------------

    def transmit(self, packet, now):
        """Route, then finish or fragment; what goes wrong is told to the transport."""
        layer, header_length = self._layer, self.header_length
        layer.counts[self._out_requests] += 1
        path = self.addresses.path(packet.destination, packet.interface)
        if path is None:
            self._refuse(packet, errors.NO_ROUTE, messages.NET_UNREACHABLE)
            return
        if packet.source is None:
            if path.source is None and not self._needs_no_source(packet):
                self._refuse(packet, errors.NO_SOURCE, messages.NET_UNREACHABLE)
                return
            packet.source = path.source or self.unspecified
        interface = path.interface
        packet.interface = interface.index
        packet.next_hop = path.next_hop
        length = length_of(packet, header_length)
        mtu = self._link_mtu(interface)
        if self.pmtu.learned:
            mtu = self.pmtu.of(packet.destination, mtu)
            if packet.dont_fragment and self.pmtu.fragments(packet.destination):
                packet.dont_fragment = False
        # Of a super-segment each wire segment has to fit.
        if length <= mtu:
            packet.gso_size = 0
        largest = length_of_segment(packet, header_length) if packet.gso_size else length
        if length > self.max_length or (largest > mtu and (packet.dont_fragment or packet.gso_size)):
            self._refuse(packet, errors.TOO_BIG, messages.PACKET_TOO_BIG, mtu)
            return
        ttl = packet.ttl or (1 if path.kind == MULTICAST else self._default_ttl)
        if largest != length:  # a super-segment, which the device or else the link layer cuts
            finish_checksum(packet, length, header_length, True)
            count = segment_count(packet, length, header_length)
            packet.header = self._ip_header(packet, length, ttl, count) + packet.header
            layer.outboxes[interface.name].append(packet)
            return
        if packet.checksum_at is not None:  # before a copy is taken: by IPv6, UDP drops what has none
            finish_checksum(packet, length, header_length, interface.checksum_offload and length <= mtu)
        if path.kind in (BROADCAST, MULTICAST) and not interface.loopback:
            self._loop_back(packet, path.kind, length, ttl)
            if path.kind == MULTICAST and (packet.ttl == 0 or self._is_confined(packet.destination)):
                return
        if length <= mtu:
            packet.header = self._ip_header(packet, length, ttl) + packet.header
            layer.outboxes[interface.name].append(packet)
        else:
            layer.outboxes[interface.name].extend(self._fragments(packet, mtu, ttl))
            layer.counts[f"{self.prefix}FragOKs"] += 1

    def _loop_back(self, packet, kind, length, ttl):
        """Our own transports hear what we send to a broadcast address, or to a group that the interface has joined."""
        name = self._layer.transports.get(packet.protocol)
        if name is None:
            return
        if kind == MULTICAST:
            membership = self._memberships.get(packet.interface)
            if not packet.multicast_loop or membership is None or not membership.is_member(packet.destination):
                return
        self._layer.outboxes[name].append(self.ip.received_copy(packet, length, ttl))

    def _refuse(self, packet, reason, cause, mtu=0):
        """Drop a packet of our own and tell the transport. *packet* has no IP header yet."""
        self._layer.drops[reason] += 1
        self._tell(packet, packet.header, cause, mtu)

    def _tell(self, packet, transport_header, cause, mtu=0):
        message = messages.Unreachable(
            cause,
            packet.protocol,
            packet.source or self.unspecified,
            packet.destination,
            bytes(memoryview(transport_header)[:64]),
            None,
            mtu,
        )
        name = self._layer.transports.get(packet.protocol)
        if name is not None:
            self._layer.outboxes[f"{name}.control"].append(message)
        elif packet.protocol == self.icmp_protocol and self._icmp.asked(packet.destination, message.quoted[4:8]):
            self._layer.outboxes["echo"].append(message)

    def answer_error(self, packet, cause, now, pointer=0):
        """Answer a received packet by the ICMP error for *cause*, where one may be sent."""
        error = self._icmp.error(packet, cause, now, pointer)
        if error is not None:
            self.transmit(error, now)

    # -- messages -----------------------------------------------------------------------------------------------------

    def send_echo(self, message, now):
        """Send an `messages.EchoRequest`."""
        self.transmit(self._icmp.echo_request(message), now)

    def confirm_neighbor(self, address):
        """A transport hears from *address*, so the next hop to it is alive."""
        path = self.addresses.path(address)
        if path is not None and not path.interface.loopback:
            control = self._layer.outboxes[path.interface.control_outbox]
            control.append(messages.NeighborConfirmed(path.next_hop))

    def solicit_failed(self, message, now):
        """A neighbour did not answer; its packets are lost."""
        self.addresses.forget_redirects_to(message.address)
        for packet in message.packets:
            start = self.ip.transport_header(packet)
            if start is not None:
                self._tell(packet, start, messages.HOST_UNREACHABLE)

    def change_membership(self, message, change, now):
        """``join`` or ``leave`` the group of a message."""
        membership = self._memberships[message.interface]
        try:
            getattr(membership, change)(message.group, now)
        except OSError:  # whoever sent it should have asked `Membership.groups` before
            self._layer.drops[errors.MEMBERSHIP_REFUSED] += 1
        self.send_reports(now)
