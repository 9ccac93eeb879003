"""What crosses from layer to layer besides packets. Each is small; ownership passes to the receiver."""

from dataclasses import dataclass
from typing import NamedTuple

# Causes of Unreachable, from ICMP (RFC 792, 1812 §5.2.7) or found by the stack itself.
NET_UNREACHABLE = "net_unreachable"
HOST_UNREACHABLE = "host_unreachable"
PROTOCOL_UNREACHABLE = "protocol_unreachable"
PORT_UNREACHABLE = "port_unreachable"
PACKET_TOO_BIG = "packet_too_big"
SOURCE_ROUTE_FAILED = "source_route_failed"
PROHIBITED = "prohibited"
TTL_EXCEEDED = "ttl_exceeded"
REASSEMBLY_EXCEEDED = "reassembly_exceeded"
PARAMETER_PROBLEM = "parameter_problem"


class PathFacts(NamedTuple):
    """inet's answer to a transport that asks for the way to a destination; an immutable snapshot."""

    source: bytes | None  # the address to send from; None if there is none
    mtu: int  # of the path, as far as known: bytes of IP packet
    interface: int  # index
    kind: int  # `UNICAST` and the others below
    loopback: bool


# What a destination is.
UNICAST = 0
LOCAL = 1
BROADCAST = 2
MULTICAST = 3


@dataclass(slots=True)
class SolicitFailed:
    """link to inet: a neighbour did not answer. ``packets`` are the TxPackets that waited for it."""

    interface: int
    address: bytes
    packets: list


@dataclass(slots=True)
class Solicit:
    """link to inet: ask for an IPv6 neighbour, one that is known already by *unicast* to itself (RFC 4861 §7.2.2).

    ``source`` is that of the packet that waits for it, or None.
    """

    interface: int
    address: bytes
    unicast: bool
    source: bytes | None


@dataclass(slots=True)
class NeighborHeard:
    """inet to link: an IPv6 neighbour has told its MAC by the way (RFC 4861 §7.2.3), and will hear from us."""

    address: bytes
    mac: bytes


@dataclass(slots=True)
class NeighborAdvertised:
    """inet to link: an advertisement has come (RFC 4861 §7.2.5); ``mac`` is None if it does not tell.

    With ``resigns`` a default router says that it is none any more; if it is to be believed, RouterResigned answers.
    """

    address: bytes
    mac: bytes | None
    solicited: bool
    override: bool
    resigns: bool = False


@dataclass(slots=True)
class RouterResigned:
    """link to inet: that default router is none any more."""

    interface: int
    address: bytes


@dataclass(slots=True)
class SetNeighborTimes:
    """inet to link: a router says for how long IPv6 neighbours are reachable, and how often to ask; seconds."""

    reachable: float
    retransmit: float


@dataclass(slots=True)
class NeighborConfirmed:
    """inet to link: a transport had progress through this neighbour (RFC 4861 §7.3.1)."""

    address: bytes


@dataclass(slots=True)
class ClaimAddress:
    """inet to link: probe for (if ``probe``), then announce and defend this IPv4 address (RFC 5227)."""

    address: bytes
    probe: bool


@dataclass(slots=True)
class ReleaseAddress:
    """inet to link: stop answering for and defending this address."""

    address: bytes


@dataclass(slots=True)
class AddressClaimed:
    """link to inet: no host objected; the address may be used."""

    interface: int
    address: bytes


@dataclass(slots=True)
class AddressConflict:
    """link to inet, and inet's event: another host uses the address, which must not be used any more.

    ``mac``: its, 6 bytes, or None if that is not known.
    """

    interface: int
    address: bytes
    mac: bytes | None


@dataclass(slots=True)
class Start:
    """To inet: the stack runs. From now on it speaks unasked: claims its IPv6 addresses, and asks for routers."""


@dataclass(slots=True)
class AddAddress:
    """To inet: give an interface an address while the stack runs; AddressClaimed, or AddressConflict, is an event.

    With ``probe`` it is used when nobody has been found to have it. ``on_link``: its prefix is on the link. An IPv6
    address may have lifetimes (RFC 4862 §5.5.4): seconds from now, or `wire.ndp.INFINITE`; one that is there already
    gets new ones.
    """

    interface: int
    address: bytes
    prefix_length: int
    probe: bool
    on_link: bool = True
    preferred: int | None = None
    valid: int | None = None


@dataclass(slots=True)
class RemoveAddress:
    """To inet: take an address away, with the routes that came with it."""

    interface: int
    address: bytes


@dataclass(slots=True)
class SetRoutes:
    """To inet: the routes (`routes.Route`) of an interface that come from *origin*, in the place of those before."""

    interface: int
    origin: str
    routes: tuple


@dataclass(slots=True)
class SetMtu:
    """To inet: the MTU of an interface for IPv4, bytes; never more than the device's."""

    interface: int
    mtu: int


@dataclass(slots=True)
class IdentifiersExhausted:
    """inet's event: each address that was made for an IPv6 prefix is another host's, so there is none (RFC 7217 §6)."""

    interface: int
    prefix: bytes


@dataclass(slots=True)
class RouterFlags:
    """inet's event: what routers say of DHCPv6: it has addresses (``managed``), or other configuration alone."""

    interface: int
    managed: bool
    other: bool


@dataclass(slots=True)
class NameServersLearned:
    """inet's event: what routers say now, in the place of what they said before: addresses, and domains as text."""

    interface: int
    servers: tuple
    search: tuple


@dataclass(slots=True)
class Unreachable:
    """inet to a transport: an ICMP error, or a failure of the stack's own, about a packet that was sent.

    ``quoted`` starts at the transport header of that packet and may be as short as 8 bytes. The transport must find the
    flow that it belongs to, and check what it can (a TCP sequence number), before it believes it.
    """

    cause: str
    protocol: int
    source: bytes  # the sent packet's: our address
    destination: bytes
    quoted: bytes
    reporter: bytes | None  # who sent the ICMP error; None if the stack itself found it
    mtu: int = 0  # with PACKET_TOO_BIG: the next hop's, already made plausible
    type: int = 0  # as received, for IP_RECVERR
    code: int = 0


@dataclass(slots=True)
class PmtuChanged:
    """A transport to inet: the Unreachable was about a live flow of mine, so believe its MTU (RFC 1191 §6.5)."""

    destination: bytes
    mtu: int


@dataclass(slots=True)
class SendError:
    """A transport to inet: answer this received packet with an ICMP error (``cause`` as above)."""

    cause: str
    packet: object  # RxPacket


@dataclass(slots=True)
class EchoRequest:
    """The ping client to inet: send one ICMP echo request."""

    destination: bytes
    identifier: int
    sequence: int
    payload: bytes
    ttl: int | None = None
    tos: int = 0
    dont_fragment: bool = False


@dataclass(slots=True)
class EchoReply:
    """inet to the ping client: the reply, and when its stage took it up (the clock's seconds)."""

    source: bytes
    identifier: int
    sequence: int
    payload: bytes
    ttl: int
    at: float


@dataclass(slots=True)
class JoinGroup:
    """To inet: become a member of a multicast group on an interface (counted: each join needs its leave)."""

    interface: int
    group: bytes


@dataclass(slots=True)
class LeaveGroup:
    """To inet: undo one JoinGroup."""

    interface: int
    group: bytes


@dataclass(slots=True)
class SetBroadcasts:
    """inet to link: the addresses (a frozenset of bytes) that go to the link's broadcast address."""

    addresses: frozenset
