"""The extension headers of a received IPv6 packet (RFC 8200 §4), judged as Linux does."""

from typing import NamedTuple

from pystack import errors
from pystack.wire import icmp6, ipv6

FIRST_PROTOCOL_AT = 6  # offset of Next Header in the IPv6 header
MAX_OPTIONS = 8  # of one header (net.ipv6.max_hbh_opts_number, max_dst_opts_number)
MAX_PADDING = 7  # bytes in a row (Linux's ip6_parse_tlv)
_SKIP, _DROP, _ANSWER, _ANSWER_UNLESS_MULTICAST = range(4)  # the two high bits of an unknown option (§4.2)
_KNOWN_HOP_BY_HOP = frozenset((ipv6.ROUTER_ALERT,))


class Fault(NamedTuple):
    """Why a packet goes no further. With a ``code`` a Parameter Problem is due, that points at ``pointer`` (counted
    from the IPv6 header on); ``to_groups``: even if the packet was to a group."""

    reason: str
    code: int | None = None
    pointer: int = 0
    to_groups: bool = False


def walk(packet, protocol_at, fragmented=False):
    """Walk from ``packet.at`` to the upper-layer header, or to a fragment header.

    Args:
        packet: an RxPacket; ``protocol`` says what is at ``at``. Both are moved along.
        protocol_at: the offset of the Next Header field that said so, from the IPv6 header on.
        fragmented: what is at ``at`` was behind a fragment header, even if the IPv6 header is all that is left.

    Returns:
        ``(protocol_at, None)``, or ``(protocol_at, Fault)``.
    """
    buf, end = packet.buf, packet.end
    while packet.protocol in ipv6.EXTENSIONS and packet.protocol != ipv6.FRAGMENT:
        at, protocol = packet.at, packet.protocol
        if at + 8 > end or at + 8 * (buf[at + 1] + 1) > end:
            return protocol_at, Fault(errors.TRUNCATED_HEADER)
        behind = at + 8 * (buf[at + 1] + 1)
        base = packet.ip_at
        if protocol == ipv6.ROUTING:
            fault = _judge_routing(buf, at, base)
        elif protocol == ipv6.HOP_BY_HOP and (fragmented or protocol_at != FIRST_PROTOCOL_AT):
            fault = Fault(errors.UNKNOWN_PROTOCOL, icmp6.UNKNOWN_NEXT_HEADER, protocol_at)  # §4.3: first or nowhere
        else:
            known = _KNOWN_HOP_BY_HOP if protocol == ipv6.HOP_BY_HOP else ()
            fault = _judge_options(buf, at + 2, behind, base, known)
        if fault is not None:
            return protocol_at, fault
        protocol_at = at - base
        packet.protocol, packet.at = buf[at], behind
    return protocol_at, None


def _judge_routing(buf, at, base):
    """RFC 8200 §4.4, and RFC 5095 for type 0, which is treated as unknown: it counts only if segments are left."""
    if buf[at + 3] == 0:
        return None
    return Fault(errors.SOURCE_ROUTED, icmp6.ERRONEOUS_FIELD, at + 2 - base)


def _judge_options(buf, at, end, base, known):
    options = padding = 0
    for kind, start, behind, option_at in ipv6.walk_options(buf, at, end):
        if kind is None:
            return Fault(errors.BAD_OPTION)
        if kind in (ipv6.PAD1, ipv6.PADN):
            padding += behind - option_at
            if padding > MAX_PADDING or any(buf[start:behind]):
                return Fault(errors.BAD_OPTION)
            continue
        padding = 0
        options += 1
        if options > MAX_OPTIONS:
            return Fault(errors.BAD_OPTION)
        action = kind >> 6
        if kind in known or action == _SKIP:
            continue
        if action == _DROP:
            return Fault(errors.BAD_OPTION)
        return Fault(errors.BAD_OPTION, icmp6.UNKNOWN_OPTION, option_at - base, action == _ANSWER)
    return None


def alerts_routers(packet, value):
    """Whether the packet, whose headers have been walked, has a Router Alert of this value (RFC 2711 §2.1)."""
    buf, at = packet.buf, packet.ip_at
    if buf[at + FIRST_PROTOCOL_AT] != ipv6.HOP_BY_HOP:
        return False
    at += ipv6.HEADER_LENGTH
    behind = at + 8 * (buf[at + 1] + 1)
    return any(
        kind == ipv6.ROUTER_ALERT and end - start == 2 and int.from_bytes(buf[start:end], "big") == value
        for kind, start, end, _ in ipv6.walk_options(buf, at + 2, behind)
    )


def is_complete(packet, at):
    """Whether the first fragment, whose payload begins at *at*, has all headers up to the upper layer's (RFC 7112).

    As Linux's ipv6frag_thdr_truncated: of the upper layer's the least part, that an error has to quote.
    """
    buf, end, protocol = packet.buf, packet.end, packet.buf[packet.at]
    while protocol in ipv6.EXTENSIONS:
        if at + 8 > end:
            return False
        size = ipv6.FRAGMENT_LENGTH if protocol == ipv6.FRAGMENT else 8 * (buf[at + 1] + 1)
        protocol, at = buf[at], at + size
    return protocol == ipv6.NO_NEXT_HEADER or at + _LEAST.get(protocol, 1) <= end


_LEAST = {6: 20, 17: 8, ipv6.ICMPV6: 8}  # bytes of TCP's, UDP's and ICMP's header
