"""The Ethernet II header."""

import struct

HEADER = struct.Struct("!6s6sH")
HEADER_LENGTH = 14
BROADCAST = b"\xff" * 6
ZERO = bytes(6)

IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD

build = HEADER.pack
"""``build(destination, source, ethertype)``."""

parse = HEADER.unpack_from
"""``parse(buf, at)`` gives ``(destination, source, ethertype)``."""


def multicast_mac(address):
    """The MAC address of an IP multicast group: RFC 1112 §6.4, RFC 2464 §7."""
    if len(address) == 4:
        return b"\x01\x00\x5e" + bytes((address[1] & 0x7F,)) + address[2:]
    return b"\x33\x33" + address[12:]
