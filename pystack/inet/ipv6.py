"""IPv6 without state: what is checked on the way in, built and cut on the way out."""

from pystack import errors
from pystack.inet.extensions import FIRST_PROTOCOL_AT
from pystack.packet import MULTICAST, RxPacket, TxPacket
from pystack.scope import on_wire, scoped
from pystack.wire import ipv6


def read_header(packet):
    """Check and read the fixed header at ``packet.at`` (Linux's ip6_rcv_core).

    Sets the packet's IP fields, its protocol to the first Next Header, moves ``at`` behind the header and ``end`` to
    the packet's, dropping link padding.

    Returns:
        the drop reason, or None.
    """
    buf, at = packet.buf, packet.at
    size = packet.end - at
    if size < ipv6.HEADER_LENGTH:
        return errors.TRUNCATED_HEADER
    first, payload_length, protocol, hop_limit, source, destination = ipv6.parse(buf, at)
    if payload_length > size - ipv6.HEADER_LENGTH:
        return errors.BAD_TOTAL_LENGTH
    packet.ip_at = at
    packet.at = at + ipv6.HEADER_LENGTH
    packet.end = packet.at + payload_length  # 0: a jumbogram (RFC 2675) says so by an option that is not known here
    packet.tos = first >> 20 & 0xFF
    packet.ttl = hop_limit
    packet.protocol = protocol
    if source[0] == 0xFE or destination[0] == 0xFE:
        source, destination = scoped(source, packet.interface), scoped(destination, packet.interface)
    packet.source = source
    packet.destination = destination
    return None


def header(packet, length, hop_limit, flow_label):
    """The IPv6 header of a TxPacket of *length* bytes, its hop-by-hop options included."""
    options = packet.options
    head = ipv6.build(
        on_wire(packet.source),
        on_wire(packet.destination),
        ipv6.HOP_BY_HOP if options else packet.protocol,
        length - ipv6.HEADER_LENGTH,
        hop_limit=hop_limit,
        traffic_class=packet.tos,
        flow_label=flow_label,
    )
    return head + bytes((packet.protocol,)) + options[1:] if options else head


def received_copy(packet, length, hop_limit):
    """The RxPacket that a packet of ours, still without its IP header, to a group is to this host itself."""
    head = header(packet, length, hop_limit, 0)
    buf = b"".join((head, packet.header, *packet.payload))
    copy = RxPacket(buf, len(head), len(buf), packet.interface, MULTICAST, checksum_trusted=True)
    copy.ip_at = 0
    copy.source, copy.destination, copy.protocol = packet.source, packet.destination, packet.protocol
    copy.ttl, copy.tos = hop_limit, packet.tos
    return copy


def fragment(packet, mtu, identification, hop_limit, flow_label):
    """Cut a packet, still without its IP header, into finished fragments of at most *mtu* bytes (RFC 8200 §4.5)."""
    whole = memoryview(b"".join((packet.header, *packet.payload)))
    room = (mtu - ipv6.HEADER_LENGTH - ipv6.FRAGMENT_LENGTH) & ~7
    fragments = []
    for at in range(0, len(whole), room):
        piece = whole[at : at + room]
        more = ipv6.MORE_FRAGMENTS if at + len(piece) < len(whole) else 0
        cut = TxPacket(packet.destination, ipv6.FRAGMENT, b"", (piece,), source=packet.source, tos=packet.tos)
        head = header(cut, ipv6.HEADER_LENGTH + ipv6.FRAGMENT_LENGTH + len(piece), hop_limit, flow_label)
        cut.header = head + ipv6.FRAGMENT_HEADER.pack(packet.protocol, 0, at | more, identification)
        cut.interface, cut.next_hop = packet.interface, packet.next_hop
        fragments.append(cut)
    return fragments


def transport_header(packet):
    """The start of what a TxPacket that is finished carries, bytes; None of a fragment that is not the first."""
    head = packet.header
    protocol, at = head[FIRST_PROTOCOL_AT], ipv6.HEADER_LENGTH
    if protocol == ipv6.HOP_BY_HOP:
        protocol, at = head[at], at + 8 * (head[at + 1] + 1)
    if protocol == ipv6.FRAGMENT:
        if int.from_bytes(head[at + 2 : at + 4], "big") & ipv6.OFFSET_MASK:
            return None
        packet.protocol = head[at]
        at += ipv6.FRAGMENT_LENGTH
    return bytes(head[at:]) or bytes(packet.payload[0][:64])
