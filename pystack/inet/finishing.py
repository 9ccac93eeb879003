"""How large a packet will be, and its transport checksum, which needs the addresses: for both versions of IP."""

from pystack.scope import on_wire
from pystack.wire import checksum, ethernet, ipv4, tcp, vnet


def length_of(packet, header_length):
    """Bytes of the IP packet that a TxPacket, still without its IP header, will be.

    Args:
        header_length: of the IP header without options.
    """
    size = header_length + len(packet.options) + len(packet.header)
    for part in packet.payload:
        size += len(part)
    return size


def length_of_segment(packet, header_length):
    """Bytes of a full IP packet of those that a super-segment, still without its IP header, is cut into."""
    return header_length + len(packet.options) + len(packet.header) + packet.gso_size


def segment_count(packet, length, header_length):
    """How many IP packets a super-segment of *length* bytes with its IP header is cut into."""
    headers = length_of_segment(packet, header_length) - packet.gso_size
    return -(-(length - headers) // packet.gso_size)


def finish_checksum(packet, length, header_length, offload):
    """Complete the transport checksum at ``packet.checksum_at``, or leave the rest of it to the device, or to the link
    layer, which cuts super-segments for a device that does not.

    Args:
        length: of the IP packet.
        header_length: of the IP header without options.
        offload: somebody else completes it: then only the pseudo-header's sum is stored, and ``packet.vnet`` set.
    """
    at = packet.checksum_at
    ip_length = header_length + len(packet.options)
    source, destination = packet.source, packet.destination
    if len(destination) == 4:  # `checksum.pseudo_header` without three calls
        total = (int.from_bytes(source + destination, "big") + packet.protocol + length - ip_length) % 0xFFFF
    else:
        total = checksum.pseudo_header(on_wire(source), on_wire(destination), packet.protocol, length - ip_length)
    header = packet.header
    if offload:
        # 0 and 0xffff are the same sum, but a UDP checksum of 0 says that there is none, which Linux's IPv6 drops.
        total = total or 0xFFFF
        header[at], header[at + 1] = total >> 8, total & 0xFF
        start = ethernet.HEADER_LENGTH + ip_length
        if packet.gso_size:
            packet.vnet = vnet.build(
                vnet.F_NEEDS_CSUM, _gso_type(packet), start + len(header), packet.gso_size, start, at
            )
        else:
            packet.vnet = vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_NONE, 0, 0, start, at)
        return
    covered = b"".join((header, *packet.payload))
    value = checksum.checksum(covered, total)
    if packet.protocol == ipv4.UDP and value == 0:
        value = 0xFFFF  # RFC 768: 0 would say that there is none
    header[at : at + 2] = value.to_bytes(2, "big")


def _gso_type(packet):
    """Of a TCP super-segment; with CWR, the device must know that it goes on the first segment alone."""
    kind = vnet.GSO_TCPV4 if len(packet.destination) == 4 else vnet.GSO_TCPV6
    return kind | vnet.GSO_ECN if packet.header[13] & tcp.CWR else kind
