"""What crosses between the sockets and the transports, TCP and UDP: requests go down, events come up.

A ``socket`` is a number that the sockets' side has chosen, from 1 up; TCP numbers the connections that it accepts
itself, from `FIRST_ACCEPTED` up. Addresses are 4 or 16 bytes, ports ints; an endpoint is ``(address, port)``. An
address of zeros is "any". Buffers that are handed over belong to the receiver. A request about a socket that the
transport no longer knows is ignored: its last event crosses with it.
"""

from dataclasses import dataclass, field

FIRST_ACCEPTED = 1 << 32


# -- requests, to both transports -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bind:
    """Reserve a port (0: any free one). Answered by Bound, or by Failed, after which the socket is unbound still."""

    socket: int
    address: bytes
    port: int
    reuse_address: bool = False
    reuse_port: bool = False
    interface: int = 0  # SO_BINDTODEVICE
    owner: int = 0  # the user's id: SO_REUSEPORT groups are of one user


@dataclass(slots=True)
class Connect:
    """TCP: open actively; answered by Connected or Failed. UDP: fix the peer; an address of None undoes that.

    A socket that is not bound is bound to a free port first. Undoing is answered by Bound, with what is left of the
    local endpoint: port 0 if the program has not chosen it.
    """

    socket: int
    address: bytes | None
    port: int


@dataclass(slots=True)
class Close:
    """The program has let go of the socket: no event is wanted any more.

    TCP sends what is written, then FIN; unread data, or a *linger* of 0 seconds, makes it RST.
    """

    socket: int
    linger: int | None = None


@dataclass(slots=True)
class SetOption:
    """Set a field of `tcp.settings.Settings` or of `udp.settings.Settings`. The value has been checked already."""

    socket: int
    name: str
    value: object


# -- requests, to TCP -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Listen:
    """Accept connections; again, to change the backlog. An unbound socket gets a free port. Answered by Bound.

    A socket whose setting ``ipv6`` is true listens at the IPv6 "any", and unless ``v6_only`` at the IPv4 one too. With
    *every_port* the socket, which must be unbound, gets what no other listens for: Bound then says port 0.
    """

    socket: int
    backlog: int
    every_port: bool = False


@dataclass(slots=True)
class Taken:
    """The program has accepted that many of the connections that were announced to it."""

    socket: int
    count: int


@dataclass(slots=True)
class Write:
    """Send these buffers, in all no more than there is Room for. With *urgent* their last byte is urgent data."""

    socket: int
    buffers: list
    urgent: bool = False


@dataclass(slots=True)
class Shutdown:
    """No more will be written: FIN after what is there."""

    socket: int


@dataclass(slots=True)
class Consumed:
    """The program has read that many bytes, or thrown them away: the window may open again."""

    socket: int
    size: int


@dataclass(slots=True)
class Abort:
    """Reset the connection; what is written is lost, and no event is wanted any more."""

    socket: int


@dataclass(slots=True)
class GetInfo:
    """Answered by Info."""

    socket: int
    token: object


# -- requests, to UDP -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Send:
    """Send one datagram, to the connected peer if there is no destination. A failure comes back as SendFailed.

    A socket that is not bound is bound to a free port first, which Bound tells.
    """

    socket: int
    payload: bytes
    address: bytes | None = None
    port: int = 0
    # What IP_PKTINFO and the like may say for one datagram; None or 0: as the socket is set.
    source: bytes | None = None
    interface: int = 0
    ttl: int | None = None
    tos: int | None = None


@dataclass(slots=True)
class Join:
    """Become a member of a multicast group (IP_ADD_MEMBERSHIP); answered by Joined or Failed.

    *interface* is an index; 0: the one that has the address *source*, or else the one that the route says.
    """

    socket: int
    group: bytes
    interface: int = 0
    source: bytes | None = None


@dataclass(slots=True)
class Leave:
    """Undo a Join (IP_DROP_MEMBERSHIP), the first that fits; answered by Left or Failed. Close leaves all."""

    socket: int
    group: bytes
    interface: int = 0
    source: bytes | None = None


@dataclass(slots=True)
class Read:
    """The program has taken that many bytes of datagrams, counted as `Datagram.charge`."""

    socket: int
    size: int


# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Bound:
    """The socket is bound to this endpoint (and, after Listen, listening)."""

    socket: int
    address: bytes
    port: int


@dataclass(slots=True)
class Failed:
    """A request was refused, or the connection is over: *cause* is a key of `errors.ERRNO`.

    After it TCP knows a connected socket no more; a bound one only if the failure was of Bind or Listen.
    """

    socket: int
    cause: str


@dataclass(slots=True)
class Connected:
    """The connection stands; for UDP: the peer is fixed. Room follows, or is in the same list."""

    socket: int
    local: tuple
    remote: tuple


@dataclass(slots=True)
class Accepted:
    """A connection, numbered *socket*, waits for the program that listens at *listener*; answered by Taken.

    It may have Received and Room events before it is taken.
    """

    listener: int
    socket: int
    local: tuple
    remote: tuple


@dataclass(slots=True)
class Received:
    """Bytes in order: views into frames, which stay charged to the connection until they are Consumed."""

    socket: int
    buffers: list


@dataclass(slots=True)
class UrgentReceived:
    """The byte before the urgent mark, not among the Received ones; *mark* counts the bytes Received before it."""

    socket: int
    byte: int
    mark: int


@dataclass(slots=True)
class EndOfStream:
    """The peer has sent FIN: nothing more will be Received."""

    socket: int


@dataclass(slots=True)
class Room:
    """That many bytes more may be written."""

    socket: int
    size: int


@dataclass(slots=True)
class Finished:
    """The connection is over in good order, both ways (also when TIME-WAIT begins). TCP knows it no more."""

    socket: int


@dataclass(slots=True)
class Info:
    """The answer to GetInfo: a `tcp.info.TcpInfo`."""

    socket: int
    token: object
    info: object


@dataclass(slots=True)
class Joined:
    """The UDP socket is a member of the group on that interface."""

    socket: int
    group: bytes
    interface: int


@dataclass(slots=True)
class Left:
    """The UDP socket is a member of the group on that interface no more."""

    socket: int
    group: bytes
    interface: int


@dataclass(slots=True)
class Datagram:
    """A UDP datagram for a socket, with what there is to know of it (IP_PKTINFO, IP_RECVTTL, IP_RECVTOS)."""

    socket: int
    payload: memoryview
    source: tuple
    destination: tuple
    interface: int
    ttl: int
    tos: int
    charge: int  # bytes that it pins, until Read gives them back


@dataclass(slots=True)
class SendFailed:
    """A datagram could not be sent, or ICMP says so of an earlier one: *cause* is a key of `errors.ERRNO`.

    *message* is the `messages.Unreachable`, for IP_RECVERR, if there is one. *refused*: the stack itself has not sent
    the datagram that was given last; else the error is about an earlier one.
    """

    socket: int
    cause: str
    message: object = field(default=None)
    refused: bool = field(default=False, compare=False)
