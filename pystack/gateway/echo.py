"""ICMP echo: each identifier and destination of the program's is one ping socket of the kernel's."""

from pystack import errors
from pystack.gateway import kernel
from pystack.gateway.datagrams import DatagramRelay
from pystack.packet import TxPacket
from pystack.wire import checksum, icmp, ipv4


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
        if not checksum.valid(data):
            self.drops[errors.BAD_CHECKSUM] += 1
            return None
        identifier = buf[at + 4 : at + 6]
        key = packet.source + packet.destination + identifier
        return key, (packet.source, identifier), (packet.destination, 0), data

    def _target(self, flow, now):
        return self._destinations.of(*flow.other)

    def _build(self, flow, data):
        """The kernel has put its own identifier in the place of the program's, which gets its own back."""
        if len(data) < icmp.HEADER_LENGTH or data[0] != icmp.ECHO_REPLY:
            self.drops[errors.UNKNOWN_ICMP] += 1
            return None
        message = icmp.build(icmp.ECHO_REPLY, 0, flow.program[1] + data[6:8], data[8:])
        return TxPacket(flow.program[0], ipv4.ICMP, message, source=flow.other[0])

    def _failed(self, flow, error):
        """In silence if it is for want of a right, which tells nothing of the destination."""
        if isinstance(error, PermissionError):
            self.drops[errors.KERNEL_REFUSED] += 1
        else:
            super()._failed(flow, error)
