"""IPv6 of a host: RFC 8200, RFC 4443, RFC 8504."""

import zlib

from pystack import errors, messages
from pystack.inet import extensions, multicast
from pystack.inet import ipv6 as ip
from pystack.inet.addresses6 import INTERFACE_LOCAL, Addresses6
from pystack.inet.host import Host
from pystack.inet.icmp6 import Icmp6
from pystack.inet.neighbordiscovery import NeighborDiscovery
from pystack.inet.pmtu import PathMtu
from pystack.inet.reassembly import Reassembly, rebuild_ipv6
from pystack.packet import TxPacket
from pystack.scope import is_link_local, scope_of
from pystack.wire import icmp6, ipv6, mld

_MLD = frozenset((icmp6.MLD_QUERY, icmp6.MLD_REPORT, icmp6.MLD_DONE, icmp6.MLD_REPORT_V2))
_OF_BEGINNERS = icmp6.NEIGHBOR_DISCOVERY | _MLD


class Ipv6Host(Host):
    """Takes IPv6 packets, and sends them. See `Host`."""

    ip = ip
    icmp_protocol = ipv6.ICMPV6
    unspecified = ipv6.UNSPECIFIED
    header_length = ipv6.HEADER_LENGTH
    max_length = ipv6.HEADER_LENGTH + ipv6.MAX_PAYLOAD
    prefix = "Ip6"

    def __init__(self, layer, config, random):
        super().__init__(
            layer,
            Addresses6(layer.interfaces, config.ipv6.use_tempaddr == 2),
            # RFC 8201 §4, as on Linux
            PathMtu(config.ipv6.mtu_expires, ipv6.MIN_MTU, floor=ipv6.MIN_MTU, agenda=layer.agenda),
            Reassembly(
                max_bytes=config.ipv6.ip6frag_high_thresh,
                max_assemblies=config.reassembly_max_datagrams,
                timeout=config.ipv6.ip6frag_time,
                drops=layer.drops,
                counts=layer.counts,
                max_length=ipv6.HEADER_LENGTH + ipv6.MAX_PAYLOAD + ipv6.FRAGMENT_LENGTH,
                prefix=self.prefix,
                agenda=layer.agenda,
            ),
            Icmp6(config, layer.drops, layer.counts),
            config.ipv6.hop_limit,
        )
        self.discovery = NeighborDiscovery(self, layer, config, random)
        self._random = random
        self._label_secret = random.getrandbits(32) if config.ipv6.auto_flowlabels else None
        self.echo_relay = None  # the outbox of echo requests to addresses that no interface has

    def add_interface(self, interface):
        """Take an `interfaces.InterfaceState`."""
        self.addresses.changed()
        if interface.has_ipv6 and interface.membership6 is not None:
            self._memberships[interface.index] = interface.membership6
            self.discovery.add_interface(interface)

    def start(self, now):
        """The stack runs."""
        self.discovery.start(now)
        self.send_reports(now)

    def add_address(self, index, address, prefix_length, probe, now, on_link=True):
        """See `InetLayer.add_address`."""
        own = self.discovery.of(index)
        if own is not None:
            own.add(address, prefix_length, probe, now, on_link)
        elif self._layer.interfaces[index].has_ipv6:
            self.addresses.add(index, address, prefix_length)
        self.send_reports(now)

    def lend_address(self, message, now):
        """Give an interface that has neighbours the address of a `messages.AddAddress` for as long as that says."""
        self.discovery.of(message.interface).lend(message, now)
        self.send_reports(now)

    def remove_address(self, index, address, now):
        """See `InetLayer.remove_address`."""
        own = self.discovery.of(index)
        removed = self.addresses.remove(index, address) if own is None else own.remove(address, now)
        self.send_reports(now)
        return removed

    def solicit_failed(self, message, now):
        self.discovery.unreachable(message.interface, message.address, now)
        super().solicit_failed(message, now)

    def path(self, destination, interface, source):
        if source is not None and not interface:
            interface = scope_of(source)  # as on Linux, where to bind to such an address is to bind to its link
        return super().path(destination, interface, source)

    def set_hop_limit(self, hop_limit):
        """A router says what packets leave with whose program does not choose."""
        self._default_ttl = hop_limit

    def _link_mtu(self, interface):
        return interface.mtu6

    def _is_confined(self, group):
        return group[1] & 15 <= INTERFACE_LOCAL  # RFC 4291 §2.7

    def timed(self):
        return *super().timed(), *self.discovery.timed()

    def expire(self, now):
        self.discovery.expire(now)
        super().expire(now)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, packet, now):
        """Take an RxPacket whose ``at`` is at the IPv6 header."""
        layer = self._layer
        layer.counts["Ip6InReceives"] += 1
        reason = ip.read_header(packet)
        if reason is not None:
            layer.drops[reason] += 1
            return
        interface = layer.interfaces[packet.interface]
        if interface.loopback and packet.destination[0] == 0xFE:
            self._come_home(packet)
        unicast = self.addresses.is_local(packet.destination, interface)
        if not unicast and not self._is_group_of_ours(packet, interface):
            return
        if not self.addresses.valid_source(packet.source, interface):
            layer.drops[errors.MARTIAN_SOURCE] += 1
            return
        name = layer.transports.get(packet.protocol)
        if name is not None and packet.source != ipv6.UNSPECIFIED:  # the ordinary case
            layer.outboxes[name].append(packet)
            layer.counts["Ip6InDelivers"] += 1
        else:
            self._walk(packet, extensions.FIRST_PROTOCOL_AT, unicast, False, now)

    def _come_home(self, packet):
        """What we send to a link-local address of ours comes in by its interface, as on Linux (inet6_iif)."""
        packet.source = self.addresses.at_home(packet.source)
        packet.destination = self.addresses.at_home(packet.destination)
        packet.interface = scope_of(packet.destination)

    def _is_group_of_ours(self, packet, interface):
        """A group that we are a member of; else counted."""
        destination = packet.destination
        if destination[0] != 0xFF:
            self._layer.drops[errors.NOT_OURS] += 1
            return False
        scope = destination[1] & 15
        # RFC 4291 §2.7: scope 0 is nobody's, scope 1 never leaves a node.
        if scope and interface.loopback:
            return True  # only we can have sent it; the transport knows who of us has joined
        if scope > 1 and interface.membership6 is not None and interface.membership6.is_member(destination):
            return True
        self._layer.drops[errors.NOT_A_MEMBER] += 1
        return False

    def _walk(self, packet, protocol_at, unicast, fragmented, now):
        """Deliver a packet whose ``at`` is behind the header with the Next Header at *protocol_at*."""
        protocol_at, fault = extensions.walk(packet, protocol_at, fragmented)
        if fault is not None:
            self._refuse_received(packet, fault, now)
        elif packet.protocol == ipv6.FRAGMENT:
            self._receive_fragment(packet, protocol_at, unicast, now)
        else:
            self._deliver(packet, protocol_at, unicast, fragmented, now)

    def _refuse_received(self, packet, fault, now):
        self._layer.drops[fault.reason] += 1
        if fault.code is not None:
            problem = self._icmp.problem(packet, fault, now)
            if problem is not None:
                self.transmit(problem, now)

    def _receive_fragment(self, packet, protocol_at, unicast, now):
        """RFC 8200 §4.5, RFC 5722, RFC 6946, RFC 7112."""
        buf, at = packet.buf, packet.at
        if at + ipv6.FRAGMENT_LENGTH > packet.end:
            self._layer.drops[errors.TRUNCATED_HEADER] += 1
            return
        protocol, _, bits, identification = ipv6.FRAGMENT_HEADER.unpack_from(buf, at)
        offset, more = bits & ipv6.OFFSET_MASK, bits & ipv6.MORE_FRAGMENTS
        behind = at + ipv6.FRAGMENT_LENGTH
        length = packet.end - behind
        fault = None
        if more and length & 7:
            fault = extensions.Fault(errors.BAD_FRAGMENT, icmp6.ERRONEOUS_FIELD, 4)  # at the payload length
        elif offset + length + at - packet.ip_at - ipv6.HEADER_LENGTH > ipv6.MAX_PAYLOAD:
            fault = extensions.Fault(errors.BAD_FRAGMENT, icmp6.ERRONEOUS_FIELD, at + 2 - packet.ip_at)
        elif not offset and not extensions.is_complete(packet, behind):
            fault = extensions.Fault(errors.BAD_FRAGMENT, icmp6.INCOMPLETE_CHAIN)
        if fault is not None:
            self._layer.counts["Ip6ReasmReqds"] += 1
            self._layer.counts["Ip6ReasmFails"] += 1
            self._refuse_received(packet, fault, now)
            return
        packet.at = behind
        if not offset and not more:  # atomic: RFC 6946, whole by itself whatever else has its identification
            packet.protocol = protocol
            self._walk(packet, at - packet.ip_at, unicast, True, now)
            return
        key = packet.source, packet.destination, identification
        datagram = self._reassembly.add(key, offset, more, packet, packet.tos & 3, now)
        if datagram is not None:
            packet, protocol_at = rebuild_ipv6(datagram)
            self._walk(packet, protocol_at, unicast, True, now)

    def _deliver(self, packet, protocol_at, unicast, fragmented, now):
        layer, protocol = self._layer, packet.protocol
        name = layer.transports.get(protocol)
        # RFC 4291 §2.5.2: nobody can be answered there. Who has no address yet speaks of addresses and groups alone.
        if packet.source == ipv6.UNSPECIFIED and not _is_of_a_beginner(packet):
            layer.drops[errors.MARTIAN_SOURCE] += 1
            return
        if name is not None:
            layer.outboxes[name].append(packet)
        elif protocol == ipv6.ICMPV6:
            if self.echo_relay is not None and unicast and self._is_foreign_echo(packet):
                layer.outboxes[self.echo_relay].append(packet)
            else:
                self._deliver_icmp(packet, unicast, fragmented, now)
        elif protocol == ipv6.NO_NEXT_HEADER:
            layer.counts["Ip6InNoNextHeader"] += 1
        else:
            fault = extensions.Fault(errors.UNKNOWN_PROTOCOL, icmp6.UNKNOWN_NEXT_HEADER, protocol_at)
            self._refuse_received(packet, fault, now)
            return
        layer.counts["Ip6InDelivers"] += 1

    def _is_foreign_echo(self, packet):
        at = packet.at
        return packet.destination not in self.addresses.local and packet.buf[at : at + 1] == b"\x80"

    def _deliver_icmp(self, packet, unicast, fragmented, now):
        if not self._icmp.accept(packet):
            return
        kind = packet.buf[packet.at]
        if kind in icmp6.NEIGHBOR_DISCOVERY:
            self.discovery.receive(packet, fragmented, now)
            self.send_reports(now)  # of the groups of addresses that have come or gone
        elif kind in _MLD:
            self._deliver_mld(packet, now)
        else:
            result = self._icmp.receive(packet, now, unicast)
            if type(result) is TxPacket:
                self.transmit(result, now)
            elif type(result) is messages.EchoReply:
                self._layer.outboxes["echo"].append(result)
            elif result is not None:
                self.hand_up_error(*result, now)

    def _deliver_mld(self, packet, now):
        membership = self._memberships.get(packet.interface)
        message = None
        # RFC 3810 §6.2: with a hop limit of 1 and Router Alert, and from a link-local address or none, or it is no
        # neighbour's.
        near = packet.ttl == 1 and (is_link_local(packet.source) or packet.source == ipv6.UNSPECIFIED)
        if membership is not None and near and extensions.alerts_routers(packet, ipv6.ALERT_MLD):
            message = mld.parse(packet.buf, packet.at, packet.end)
        if type(message) is mld.Query:
            if not membership.query(packet.source, packet.destination, message, now):
                self._layer.drops[errors.BAD_MLD] += 1
        elif type(message) is mld.Report:
            membership.report(message, now)
        elif message is None:
            self._layer.drops[errors.BAD_MLD] += 1
        else:
            self._layer.counts["MldIgnored"] += 1  # version 2 reports and dones are for routers
        self.send_reports(now)

    # -- sending ------------------------------------------------------------------------------------------------------

    def _needs_no_source(self, packet):
        return False

    def _ip_header(self, packet, length, ttl, count=1):
        return ip.header(packet, length, ttl, self._flow_label(packet))

    def _fragments(self, packet, mtu, ttl):
        identification = self._random.getrandbits(32)  # RFC 7739 §5.3, as Linux
        return ip.fragment(packet, mtu, identification, ttl, self._flow_label(packet))

    def _flow_label(self, packet):
        """RFC 6437 §3: one for each flow, that tells nothing; the same ports at one peer have the same label.

        Of ICMP, whose checksum is where ports would be, type and code count.
        """
        if self._label_secret is None:
            return 0
        flow = packet.header[: 2 if packet.protocol == ipv6.ICMPV6 else 4]
        return zlib.crc32(flow, zlib.crc32(packet.destination, self._label_secret)) & 0xFFFFF

    def send_reports(self, now):
        """Send what the memberships have to report (RFC 3810 §5)."""
        for index, membership in self._memberships.items():
            reports = membership.take()
            source = self.discovery.link_local(index) if reports else None
            if reports and source is None:  # RFC 3810 §5.2.13: for switches that listen; routers hear of it later
                self.discovery.of(index).unheard = True
            for destination, report in reports:
                packet = TxPacket(
                    destination,
                    ipv6.ICMPV6,
                    bytearray(report),
                    source=source or ipv6.UNSPECIFIED,
                    ttl=multicast.TTL,
                    options=ipv6.MLD_ALERT,
                )
                packet.checksum_at = icmp6.CHECKSUM_AT
                packet.interface = index
                packet.multicast_loop = False
                self.transmit(packet, now)


def _is_of_a_beginner(packet):
    """Whether it is a message of those that hosts without an address send."""
    return packet.protocol == ipv6.ICMPV6 and packet.at < packet.end and packet.buf[packet.at] in _OF_BEGINNERS
