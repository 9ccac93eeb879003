"""Fragments back into datagrams, for IPv4 (RFC 791 §3.2, RFC 815) and IPv6 (RFC 8200 §4.5) alike.

Every fragment is kept as it came, with its frame pinned, until the last hole is filled; only then are bytes copied.
"""

import struct
from bisect import bisect_right
from collections import OrderedDict

from pystack import errors
from pystack.counts import Counts
from pystack.deadlines import Agenda
from pystack.packet import RxPacket
from pystack.wire import ipv4, ipv6

MAX_BYTES = 4 << 20  # Linux: net.ipv4.ipfrag_high_thresh
MAX_ASSEMBLIES = 1024
TIMEOUT = 30.0  # seconds; Linux: net.ipv4.ipfrag_time (RFC 1122 §3.3.2 recommends 60 to 120)
MAX_LENGTH = 65535
FRAGMENT_OVERHEAD = 512  # bytes charged beyond the frame: the RxPacket, its addresses, the list entries (measured: 370)

CE = 3
_NOT_ECT_SEEN = 1  # 1 << ECN codepoint, as Linux's IPFRAG_ECN_*
_CE_SEEN = 1 << CE

_U16 = struct.Struct("!H")


class Datagram:
    """All of a datagram: ``first`` is the RxPacket of fragment 0, ``payload`` the fragments' payloads as memoryviews in
    order, ``length`` their bytes, ``ecn`` the merged codepoint (0 to 3)."""

    __slots__ = ("ecn", "first", "length", "payload")

    def __init__(self, first, payload, length, ecn):
        self.first = first
        self.payload = payload
        self.length = length
        self.ecn = ecn


class _Assembly:
    """What has come of one datagram. Condemned, it holds no packet, and is what Linux does not keep: a tombstone."""

    __slots__ = ("charge", "condemned", "due_at", "ecn_seen", "ends", "first", "pieces", "seen_end", "starts", "total")

    def __init__(self, due_at):
        self.due_at = due_at
        self.starts = []  # runs: the byte ranges held, sorted, disjoint, never adjacent
        self.ends = []
        self.pieces = []  # (offset, packet) in order of arrival
        self.first = None  # the RxPacket of fragment 0
        self.total = None  # payload length, once the last fragment has come
        self.seen_end = 0  # the greatest end of any fragment
        self.ecn_seen = 0  # bit n: a fragment had ECN codepoint n
        self.charge = 0
        self.condemned = False


class Reassembly:
    """The datagrams in pieces of one stack and one IP version, bounded in bytes, in number and in time.

    Args:
        max_bytes: of frames pinned, `FRAGMENT_OVERHEAD` for each included.
        max_assemblies: datagrams in pieces, tombstones included.
        timeout: seconds from the first fragment that came (whichever it was) until the datagram is given up.
        drops, counts: the `Counts` of the layer that owns this. Timeouts and evictions count datagrams, the other
            drops fragments; ``counts`` gets the names of the IP-MIB (RFC 4293): ReasmReqds, ReasmOKs, ReasmFails.
        max_length: the greatest sum of header (``packet.at - packet.ip_at``) and payload. For IPv6, whose length field
            leaves out the fixed header, add what stands there and will not be in the datagram.
        prefix: of the names in ``counts``.
        agenda: see `deadlines.Deadlines`.
    """

    def __init__(
        self,
        *,
        max_bytes=MAX_BYTES,
        max_assemblies=MAX_ASSEMBLIES,
        timeout=TIMEOUT,
        drops=None,
        counts=None,
        max_length=MAX_LENGTH,
        prefix="",
        agenda=None,
    ):
        self._agenda = Agenda() if agenda is None else agenda
        self.max_bytes = max_bytes
        self.max_assemblies = max_assemblies
        self.timeout = timeout
        self.max_length = max_length
        self.drops = Counts() if drops is None else drops
        self.counts = Counts() if counts is None else counts
        self.bytes = 0  # charged now
        self._requests, self._oks, self._fails = (f"{prefix}Reasm{what}" for what in ("Reqds", "OKs", "Fails"))
        # In order of creation, and all live equally long: the first is the oldest and the next to time out, so this is
        # the queue of deadlines too.
        self._assemblies = OrderedDict()

    def __len__(self):
        """Datagrams in pieces, tombstones included."""
        return len(self._assemblies)

    def add(self, key, offset, more_fragments, packet, ecn, now):
        """Take ownership of one fragment.

        Args:
            key: (source, destination, protocol, identification); IPv6 leaves the protocol out (RFC 8200 §4.5).
            offset: in bytes.
            more_fragments: the flag, as a truth value.
            packet: RxPacket; ``at`` to ``end`` is the fragment's payload, ``ip_at`` where its IP header starts.
            ecn: the fragment's ECN codepoint, 0 to 3.

        Returns:
            The Datagram that it completes, else ``None``.
        """
        self.counts[self._requests] += 1
        length = packet.end - packet.at
        end = offset + length
        # Nothing is known yet but the fragment itself, so it is dropped alone: it must not harm a datagram that it only
        # claims to be part of. Linux cuts a non-last one to a multiple of 8 instead.
        if length <= 0 or (more_fragments and length & 7) or end + packet.at - packet.ip_at > self.max_length:
            self.drops[errors.BAD_FRAGMENT] += 1
            return None
        assembly = self._assemblies.get(key)
        if assembly is None:
            if len(self._assemblies) >= self.max_assemblies:
                self._evict_oldest()
            assembly = self._assemblies[key] = _Assembly(now + self.timeout)
            self._agenda.note(assembly.due_at)
        elif assembly.condemned:
            self.drops[errors.FRAGMENT_DISCARDED] += 1
            return None
        reason = self._refuse(assembly, offset, end, more_fragments) or self._insert_range(assembly, offset, end)
        if reason is not None:
            self.drops[reason] += 1
            if reason is not errors.FRAGMENT_DUPLICATE:
                self._condemn(assembly)
            return None
        if offset == 0:
            assembly.first = packet
        assembly.pieces.append((offset, packet))
        assembly.ecn_seen |= 1 << ecn
        charge = len(packet.buf) + FRAGMENT_OVERHEAD
        assembly.charge += charge
        self.bytes += charge
        if assembly.ends[0] == assembly.total and assembly.starts[0] == 0:
            del self._assemblies[key]
            return self._complete(assembly)
        # Linux refuses new datagrams when the memory is full, so that a flood of first fragments stops reassembly for
        # as long as the timeout; here it costs the oldest, which are the least likely to be completed yet.
        while self.bytes > self.max_bytes:
            self._evict_oldest()
        return None

    def expire(self, now):
        """Give up what has waited too long.

        Returns:
            The RxPackets of the fragments 0, to answer with Time Exceeded: a datagram whose fragment 0 has not come
            is given up in silence (RFC 792, RFC 8200 §4.5), and so is a condemned one (RFC 5722 §4).
        """
        timed_out = []
        while self._assemblies:
            key = next(iter(self._assemblies))
            assembly = self._assemblies[key]
            if assembly.due_at > now:
                break
            del self._assemblies[key]
            if assembly.condemned:
                continue
            self.drops[errors.REASSEMBLY_TIMEOUT] += 1
            self.counts[self._fails] += 1
            if assembly.first is not None:
                timed_out.append(assembly.first)
            self.bytes -= assembly.charge
        return timed_out

    def next_deadline(self):
        """When `expire` has something to do, or ``None``."""
        for assembly in self._assemblies.values():
            return assembly.due_at
        return None

    def _refuse(self, assembly, offset, end, more_fragments):
        """Hold the fragment's end against the datagram's; the reason why the two cannot both be true, or ``None``."""
        total = assembly.total
        if not more_fragments:
            if end < assembly.seen_end or (total is not None and end != total):
                return errors.BAD_FRAGMENT
            assembly.total = end
        elif total is not None and end > total:
            return errors.BAD_FRAGMENT
        assembly.seen_end = max(assembly.seen_end, end)
        return None

    def _insert_range(self, assembly, start, end):
        """Add the range to the runs; the reason why it must not be, or ``None``.

        In order it costs one comparison; else a search, and a move of at most 4096 list entries.
        """
        starts, ends = assembly.starts, assembly.ends
        if starts and start == ends[-1]:
            ends[-1] = end
            return None
        after = bisect_right(starts, start)  # the run after
        before = after - 1
        if before >= 0 and start < ends[before]:
            # Contained is a retransmission, as in Linux (IPFRAG_DUP). RFC 5722 and RFC 8200 §4.5 allow that for an
            # exact duplicate; any other overlap is an attack, and IPv4 deserves the same.
            return errors.FRAGMENT_DUPLICATE if end <= ends[before] else errors.FRAGMENT_OVERLAP
        if after < len(starts) and end > starts[after]:
            return errors.FRAGMENT_OVERLAP
        joins_before = before >= 0 and start == ends[before]
        if after < len(starts) and end == starts[after]:
            if joins_before:
                ends[before] = ends.pop(after)
                del starts[after]
            else:
                starts[after] = start
        elif joins_before:
            ends[before] = end
        else:
            starts.insert(after, start)
            ends.insert(after, end)
        return None

    def _condemn(self, assembly):
        """Release all that came; what is left makes later fragments of the datagram die too, until the timeout.

        RFC 5722 §4 asks for this ("including those not yet received"). Linux forgets the datagram, so that late
        fragments start it again.
        """
        self.counts[self._fails] += 1
        self.bytes -= assembly.charge
        assembly.charge = 0
        assembly.condemned = True
        assembly.first = None
        assembly.pieces = assembly.starts = assembly.ends = ()

    def _evict_oldest(self):
        _, assembly = self._assemblies.popitem(last=False)
        if assembly.condemned:
            return
        self.drops[errors.REASSEMBLY_EVICTED] += 1
        self.counts[self._fails] += 1
        self.bytes -= assembly.charge

    def _complete(self, assembly):
        self.bytes -= assembly.charge
        seen = assembly.ecn_seen
        first = assembly.first
        # RFC 3168 §5.3 and Linux's ip_frag_ecn_table: Not-ECT among ECN-capable fragments is a forgery or a broken
        # path; one CE makes the datagram CE; a mix of ECT(0) and ECT(1) keeps what fragment 0 has.
        if seen & _NOT_ECT_SEEN and seen != _NOT_ECT_SEEN:
            reason = errors.BAD_ECN
        elif assembly.total + first.at - first.ip_at > self.max_length:
            reason = errors.BAD_FRAGMENT  # fragment 0 has more options than those against which `add` checked
        else:
            self.counts[self._oks] += 1
            pieces = sorted(assembly.pieces, key=_offset)
            payload = [memoryview(packet.buf)[packet.at : packet.end] for _, packet in pieces]
            return Datagram(first, payload, assembly.total, CE if seen & _CE_SEEN else first.tos & 3)
        self.drops[reason] += 1
        self.counts[self._fails] += 1
        return None


def _offset(piece):
    return piece[0]


def rebuild_ipv4(datagram):
    """The datagram as one RxPacket, in a buffer without link prefix that starts with the IP header.

    The header is fragment 0's with its options; total length, flags and offset, ECN and checksum are set anew. What the
    link said (interface, cast) is fragment 0's too. The transport checksum has not been seen by any device.
    """
    first = datagram.first
    header = bytearray(memoryview(first.buf)[first.ip_at : first.at])
    tos = (first.tos & 0xFC) | datagram.ecn
    header[1] = tos
    _U16.pack_into(header, 2, len(header) + datagram.length)
    _U16.pack_into(header, 6, 0)
    ipv4.renew_checksum(header)
    buf = b"".join([header, *datagram.payload])
    packet = RxPacket(buf, len(header), len(buf), first.interface, first.cast)
    packet.ip_at = 0
    packet.source = first.source
    packet.destination = first.destination
    packet.protocol = first.protocol
    packet.ttl = first.ttl
    packet.tos = tos
    packet.options = bytes(header[ipv4.HEADER_LENGTH :])
    return packet


def rebuild_ipv6(datagram):
    """The same for IPv6 (RFC 8200 §4.5): fragment 0's headers without its fragment header, which ends at its ``at``.

    Returns:
        ``(packet, offset of the Next Header field that names what is at its ``at``)``, both from the IPv6 header on.
    """
    first = datagram.first
    headers = bytearray(memoryview(first.buf)[first.ip_at : first.at - ipv6.FRAGMENT_LENGTH])
    protocol = first.buf[first.at - ipv6.FRAGMENT_LENGTH]
    protocol_at, at = 6, ipv6.HEADER_LENGTH
    while at < len(headers):  # the last header that is kept named the fragment header
        protocol_at, at = at, at + 8 * (headers[at + 1] + 1)
    headers[protocol_at] = protocol
    _U16.pack_into(headers, 4, len(headers) - ipv6.HEADER_LENGTH + datagram.length)
    tos = (first.tos & 0xFC) | datagram.ecn
    _U16.pack_into(headers, 0, 0x6000 | tos << 4 | headers[1] & 0x0F)
    buf = b"".join([headers, *datagram.payload])
    packet = RxPacket(buf, len(headers), len(buf), first.interface, first.cast)
    packet.ip_at = 0
    packet.source = first.source
    packet.destination = first.destination
    packet.protocol = protocol
    packet.ttl = first.ttl
    packet.tos = tos
    return packet, protocol_at
