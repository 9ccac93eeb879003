"""A UDP core on a table of paths instead of inet: the test sees every event, packet and message that it gives."""

import struct
from random import Random

from pystack import messages, transport
from pystack.config import StackConfig, UdpConfig
from pystack.messages import BROADCAST, LOCAL, MULTICAST, UNICAST, PathFacts
from pystack.packet import HOST, RxPacket
from pystack.udp.layer import UdpLayer
from pystack.wire import checksum, ipv4

ANY = bytes(4)
LOOPBACK = bytes((127, 0, 0, 1))
HERE = bytes((10, 0, 0, 2))  # ours, on interface 2
HERE_TOO = bytes((10, 0, 1, 2))  # ours, on interface 3
PEER = bytes((10, 0, 0, 1))
OTHER = bytes((10, 0, 0, 9))
NOWHERE = bytes((192, 0, 2, 1))  # no route
EVERYBODY = bytes((10, 0, 0, 255))
GROUP = bytes((239, 1, 2, 3))
GROUP_2 = bytes((239, 1, 2, 4))
LO, ETH, ETH_TOO = 1, 2, 3  # indices


# How two sockets may be bound so that a datagram from PEER:53 to HERE by interface ETH fits both: the one that stands
# first here gets it (Linux's compute_score). Name -> (address, by device, peer or None).
SOCKETS = {
    "connected": (HERE, False, (PEER, 53)),
    "address, device and peer's address": (HERE, True, (PEER, 0)),
    "address and device": (HERE, True, None),
    "address": (HERE, False, None),
    "device": (ANY, True, None),
    "any": (ANY, False, None),
}


class Paths:
    """What inet would answer; ``mtu`` can be changed."""

    def __init__(self):
        self.mtu = 1500
        self.own = {LOOPBACK: LO, HERE: ETH, HERE_TOO: ETH_TOO}

    def is_local(self, address):
        return address in self.own or address[0] == 127

    def path(self, destination, interface=0, source=None):
        if destination == NOWHERE:
            return None
        if self.is_local(destination):
            return PathFacts(source or destination, 65_536, LO, LOCAL, True)
        kind = UNICAST
        if destination[0] >> 4 == 14:
            kind, interface = MULTICAST, interface if interface in (1, 2, 3) else self.own.get(source, ETH)
        elif destination in (EVERYBODY, b"\xff" * 4):
            kind = BROADCAST
        index = interface or ETH
        if index not in self.own.values():
            return None
        address = next(address for address, owner in self.own.items() if owner == index)
        return PathFacts(source or address, self.mtu, index, kind, index == LO)


class Udp:
    """The core, and what came out of it. ``sent`` has TxPackets, ``told`` messages for inet."""

    def __init__(self, config=None, **settings):
        self.paths = Paths()
        self.core = UdpLayer(config or StackConfig(udp=UdpConfig(**settings)), Random(1), self.paths)
        self.sent = []
        self.told = []

    @property
    def drops(self):
        """Without zeros."""
        return {reason: count for reason, count in self.core.drops.items() if count}

    def asks(self, *requests):
        """Hand over requests; returns the events."""
        self.core.requests(list(requests), 0.0)
        return self._take()

    def bind(self, socket, address=ANY, port=0, **how):
        """A bind that must succeed; returns the port."""
        (event,) = self.asks(transport.Bind(socket, address, port, **how))
        assert type(event) is transport.Bound and (event.socket, event.address) == (socket, address), event
        return event.port

    def connect(self, socket, address=PEER, port=53):
        """A connect that must succeed; returns the local endpoint."""
        *_, event = self.asks(transport.Connect(socket, address, port))
        assert type(event) is transport.Connected and event.remote == (address, port), event
        return event.local

    def sets(self, socket, **options):
        """Set options."""
        assert self.asks(*(transport.SetOption(socket, name, value) for name, value in options.items())) == []

    def sends(self, socket, payload=b"x", address=PEER, port=53, **how):
        """Send one datagram, which must leave; returns its TxPacket."""
        before = len(self.sent)
        events = self.asks(transport.Send(socket, payload, address, port, **how))
        assert all(type(event) is transport.Bound for event in events), events
        (packet,) = self.sent[before:]
        return packet

    def refuses(self, socket, payload=b"x", address=PEER, port=53, **how):
        """Send one datagram, which must not leave; returns the cause."""
        before = len(self.sent)
        *_, event = self.asks(transport.Send(socket, payload, address, port, **how))
        assert type(event) is transport.SendFailed and self.sent[before:] == []
        return event.cause

    def arrives(self, payload=b"x", source=(PEER, 53), to=(HERE, 1000), **how):
        """A datagram comes in; returns the sockets that were given it."""
        return [event.socket for event in self.hears(payload, source, to, **how)]

    def hears(self, payload=b"x", source=(PEER, 53), to=(HERE, 1000), **how):
        """A datagram comes in; returns the events."""
        self.core.receive([packet(payload, source, to, **how)], 0.0)
        return self._take()

    def learns(self, cause, local, remote=(PEER, 53), *, reporter=OTHER, **how):
        """An ICMP error comes in about a datagram from *local* to *remote*; returns the events."""
        quoted = struct.pack("!HHHH", local[1], remote[1], 9, 0)
        self.core.control([messages.Unreachable(cause, ipv4.UDP, local[0], remote[0], quoted, reporter, **how)], 0.0)
        return self._take()

    def _take(self):
        boxes = self.core.outboxes
        events, boxes["sockets"] = boxes["sockets"], []
        self.sent += boxes["inet"]
        self.told += boxes["inet.control"]
        boxes["inet"], boxes["inet.control"] = [], []
        return events


def packet(payload, source, to, *, interface=ETH, cast=HOST, ttl=64, tos=0, check=None, padding=0, gso_size=0):
    """The RxPacket that inet would hand over, behind its lower headers; *check* is a checksum to lie with."""
    datagram = bytearray(struct.pack("!HHHH", source[1], to[1], 8 + len(payload), 0) + payload)
    if check is None:
        pseudo = checksum.pseudo_header(source[0], to[0], ipv4.UDP, len(datagram))
        check = checksum.checksum(datagram, pseudo) or 0xFFFF
    datagram[6:8] = check.to_bytes(2, "big")
    before = bytes(14 + (12 if len(to[0]) == 4 else 8)) + source[0] + to[0]  # of the IP header the addresses alone
    at, end = len(before), len(before) + len(datagram)
    made = RxPacket(before + bytes(datagram) + bytes(padding), at, end, interface, cast)
    made.ip_at = 14
    made.source, made.destination, made.protocol = source[0], to[0], ipv4.UDP
    made.ttl, made.tos, made.gso_size = ttl, tos, gso_size
    return made
