"""The inet core: takes packets from the links, hands them to the transports, and sends what those give it."""

from collections import Counter

from pystack import errors, messages
from pystack.inet import ipv4 as ip
from pystack.inet import multicast, segmentation
from pystack.inet.addresses import ANY, BROADCAST, LIMITED_BROADCAST, MULTICAST, Addresses
from pystack.inet.icmp import Icmp, Redirect
from pystack.inet.pmtu import PathMtu
from pystack.inet.reassembly import Reassembly, rebuild_ipv4
from pystack.packet import TxPacket
from pystack.wire import icmp, igmp, ipv4

_ECHO_REQUEST = bytes((icmp.ECHO_REQUEST,))


class InetLayer:
    """Owns addresses, routes, fragments, path MTUs, group memberships and the ICMP limits.

    Inlets: `receive` (RxPackets from the links), `transmit` (TxPackets from the transports), `control` (messages from
    both). Outboxes: each interface's name (TxPackets) and ``NAME.control``, each transport's name (RxPackets) and
    ``NAME.control`` (Unreachable), ``echo`` (EchoReply and Unreachable, for the ping client), ``events`` (what a person
    would ask about: AddressConflict, AddressClaimed).
    """

    def __init__(self, config, random):
        self.drops = Counter()
        self.counts = Counter()
        self.outboxes = {"echo": [], "events": []}
        self.addresses = Addresses()
        self.pmtu = PathMtu(config.pmtu_expires, config.min_pmtu)
        self._default_ttl = config.default_ttl
        self._reassembly = Reassembly(
            max_bytes=config.reassembly_max_bytes,
            max_assemblies=config.reassembly_max_datagrams,
            timeout=config.reassembly_timeout,
            drops=self.drops,
            counts=self.counts,
        )
        self._icmp = Icmp(config, self.drops, self.counts)
        self._identifications = ip.Identifications(random)
        self._transports = {}  # protocol number -> name of its outbox
        self._echo_relay = None  # the outbox of echo requests to addresses that no interface has
        self._memberships = {}  # interface index -> Membership, of those that multicast
        self._handlers = {
            messages.SendError: self._send_error,
            messages.EchoRequest: self._send_echo,
            messages.PmtuChanged: self._learn_pmtu,
            messages.SolicitFailed: self._solicit_failed,
            messages.AddressClaimed: self._address_claimed,
            messages.AddressConflict: self._address_conflict,
            messages.JoinGroup: self._join,
            messages.LeaveGroup: self._leave,
            messages.NeighborConfirmed: self._confirm_neighbor,
        }

    # -- setting up ---------------------------------------------------------------------------------------------------

    def add_interface(self, interface):
        """Take an `addresses.InterfaceState`; its link listens on the outboxes named after it."""
        self.addresses.add_interface(interface)
        self.outboxes[interface.name] = []
        self.outboxes[interface.control_outbox] = []
        if interface.membership is not None:
            self._memberships[interface.index] = interface.membership

    def add_transport(self, protocol, name):
        """Hand packets of this IANA protocol to the outbox *name*, and errors about them to ``NAME.control``."""
        self._transports[protocol] = name
        self.outboxes[name] = []
        self.outboxes[f"{name}.control"] = []

    def relay_echoes(self, name):
        """Hand echo requests to addresses that no interface has to the outbox *name*, where we would answer them."""
        self._echo_relay = name
        self.outboxes[name] = []

    def add_address(self, index, address, prefix_length, probe=False):
        """Give an interface an address. With *probe* it is used only when its link has found no other user of it."""
        interface = self.addresses.interfaces[index]
        self.addresses.add(index, address, prefix_length, usable=interface.loopback or not probe)
        if not interface.loopback:
            control = self.outboxes[interface.control_outbox]
            control.append(messages.SetBroadcasts(interface.broadcasts))
            control.append(messages.ClaimAddress(address, probe))

    def remove_address(self, index, address):
        """Take an address away; packets to it are no longer ours. False if the interface does not have it."""
        interface = self.addresses.interfaces[index]
        if not self.addresses.remove(index, address):
            return False
        if not interface.loopback:
            control = self.outboxes[interface.control_outbox]
            control.append(messages.ReleaseAddress(address))
            control.append(messages.SetBroadcasts(interface.broadcasts))
        return True

    # -- what transports ask ------------------------------------------------------------------------------------------

    def path(self, destination, interface=0, source=None):
        """How to reach *destination*, by *interface* if it is not 0: `messages.PathFacts`, or None without a route.

        *source* is the address that the sender has. What is sent from it need not leave by its interface, but a
        multicast or limited broadcast does, as on Linux.
        """
        if source is not None and not interface and destination[0] >= 224 and len(destination) == 4:
            interface = self.addresses.interface_of(source)
        path = self.addresses.path(destination, interface)
        if path is None:
            return None
        state = path.interface
        # The loopback's MTU is one byte more than a datagram can have; Linux's TCP has an MSS of 65495 there.
        mtu = min(self.pmtu.of(destination, state.mtu), ipv4.MAX_TOTAL_LENGTH)
        return messages.PathFacts(source or path.source, mtu, state.index, path.kind, state.loopback)

    def is_local(self, address):
        """Whether *address* is one host's, and ours: a socket may be bound to it."""
        return self.addresses.is_ours(address)

    # -- the four calls -----------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Take RxPackets whose ``at`` is at the IP header."""
        for packet in batch:
            if packet.at < packet.end and packet.buf[packet.at] >> 4 == 4:
                self._receive_ipv4(packet, now)
            else:
                self.drops[errors.NOT_IP] += 1

    def transmit(self, batch, now):
        """Take TxPackets from transports; what cannot be sent comes back as an Unreachable."""
        for packet in batch:
            self._transmit(packet, now)

    def control(self, batch, now):
        """Take messages from links, transports and the ping client."""
        for message in batch:
            self._handlers[type(message)](message, now)
        self._send_reports(now)

    def expire(self, now):
        """Time out fragments, path MTUs and membership reports."""
        for packet in self._reassembly.expire(now):
            self._answer_error(packet, messages.REASSEMBLY_EXCEEDED, now)
        self.pmtu.expire(now)
        for membership in self._memberships.values():
            membership.expire(now)
        self._send_reports(now)

    def next_deadline(self):
        """The earliest of its parts'."""
        earliest = None
        for part in (self._reassembly, self.pmtu, *self._memberships.values()):
            at = part.next_deadline()
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _receive_ipv4(self, packet, now):
        self.counts["InReceives"] += 1
        reason, identification, flags_offset = ip.read_header(packet)
        if reason is not None:
            self.drops[reason] += 1
            return
        interface = self.addresses.interfaces[packet.interface]
        destination = packet.destination
        unicast = self.addresses.is_local(destination, interface)
        # A packet to our unicast address in a link-layer broadcast is taken: Linux does (drop_unicast_in_l2_multicast
        # is 0), where RFC 1122 §3.3.6 would drop it. `Icmp.error` stays silent about it.
        if not unicast and not self._is_group_of_ours(packet, interface):
            return
        if not self._valid_source(packet, interface, unicast):
            self.drops[errors.MARTIAN_SOURCE] += 1
            return
        if packet.options and not self._accept_options(packet, now):
            return
        if flags_offset & (ipv4.MORE_FRAGMENTS | ipv4.OFFSET_MASK):
            datagram = self._reassembly.add(
                (packet.source, destination, packet.protocol, identification),
                (flags_offset & ipv4.OFFSET_MASK) * 8,
                flags_offset & ipv4.MORE_FRAGMENTS,
                packet,
                packet.tos & 3,
                now,
            )
            if datagram is None:
                return
            packet = rebuild_ipv4(datagram)
        self._deliver(packet, interface, unicast, now)

    def _is_group_of_ours(self, packet, interface):
        """Broadcast, or multicast that we are a member of; else counted."""
        destination = packet.destination
        if destination in interface.broadcasts:
            return True
        if 224 <= destination[0] < 240:
            if interface.loopback:
                return True  # only we can have sent it; the transport knows who of us has joined
            if interface.membership is not None and interface.membership.is_member(destination):
                return True
            self.drops[errors.NOT_A_MEMBER] += 1
        else:
            self.drops[errors.NOT_OURS] += 1
        return False

    def _valid_source(self, packet, interface, unicast):
        if packet.source == ANY:
            # Linux: 0.0.0.0 may speak to the limited broadcast (a DHCP client) and in IGMP (a host still without one).
            return packet.destination == LIMITED_BROADCAST or (packet.protocol == ipv4.IGMP and not unicast)
        return self.addresses.valid_source(packet.source, interface)

    def _accept_options(self, packet, now):
        reason, pointer = ip.judge_options(packet.options)
        if reason is None:
            return True
        self.drops[reason] += 1
        if reason == errors.BAD_OPTION:
            self._answer_error(packet, messages.PARAMETER_PROBLEM, now, pointer)
        return False

    def _deliver(self, packet, interface, unicast, now):
        protocol = packet.protocol
        name = self._transports.get(protocol)
        if name is not None:
            self.outboxes[name].append(packet)
        elif protocol == ipv4.ICMP:
            if self._echo_relay is not None and unicast and self._is_foreign_echo(packet):
                self.outboxes[self._echo_relay].append(packet)
            else:
                self._deliver_icmp(packet, interface, unicast, now)
        elif protocol == ipv4.IGMP:
            self._deliver_igmp(packet, interface, now)
        else:
            self.drops[errors.UNKNOWN_PROTOCOL] += 1
            self._answer_error(packet, messages.PROTOCOL_UNREACHABLE, now)
            return
        self.counts["InDelivers"] += 1

    def _deliver_icmp(self, packet, interface, unicast, now):
        result = self._icmp.receive(packet, now, unicast)
        if result is None:
            return
        if type(result) is TxPacket:
            self._transmit(result, now)
        elif type(result) is messages.EchoReply:
            self.outboxes["echo"].append(result)
        elif type(result) is Redirect:
            self._redirect(packet, result)
        else:
            self._hand_up_error(*result, now)

    def _is_foreign_echo(self, packet):
        at = packet.at
        return packet.destination not in self.addresses.local and packet.buf[at : at + 1] == _ECHO_REQUEST

    def _redirect(self, packet, redirect):
        known = redirect.source in self.addresses.local
        if known and self.addresses.redirect(redirect.destination, packet.source, redirect.gateway, packet.interface):
            self.counts["IcmpInRedirects"] += 1
        else:
            self.drops[errors.ICMP_UNMATCHED] += 1

    def _hand_up_error(self, message, quoted_length, now):
        """An ICMP error goes to the transport that can match it with a flow; an echo's flow is matched here."""
        if not self.addresses.is_ours(message.source):
            self.drops[errors.ICMP_UNMATCHED] += 1
            return
        if message.cause == messages.PACKET_TOO_BIG:
            path = self.addresses.path(message.destination)
            mtu = path and self.pmtu.plausible(message.destination, message.mtu, quoted_length, path.interface.mtu)
            if not mtu:
                self.drops[errors.ICMP_UNMATCHED] += 1
                return
            message.mtu = mtu
        if message.protocol != ipv4.ICMP:
            name = self._transports.get(message.protocol)
            if name is None:
                self.drops[errors.ICMP_UNMATCHED] += 1
            else:
                self.outboxes[f"{name}.control"].append(message)
        elif self._icmp.asked(message.destination, message.quoted[4:8]):
            if message.mtu:
                self.pmtu.learn(message.destination, message.mtu, now)
            self.outboxes["echo"].append(message)
        else:
            self.drops[errors.ICMP_UNMATCHED] += 1

    def _deliver_igmp(self, packet, interface, now):
        membership = interface.membership
        message = igmp.parse(packet.buf, packet.at, packet.end) if membership is not None else None
        kind = type(message)
        if kind is igmp.Query:
            if not membership.query(packet.source, packet.destination, message, now):
                self.drops[errors.BAD_IGMP] += 1
        elif kind is igmp.Report:
            membership.report(message, now)
        elif message is None:
            self.drops[errors.BAD_IGMP] += 1
        else:
            self.counts["IgmpIgnored"] += 1  # leaves and version 3 reports are for routers
        self._send_reports(now)

    # -- sending ------------------------------------------------------------------------------------------------------

    def _transmit(self, packet, now):
        """Route, then finish or fragment; what goes wrong is told to the transport."""
        self.counts["OutRequests"] += 1
        path = self.addresses.path(packet.destination, packet.interface)
        if path is None:
            self._refuse(packet, errors.NO_ROUTE, messages.NET_UNREACHABLE)
            return
        if packet.source is None:
            if path.source is None and packet.protocol != ipv4.IGMP:
                self._refuse(packet, errors.NO_SOURCE, messages.NET_UNREACHABLE)
                return
            packet.source = path.source or ANY
        interface = path.interface
        packet.interface = interface.index
        packet.next_hop = path.next_hop
        length = ip.length_of(packet)
        mtu = self.pmtu.of(packet.destination, interface.mtu)
        if packet.dont_fragment and self.pmtu.fragments(packet.destination):
            packet.dont_fragment = False
        # Of a super-segment each wire segment has to fit.
        if length <= mtu:
            packet.gso_size = 0
        largest = ip.length_of_segment(packet) if packet.gso_size else length
        if length > ipv4.MAX_TOTAL_LENGTH or (largest > mtu and (packet.dont_fragment or packet.gso_size)):
            self._refuse(packet, errors.TOO_BIG, messages.PACKET_TOO_BIG, mtu)
            return
        ttl = packet.ttl or (1 if path.kind == MULTICAST else self._default_ttl)
        if largest != length:
            self._transmit_super_segment(packet, interface, length, ttl)
            return
        if path.kind in (BROADCAST, MULTICAST) and not interface.loopback:
            self._loop_back(packet, path.kind, length, ttl)
            if path.kind == MULTICAST and packet.ttl == 0:
                return
        if packet.checksum_at is not None:
            ip.finish_checksum(packet, length, interface.checksum_offload and length <= mtu)
        outbox = self.outboxes[interface.name]
        # RFC 6864 §4.1: a packet that cannot be fragmented needs no identification; Linux sends 0.
        identification = 0 if packet.dont_fragment else self._identifications.next(packet)
        if length <= mtu:
            ip.finish(packet, length, identification, ttl)
            outbox.append(packet)
        else:
            outbox.extend(ip.fragment(packet, mtu, identification, ttl))
            self.counts["FragOKs"] += 1

    def _loop_back(self, packet, kind, length, ttl):
        """Our own transports hear what we send to a broadcast address, or to a group that the interface has joined."""
        name = self._transports.get(packet.protocol)
        if name is None:
            return
        if kind == MULTICAST:
            membership = self.addresses.interfaces[packet.interface].membership
            if not packet.multicast_loop or membership is None or not membership.is_member(packet.destination):
                return
        self.outboxes[name].append(ip.received_copy(packet, length, ttl))

    def _transmit_super_segment(self, packet, interface, length, ttl):
        """Leave it to the device to cut it, or cut it now."""
        outbox = self.outboxes[interface.name]
        if interface.segment_offload:
            identification = 0
            if not packet.dont_fragment:
                # The device numbers its segments from here on (Linux's ip_select_ident_segs).
                identification = self._identifications.next(packet, ip.segment_count(packet, length))
            ip.finish_checksum(packet, length, True)
            ip.finish(packet, length, identification, ttl)
            outbox.append(packet)
            return
        for segment in segmentation.segments(packet):
            size = ip.length_of(segment)
            ip.finish_checksum(segment, size, interface.checksum_offload)
            ip.finish(segment, size, 0 if segment.dont_fragment else self._identifications.next(segment), ttl)
            outbox.append(segment)

    def _refuse(self, packet, reason, cause, mtu=0):
        """Drop a packet of our own and tell the transport. *packet* has no IP header yet."""
        self.drops[reason] += 1
        self._tell(packet, packet.header, cause, mtu)

    def _tell(self, packet, transport_header, cause, mtu=0):
        message = messages.Unreachable(
            cause,
            packet.protocol,
            packet.source or ANY,
            packet.destination,
            bytes(memoryview(transport_header)[:64]),
            None,
            mtu,
        )
        name = self._transports.get(packet.protocol)
        if name is not None:
            self.outboxes[f"{name}.control"].append(message)
        elif packet.protocol == ipv4.ICMP and self._icmp.asked(packet.destination, message.quoted[4:8]):
            self.outboxes["echo"].append(message)

    def _answer_error(self, packet, cause, now, pointer=0):
        interface = self.addresses.interfaces[packet.interface]
        unicast = self.addresses.is_local(packet.destination, interface)
        if not unicast:
            self.drops[errors.ICMP_FORBIDDEN] += 1  # RFC 1122 §3.2.2: never about a broadcast
            return
        error = self._icmp.error(packet, cause, packet.destination, now, pointer)
        if error is not None:
            self._transmit(error, now)

    def _send_reports(self, now):
        """Send what the memberships have to report."""
        for index, membership in self._memberships.items():
            for destination, report in membership.take():
                packet = TxPacket(
                    destination,
                    ipv4.IGMP,
                    report,
                    ttl=multicast.TTL,
                    tos=multicast.TOS,
                    options=multicast.ROUTER_ALERT,
                )
                packet.interface = index
                packet.dont_fragment = True  # as Linux
                self._transmit(packet, now)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _send_error(self, message, now):
        self._answer_error(message.packet, message.cause, now)

    def _send_echo(self, message, now):
        self._transmit(self._icmp.echo_request(message), now)

    def _learn_pmtu(self, message, now):
        self.pmtu.learn(message.destination, message.mtu, now)

    def _confirm_neighbor(self, message, now):
        """A transport hears from *address*, so the next hop to it is alive."""
        path = self.addresses.path(message.address)
        if path is not None and not path.interface.loopback:
            self.outboxes[path.interface.control_outbox].append(messages.NeighborConfirmed(path.next_hop))

    def _solicit_failed(self, message, now):
        self.addresses.forget_redirects_to(message.address)
        for packet in message.packets:
            header = packet.header
            at = (header[0] & 15) * 4
            if not int.from_bytes(header[6:8], "big") & ipv4.OFFSET_MASK:
                start = bytes(header[at:]) or bytes(packet.payload[0][:64])  # a fragment's payload is a part of its own
                self._tell(packet, start, messages.HOST_UNREACHABLE)

    def _address_claimed(self, message, now):
        self.addresses.set_usable(message.interface, message.address)
        self.outboxes["events"].append(message)

    def _address_conflict(self, message, now):
        self.remove_address(message.interface, message.address)
        self.outboxes["events"].append(message)

    def _join(self, message, now):
        self._change_membership(message, "join", now)

    def _leave(self, message, now):
        self._change_membership(message, "leave", now)

    def _change_membership(self, message, change, now):
        membership = self._memberships[message.interface]
        try:
            getattr(membership, change)(message.group, now)
        except OSError:  # whoever sent it should have asked `Membership.groups` before
            self.drops[errors.MEMBERSHIP_REFUSED] += 1
