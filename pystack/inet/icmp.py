"""ICMP for IPv4: answers queries, makes errors when RFC 1122 §3.2.2 allows, reads errors, remembers our own echoes."""

from typing import NamedTuple

from pystack import errors
from pystack.inet import options
from pystack.inet.ratelimit import ErrorLimit
from pystack.messages import (
    HOST_UNREACHABLE,
    NET_UNREACHABLE,
    PACKET_TOO_BIG,
    PARAMETER_PROBLEM,
    PORT_UNREACHABLE,
    PROHIBITED,
    PROTOCOL_UNREACHABLE,
    REASSEMBLY_EXCEEDED,
    SOURCE_ROUTE_FAILED,
    TTL_EXCEEDED,
    EchoReply,
    Unreachable,
)
from pystack.packet import HOST, TxPacket
from pystack.wire import checksum, icmp, ipv4

ERROR_LENGTH = 576  # RFC 1812 §4.3.2.3: bytes of the whole error packet, quote and all
ECHOES = 4096  # our own echo requests remembered, to match replies and errors with

SENT_AS = {  # cause -> type, code
    NET_UNREACHABLE: (icmp.DESTINATION_UNREACHABLE, icmp.NET_UNREACHABLE),
    HOST_UNREACHABLE: (icmp.DESTINATION_UNREACHABLE, icmp.HOST_UNREACHABLE),
    PROHIBITED: (icmp.DESTINATION_UNREACHABLE, icmp.COMMUNICATION_PROHIBITED),
    PROTOCOL_UNREACHABLE: (icmp.DESTINATION_UNREACHABLE, icmp.PROTOCOL_UNREACHABLE),
    PORT_UNREACHABLE: (icmp.DESTINATION_UNREACHABLE, icmp.PORT_UNREACHABLE),
    REASSEMBLY_EXCEEDED: (icmp.TIME_EXCEEDED, icmp.REASSEMBLY_EXCEEDED),
    PARAMETER_PROBLEM: (icmp.PARAMETER_PROBLEM, 0),
}

_UNREACHABLE_CODES = {  # code of Destination Unreachable -> cause (Linux's icmp_err_convert)
    icmp.NET_UNREACHABLE: NET_UNREACHABLE,
    icmp.HOST_UNREACHABLE: HOST_UNREACHABLE,
    icmp.PROTOCOL_UNREACHABLE: PROTOCOL_UNREACHABLE,
    icmp.PORT_UNREACHABLE: PORT_UNREACHABLE,
    icmp.FRAGMENTATION_NEEDED: PACKET_TOO_BIG,
    icmp.SOURCE_ROUTE_FAILED: SOURCE_ROUTE_FAILED,
    6: NET_UNREACHABLE,  # network unknown
    7: HOST_UNREACHABLE,  # host unknown
    8: HOST_UNREACHABLE,  # source host isolated
    icmp.NET_PROHIBITED: PROHIBITED,
    icmp.HOST_PROHIBITED: PROHIBITED,
    11: NET_UNREACHABLE,  # for this type of service
    12: HOST_UNREACHABLE,
    icmp.COMMUNICATION_PROHIBITED: PROHIBITED,
    14: PROHIBITED,
    15: PROHIBITED,
}


class Redirect(NamedTuple):
    """A router says: what you sent from *source* to *destination* is better sent by *gateway*."""

    source: bytes
    destination: bytes
    gateway: bytes


class Icmp:
    """*drops* and *counts* are the layer's; what is to be sent or handed up is returned."""

    def __init__(self, config, drops, counts):
        self._limit = ErrorLimit(config.icmp_ratelimit, config.icmp_msgs_per_second, config.icmp_msgs_burst)
        self._ignore_broadcasts = config.icmp_echo_ignore_broadcasts
        self._drops = drops
        self._counts = counts
        self._echoes = {}  # (destination, identifier, sequence) of our requests, oldest first

    def receive(self, packet, now, unicast):
        """Take an RxPacket whose ``at`` is at the ICMP header; *unicast* says that its destination is ours alone.

        Returns:
            a TxPacket to send, an EchoReply, a Redirect, or ``(Unreachable, total length of the quoted packet)``; else
            None.
        """
        self._counts["IcmpInMsgs"] += 1
        buf, at = packet.buf, packet.at
        if packet.end - at < icmp.HEADER_LENGTH:
            self._drops[errors.TRUNCATED_ICMP] += 1
            return None
        view = memoryview(buf)[at : packet.end]
        if not checksum.valid(view):
            self._drops[errors.BAD_CHECKSUM] += 1
            return None
        kind, code, check, rest = icmp.parse(buf, at)
        if kind in (icmp.ECHO_REQUEST, icmp.TIMESTAMP_REQUEST) and not unicast and self._ignore_broadcasts:
            self._drops[errors.ECHO_IGNORED] += 1
            return None
        if kind == icmp.ECHO_REQUEST:
            return self._echo(packet, code, check, view, now, unicast)
        if kind == icmp.ECHO_REPLY:
            return self._echo_reply(packet, rest, view, now)
        if kind == icmp.TIMESTAMP_REQUEST:
            return self._timestamp(packet, rest, view, now, unicast)
        if kind in (icmp.DESTINATION_UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM):
            return self._error(packet, kind, code, rest, view)
        if kind == icmp.REDIRECT:
            return self._redirect(rest, view)
        # Source Quench is ignored, as RFC 6633 says.
        self._drops[errors.UNKNOWN_ICMP] += 1
        return None

    def echo_request(self, request):
        """The TxPacket of an `EchoRequest`; its reply, or an error about it, will be matched."""
        rest = request.identifier.to_bytes(2, "big") + request.sequence.to_bytes(2, "big")
        if len(self._echoes) >= ECHOES:
            del self._echoes[next(iter(self._echoes))]
        self._echoes[_answerer(request.destination), rest] = None
        message = icmp.build(icmp.ECHO_REQUEST, 0, rest, request.payload)
        packet = TxPacket(request.destination, ipv4.ICMP, message, ttl=request.ttl, tos=request.tos)
        packet.dont_fragment = request.dont_fragment
        self._counts["IcmpOutEchos"] += 1
        return packet

    def asked(self, destination, rest):
        """Whether we sent an echo request with the 4 bytes of identifier and sequence *rest* to *destination*."""
        return (_answerer(destination), bytes(rest)) in self._echoes

    def error(self, packet, cause, now, pointer=0):
        """The ICMP error about a received packet, as a TxPacket, or None where none may be sent.

        Args:
            packet: the RxPacket; quoted from its IP header on.
            cause: a key of `SENT_AS`.
            pointer: for PARAMETER_PROBLEM, the offset in the IP header.
        """
        if not self._may_answer(packet):
            self._drops[errors.ICMP_FORBIDDEN] += 1
            return None
        if not self._limit.allows(packet.source, now):
            self._drops[errors.ICMP_RATE_LIMITED] += 1
            return None
        kind, code = SENT_AS[cause]
        room = ERROR_LENGTH - ipv4.HEADER_LENGTH - icmp.HEADER_LENGTH
        quote = bytes(packet.buf[packet.ip_at : min(packet.end, packet.ip_at + room)])
        message = icmp.build(kind, code, bytes((pointer, 0, 0, 0)), quote)
        self._counts["IcmpOutErrors"] += 1
        # RFC 1812 §4.3.2.5 and Linux: precedence 6, internetwork control.
        return TxPacket(packet.source, ipv4.ICMP, message, source=packet.destination, tos=(packet.tos & 0x1E) | 0xC0)

    def _may_answer(self, packet):
        """RFC 1122 §3.2.2's list, save for a broadcast address as destination, which the layer knows."""
        buf, ip_at = packet.buf, packet.ip_at
        source = packet.source
        if packet.cast != HOST or source[0] == 0 or source[0] >= 224:
            return False
        if packet.destination[0] >= 224:
            return False
        fields = ipv4.parse(buf, ip_at)
        if fields[4] & ipv4.OFFSET_MASK:
            return False
        if packet.protocol != ipv4.ICMP:
            return True
        at = ip_at + (fields[0] & 15) * 4
        return at < packet.end and buf[at] in icmp.QUERIES

    def _echo(self, packet, code, check, view, now, unicast):
        header = bytes((icmp.ECHO_REPLY, code)) + icmp.reply_checksum(check).to_bytes(2, "big")
        reply = self._answer(packet, header, now, unicast)
        reply.payload = (view[4:],)
        self._counts["IcmpOutEchoReps"] += 1
        return reply

    def _timestamp(self, packet, rest, view, now, unicast):
        if len(view) < 20:
            self._drops[errors.TRUNCATED_ICMP] += 1
            return None
        stamp = options.nonstandard_time(now)
        message = icmp.build(icmp.TIMESTAMP_REPLY, 0, rest, bytes(view[8:12]) + stamp + stamp)
        return self._answer(packet, message, now, unicast)

    def _answer(self, packet, header, now, unicast):
        # The type of service is the request's (RFC 1122 §3.2.2.6); DF stays off, as on Linux.
        source = packet.destination if unicast else None
        reply = TxPacket(packet.source, ipv4.ICMP, header, source=source, tos=packet.tos)
        if packet.options:
            reply.options = options.echoed(packet.options, packet.destination, now)
        return reply

    def _echo_reply(self, packet, rest, view, now):
        if (packet.source, rest) not in self._echoes and (None, rest) not in self._echoes:
            self._drops[errors.ICMP_UNMATCHED] += 1
            return None
        identifier, sequence = int.from_bytes(rest[:2], "big"), int.from_bytes(rest[2:], "big")
        return EchoReply(packet.source, identifier, sequence, bytes(view[8:]), packet.ttl, now)

    def _redirect(self, rest, view):
        """Any code is taken for one of a host (RFC 1122 §3.2.2.2), as on Linux."""
        fields, _ = self._read_quote(view)
        return None if fields is None else Redirect(fields[8], fields[9], rest)

    def _read_quote(self, view):
        """The IPv4 fields of the packet that an error quotes, and its bytes from the transport header on.

        RFC 1122 §3.2.2: they are at least 8. What is less is counted, and ``(None, b"")``.
        """
        quote = view[icmp.HEADER_LENGTH :]
        if len(quote) >= ipv4.HEADER_LENGTH:
            fields = ipv4.parse(quote, 0)
            at = (fields[0] & 15) * 4
            if fields[0] >> 4 == 4 and at >= ipv4.HEADER_LENGTH and len(quote) >= at + 8:
                return fields, bytes(quote[at:])
        self._drops[errors.TRUNCATED_ICMP] += 1
        return None, b""

    def _error(self, packet, kind, code, rest, view):
        fields, quoted = self._read_quote(view)
        if fields is None:
            return None
        _, _, total_length, _, flags_offset, _, protocol, _, source, destination = fields
        if flags_offset & ipv4.OFFSET_MASK:
            self._drops[errors.ICMP_UNMATCHED] += 1  # a later fragment names no flow
            return None
        mtu = 0
        if kind == icmp.TIME_EXCEEDED:
            cause = REASSEMBLY_EXCEEDED if code == icmp.REASSEMBLY_EXCEEDED else TTL_EXCEEDED
        elif kind == icmp.PARAMETER_PROBLEM:
            cause = PARAMETER_PROBLEM
        else:
            cause = _UNREACHABLE_CODES.get(code)
            if cause is None:
                self._drops[errors.UNKNOWN_ICMP] += 1
                return None
            if cause == PACKET_TOO_BIG:
                mtu = int.from_bytes(rest[2:], "big")
        self._counts["IcmpInErrors"] += 1
        message = Unreachable(cause, protocol, source, destination, quoted, packet.source, mtu, kind, code)
        return message, total_length


def _answerer(destination):
    """Who answers an echo request: its destination, or, with broadcast and multicast, anybody (None)."""
    return destination if destination[0] < 224 else None
