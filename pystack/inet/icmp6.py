"""ICMP for IPv6 (RFC 4443): answers echo requests, makes and reads errors, remembers our own echoes."""

from pystack import errors
from pystack.inet.extensions import FIRST_PROTOCOL_AT
from pystack.inet.ratelimit import ErrorLimit
from pystack.messages import (
    HOST_UNREACHABLE,
    NET_UNREACHABLE,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    PROHIBITED,
    REASSEMBLY_EXCEEDED,
    TTL_EXCEEDED,
    EchoReply,
    Unreachable,
)
from pystack.packet import HOST, TxPacket
from pystack.scope import scoped
from pystack.wire import checksum, icmp6, ipv6

ECHOES = 4096  # our own echo requests remembered, to match replies and errors with

SENT_AS = {  # cause -> type, code
    NET_UNREACHABLE: (icmp6.DESTINATION_UNREACHABLE, icmp6.NO_ROUTE),
    HOST_UNREACHABLE: (icmp6.DESTINATION_UNREACHABLE, icmp6.ADDRESS_UNREACHABLE),
    PROHIBITED: (icmp6.DESTINATION_UNREACHABLE, icmp6.PROHIBITED),
    PORT_UNREACHABLE: (icmp6.DESTINATION_UNREACHABLE, icmp6.PORT_UNREACHABLE),
    REASSEMBLY_EXCEEDED: (icmp6.TIME_EXCEEDED, icmp6.REASSEMBLY_EXCEEDED),
}

_UNREACHABLE_CODES = {  # code of Destination Unreachable -> cause (Linux's icmpv6_err_convert)
    icmp6.NO_ROUTE: NET_UNREACHABLE,
    icmp6.PROHIBITED: PROHIBITED,
    icmp6.BEYOND_SCOPE: HOST_UNREACHABLE,
    icmp6.ADDRESS_UNREACHABLE: HOST_UNREACHABLE,
    icmp6.PORT_UNREACHABLE: PORT_UNREACHABLE,
    icmp6.FAILED_POLICY: PROHIBITED,
    icmp6.REJECTED_ROUTE: PROHIBITED,
}


class Icmp6:
    """*drops* and *counts* are the layer's; what is to be sent or handed up is returned."""

    def __init__(self, config, drops, counts):
        self._limit = ErrorLimit(config.ipv6.icmp_ratelimit, config.icmp_msgs_per_second, config.icmp_msgs_burst)
        self._ignore_multicast = config.ipv6.echo_ignore_multicast
        self._drops = drops
        self._counts = counts
        self._echoes = {}  # (destination, identifier and sequence) of our requests, oldest first

    def accept(self, packet):
        """Whether the message at ``packet.at`` is whole and its checksum right; counted if not."""
        self._counts["Icmp6InMsgs"] += 1
        length = packet.end - packet.at
        if length < icmp6.HEADER_LENGTH:
            self._drops[errors.TRUNCATED_ICMP] += 1
            return False
        if not packet.checksum_trusted:
            view = memoryview(packet.buf)[packet.at : packet.end]
            if not checksum.valid(view, packet.pseudo_sum(length)):
                self._drops[errors.BAD_CHECKSUM] += 1
                return False
        return True

    def receive(self, packet, now, unicast):
        """Take an RxPacket that `accept` has accepted, no neighbour discovery nor MLD; *unicast* says that its
        destination is ours alone.

        Returns:
            a TxPacket to send, an EchoReply, or ``(Unreachable, length of the quoted packet)``; else None.
        """
        view = memoryview(packet.buf)[packet.at : packet.end]
        kind, code, _, rest = icmp6.parse(packet.buf, packet.at)
        if kind == icmp6.ECHO_REQUEST:
            if not unicast and self._ignore_multicast:
                self._drops[errors.ECHO_IGNORED] += 1
                return None
            return self._echo(packet, code, view, unicast)
        if kind == icmp6.ECHO_REPLY:
            return self._echo_reply(packet, rest, view, now)
        if icmp6.DESTINATION_UNREACHABLE <= kind <= icmp6.PARAMETER_PROBLEM:
            return self._error(packet, kind, code, rest, view)
        # RFC 4443 §2.4 (a) would hand an unknown error up; there is nobody who knows what to do with it.
        self._drops[errors.UNKNOWN_ICMP] += 1
        return None

    def echo_request(self, request):
        """The TxPacket of an `EchoRequest`; its reply, or an error about it, will be matched."""
        rest = request.identifier.to_bytes(2, "big") + request.sequence.to_bytes(2, "big")
        if len(self._echoes) >= ECHOES:
            del self._echoes[next(iter(self._echoes))]
        self._echoes[_answerer(request.destination), rest] = None
        header = icmp6.build(icmp6.ECHO_REQUEST, 0, rest)
        packet = TxPacket(
            request.destination, ipv6.ICMPV6, header, (request.payload,), ttl=request.ttl, tos=request.tos
        )
        packet.checksum_at = icmp6.CHECKSUM_AT
        packet.dont_fragment = request.dont_fragment
        self._counts["Icmp6OutEchos"] += 1
        return packet

    def asked(self, destination, rest):
        """Whether we sent an echo request with the 4 bytes of identifier and sequence *rest* to *destination*."""
        return (_answerer(destination), bytes(rest)) in self._echoes

    def error(self, packet, cause, now, pointer=0):
        """The error about a received packet for a *cause* of `SENT_AS`, as a TxPacket; None where none may be sent."""
        kind, code = SENT_AS[cause]
        return self._make_error(packet, kind, code, bytes(4), now, to_groups=False)

    def problem(self, packet, fault, now):
        """The Parameter Problem for a `extensions.Fault` that has a code; None where none may be sent."""
        rest = fault.pointer.to_bytes(4, "big")
        return self._make_error(packet, icmp6.PARAMETER_PROBLEM, fault.code, rest, now, fault.to_groups)

    def _make_error(self, packet, kind, code, rest, now, to_groups):
        if not self._may_answer(packet, to_groups):
            self._drops[errors.ICMP_FORBIDDEN] += 1
            return None
        if not self._limit.allows(packet.source, now):
            self._drops[errors.ICMP_RATE_LIMITED] += 1
            return None
        room = ipv6.MIN_MTU - ipv6.HEADER_LENGTH - icmp6.HEADER_LENGTH  # §2.4 (c)
        quote = bytes(packet.buf[packet.ip_at : min(packet.end, packet.ip_at + room)])
        group = packet.destination[0] == 0xFF
        answer = TxPacket(
            packet.source,
            ipv6.ICMPV6,
            icmp6.build(kind, code, rest, quote),
            source=None if group else packet.destination,
            tos=packet.tos & 0xFC,
        )
        answer.checksum_at = icmp6.CHECKSUM_AT
        self._counts["Icmp6OutErrors"] += 1
        return answer

    def _may_answer(self, packet, to_groups):
        """§2.4 (e)."""
        source = packet.source
        if source[0] == 0xFF or source == ipv6.UNSPECIFIED:
            return False
        if (packet.destination[0] == 0xFF or packet.cast != HOST) and not to_groups:
            return False
        # Of the packet as it came: its fault may be in a header before the ICMP message, or it be a fragment.
        found = _find_upper(packet.buf, packet.ip_at, packet.end)
        if found is None or found[0] != ipv6.ICMPV6 or found[1] is None:
            return True
        at = found[1]
        return at < packet.end and packet.buf[at] >= icmp6.INFORMATIONAL and packet.buf[at] != icmp6.REDIRECT

    def _echo(self, packet, code, view, unicast):
        header = bytearray((icmp6.ECHO_REPLY, code, 0, 0))
        # A group's member answers from its own address. RFC 4443 does not say of what traffic class; this is Linux's.
        source = packet.destination if unicast else None
        reply = TxPacket(packet.source, ipv6.ICMPV6, header, (view[4:],), source=source, tos=packet.tos)
        reply.checksum_at = icmp6.CHECKSUM_AT
        self._counts["Icmp6OutEchoReplies"] += 1
        return reply

    def _echo_reply(self, packet, rest, view, now):
        if (packet.source, rest) not in self._echoes and (None, rest) not in self._echoes:
            self._drops[errors.ICMP_UNMATCHED] += 1
            return None
        identifier, sequence = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:], "big")
        return EchoReply(packet.source, identifier, sequence, bytes(view[8:]), packet.ttl, now)

    def _error(self, packet, kind, code, rest, view):
        quote = view[icmp6.HEADER_LENGTH :]
        found = _read_quote(quote)
        if found is None:
            self._drops[errors.TRUNCATED_ICMP] += 1
            return None
        protocol, at = found
        if at is None:
            self._drops[errors.ICMP_UNMATCHED] += 1  # a later fragment names no flow
            return None
        mtu = 0
        if kind == icmp6.PACKET_TOO_BIG:
            cause, mtu = PACKET_TOO_BIG, int.from_bytes(rest, "big")
        elif kind == icmp6.TIME_EXCEEDED:
            cause = REASSEMBLY_EXCEEDED if code == icmp6.REASSEMBLY_EXCEEDED else TTL_EXCEEDED
        elif kind == icmp6.PARAMETER_PROBLEM:
            cause = PARAMETER_PROBLEM
        else:
            cause = _UNREACHABLE_CODES.get(code)
            if cause is None:
                self._drops[errors.UNKNOWN_ICMP] += 1
                return None
        self._counts["Icmp6InErrors"] += 1
        source, destination = (scoped(bytes(quote[start : start + 16]), packet.interface) for start in (8, 24))
        length = ipv6.HEADER_LENGTH + int.from_bytes(quote[4:6], "big")
        quoted = bytes(quote[at:])
        return Unreachable(cause, protocol, source, destination, quoted, packet.source, mtu, kind, code), length


def _read_quote(quote):
    """``(protocol, offset of the transport header)`` of the packet that an error quotes.

    The offset is None in a fragment that is not the first. None if the quote is broken, or less than 8 bytes of the
    transport header are there.
    """
    if len(quote) < ipv6.HEADER_LENGTH or quote[0] >> 4 != 6:
        return None
    found = _find_upper(quote, 0, len(quote))
    if found is None or found[1] is None:
        return found
    return found if found[1] + 8 <= len(quote) else None


def _find_upper(buf, at, end):
    """``(protocol, offset)`` of what is behind the extension headers of the packet in ``buf[at:end]``.

    The offset is None in a fragment that is not the first. None if a header is not there in full.
    """
    protocol, at = buf[at + FIRST_PROTOCOL_AT], at + ipv6.HEADER_LENGTH
    while protocol in ipv6.EXTENSIONS:
        if at + 8 > end:
            return None
        if protocol == ipv6.FRAGMENT:
            if int.from_bytes(buf[at + 2 : at + 4], "big") & ipv6.OFFSET_MASK:
                return buf[at], None
            protocol, at = buf[at], at + ipv6.FRAGMENT_LENGTH
        else:
            protocol, at = buf[at], at + 8 * (buf[at + 1] + 1)
    return protocol, at


def _answerer(destination):
    """Who answers an echo request: its destination, or, with a group, anybody (None)."""
    return destination if destination[0] != 0xFF else None
