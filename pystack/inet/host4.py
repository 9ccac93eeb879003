"""IPv4 of a host: RFC 791, RFC 1122."""

from pystack import errors, messages
from pystack.inet import ipv4 as ip
from pystack.inet import multicast
from pystack.inet.addresses4 import ANY, Addresses4
from pystack.inet.host import Host
from pystack.inet.icmp import Icmp, Redirect
from pystack.inet.interfaces import LIMITED_BROADCAST
from pystack.inet.pmtu import PathMtu
from pystack.inet.reassembly import Reassembly, rebuild_ipv4
from pystack.packet import TxPacket
from pystack.wire import icmp, igmp, ipv4

_ECHO_REQUEST = bytes((icmp.ECHO_REQUEST,))


class Ipv4Host(Host):
    """Takes IPv4 packets, and sends them. See `Host`."""

    ip = ip
    icmp_protocol = ipv4.ICMP
    unspecified = ANY
    header_length = ipv4.HEADER_LENGTH
    max_length = ipv4.MAX_TOTAL_LENGTH

    def __init__(self, layer, config, random):
        super().__init__(
            layer,
            Addresses4(layer.interfaces),
            PathMtu(config.pmtu_expires, config.min_pmtu, agenda=layer.agenda),
            Reassembly(
                max_bytes=config.reassembly_max_bytes,
                max_assemblies=config.reassembly_max_datagrams,
                timeout=config.reassembly_timeout,
                drops=layer.drops,
                counts=layer.counts,
                agenda=layer.agenda,
            ),
            Icmp(config, layer.drops, layer.counts),
            config.default_ttl,
        )
        self._identifications = ip.Identifications(random)
        self.echo_relay = None  # the outbox of echo requests to addresses that no interface has

    def add_interface(self, interface):
        """Take an `interfaces.InterfaceState`."""
        self.addresses.changed()
        if interface.membership is not None:
            self._memberships[interface.index] = interface.membership

    def start(self, now):
        """The stack runs."""

    def add_address(self, index, address, prefix_length, probe, now, on_link=True):
        """See `InetLayer.add_address`."""
        interface = self._layer.interfaces[index]
        self.addresses.add(index, address, prefix_length, interface.loopback or not probe, on_link)
        if not interface.loopback:
            control = self._layer.outboxes[interface.control_outbox]
            control.append(messages.SetBroadcasts(interface.broadcasts))
            control.append(messages.ClaimAddress(address, probe))

    def remove_address(self, index, address, now):
        """See `InetLayer.remove_address`."""
        interface = self._layer.interfaces[index]
        if not self.addresses.remove(index, address):
            return False
        if not interface.loopback:
            control = self._layer.outboxes[interface.control_outbox]
            control.append(messages.ReleaseAddress(address))
            control.append(messages.SetBroadcasts(interface.broadcasts))
        return True

    def path(self, destination, interface, source):
        if source is not None and not interface and destination[0] >= 224:
            interface = self.addresses.interface_of(source)
        return super().path(destination, interface, source)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, packet, now):
        """Take an RxPacket whose ``at`` is at the IPv4 header."""
        layer = self._layer
        layer.counts[self._in_receives] += 1
        reason, identification, flags_offset = ip.read_header(packet)
        if reason is not None:
            layer.drops[reason] += 1
            return
        interface = self._layer.interfaces[packet.interface]
        destination = packet.destination
        unicast = self.addresses.is_local(destination, interface)
        # A packet to our unicast address in a link-layer broadcast is taken: Linux does (drop_unicast_in_l2_multicast
        # is 0), where RFC 1122 §3.3.6 would drop it. `Icmp.error` stays silent about it.
        if not unicast and not self._is_group_of_ours(packet, interface):
            return
        if not self._valid_source(packet, interface, unicast):
            layer.drops[errors.MARTIAN_SOURCE] += 1
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
            self._layer.drops[errors.NOT_A_MEMBER] += 1
        else:
            self._layer.drops[errors.NOT_OURS] += 1
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
        self._layer.drops[reason] += 1
        if reason == errors.BAD_OPTION:
            self.answer_error(packet, messages.PARAMETER_PROBLEM, now, pointer)
        return False

    def _deliver(self, packet, interface, unicast, now):
        layer = self._layer
        protocol = packet.protocol
        name = layer.transports.get(protocol)
        if name is not None:
            layer.outboxes[name].append(packet)
        elif protocol == ipv4.ICMP:
            if self.echo_relay is not None and unicast and self._is_foreign_echo(packet):
                layer.outboxes[self.echo_relay].append(packet)
            else:
                self._deliver_icmp(packet, unicast, now)
        elif protocol == ipv4.IGMP:
            self._deliver_igmp(packet, interface, now)
        else:
            layer.drops[errors.UNKNOWN_PROTOCOL] += 1
            self.answer_error(packet, messages.PROTOCOL_UNREACHABLE, now)
            return
        layer.counts[self._in_delivers] += 1

    def _deliver_icmp(self, packet, unicast, now):
        result = self._icmp.receive(packet, now, unicast)
        if result is None:
            return
        if type(result) is TxPacket:
            self.transmit(result, now)
        elif type(result) is messages.EchoReply:
            self._layer.outboxes["echo"].append(result)
        elif type(result) is Redirect:
            self._redirect(packet, result)
        else:
            self.hand_up_error(*result, now)

    def _is_foreign_echo(self, packet):
        at = packet.at
        return packet.destination not in self.addresses.local and packet.buf[at : at + 1] == _ECHO_REQUEST

    def _redirect(self, packet, redirect):
        known = redirect.source in self.addresses.local
        if known and self.addresses.redirect(redirect.destination, packet.source, redirect.gateway, packet.interface):
            self._layer.counts["IcmpInRedirects"] += 1
        else:
            self._layer.drops[errors.ICMP_UNMATCHED] += 1

    def _deliver_igmp(self, packet, interface, now):
        membership = interface.membership
        message = igmp.parse(packet.buf, packet.at, packet.end) if membership is not None else None
        kind = type(message)
        if kind is igmp.Query:
            if not membership.query(packet.source, packet.destination, message, now):
                self._layer.drops[errors.BAD_IGMP] += 1
        elif kind is igmp.Report:
            membership.report(message, now)
        elif message is None:
            self._layer.drops[errors.BAD_IGMP] += 1
        else:
            self._layer.counts["IgmpIgnored"] += 1  # leaves and version 3 reports are for routers
        self.send_reports(now)

    # -- sending ------------------------------------------------------------------------------------------------------

    def _needs_no_source(self, packet):
        """A host that has no address yet may say which groups it has joined (RFC 3376 §4.2.13)."""
        return packet.protocol == ipv4.IGMP

    def _ip_header(self, packet, length, ttl, count=1):
        # RFC 6864 §4.1: a packet that cannot be fragmented needs no identification; Linux sends 0. The segments
        # of a super-segment are numbered from here on (Linux's ip_select_ident_segs).
        identification = 0 if packet.dont_fragment else self._identifications.next(packet, count)
        return ip.header(packet, length, identification, ttl)

    def _fragments(self, packet, mtu, ttl):
        return ip.fragment(packet, mtu, self._identifications.next(packet), ttl)

    def answer_error(self, packet, cause, now, pointer=0):
        interface = self._layer.interfaces[packet.interface]
        if self.addresses.is_local(packet.destination, interface):
            super().answer_error(packet, cause, now, pointer)
        else:
            self._layer.drops[errors.ICMP_FORBIDDEN] += 1  # RFC 1122 §3.2.2: never about a broadcast

    def send_reports(self, now):
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
                self.transmit(packet, now)
