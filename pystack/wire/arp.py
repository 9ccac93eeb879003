"""ARP for IPv4 over Ethernet (RFC 826)."""

import struct

_PACKET = struct.Struct("!HHBBH6s4s6s4s")
LENGTH = 28
_ETHERNET, _IPV4 = 1, 0x0800

REQUEST = 1
REPLY = 2


def parse(buf, at, end):
    """``(operation, sender_mac, sender_ip, target_mac, target_ip)`` of the packet in ``buf[at:end]``, or None if it is
    short or not about IPv4 over Ethernet."""
    if end - at < LENGTH:
        return None
    hardware, protocol, hardware_length, protocol_length, *fields = _PACKET.unpack_from(buf, at)
    if (hardware, protocol, hardware_length, protocol_length) != (_ETHERNET, _IPV4, 6, 4):
        return None
    return tuple(fields)


def build(operation, sender_mac, sender_ip, target_mac, target_ip):
    """The packet, 28 bytes."""
    return _PACKET.pack(_ETHERNET, _IPV4, 6, 4, operation, sender_mac, sender_ip, target_mac, target_ip)
