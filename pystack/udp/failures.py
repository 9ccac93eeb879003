"""What an ICMP error means for the program whose datagram it is about."""

from pystack import errors, messages
from pystack.udp import output
from pystack.udp.settings import PMTU_DO, PMTU_DONT
from pystack.wire import ipv4, udp

# cause of the Unreachable -> (cause for the program, whether it is told without IP_RECVERR): Linux's icmp_err_convert,
# and what __udp4_lib_err makes of the other types. RFC 1122 §4.1.3.3 would have them all told.
_JUDGED = {
    messages.NET_UNREACHABLE: (errors.NET_UNREACHABLE, False),
    messages.HOST_UNREACHABLE: (errors.HOST_UNREACHABLE, False),
    messages.PROTOCOL_UNREACHABLE: (errors.NO_PROTOCOL, True),
    messages.PORT_UNREACHABLE: (errors.REFUSED, True),
    messages.PACKET_TOO_BIG: (errors.MESSAGE_TOO_BIG, True),
    messages.SOURCE_ROUTE_FAILED: (errors.NOT_SUPPORTED, False),
    messages.PROHIBITED: (errors.HOST_UNREACHABLE, True),
    messages.TTL_EXCEEDED: (errors.HOST_UNREACHABLE, False),
    messages.REASSEMBLY_EXCEEDED: (errors.HOST_UNREACHABLE, False),
    messages.PARAMETER_PROBLEM: (errors.PROTOCOL_ERROR, True),
}
# The same for IPv6: icmpv6_err_convert.
_JUDGED6 = {
    **_JUDGED,
    messages.PROHIBITED: (errors.PROHIBITED, True),
}
_HARD_CODES = (6, 7, 8)  # of Destination Unreachable: net unknown, host unknown, source host isolated
_NET_PROHIBITED = 9


def judge(message, discover_pmtu):
    """What to tell of a `messages.Unreachable` about a socket that is set to *discover_pmtu*.

    Returns:
        ``(cause, hard)``: one that is not hard is told only if the program has asked for it (IP_RECVERR); the cause is
        None if nobody is to be told.
    """
    if message.cause == messages.PACKET_TOO_BIG and discover_pmtu == PMTU_DONT:
        return None, False  # it is cut from now on
    if len(message.source) == 16:
        cause, hard = _JUDGED6[message.cause]
        return cause, hard and (message.cause != messages.PACKET_TOO_BIG or discover_pmtu == PMTU_DO)
    cause, hard = _JUDGED[message.cause]
    if message.cause == messages.PROHIBITED and message.code == _NET_PROHIBITED:
        cause = errors.NET_UNREACHABLE
    elif message.cause in (messages.NET_UNREACHABLE, messages.HOST_UNREACHABLE) and message.code in _HARD_CODES:
        hard = True
    return cause, hard


def wants_too_big(binding, send):
    """Whether the program is to be told more of a `transport.Send` that was refused for its size (IP_RECVERR)."""
    address = send.address if send.address is not None else binding.peer[0]
    return binding.settings.of(address).recv_error


def too_big(binding, paths, send):
    """The Unreachable for a `transport.Send` that was refused for its size (Linux's ip_local_error), or None."""
    address, port = (send.address, send.port) if send.address is not None else binding.peer
    way = output.route(binding, paths, address, send.source, send.interface)
    return messages.Unreachable(
        messages.PACKET_TOO_BIG,
        ipv4.UDP,
        way.facts.source,
        way.destination,
        udp.build(binding.port, port, (udp.HEADER_LENGTH + len(send.payload)) & 0xFFFF, 0),
        None,
        way.facts.mtu,
    )
