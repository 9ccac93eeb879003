"""Frames and packets as a peer might send them, built field by field so that any of them can be wrong."""

import struct

from pystack.wire import icmp, ipv4

MAC_A = b"\x02\0\0\0\0\x01"
MAC_B = b"\x02\0\0\0\0\x02"
A = bytes((10, 0, 0, 1))
B = bytes((10, 0, 0, 2))
VNET = bytes(10)


def ethernet(payload, *, ethertype=0x0800, source=MAC_A, destination=MAC_B):
    """A frame with its virtio-net header, as a device hands it over."""
    return VNET + destination + source + struct.pack("!H", ethertype) + payload


def ip(payload, *, source=A, destination=B, protocol=ipv4.ICMP, total_length=None, **fields):
    """An IPv4 packet with a right checksum."""
    options = fields.get("options", b"")
    length = total_length if total_length is not None else 20 + len(options) + len(payload)
    return ipv4.build(source, destination, protocol, length, **fields) + payload


def echo(payload=b"hello", *, identifier=1, sequence=1, kind=icmp.ECHO_REQUEST):
    """An ICMP echo message."""
    return icmp.build(kind, 0, struct.pack("!HH", identifier, sequence), payload)


def udp(payload=b"", *, source_port=1000, destination_port=2000):
    """A UDP datagram without checksum."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
