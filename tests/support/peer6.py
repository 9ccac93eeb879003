"""One host whose link the test itself sits on, by IPv6."""

from typing import NamedTuple

from pystack import messages
from pystack.config import Ipv6Config, StackConfig
from pystack.scope import scoped
from pystack.wire import checksum, icmp6, ipv6, ndp
from tests.support.frames import MAC_A
from tests.support.frames6 import A6, B6, LINK_A, LINK_B, discovery, frame6
from tests.support.peer import Peer

ETH0 = 2  # index
NEAR_A = scoped(LINK_A, ETH0)  # the test's link-local address as the host has it
NEAR_B = scoped(LINK_B, ETH0)


def config6(**settings):
    """A StackConfig with these settings of IPv6; nothing is probed for and no router asked for unless they say so."""
    return StackConfig(ipv6=Ipv6Config(**{"dad_transmits": 0, "accept_ra": False, **settings}))


class Peer6(Peer):
    """The test is fd77::1 and fe80::1, the host fd77::2/64 and fe80::2/64 with a default route through the test.

    With *quiet*, the host has said already what it says unasked after its start, and the test is REACHABLE to it: for
    15 s at least.
    """

    def __init__(
        self,
        config=None,
        *,
        addresses=("fe80::2/64", "fd77::2/64"),
        gateway="fe80::1%eth0",
        quiet=True,
        **more,
    ):
        self._quiet = quiet
        super().__init__(config or config6(), addresses=addresses, gateway=gateway, **more)

    def introduce(self):
        """Let the host learn the test's MAC address for both of its addresses, and forget what it sent so far."""
        if self.network.now == 0.0:
            self.host.inet.control([messages.Start()], 0.0)
            if not self._quiet:
                self.network.settle()
                return
            self.after(3.0)
        for source, target in ((A6, B6), (LINK_A, LINK_B)):
            question = ndp.NeighborSolicitation(target, MAC_A)
            self.sends(discovery(question, source=source, destination=ipv6.solicited_node(target)))
            self.advertised(source, target)
        self.host.events.clear()

    def sends(self, *packets):
        """Send IPv6 packets; returns the ones that the host answers at once."""
        return self.sends_frames(*map(frame6, packets))

    def sends_frames(self, *frames):
        """The same of whole frames."""
        return super().sends(*frames)

    def sees(self):
        """The IPv6 packets (without link header) that the host has sent since the last look."""
        return [frame[24:] for frame in self.frames() if frame[22:24] == b"\x86\xdd"]

    def pings(self, destination=A6, *, size=100, sequence=1, **how):
        """Let the host send an echo request; returns the packets that leave at once."""
        self.host.ping(destination, self.network.now, sequence=sequence, payload=bytes(size), **how)
        self.network.settle()
        return self.sees()

    def advertised(self, source, destination=B6, **flags):
        """Answer for *source*, an address of the test's."""
        answer = ndp.NeighborAdvertisement(
            source, **{"solicited": True, "override": True, "link_address": MAC_A, **flags}
        )
        return self.sends(discovery(answer, source=source, destination=destination))

    def lapses(self):
        """Let so much time pass that the test is REACHABLE no more."""
        self.after(46.0)

    @property
    def neighbors(self):
        """Address -> (MAC or None, name of the state)."""
        return {address: (mac, state) for address, mac, state in self.host.link().neighbors()}


class Parsed(NamedTuple):
    """The fields of a packet; its extension headers are still in the payload."""

    traffic_class: int
    flow_label: int
    protocol: int
    hop_limit: int
    source: bytes
    destination: bytes
    payload: bytes


def parsed6(packet):
    """A `Parsed`; the length must be right."""
    first, length, protocol, hop_limit, source, destination = ipv6.parse(packet, 0)
    assert first >> 28 == 6 and length == len(packet) - 40
    return Parsed(first >> 20 & 0xFF, first & 0xFFFFF, protocol, hop_limit, source, destination, packet[40:])


class Icmp(NamedTuple):
    kind: int
    code: int
    rest: bytes
    data: bytes


def icmp_in(packet):
    """The ICMPv6 message in a packet, whose checksum must be right; a hop-by-hop header before it is skipped."""
    fields = parsed6(packet)
    protocol, message = fields.protocol, fields.payload
    if protocol == ipv6.HOP_BY_HOP:
        protocol, message = message[0], message[8 * (message[1] + 1) :]
    assert protocol == ipv6.ICMPV6
    assert checksum.valid(message, checksum.pseudo_header(fields.source, fields.destination, ipv6.ICMPV6, len(message)))
    kind, code, _, rest = icmp6.parse(message, 0)
    return Icmp(kind, code, rest, message[8:])


def discovery_in(packet):
    """The NDP message in a packet that must have left as one: a hop limit of 255, no extension header."""
    fields = parsed6(packet)
    assert (fields.protocol, fields.hop_limit) == (ipv6.ICMPV6, ndp.HOP_LIMIT)
    icmp_in(packet)
    message = ndp.parse(fields.payload, 0, len(fields.payload))
    assert message is not None
    return message
