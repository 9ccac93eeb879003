"""UDP: each pair of endpoints of the program's is one connected socket of the kernel's."""

from pystack import errors
from pystack.gateway import kernel
from pystack.gateway.datagrams import READ_BUDGET, DatagramRelay, Flow
from pystack.packet import TxPacket
from pystack.wire import checksum, ipv4, udp

CHECKSUM_AT = 6


class UdpRelay(DatagramRelay):
    """In the place of `UdpLayer`: beside the inlets of `DatagramRelay`, `control` (Unreachable from inet) and `arrived`
    (published ports that have something).

    *destinations* is a `Destinations`.
    """

    protocol = kernel.Datagrams.UDP

    def __init__(self, destinations):
        super().__init__()
        self.on_arrival = None  # ``on_arrival(ports)``, the way to `arrived` from the hub
        self._destinations = destinations
        self._published = []

    def control(self, batch, now):
        """Take Unreachable messages: where the program does not listen any more, a flow ends."""
        for message in batch:
            quoted = message.quoted
            flow = self._flows.get(message.destination + message.source + quoted[2:4] + quoted[0:2])
            if flow is None:
                self.drops[errors.ICMP_UNMATCHED] += 1
            else:
                self._forget(flow)

    # -- published ports ----------------------------------------------------------------------------------------------

    def publish(self, address, port, to, host):
        """Pass on what comes to the kernel's *address* (text) and *port* to the program. Raises OSError.

        Args:
            to: ``(address, port)`` of the program's.
            host: the address of the host's that it seems to come from, of the same version.

        Returns:
            the kernel's port, which was free if *port* is 0.
        """
        published = _Published(to, host)
        published.sock = kernel.Datagrams(self.protocol, lambda: self.on_arrival([published]), local=(address, port))
        self._published.append(published)
        return published.sock.port

    def arrived(self, ports, now):
        """Pass on what the kernel has for these published ports."""
        for published in ports:
            for _ in range(READ_BUDGET):
                try:
                    got = published.sock.recv()
                except OSError:
                    continue  # of an answer to somebody who has gone
                if got is None:
                    break
                data, peer = got
                flow = published.flows.get(peer)
                if flow is None:
                    flow = self._open_published(published, peer)
                else:
                    self._flows.pop(flow.key)
                self._keep(flow, now)
                self.counts["received"] += 1
                self.outboxes["inet"].append(self._build(flow, data))

    def close(self):
        super().close()
        for published in self._published:
            published.sock.close()

    def _open_published(self, published, peer):
        """The flow of a new *peer*: from the same port of the host's as it has outside, or the next free one."""
        host, (guest, guest_port), port = published.host, published.to, peer[1]
        while True:
            key = guest + host + guest_port.to_bytes(2, "big") + port.to_bytes(2, "big")
            if key not in self._flows:
                break
            port = port % 0xFFFF + 1
        flow = Flow(key, published.to, (host, port))
        flow.sock, flow.peer, flow.answered = published.sock, peer, True
        flow.target = published
        published.flows[peer] = flow
        self.counts["flows"] += 1
        return flow

    def _forget(self, flow):
        if flow.peer is not None:
            del flow.target.flows[flow.peer]
        super()._forget(flow)

    # -- the protocol -------------------------------------------------------------------------------------------------

    def _parse(self, packet):
        buf, at = packet.buf, packet.at
        size = packet.end - at
        if size < udp.HEADER_LENGTH:
            self.drops[errors.TRUNCATED_HEADER] += 1
            return None
        source_port, port, length, check = udp.parse(buf, at)
        if not udp.HEADER_LENGTH <= length <= size:
            self.drops[errors.BAD_LENGTH] += 1
            return None
        six = len(packet.destination) == 16
        if (check or six) and not packet.checksum_trusted:  # RFC 8200 §8.1: by IPv6 there must be one
            if not check or not checksum.valid(memoryview(buf)[at : at + length], packet.pseudo_sum(length)):
                self.drops[errors.BAD_CHECKSUM] += 1
                return None
        if not port or packet.destination[0] >= (255 if six else 224) or packet.cast:
            self.drops[errors.NO_PORT] += 1  # broadcasts and groups stay in the program's network
            return None
        key = packet.source + packet.destination + buf[at : at + 4]
        data = memoryview(buf)[at + udp.HEADER_LENGTH : at + length]
        return key, (packet.source, source_port), (packet.destination, port), data

    def _asks_dns(self, flow):
        return flow.peer is None and self._destinations.is_dns(*flow.other)

    def _target(self, flow, now):
        if self._asks_dns(flow):
            self._destinations.asked(now)
        return self._destinations.of(*flow.other)

    def _build(self, flow, data):
        if self._asks_dns(flow):
            self._destinations.answered()
        length = udp.HEADER_LENGTH + len(data)
        header = bytearray(udp.build(flow.other[1], flow.program[1], length, 0))
        packet = TxPacket(flow.program[0], ipv4.UDP, header, (data,) if data else (), source=flow.other[0])
        packet.checksum_at = CHECKSUM_AT
        return packet

    def _failed(self, flow, error):
        if self._asks_dns(flow):
            self._destinations.failed()
        super()._failed(flow, error)


class _Published:
    __slots__ = ("flows", "host", "sock", "to")

    def __init__(self, to, host):
        self.to = to  # (address, port) of the program's
        self.host = host
        self.sock = None
        self.flows = {}  # peer -> Flow
