"""IPv6 packets as a peer might send them, built field by field so that any of them can be wrong."""

import ipaddress
import struct
from itertools import pairwise

from pystack.wire import checksum, icmp6, ipv6, ndp
from pystack.wire.ethernet import multicast_mac
from tests.support.frames import MAC_A, MAC_B, ethernet


def address(text):
    """The 16 bytes of an address, without scope."""
    return ipaddress.IPv6Address(text).packed


A6 = address("fd77::1")
B6 = address("fd77::2")
LINK_A = address("fe80::1")
LINK_B = address("fe80::2")
FAR6 = address("2001:db8::1")  # behind the default router
ALL_NODES = ipv6.ALL_NODES


def ip6(payload=b"", *, source=A6, destination=B6, protocol=ipv6.ICMPV6, headers=(), payload_length=None, **fields):
    """An IPv6 packet. *headers* are extension headers of the functions below; each Next Header is set here."""
    kinds = [kind for kind, _ in headers] + [protocol]
    chain = b"".join(bytes((following,)) + body[1:] for (_, body), following in zip(headers, kinds[1:], strict=True))
    length = len(chain) + len(payload) if payload_length is None else payload_length
    return ipv6.build(source, destination, kinds[0], length, **fields) + chain + payload


def options(kind, *each, fill=True):
    """A hop-by-hop or destination options header of options that are bytes, padded if *fill*."""
    body = b"".join(each)
    missing = -(len(body) + 2) % 8
    if fill and missing:
        body += b"\0" if missing == 1 else bytes((ipv6.PADN, missing - 2)) + bytes(missing - 2)
    return kind, bytes((0, (len(body) + 2) // 8 - 1)) + body


def hop_by_hop(*each, **how):
    return options(ipv6.HOP_BY_HOP, *each, **how)


def destination_options(*each, **how):
    return options(ipv6.DESTINATION_OPTIONS, *each, **how)


def option(kind, data=b""):
    return bytes((kind, len(data))) + data


def routing(kind, left, data=bytes(4)):
    """A routing header; *data* is what stands behind Segments Left, 4 bytes and then a multiple of 8."""
    return ipv6.ROUTING, bytes((0, (len(data) - 4) // 8, kind, left)) + data


def fragment(offset, more, identification=1):
    """A fragment header; *offset* in bytes."""
    return ipv6.FRAGMENT, ipv6.FRAGMENT_HEADER.pack(0, 0, offset | bool(more), identification)


def pieces(payload, *cuts, protocol=ipv6.ICMPV6, identification=1, headers=(), **fields):
    """*payload* in fragments that begin at 0 and at the *cuts*, as packets."""
    bounds = [0, *cuts, len(payload)]
    return [
        ip6(
            payload[start:end],
            protocol=protocol,
            headers=(*headers, fragment(start, end < len(payload), identification)),
            **fields,
        )
        for start, end in pairwise(bounds)
    ]


def icmp(kind, code=0, rest=bytes(4), data=b"", *, source=A6, destination=B6):
    """An ICMPv6 message with a right checksum."""
    return summed(icmp6.build(kind, code, rest, data), source, destination)


def summed(message, source, destination):
    """An ICMPv6 message, bytes, whose checksum was 0."""
    pseudo = checksum.pseudo_header(source, destination, ipv6.ICMPV6, len(message))
    message = bytearray(message)
    message[2:4] = checksum.checksum(bytes(message), pseudo).to_bytes(2, "big")
    return bytes(message)


def echo6(data=b"hello", *, identifier=1, sequence=1, kind=icmp6.ECHO_REQUEST, **addresses):
    """An echo message."""
    return icmp(kind, 0, struct.pack("!HH", identifier, sequence), data, **addresses)


def ping6(data=b"hello", *, source=A6, destination=B6, headers=(), **fields):
    """An echo request as a packet."""
    return ip6(
        echo6(data, source=source, destination=destination),
        source=source,
        destination=destination,
        headers=headers,
        **fields,
    )


def udp6(payload=b"", *, source_port=1000, destination_port=2000, source=A6, destination=B6):
    """A UDP datagram with its checksum."""
    datagram = bytearray(struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload)
    pseudo = checksum.pseudo_header(source, destination, 17, len(datagram))
    datagram[6:8] = (checksum.checksum(bytes(datagram), pseudo) or 0xFFFF).to_bytes(2, "big")
    return bytes(datagram)


def discovery(message, *, source=LINK_A, destination=LINK_B, hop_limit=ndp.HOP_LIMIT, headers=()):
    """A packet of one of the NamedTuples of `wire.ndp`."""
    return ip6(
        summed(ndp.build(message), source, destination),
        source=source,
        destination=destination,
        hop_limit=hop_limit,
        headers=headers,
    )


def listener(message, *, source=LINK_A, destination=ALL_NODES, hop_limit=1, headers=None):
    """A packet of an MLD message, bytes with a checksum of 0."""
    alert = hop_by_hop(option(ipv6.ROUTER_ALERT, bytes(2)))
    return ip6(
        summed(message, source, destination),
        source=source,
        destination=destination,
        hop_limit=hop_limit,
        headers=(alert,) if headers is None else headers,
    )


def frame6(packet, *, source=MAC_A, to=None):
    """The frame of an IPv6 packet; a group's goes to the group's MAC address."""
    if to is None:
        to = multicast_mac(packet[24:40]) if packet[24:25] == b"\xff" and len(packet) >= 40 else MAC_B
    return ethernet(packet, ethertype=0x86DD, source=source, destination=to)
