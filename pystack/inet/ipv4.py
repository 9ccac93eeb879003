"""IPv4 without state of its own but the identification counters: what is checked on the way in, cut on the way out."""

import zlib

from pystack import errors
from pystack.inet import options
from pystack.packet import BROADCAST, MULTICAST, RxPacket, TxPacket
from pystack.wire import ipv4

ID_COUNTERS = 2048  # as Linux's ip_idents: which counter a pair of hosts shares is secret, so that ids tell nothing


class Identifications:
    """RFC 791's identification, unique for a while per source, destination and protocol (RFC 6864 §5.2.1)."""

    def __init__(self, random):
        self._secret = random.getrandbits(32)
        self._counters = [random.getrandbits(16) for _ in range(ID_COUNTERS)]

    def next(self, packet, count=1):
        """The identification for a packet that may be fragmented; the *count* - 1 numbers after it are taken too."""
        at = zlib.crc32(packet.destination + packet.source + bytes((packet.protocol,)), self._secret) % ID_COUNTERS
        value = (self._counters[at] + 1) & 0xFFFF
        self._counters[at] = value + count - 1
        return value


def read_header(packet):
    """Check and read the IPv4 header at ``packet.at``, in the order of RFC 1122 §3.2.1 (and Linux's ip_rcv).

    Sets the packet's IP fields, moves ``at`` behind the header and ``end`` to the datagram's, dropping link padding.

    Returns:
        ``(drop reason or None, identification, flags_offset)``
    """
    buf, at = packet.buf, packet.at
    size = packet.end - at
    if size < ipv4.HEADER_LENGTH:
        return errors.TRUNCATED_HEADER, 0, 0
    version_ihl, tos, total, identification, flags_offset, ttl, protocol, _, source, destination = ipv4.parse(buf, at)
    header_length = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4:
        return errors.BAD_VERSION, 0, 0
    if header_length < ipv4.HEADER_LENGTH:
        return errors.BAD_HEADER_LENGTH, 0, 0
    if header_length > size:
        return errors.TRUNCATED_HEADER, 0, 0
    if int.from_bytes(buf[at : at + header_length], "big") % 0xFFFF:  # `checksum.partial`, a call less
        return errors.BAD_IP_CHECKSUM, 0, 0
    if not header_length <= total <= size:
        return errors.BAD_TOTAL_LENGTH, 0, 0
    packet.ip_at = at
    packet.at = at + header_length
    packet.end = at + total
    packet.tos = tos
    packet.ttl = ttl
    packet.protocol = protocol
    packet.source = source
    packet.destination = destination
    if header_length > ipv4.HEADER_LENGTH:
        packet.options = buf[at + ipv4.HEADER_LENGTH : at + header_length]
    return None, identification, flags_offset


def judge_options(header_options):
    """What the options of a received header mean for it.

    Returns:
        ``(None, 0)`` if nothing; ``(SOURCE_ROUTED, 0)``, which Linux drops in silence (accept_source_route=0); or
        ``(BAD_OPTION, offset in the IP header)``, which is answered by a Parameter Problem.
    """
    found, wrong = ipv4.walk_options(header_options)
    if wrong is not None:
        return errors.BAD_OPTION, ipv4.HEADER_LENGTH + wrong
    for kind, start, end in found:
        if kind in (ipv4.LOOSE_SOURCE_ROUTE, ipv4.STRICT_SOURCE_ROUTE):
            return errors.SOURCE_ROUTED, 0
        wrong = options.fault(kind, header_options[start:end])
        if wrong is not None:
            return errors.BAD_OPTION, ipv4.HEADER_LENGTH + start + wrong
    return None, 0


def header(packet, length, identification, ttl):
    """The IP header of a packet that fits."""
    return ipv4.build(
        packet.source,
        packet.destination,
        packet.protocol,
        length,
        identification,
        ipv4.DONT_FRAGMENT if packet.dont_fragment else 0,
        ttl,
        packet.tos,
        packet.options,
    )


def received_copy(packet, length, ttl):
    """The RxPacket that a packet of ours, still without its IP header, to many is to this host itself."""
    cast = MULTICAST if packet.destination[0] >> 4 == 14 else BROADCAST
    header = ipv4.build(
        packet.source, packet.destination, packet.protocol, length, 0, 0, ttl, packet.tos, packet.options
    )
    buf = b"".join((header, packet.header, *packet.payload))
    copy = RxPacket(buf, len(header), len(buf), packet.interface, cast, checksum_trusted=True)
    copy.ip_at = 0
    copy.source, copy.destination, copy.protocol = packet.source, packet.destination, packet.protocol
    copy.ttl, copy.tos, copy.options = ttl, packet.tos, packet.options
    return copy


def fragment(packet, mtu, identification, ttl):
    """Cut a packet, still without its IP header, into finished fragments of at most *mtu* bytes (RFC 791 §3.2)."""
    whole = memoryview(b"".join((packet.header, *packet.payload)))
    later_options = ipv4.copied_options(packet.options) if packet.options else b""
    fragments = []
    at, header_options = 0, packet.options
    while at < len(whole):
        room = mtu - ipv4.HEADER_LENGTH - len(header_options)
        piece = whole[at:] if len(whole) - at <= room else whole[at : at + (room & ~7)]
        more = at + len(piece) < len(whole)
        header = ipv4.build(
            packet.source,
            packet.destination,
            packet.protocol,
            ipv4.HEADER_LENGTH + len(header_options) + len(piece),
            identification,
            at >> 3 | (ipv4.MORE_FRAGMENTS if more else 0),
            ttl,
            packet.tos,
            header_options,
        )
        cut = TxPacket(packet.destination, packet.protocol, header, (piece,), source=packet.source)
        cut.interface, cut.next_hop = packet.interface, packet.next_hop
        fragments.append(cut)
        at += len(piece)
        header_options = later_options
    return fragments


def transport_header(packet):
    """The start of what a TxPacket that is finished carries, bytes; None of a fragment that is not the first."""
    header = packet.header
    if int.from_bytes(header[6:8], "big") & ipv4.OFFSET_MASK:
        return None
    # A fragment's payload is a part of its own.
    return bytes(header[(header[0] & 15) * 4 :]) or bytes(packet.payload[0][:64])
