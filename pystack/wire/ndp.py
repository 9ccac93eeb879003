"""Neighbour Discovery messages (RFC 4861 §4) and their options: ICMPv6 of the types 133 to 137.

`parse` and the builders leave the checksum, the hop limit and the addresses of the packet to the caller.
"""

import struct
from typing import NamedTuple

from pystack.wire import icmp6
from pystack.wire.domains import host_name

_ADVERTISEMENT = struct.Struct("!xxxxBBHII")
_OPTION_SOURCE = 1
_OPTION_TARGET = 2
_OPTION_PREFIX = 3
_OPTION_REDIRECTED = 4
_OPTION_MTU = 5
_OPTION_NONCE = 14  # RFC 3971 §5.3.2, for RFC 7527
_OPTION_ROUTE = 24  # RFC 4191 §2.3
_OPTION_RDNSS = 25  # RFC 8106 §5.1
_OPTION_DNSSL = 31  # RFC 8106 §5.2
_PREFIX = struct.Struct("!xxBBIIxxxx16s")
_MAX_NAMES = 32  # of search domains in one option
_ROUTER, _SOLICITED, _OVERRIDE = 0x80, 0x40, 0x20  # of an advertisement's flags
_MANAGED, _OTHER = 0x80, 0x40
_ON_LINK, _AUTONOMOUS = 0x80, 0x40
INFINITE = 0xFFFFFFFF  # of a lifetime: for ever
HOP_LIMIT = 255  # of all these messages: no router has passed them on

HIGH, MEDIUM, LOW = 1, 0, -1  # preference of a router or route (RFC 4191 §2.1)


class RouterSolicitation(NamedTuple):
    """``link_address`` is the sender's MAC, or None."""

    link_address: bytes | None = None


class Prefix(NamedTuple):
    """Lifetimes are in seconds from when it came, or INFINITE."""

    prefix: bytes  # 16
    length: int
    on_link: bool
    autonomous: bool
    valid: int
    preferred: int


class RouteInformation(NamedTuple):
    """A route by the router that says so (RFC 4191)."""

    prefix: bytes  # 16, bits beyond the length cleared
    length: int
    preference: int
    lifetime: int


class RouterAdvertisement(NamedTuple):
    """Times are in seconds, 0 where the router does not say; ``mtu`` and ``link_address`` are None then."""

    hop_limit: int = 0
    managed: bool = False  # addresses by DHCPv6
    other: bool = False  # other configuration by DHCPv6
    preference: int = MEDIUM
    lifetime: int = 0  # as a default router; 0: it is none
    reachable: float = 0.0
    retransmit: float = 0.0
    link_address: bytes | None = None
    mtu: int | None = None
    prefixes: tuple = ()  # of Prefix
    routes: tuple = ()  # of RouteInformation
    resolvers: tuple = ()  # of (lifetime, (address, ...)): RDNSS
    search: tuple = ()  # of (lifetime, (name, ...)): DNSSL


class NeighborSolicitation(NamedTuple):
    target: bytes
    link_address: bytes | None = None  # the sender's
    nonce: bytes | None = None


class NeighborAdvertisement(NamedTuple):
    target: bytes
    router: bool = False
    solicited: bool = False
    override: bool = False
    link_address: bytes | None = None  # the target's


class Redirect(NamedTuple):
    """What goes to *destination* is better sent to *target*, which is the destination itself if it is on the link."""

    target: bytes
    destination: bytes
    link_address: bytes | None = None  # the target's


def parse(buf, at, end):
    """Read the message in ``buf[at:end]``, any bytes-like object, by the checks of RFC 4861 §6.1, 7.1 and 8.1 that need
    no more than the message itself.

    Returns:
        one of the NamedTuples above, or None if it is none of them, too short, or has an option of length 0 or one that
        passes the end. Options that nobody knows, or of a wrong size, are skipped (§4.6).
    """
    parser = _PARSERS.get(buf[at]) if end - at >= icmp6.HEADER_LENGTH else None
    if parser is None or buf[at + 1]:  # the code is 0
        return None
    parse_body, options_at = parser
    if end - at < options_at:
        return None
    options = _options(buf, at + options_at, end)
    return None if options is None else parse_body(buf, at, options)


def _options(buf, at, end):
    """``[(type, bytes of the whole option), ...]`` in order; None if one has no possible length."""
    found = []
    while at < end:
        if at + 2 > end:
            return None
        behind = at + 8 * buf[at + 1]
        if behind == at or behind > end:
            return None
        found.append((buf[at], bytes(buf[at:behind])))
        at = behind
    return found


def _link_address(options, kind):
    """Of Ethernet, the first."""
    return next((data[2:8] for found, data in options if found == kind and len(data) == 8), None)


def _parse_router_solicitation(buf, at, options):
    return RouterSolicitation(_link_address(options, _OPTION_SOURCE))


def _parse_router_advertisement(buf, at, options):
    hop_limit, flags, lifetime, reachable, retransmit = _ADVERTISEMENT.unpack_from(buf, at)
    mtu = None
    prefixes, routes, resolvers, search = [], [], [], []
    for kind, data in options:
        if kind == _OPTION_PREFIX and len(data) == 32:
            length, bits, valid, preferred, prefix = _PREFIX.unpack(data)
            if length <= 128:
                masked = _masked(prefix, length)
                prefixes.append(
                    Prefix(masked, length, bool(bits & _ON_LINK), bool(bits & _AUTONOMOUS), valid, preferred)
                )
        elif kind == _OPTION_MTU and len(data) == 8:
            mtu = int.from_bytes(data[4:8], "big")
        elif kind == _OPTION_ROUTE:
            route = _parse_route(data)
            if route is not None:
                routes.append(route)
        elif kind == _OPTION_RDNSS and len(data) >= 24 and len(data) % 16 == 8:
            addresses = tuple(data[start : start + 16] for start in range(8, len(data), 16))
            resolvers.append((int.from_bytes(data[4:8], "big"), addresses))
        elif kind == _OPTION_DNSSL and len(data) >= 16:
            names = _parse_names(data[8:])
            if names:
                search.append((int.from_bytes(data[4:8], "big"), names))
    return RouterAdvertisement(
        hop_limit,
        bool(flags & _MANAGED),
        bool(flags & _OTHER),
        _preference(flags),
        lifetime,
        reachable / 1000,
        retransmit / 1000,
        _link_address(options, _OPTION_SOURCE),
        mtu,
        tuple(prefixes),
        tuple(routes),
        tuple(resolvers),
        tuple(search),
    )


def _preference(flags):
    """RFC 4191 §2.2: the reserved value counts as medium."""
    return (MEDIUM, HIGH, MEDIUM, LOW)[flags >> 3 & 3]


def _parse_route(data):
    """A `RouteInformation`, or None: then the option must be ignored (RFC 4191 §2.3)."""
    length = data[2]
    if length > 128 or len(data) not in (8, 16, 24) or len(data) - 8 < -(-length // 64) * 8 or data[3] >> 3 & 3 == 2:
        return None
    prefix = _masked(data[8:].ljust(16, b"\0"), length)
    return RouteInformation(prefix, length, _preference(data[3]), int.from_bytes(data[4:8], "big"))


def _masked(prefix, length):
    shift = 128 - length
    return (int.from_bytes(prefix, "big") >> shift << shift).to_bytes(16, "big")


def _parse_names(data):
    """The domain names of a DNSSL option, in RFC 1035 §3.1's form and padded with zeros, without what is no host name;
    () if the option is broken."""
    names, labels, at = [], [], 0
    while at < len(data) and len(names) < _MAX_NAMES:
        size = data[at]
        if size > 63 or at + 1 + size > len(data):
            return ()
        if size:
            labels.append(data[at + 1 : at + 1 + size])
        elif labels:
            name = host_name(labels)
            if name is not None:
                names.append(name)
            labels = []
        at += 1 + size
    return () if labels else tuple(names)


def _parse_neighbor_solicitation(buf, at, options):
    target = bytes(buf[at + 8 : at + 24])
    if target[0] == 0xFF:
        return None
    nonce = next((data[2:] for kind, data in options if kind == _OPTION_NONCE), None)
    return NeighborSolicitation(target, _link_address(options, _OPTION_SOURCE), nonce)


def _parse_neighbor_advertisement(buf, at, options):
    flags, target = buf[at + 4], bytes(buf[at + 8 : at + 24])
    if target[0] == 0xFF:
        return None
    return NeighborAdvertisement(
        target,
        bool(flags & _ROUTER),
        bool(flags & _SOLICITED),
        bool(flags & _OVERRIDE),
        _link_address(options, _OPTION_TARGET),
    )


def _parse_redirect(buf, at, options):
    target, destination = bytes(buf[at + 8 : at + 24]), bytes(buf[at + 24 : at + 40])
    if destination[0] == 0xFF:
        return None
    return Redirect(target, destination, _link_address(options, _OPTION_TARGET))


_PARSERS = {  # type -> (parser, offset of the options)
    icmp6.ROUTER_SOLICITATION: (_parse_router_solicitation, 8),
    icmp6.ROUTER_ADVERTISEMENT: (_parse_router_advertisement, 16),
    icmp6.NEIGHBOR_SOLICITATION: (_parse_neighbor_solicitation, 24),
    icmp6.NEIGHBOR_ADVERTISEMENT: (_parse_neighbor_advertisement, 24),
    icmp6.REDIRECT: (_parse_redirect, 40),
}


def build(message):
    """The ICMPv6 message of one of the NamedTuples, as a bytearray with a checksum of 0."""
    return _BUILDERS[type(message)](message)


def _option(kind, body):
    """*body* is what stands behind the length, and is padded."""
    body += bytes(-(len(body) + 2) % 8)
    return bytes((kind, (len(body) + 2) // 8)) + body


def _link_option(kind, mac):
    return b"" if mac is None else _option(kind, mac)


def _build_router_solicitation(message):
    options = _link_option(_OPTION_SOURCE, message.link_address)
    return icmp6.build(icmp6.ROUTER_SOLICITATION, 0, bytes(4), options)


def _build_router_advertisement(message):
    flags = _MANAGED * message.managed | _OTHER * message.other | (message.preference & 3) << 3
    rest = bytes((message.hop_limit, flags)) + message.lifetime.to_bytes(2, "big")
    times = struct.pack("!II", round(message.reachable * 1000), round(message.retransmit * 1000))
    options = [times, _link_option(_OPTION_SOURCE, message.link_address)]
    if message.mtu is not None:
        options.append(_option(_OPTION_MTU, struct.pack("!HI", 0, message.mtu)))
    for each in message.prefixes:
        bits = _ON_LINK * each.on_link | _AUTONOMOUS * each.autonomous
        options.append(
            _option(
                _OPTION_PREFIX,
                struct.pack("!BBIII16s", each.length, bits, each.valid, each.preferred, 0, each.prefix),
            )
        )
    for each in message.routes:
        body = struct.pack("!BBI", each.length, (each.preference & 3) << 3, each.lifetime)
        options.append(_option(_OPTION_ROUTE, body + each.prefix[: -(-each.length // 64) * 8]))
    for lifetime, addresses in message.resolvers:
        options.append(_option(_OPTION_RDNSS, struct.pack("!HI", 0, lifetime) + b"".join(addresses)))
    for lifetime, names in message.search:
        encoded = b"".join(map(_encode_name, names))
        options.append(_option(_OPTION_DNSSL, struct.pack("!HI", 0, lifetime) + encoded))
    return icmp6.build(icmp6.ROUTER_ADVERTISEMENT, 0, rest, b"".join(options))


def _encode_name(name):
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _build_neighbor_solicitation(message):
    options = _link_option(_OPTION_SOURCE, message.link_address)
    if message.nonce is not None:
        options += _option(_OPTION_NONCE, message.nonce)
    return icmp6.build(icmp6.NEIGHBOR_SOLICITATION, 0, bytes(4), message.target + options)


def _build_neighbor_advertisement(message):
    flags = _ROUTER * message.router | _SOLICITED * message.solicited | _OVERRIDE * message.override
    options = _link_option(_OPTION_TARGET, message.link_address)
    return icmp6.build(icmp6.NEIGHBOR_ADVERTISEMENT, 0, bytes((flags, 0, 0, 0)), message.target + options)


def _build_redirect(message):
    options = _link_option(_OPTION_TARGET, message.link_address)
    return icmp6.build(icmp6.REDIRECT, 0, bytes(4), message.target + message.destination + options)


_BUILDERS = {
    RouterSolicitation: _build_router_solicitation,
    RouterAdvertisement: _build_router_advertisement,
    NeighborSolicitation: _build_neighbor_solicitation,
    NeighborAdvertisement: _build_neighbor_advertisement,
    Redirect: _build_redirect,
}
