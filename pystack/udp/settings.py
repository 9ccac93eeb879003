"""What a program can set on a UDP socket."""

from dataclasses import dataclass, field

# IP_MTU_DISCOVER, in Linux's numbers (ip(7)).
PMTU_DONT = 0  # DF is never set
PMTU_WANT = 1  # DF is set on what fits in the path's MTU, the rest is fragmented
PMTU_DO = 2  # DF is always set, and what does not fit refused
PMTU_PROBE = 3  # the same here; Linux then ignores the path's MTU, and minds the link's only
PMTU_INTERFACE = 4  # DF is never set, what does not fit is refused, and Fragmentation Needed is not believed
PMTU_OMIT = 5  # the same, but what does not fit is fragmented


@dataclass(slots=True, kw_only=True)
class IpSettings:
    """What a program can set for one version of IP (ip(7), ipv6(7))."""

    ttl: int = 0  # IP_TTL, IPV6_UNICAST_HOPS; 0: the stack's default
    tos: int = 0  # IP_TOS, IPV6_TCLASS
    multicast_ttl: int = 1  # IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS; 0: for this host alone
    multicast_loop: bool = True  # IP_MULTICAST_LOOP: members on this host hear it too
    multicast_all: bool = True  # IP_MULTICAST_ALL: hear every group that the host has joined, not only the socket's own
    multicast_interface: int = 0  # IP_MULTICAST_IF
    multicast_source: bytes | None = None  # IP_MULTICAST_IF's address, and the source if the socket has none
    recv_error: bool = False  # IP_RECVERR
    discover_pmtu: int = PMTU_WANT  # IP_MTU_DISCOVER
    never_fragment: bool = False  # IPV6_DONTFRAG: what does not fit is refused


@dataclass(slots=True, kw_only=True)
class Settings(IpSettings):
    """What a program can set on a UDP socket (socket(7), udp(7)), and for IPv4; for IPv6 in ``v6``. Sizes in bytes."""

    receive_buffer: int  # SO_RCVBUF, already doubled as Linux does
    send_buffer: int  # SO_SNDBUF, the same; nothing is held back here, so it limits nothing
    reuse_address: bool = False  # SO_REUSEADDR
    reuse_port: bool = False  # SO_REUSEPORT
    interface: int = 0  # SO_BINDTODEVICE
    broadcast: bool = False  # SO_BROADCAST
    no_check: bool = False  # SO_NO_CHECK: datagrams leave without a checksum
    ipv6: bool = False  # the socket is of AF_INET6
    v6_only: bool = False  # IPV6_V6ONLY: an IPv6 "any" leaves the IPv4 addresses to others
    v6: IpSettings = field(default_factory=IpSettings)

    @classmethod
    def from_config(cls, config):
        """The defaults that a `config.UdpConfig` gives."""
        return cls(receive_buffer=config.rmem_default, send_buffer=config.wmem_default)

    def of(self, address):
        """Those for the version of IP that *address* is of."""
        return self if len(address) == 4 else self.v6
