"""ICMP echo: each identifier and destination of the program's is one ping socket of the kernel's."""

from pystack import errors
from pystack.gateway import kernel
from pystack.gateway.datagrams import DatagramRelay
from pystack.packet import TxPacket
from pystack.wire import checksum, icmp, icmp6, ipv4, ipv6


class EchoRelay(DatagramRelay):
    """Takes the echo requests that are not for the host itself. Where the kernel has no ping sockets for this user
    (net.ipv4.ping_group_range) they are dropped and counted."""

    protocol = kernel.Datagrams.PING

    def __init__(self, destinations):
        super().__init__()
        self._destinations = destinations

    def _parse(self, packet):
        buf, at, end = packet.buf, packet.at, packet.end
        if end - at < icmp.HEADER_LENGTH:
            self.drops[errors.TRUNCATED_ICMP] += 1
            return None
        data = memoryview(buf)[at:end]
        covered = packet.pseudo_sum(end - at) if packet.protocol == ipv6.ICMPV6 else 0
        if not packet.checksum_trusted and not checksum.valid(data, covered):
            self.drops[errors.BAD_CHECKSUM] += 1
            return None
        identifier = buf[at + 4 : at + 6]
        key = packet.source + packet.destination + identifier
        return key, (packet.source, identifier), (packet.destination, 0), data

    def _target(self, flow, now):
        return self._destinations.of(*flow.other)

    def _build(self, flow, data):
        """The kernel has put its own identifier in the place of the program's, which gets its own back."""
        (program, identifier), other = flow.program, flow.other[0]
        six = len(program) == 16
        if len(data) < icmp.HEADER_LENGTH or data[0] != (icmp6.ECHO_REPLY if six else icmp.ECHO_REPLY):
            self.drops[errors.UNKNOWN_ICMP] += 1
            return None
        rest = identifier + data[6:8]
        if not six:
            return TxPacket(program, ipv4.ICMP, icmp.build(icmp.ECHO_REPLY, 0, rest, data[8:]), source=other)
        packet = TxPacket(program, ipv6.ICMPV6, icmp6.build(icmp6.ECHO_REPLY, 0, rest, data[8:]), source=other)
        packet.checksum_at = icmp6.CHECKSUM_AT
        return packet

    def _failed(self, flow, error):
        """In silence if it is for want of a right, which tells nothing of the destination."""
        if isinstance(error, PermissionError):
            self.drops[errors.KERNEL_REFUSED] += 1
        else:
            super()._failed(flow, error)
