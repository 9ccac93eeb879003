"""What a program can set on a TCP socket (tcp(7), socket(7), ip(7)); accepted connections inherit their listener's."""

from dataclasses import dataclass

from pystack import config
from pystack.errors import StackError
from pystack.tcp import congestion


@dataclass(slots=True)
class Settings:
    """One connection's, mutable: its parts read it whenever they decide. Times are seconds, sizes bytes."""

    nodelay: bool = False  # TCP_NODELAY
    cork: bool = False  # TCP_CORK
    quickack: bool = False  # TCP_QUICKACK
    keepalive: bool = False  # SO_KEEPALIVE
    keepalive_idle: float = 7200.0  # TCP_KEEPIDLE
    keepalive_interval: float = 75.0  # TCP_KEEPINTVL
    keepalive_count: int = 9  # TCP_KEEPCNT
    user_timeout: float = 0.0  # TCP_USER_TIMEOUT (RFC 5482); 0: by tcp_retries2
    syn_retries: int = 6  # TCP_SYNCNT
    fin_timeout: float = 60.0  # TCP_LINGER2: in FIN-WAIT-2, once the program has closed
    maximum_segment_size: int = 0  # TCP_MAXSEG; 0: as the path allows
    window_clamp: int = 0  # TCP_WINDOW_CLAMP; 0: none
    notsent_lowat: int = 0  # TCP_NOTSENT_LOWAT; 0: none
    congestion: str = "cubic"  # TCP_CONGESTION
    max_pacing_rate: float = 0.0  # SO_MAX_PACING_RATE, bytes per second; 0: none
    send_buffer: int = 0  # SO_SNDBUF, already doubled as Linux does; 0: autotuned
    receive_buffer: int = 0  # SO_RCVBUF, the same
    urgent_inline: bool = False  # SO_OOBINLINE
    reuse_address: bool = False  # SO_REUSEADDR, for the bind that a listen or connect implies
    ttl: int = 0  # IP_TTL; 0: the stack's default
    tos: int = 0  # IP_TOS, without its two ECN bits
    hop_limit: int = 0  # IPV6_UNICAST_HOPS; 0: the stack's default
    traffic_class: int = 0  # IPV6_TCLASS, without its two ECN bits
    ipv6: bool = False  # the socket is of AF_INET6
    v6_only: bool = False  # IPV6_V6ONLY: an IPv6 "any" leaves the IPv4 addresses to others
    discover_pmtu: bool = True  # IP_MTU_DISCOVER other than IP_PMTUDISC_DONT: DF is set
    defer_accept: float = 0.0  # TCP_DEFER_ACCEPT
    linger: int | None = None  # SO_LINGER; only 0 means something here

    @classmethod
    def from_config(cls, defaults):
        """The defaults that a `config.TcpConfig` gives."""
        return cls(
            keepalive_idle=float(defaults.tcp_keepalive_time),
            keepalive_interval=float(defaults.tcp_keepalive_intvl),
            keepalive_count=defaults.tcp_keepalive_probes,
            syn_retries=defaults.tcp_syn_retries,
            fin_timeout=float(defaults.tcp_fin_timeout),
            congestion=defaults.tcp_congestion_control,
        )


def check_setting(name, value):
    """Raise StackError if *name* is no field of `Settings`, or *value* cannot be its value."""
    config.check_setting(Settings, name, value)
    if name == "congestion" and value not in congestion.names():
        raise StackError(f"no congestion control {value!r}; there are {', '.join(congestion.names())}")
