"""The link core of one interface: virtio-net and Ethernet headers, ARP, and whom a packet goes to; and what the device
cannot do: join segments, and cut them."""

from pystack import errors, messages
from pystack.counts import Counts
from pystack.deadlines import NEVER, Agenda
from pystack.link.coalescing import FEWEST, coalesce
from pystack.link.conflict import Claims
from pystack.link.neighbors import NAMES, NeighborTable
from pystack.link.segmentation import segments
from pystack.packet import BROADCAST, HOST, MULTICAST, RxPacket
from pystack.wire import arp, ethernet, vnet
from pystack.wire.vnet import IP_AT

_TYPE_AT = IP_AT - 2
_NO_OFFLOAD = vnet.ZERO
_ARP_OPERATIONS = frozenset((arp.REQUEST, arp.REPLY))
_LIMITED_BROADCAST = frozenset((b"\xff" * 4,))
_KNOWN_GSO = frozenset((vnet.GSO_TCPV4, vnet.GSO_TCPV6, vnet.GSO_UDP_L4))


class LinkLayer:
    """Owns the neighbours and the address claims of one interface.

    Inlets: `receive` (frames from the device), `transmit` (TxPackets with their IP header, from inet), `control`
    (messages from inet). Outboxes: ``inet`` (RxPackets), ``control`` (messages for inet), ``device`` (frames).

    Args:
        index: the interface's.
        mac: 6 bytes, ours.
        random: a ``random.Random``.
        resolves: False for a loopback: no ARP, and the MAC addresses are zero.
        segment_offload: the device cuts super-segments.
        checksum_offload: the device completes checksums.
    """

    def __init__(self, index, mac, *, random, segment_offload, checksum_offload, resolves=True):
        self.outboxes = {"inet": [], "control": [], "device": []}
        self.drops = Counts()
        self.counts = Counts()
        self._index = index
        self._mac = mac
        self._resolves = resolves
        self._segment_offload = segment_offload
        self._checksum_offload = checksum_offload
        self._broadcasts = _LIMITED_BROADCAST
        self._agenda = Agenda()
        self._neighbors = NeighborTable(random, self._header, self.drops, self._agenda)
        self._claims = Claims(random, self._agenda)
        # By the length of the address. On a loopback all MAC addresses are zero.
        self._loopback_headers = {
            4: ethernet.build(ethernet.ZERO, ethernet.ZERO, ethernet.IPV4),
            16: ethernet.build(ethernet.ZERO, ethernet.ZERO, ethernet.IPV6),
        }
        self._handlers = {
            messages.ClaimAddress: lambda message, now: self._claims.add(message.address, message.probe, now),
            messages.ReleaseAddress: lambda message, now: self._claims.release(message.address),
            messages.NeighborConfirmed: lambda message, now: self._neighbors.confirmed(message.address, now),
            messages.NeighborHeard: self._neighbor_heard,
            messages.NeighborAdvertised: self._neighbor_advertised,
            messages.SetNeighborTimes: self._set_neighbor_times,
            messages.SetBroadcasts: self._set_broadcasts,
        }

    # -- the four calls -----------------------------------------------------------------------------------------------

    def receive(self, frames, now):
        """Take frames as a device gives them: ``bytes``, virtio-net header first. Segments that go together become one
        packet, and so do ACKs of which the last says all."""
        counts, drops, up = self.counts, self.drops, self.outboxes["inet"]
        mac = self._mac
        counts["InFrames"] += len(frames)
        if len(frames) >= FEWEST and self._resolves:  # on a loopback, as in Linux, what is sent is large already
            count = len(frames)
            frames = coalesce(frames, mac)
            counts["Joined"] += count - len(frames)
        passed = 0
        for frame in frames:
            following = ()
            if type(frame) is tuple:
                frame, following = frame
            if len(frame) < IP_AT:
                drops[errors.TRUNCATED_FRAME] += 1
                continue
            destination = frame[10:16]
            if destination == mac:
                cast = HOST
            elif destination[0] & 1:
                cast = BROADCAST if destination == ethernet.BROADCAST else MULTICAST
            else:
                drops[errors.OTHER_HOST] += 1
                continue
            if frame[16] & 1:  # IEEE 802.3 §3.2.3: a group is nobody's source
                drops[errors.OTHER_HOST] += 1
                continue
            kind = frame[_TYPE_AT:IP_AT]
            if kind == b"\x08\x00" or kind == b"\x86\xdd":
                packet = RxPacket(frame, IP_AT, len(frame), self._index, cast)
                if (frame[0] or frame[1]) and not self._read_vnet(packet):
                    drops[errors.BAD_VNET_HEADER] += 1
                    continue
                packet.following = following
                passed += 1
                up.append(packet)
            elif kind == b"\x08\x06" and self._resolves:
                self._receive_arp(frame, now)
            else:
                drops[errors.UNKNOWN_ETHERTYPE] += 1
        counts["InPackets"] += passed
        self._act(now)

    def transmit(self, packets, now):
        """Take TxPackets whose ``next_hop`` is set and whose ``header`` starts with the IP header."""
        neighbor_header, broadcasts = self._neighbors.header, self._broadcasts
        down = self.outboxes["device"]
        sent = 0
        for packet in packets:
            next_hop = packet.next_hop
            if next_hop in broadcasts or not self._resolves:
                header = self._unresolved_header(next_hop)
            else:
                header = neighbor_header(next_hop, now) or self._unresolved_header(next_hop)
                if header is None:
                    size = len(packet.header) + sum(map(len, packet.payload))
                    self._neighbors.wait(next_hop, packet, size, now)
                    continue
            frame = ((packet.vnet or _NO_OFFLOAD) + header + packet.header, *packet.payload)
            if packet.gso_size and not self._segment_offload:
                cut = segments(frame, packet.gso_size, self._checksum_offload)
                sent += len(cut)
                down.extend(cut)
            else:
                sent += 1
                down.append(frame)
        self.counts["OutPackets"] += sent
        self._act(now)

    def control(self, batch, now):
        """Take ClaimAddress, ReleaseAddress, NeighborConfirmed and SetBroadcasts."""
        for message in batch:
            self._handlers[type(message)](message, now)
        self._act(now)

    def expire(self, now):
        """Solicit, probe and announce what is due."""
        self._neighbors.expire(now)
        self._claims.expire(now)
        self._act(now)
        self._agenda.renew((self._neighbors, self._claims))

    def next_deadline(self):
        """See `Agenda`."""
        at = self._agenda.at
        return None if at == NEVER else at

    def neighbors(self):
        """A snapshot: ``[(address, mac or None, name of the state), ...]``."""
        return [(entry.address, entry.mac, NAMES[entry.state]) for entry in self._neighbors]

    # -- frames -------------------------------------------------------------------------------------------------------

    def _read_vnet(self, packet):
        """Take over what the virtio-net header says; False if it makes no sense."""
        frame = packet.buf
        flags, gso_type, _, gso_size, csum_start, csum_offset = vnet.parse(frame)
        if flags & vnet.F_NEEDS_CSUM and csum_start + csum_offset + 2 > len(frame) - vnet.SIZE:
            return False
        packet.checksum_trusted = bool(flags & vnet.VOUCHED)
        if gso_type:
            if gso_type & ~vnet.GSO_ECN not in _KNOWN_GSO or not gso_size:
                return False
            packet.gso_size = gso_size
        return True

    def _header(self, mac, address):
        return ethernet.build(mac, self._mac, ethernet.IPV4 if len(address) == 4 else ethernet.IPV6)

    def _unresolved_header(self, next_hop):
        """The Ethernet header to where no neighbour has to be asked for, else None."""
        if not self._resolves:
            return self._loopback_headers[len(next_hop)]
        if next_hop in self._broadcasts:
            return self._header(ethernet.BROADCAST, next_hop)
        if 224 <= next_hop[0] < 240 if len(next_hop) == 4 else next_hop[0] == 0xFF:
            return self._header(ethernet.multicast_mac(next_hop), next_hop)
        return None

    # -- ARP ----------------------------------------------------------------------------------------------------------

    def _receive_arp(self, frame, now):
        """As Linux's arp_process: requests for us are answered, and only who asks us is remembered unasked."""
        self.counts["ArpInMsgs"] += 1
        fields = arp.parse(frame, IP_AT, len(frame))
        if fields is None or fields[0] not in _ARP_OPERATIONS or fields[1][0] & 1 or self._bad_sender(fields[2]):
            self.drops[errors.BAD_ARP] += 1
            return
        operation, mac, sender, target_mac, target = fields
        if mac == self._mac:
            return  # our own words, reflected
        probe = operation == arp.REQUEST and sender == bytes(4)
        self._claims.seen(sender, target, mac, probe, now)
        if self._claims.holds(sender):
            return  # nobody else's claim to our address makes it a neighbour
        if operation == arp.REQUEST and self._claims.holds(target):
            self._send_arp(arp.REPLY, mac, target, mac, sender)
            if not probe:
                # Who asks for us wants our answer: believed within the lock time too (Linux's neigh_event_ns).
                self._neighbors.heard(sender, mac, now, create=True, override=True)
        elif not probe:
            # As Linux's arp_is_garp; but there a gratuitous reply sent to us alone would confirm, here it does not.
            gratuitous = sender == target and (operation == arp.REQUEST or target_mac == mac)
            to_us = frame[10:16] == self._mac
            solicited = operation == arp.REPLY and to_us and sender != target
            self._neighbors.heard(sender, mac, now, solicited=solicited, override=gratuitous)

    def _bad_sender(self, address):
        """Linux's martians; 0.0.0.0 is an ARP probe's. Who has a broadcast address would get what is meant for all."""
        first = address[0]
        return first == 127 or first >= 224 or (not first and any(address)) or address in self._broadcasts

    def _send_arp(self, operation, to, sender, target_mac, target):
        packet = arp.build(operation, self._mac, sender, target_mac, target)
        self.counts["ArpOutMsgs"] += 1
        self.outboxes["device"].append((_NO_OFFLOAD + ethernet.build(to, self._mac, ethernet.ARP) + packet,))

    def _solicit(self, entry, unicast):
        """Ask for an IPv4 neighbour; from the address that the waiting packet has if it is ours (arp_announce 0).

        An IPv6 neighbour is asked for by inet: its solicitation is an ICMPv6 packet.
        """
        source = entry.queue[-1][0].source if entry.queue else None
        if len(entry.address) != 4:
            self.outboxes["control"].append(messages.Solicit(self._index, entry.address, unicast, source))
            return
        if source is None or not self._claims.holds(source):
            source = self._claims.first() or bytes(4)
        to = entry.mac if unicast else ethernet.BROADCAST
        self._send_arp(arp.REQUEST, to, source, ethernet.ZERO, entry.address)

    # -- neighbour discovery ------------------------------------------------------------------------------------------

    def _neighbor_heard(self, message, now):
        self._neighbors.heard(message.address, message.mac, now, create=True, override=True)

    def _neighbor_advertised(self, message, now):
        believed = self._neighbors.advertised(
            message.address, message.mac, now, solicited=message.solicited, override=message.override
        )
        if believed and message.resigns:
            self.outboxes["control"].append(messages.RouterResigned(self._index, message.address))

    def _set_neighbor_times(self, message, now):
        self._neighbors.set_times(16, message.reachable, message.retransmit)

    # -- what is to be done -------------------------------------------------------------------------------------------

    def _set_broadcasts(self, message, now):
        self._broadcasts = message.addresses | _LIMITED_BROADCAST

    def _act(self, now):
        """Do what the neighbour table and the claims have asked for."""
        table, claims, control = self._neighbors, self._claims, self.outboxes["control"]
        if table.solicits or table.released or table.failed:
            # A neighbour's first question needs the packet that waits for it, so questions come before releases.
            solicits, table.solicits = table.solicits, []
            released, table.released = table.released, []
            failed, table.failed = table.failed, []
            for entry, unicast in solicits:
                self._solicit(entry, unicast)
            for _, packets in released:
                self.transmit(packets, now)
            for address, packets in failed:
                self.drops[errors.NEIGHBOR_UNREACHABLE] += len(packets)
                control.append(messages.SolicitFailed(self._index, address, packets))
        if claims.probes or claims.announcements or claims.won or claims.lost:
            for address in claims.probes:
                self._send_arp(arp.REQUEST, ethernet.BROADCAST, bytes(4), ethernet.ZERO, address)
            for address in claims.announcements:
                self._send_arp(arp.REQUEST, ethernet.BROADCAST, address, ethernet.ZERO, address)
            control.extend(messages.AddressClaimed(self._index, address) for address in claims.won)
            control.extend(messages.AddressConflict(self._index, address, mac) for address, mac in claims.lost)
            for done in (claims.probes, claims.announcements, claims.won, claims.lost):
                done.clear()
