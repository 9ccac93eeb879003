"""UDP's core: checks what arrives and finds who it is for. Nothing can be bound yet, so every port is closed."""

from collections import Counter

from pystack import errors, messages
from pystack.packet import HOST
from pystack.wire import checksum, udp


class UdpLayer:
    """Inlets: `receive` (RxPackets from inet), `control` (messages from inet). Outbox: ``inet.control``."""

    def __init__(self):
        self.outboxes = {"inet.control": []}
        self.drops = Counter()
        self.counts = Counter()

    def receive(self, batch, now):
        """Take UDP packets whose ``at`` is at the UDP header."""
        for packet in batch:
            self._receive(packet)

    def control(self, batch, now):
        """Take Unreachable messages: with no flow of ours, none can be about one."""
        self.drops[errors.ICMP_UNMATCHED] += len(batch)

    def expire(self, now):
        """Nothing is timed here."""

    def next_deadline(self):
        """Nothing is timed here."""
        return

    def _receive(self, packet):
        self.counts["InDatagrams"] += 1
        buf, at = packet.buf, packet.at
        size = packet.end - at
        if size < udp.HEADER_LENGTH:
            self.drops[errors.TRUNCATED_HEADER] += 1
            return
        _, _, length, check = udp.parse(buf, at)
        if not udp.HEADER_LENGTH <= length <= size:
            self.drops[errors.BAD_LENGTH] += 1
            return
        if check and not packet.checksum_trusted:
            pseudo = checksum.pseudo_header(packet.source, packet.destination, packet.protocol, length)
            if not checksum.valid(memoryview(buf)[at : at + length], pseudo):
                self.drops[errors.BAD_CHECKSUM] += 1
                return
        self.drops[errors.NO_PORT] += 1
        # RFC 1122 §4.1.3.1; inet knows when RFC 1122 §3.2.2 forbids it, a link broadcast is only seen from here up.
        if packet.cast == HOST:
            self.outboxes["inet.control"].append(messages.SendError(messages.PORT_UNREACHABLE, packet))
