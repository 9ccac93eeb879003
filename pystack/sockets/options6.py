"""The options of AF_INET6 sockets, which have those of IPv4 too: ipv6(7), RFC 3493, RFC 3542. See `options`."""

import struct

from pystack.sockets import options
from pystack.sockets.options import Option, read_int, write_int

IPPROTO_IPV6 = 41

_MREQ = struct.Struct("=16si")


def _flag(setting, transport=True, default=False):
    return Option(setting, lambda data: read_int(data) != 0, write_int, transport, default)


def _number(setting, least, most, wildcard=None, transport=True, default=0):
    """*wildcard*: what -1 stands for."""

    def to_value(data):
        value = read_int(data)
        if value == -1 and wildcard is not None:
            return wildcard
        if not least <= value <= most:
            raise options.invalid()
        return value

    return Option(setting, to_value, write_int, transport, default)


V6ONLY = (IPPROTO_IPV6, 26)

_BOTH = {
    V6ONLY: _flag("v6_only"),
    (IPPROTO_IPV6, 70): _flag("auto_flow_label", False, True),  # IPV6_AUTOFLOWLABEL: kept
    (IPPROTO_IPV6, 33): _flag("flow_info_send", False),  # IPV6_FLOWINFO_SEND: kept, labels are the stack's to choose
    (IPPROTO_IPV6, 72): _number("address_preferences", 0, 0xFFFF, None, False),  # IPV6_ADDR_PREFERENCES: kept
    (IPPROTO_IPV6, 49): _flag("packet_info6", False),  # IPV6_RECVPKTINFO
    (IPPROTO_IPV6, 51): _flag("receive_hop_limit", False),  # IPV6_RECVHOPLIMIT
    (IPPROTO_IPV6, 66): _flag("receive_traffic_class", False),  # IPV6_RECVTCLASS
    (IPPROTO_IPV6, 53): _flag("receive_hop_options", False),  # IPV6_RECVHOPOPTS: kept, no program sees any
    (IPPROTO_IPV6, 56): _flag("receive_routing", False),  # IPV6_RECVRTHDR: the same
    (IPPROTO_IPV6, 58): _flag("receive_destination_options", False),  # IPV6_RECVDSTOPTS: the same
    (IPPROTO_IPV6, 60): _flag("receive_path_mtu", False),  # IPV6_RECVPATHMTU: kept
}

TCP6 = {
    **options.TCP,
    **_BOTH,
    (IPPROTO_IPV6, 16): _number("hop_limit", 0, 255, 0),  # IPV6_UNICAST_HOPS
    (IPPROTO_IPV6, 67): Option("traffic_class", lambda data: _traffic_class(data) & 0xFC, write_int),  # IPV6_TCLASS
    (IPPROTO_IPV6, 23): _number("discover_pmtu6", 0, 5, None, False, 1),  # IPV6_MTU_DISCOVER: TCP never fragments
    (IPPROTO_IPV6, 25): _flag("receive_error6", False),  # IPV6_RECVERR
    (IPPROTO_IPV6, 62): _flag("never_fragment6", False),  # IPV6_DONTFRAG
    (IPPROTO_IPV6, 18): _number("multicast_hops", 0, 255, 1, False, 1),  # IPV6_MULTICAST_HOPS: of no use to TCP
    (IPPROTO_IPV6, 19): Option("multicast_loop6", _number("", 0, 1).to_value, write_int, False, 1),
}

UDP6 = {
    **options.UDP,
    **_BOTH,
    (IPPROTO_IPV6, 16): _number("v6.ttl", 0, 255, 0),  # IPV6_UNICAST_HOPS
    (IPPROTO_IPV6, 67): _number("v6.tos", 0, 255, 0),  # IPV6_TCLASS
    (IPPROTO_IPV6, 18): _number("v6.multicast_ttl", 0, 255, 1),  # IPV6_MULTICAST_HOPS
    (IPPROTO_IPV6, 19): Option("v6.multicast_loop", lambda data: bool(_number("", 0, 1).to_value(data)), write_int),
    (IPPROTO_IPV6, 29): Option("v6.multicast_all", lambda data: bool(_number("", 0, 1).to_value(data)), write_int),
    (IPPROTO_IPV6, 23): _number("v6.discover_pmtu", 0, 5),  # IPV6_MTU_DISCOVER
    (IPPROTO_IPV6, 25): _flag("v6.recv_error"),  # IPV6_RECVERR
    (IPPROTO_IPV6, 62): _flag("v6.never_fragment"),  # IPV6_DONTFRAG
}

MULTICAST_IF = (IPPROTO_IPV6, 17)
JOIN_GROUP = (IPPROTO_IPV6, 20)
LEAVE_GROUP = (IPPROTO_IPV6, 21)
MTU = (IPPROTO_IPV6, 24)


def _traffic_class(data):
    return _number("", 0, 255, 0).to_value(data)


def read_membership(data):
    """``(group, interface)`` of an ipv6_mreq. Raises OSError."""
    if len(data) < _MREQ.size:
        raise options.invalid()
    return _MREQ.unpack_from(data)
