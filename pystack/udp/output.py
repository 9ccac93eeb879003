"""How a datagram leaves: its way, its source, its header, and whether it may be cut."""

from typing import NamedTuple

from pystack import errors, messages
from pystack.packet import TxPacket
from pystack.udp.settings import PMTU_DO, PMTU_DONT, PMTU_OMIT, PMTU_PROBE, PMTU_WANT
from pystack.wire import ipv4, ipv6, udp

CHECKSUM_AT = 6
_LOCALHOST = {4: bytes((127, 0, 0, 1)), 16: ipv6.LOOPBACK}
_HEADER_LENGTHS = {4: ipv4.HEADER_LENGTH, 16: ipv6.HEADER_LENGTH}
_MAX_LENGTHS = {4: ipv4.MAX_TOTAL_LENGTH, 16: ipv6.HEADER_LENGTH + ipv6.MAX_PAYLOAD}


class Way(NamedTuple):
    """What `route` found; ``cause`` is None, or why nothing can be sent."""

    cause: str | None
    destination: bytes = b""
    facts: messages.PathFacts | None = None


def route(binding, paths, destination, source=None, interface=0):
    """The `Way` of *binding* to *destination*, as ip_route_output_flow and what udp_sendmsg adds to it.

    Args:
        paths: who answers ``path`` and ``is_local``: inet.
        source, interface: for this datagram alone (IP_PKTINFO), or None and 0.
    """
    settings = binding.settings
    if source is not None and any(source) and not paths.is_local(source):
        return Way(errors.BAD_ADDRESS)
    if source is None and not binding.is_of_other_version(destination):
        source = binding.source
    interface = interface or settings.interface
    if not any(destination):
        destination = source or _LOCALHOST[len(destination)]  # Linux: "this host"
    if is_multicast(destination):
        of_version = settings.of(destination)
        interface = interface or of_version.multicast_interface
        source = source or of_version.multicast_source
    if source is not None and len(source) != len(destination):
        return Way(errors.NET_UNREACHABLE)
    facts = paths.path(destination, interface, source)
    if facts is None:
        return Way(errors.NET_UNREACHABLE)
    if facts.source is None:
        # As on Linux a host without an address may speak to all on a link, from 0.0.0.0: a DHCP client does.
        if not interface or facts.kind != messages.BROADCAST:
            return Way(errors.NET_UNREACHABLE)
        facts = facts._replace(source=bytes(4))
    if interface and facts.interface != interface and facts.kind in (messages.MULTICAST, messages.BROADCAST):
        return Way(errors.NO_DEVICE)
    if facts.kind == messages.BROADCAST and not settings.broadcast:
        return Way(errors.BROADCAST_FORBIDDEN)
    return Way(None, destination, facts)


def is_multicast(address):
    """Whether it is a group's (RFC 1112, RFC 4291 §2.7)."""
    return address[0] >> 4 == 14 if len(address) == 4 else address[0] == 0xFF


def build(binding, way, port, send):
    """Make the TxPacket of a `transport.Send` to *port*.

    Returns:
        ``(packet, None)``, or ``(None, cause)``: MESSAGE_TOO_BIG.
    """
    settings, facts, payload = binding.settings.of(way.destination), way.facts, send.payload
    length = udp.HEADER_LENGTH + len(payload)
    size = _HEADER_LENGTHS[len(way.destination)] + length
    mode = settings.discover_pmtu
    fits = size <= facts.mtu
    if size > _MAX_LENGTHS[len(way.destination)] or not (fits or (mode in _FRAGMENTED and not settings.never_fragment)):
        return None, errors.MESSAGE_TOO_BIG
    header = bytearray(udp.build(binding.port, port, length, 0))
    packet = TxPacket(way.destination, ipv4.UDP, header, (payload,) if payload else (), source=facts.source)
    packet.tos = settings.tos if send.tos is None else send.tos
    packet.interface = send.interface or binding.settings.interface
    if facts.kind == messages.UNICAST or facts.kind == messages.LOCAL:
        packet.ttl = send.ttl or settings.ttl or None
    else:
        packet.interface = facts.interface
        if facts.kind == messages.MULTICAST:
            packet.ttl = settings.multicast_ttl if send.ttl is None else send.ttl
            packet.multicast_loop = settings.multicast_loop
        else:
            packet.ttl = send.ttl or settings.ttl or None
    packet.dont_fragment = fits and mode in _DF
    if not binding.settings.no_check or len(way.destination) == 16:
        packet.checksum_at = CHECKSUM_AT
    return packet, None


_FRAGMENTED = frozenset((PMTU_DONT, PMTU_WANT, PMTU_OMIT))
_DF = frozenset((PMTU_WANT, PMTU_DO, PMTU_PROBE))
