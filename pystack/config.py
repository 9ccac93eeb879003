"""Frozen settings of a stack, each with its unit, its origin and Linux's name for it."""

from dataclasses import dataclass, field, fields

from pystack.errors import StackError

_MB = 1 << 20


def _within(default, least, most):
    """A number with its bounds; an int stays one, a float may be given as either."""
    return field(default=default, metadata={"within": (least, most)})


def _among(default, *choices):
    return field(default=default, metadata={"among": choices})


class _Checked:
    """Raises `StackError` at once for a value that cannot work."""

    __slots__ = ()

    def __post_init__(self):
        for each in fields(self):
            value = getattr(self, each.name)
            if "among" in each.metadata:
                choices = each.metadata["among"]
                if value not in choices:
                    raise self._refusal(each, f"one of {', '.join(map(repr, choices))}", value)
            elif "within" in each.metadata:
                self._check_number(each, value)
            elif type(value) is not each.type:
                raise self._refusal(each, f"of type {each.type.__name__}", value)

    def _check_number(self, each, value):
        least, most = each.metadata["within"]
        kind = type(each.default)
        if kind is tuple:
            length = len(each.default)
            if (
                type(value) is not tuple
                or len(value) != length
                or any(type(part) is not int or not least <= part <= most for part in value)
                or sorted(value) != list(value)
            ):
                raise self._refusal(each, f"a rising tuple of {length} ints within {least} and {most}", value)
        elif not isinstance(value, (int, float) if kind is float else int) or not least <= value <= most:
            raise self._refusal(each, f"{kind.__name__} within {least} and {most}", value)

    def _refusal(self, each, wanted, value):
        return StackError(f"{type(self).__name__}: {each.name} must be {wanted}, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig(_Checked):
    """Settings of TCP under their names in Linux's net.ipv4 (tcp(7)), with its defaults unless a comment says so."""

    # Buffers, in bytes: least, at first, and the most that autotuning gives. Linux's most is 6 and 4 MB, with which a
    # path of 100 ms does not fill 1 Gbit/s.
    tcp_rmem: tuple = _within((4096, 131_072, 32 * _MB), 2048, 1 << 30)
    tcp_wmem: tuple = _within((4096, 16_384, 32 * _MB), 2048, 1 << 30)
    # What all connections may hold together: windows shrink from 3/4 of it on, beyond it data is dropped.
    tcp_mem: int = _within(384 * _MB, 65_536, 1 << 40)
    # Options on the SYN.
    tcp_window_scaling: bool = True
    tcp_timestamps: bool = True
    tcp_sack: bool = True
    tcp_ecn: int = _within(2, 0, 2)  # 0: never; 1: ask for it; 2: agree when asked
    # Opening.
    tcp_syn_retries: int = _within(6, 0, 127)
    tcp_synack_retries: int = _within(5, 0, 127)
    tcp_syncookies: int = _within(1, 0, 2)  # 0: never; 1: when the SYN queue overflows; 2: always
    tcp_max_syn_backlog: int = _within(512, 1, 1 << 20)
    tcp_abort_on_overflow: bool = False
    somaxconn: int = _within(4096, 1, 1 << 20)  # net.core.somaxconn
    # Retransmission.
    tcp_retries1: int = _within(3, 0, 255)  # timeouts in a row before a black hole is suspected
    tcp_retries2: int = _within(15, 0, 255)  # timeouts in a row before the connection is given up
    tcp_orphan_retries: int = _within(8, 0, 255)  # the same once the program has closed it
    tcp_rto_min: float = _within(0.2, 0.001, 120.0)  # seconds (RFC 6298 says 1)
    tcp_rto_max: float = _within(120.0, 1.0, 3600.0)
    tcp_frto: bool = True  # RFC 5682
    # Path MTU: 0: ICMP alone; 1: black holes too. Linux's default is 0; a silent black hole is worth finding.
    tcp_mtu_probing: int = _within(1, 0, 1)
    tcp_base_mss: int = _within(1024, 48, 65_535)
    tcp_min_snd_mss: int = _within(48, 40, 1460)
    # Congestion control.
    tcp_congestion_control: str = "cubic"
    initial_window: int = _within(10, 1, 1000)  # segments (RFC 6928)
    tcp_slow_start_after_idle: bool = True
    tcp_pacing: bool = False  # pace every connection; else only those with SO_MAX_PACING_RATE (as Linux without fq)
    tcp_pacing_ss_ratio: int = _within(200, 1, 1000)  # percent of cwnd/srtt, in slow start
    tcp_pacing_ca_ratio: int = _within(120, 1, 1000)  # percent of cwnd/srtt, after it
    # Acknowledgements.
    delayed_ack_min: float = _within(0.04, 0.0, 0.5)  # seconds (TCP_DELACK_MIN)
    delayed_ack_max: float = _within(0.2, 0.0, 0.5)  # seconds (TCP_DELACK_MAX)
    tcp_challenge_ack_limit: int = _within(1000, 0, 1 << 31)  # per second, of all connections (RFC 5961 §7)
    tcp_invalid_ratelimit: float = _within(0.5, 0.0, 60.0)  # seconds between answers to bad segments, per connection
    # Keepalive and the end.
    tcp_keepalive_time: int = _within(7200, 1, 32_767)  # seconds
    tcp_keepalive_probes: int = _within(9, 1, 127)
    tcp_keepalive_intvl: int = _within(75, 1, 32_767)  # seconds
    tcp_fin_timeout: int = _within(60, 1, 3600)  # seconds in FIN-WAIT-2 after the program has closed
    time_wait: float = _within(60.0, 0.001, 3600.0)  # seconds: 2 MSL (TCP_TIMEWAIT_LEN)
    tcp_max_tw_buckets: int = _within(65_536, 0, 1 << 24)
    tcp_max_orphans: int = _within(16_384, 0, 1 << 24)
    tcp_tw_reuse: int = _within(2, 0, 2)  # may a connect take over a TIME-WAIT: 0: no; 1: yes; 2: on the loopback
    tcp_rfc1337: bool = False  # whether an RST in TIME-WAIT is ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpConfig(_Checked):
    """Settings of UDP."""

    rmem_default: int = _within(212_992, 2048, 1 << 30)  # net.core.rmem_default: bytes of a receive queue
    wmem_default: int = _within(212_992, 2048, 1 << 30)  # net.core.wmem_default
    udp_mem: int = _within(64 * _MB, 65_536, 1 << 40)  # what all receive queues may hold together


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Config(_Checked):
    """Settings of IPv6 under their names in Linux's net.ipv6.conf, with its defaults unless a comment says so."""

    disable_ipv6: bool = False
    hop_limit: int = _within(64, 1, 255)
    # Addresses.
    dad_transmits: int = _within(1, 0, 100)  # solicitations of duplicate address detection (RFC 4862 §5.1); 0: none
    enhanced_dad: bool = True  # RFC 7527: tells one's own solicitation, looped back, from another's
    stable_secret: str = "none"  # any text, for RFC 7217; none: one for this run, where Linux makes EUI-64 identifiers
    use_tempaddr: int = _within(0, 0, 2)  # RFC 8981: 0: none; 1: beside; 2: preferred to the stable ones
    temp_prefered_lft: int = _within(86_400, 60, 0xFFFFFFFE)  # seconds
    temp_valid_lft: int = _within(172_800, 120, 0xFFFFFFFE)  # seconds (RFC 8981; Linux's is 604,800)
    max_addresses: int = _within(16, 1, 1024)  # made by autoconfiguration, of one interface
    # Router discovery.
    accept_ra: bool = True
    autoconf: bool = True  # addresses by router advertisements (RFC 4862)
    accept_ra_defrtr: bool = True
    accept_ra_pinfo: bool = True
    accept_ra_mtu: bool = True
    accept_ra_min_hop_limit: int = _within(1, 0, 255)  # a smaller Cur Hop Limit is not believed
    accept_ra_rt_info_max_plen: int = _within(128, 0, 128)  # RFC 4191; Linux's default is 0
    accept_redirects: bool = True
    router_solicitation_delay: float = _within(1.0, 0.0, 3600.0)  # seconds, at most, before the first
    router_solicitation_interval: float = _within(4.0, 0.1, 3600.0)  # seconds, doubled each time (RFC 7559)
    router_solicitation_max_interval: float = _within(3600.0, 0.1, 1e6)  # seconds
    # Packets.
    auto_flowlabels: bool = True  # RFC 6437
    ip6frag_high_thresh: int = _within(4 * _MB, 65_536, 1 << 40)  # bytes: frames pinned
    ip6frag_time: float = _within(60.0, 0.001, 3600.0)  # seconds
    mtu_expires: float = _within(600.0, 1, 1e9)  # seconds (RFC 8201 §4)
    icmp_ratelimit: float = _within(1.0, 0, 1e6)  # seconds per error to one destination
    echo_ignore_multicast: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig(_Checked):
    """Defaults are Linux's. Raises `StackError` at once for a value that cannot work."""

    default_ttl: int = _within(64, 1, 255)  # net.ipv4.ip_default_ttl
    reassembly_max_bytes: int = _within(4 * _MB, 65_536, 1 << 40)  # net.ipv4.ipfrag_high_thresh: frames pinned
    reassembly_max_datagrams: int = _within(1024, 1, 1 << 24)
    reassembly_timeout: float = _within(30.0, 0.001, 3600)  # net.ipv4.ipfrag_time, seconds
    pmtu_expires: float = _within(600.0, 1, 1e9)  # net.ipv4.route.mtu_expires, seconds (RFC 1191 §6.3)
    min_pmtu: int = _within(552, 68, 1500)  # net.ipv4.route.min_pmtu, bytes: a smaller claim is not believed
    icmp_ratelimit: float = _within(1.0, 0, 1e6)  # net.ipv4.icmp_ratelimit: seconds per error to one destination
    icmp_msgs_per_second: float = _within(1000.0, 0.001, 1e9)  # net.ipv4.icmp_msgs_per_sec: errors to all together
    icmp_msgs_burst: int = _within(50, 1, 1 << 20)  # net.ipv4.icmp_msgs_burst
    icmp_echo_ignore_broadcasts: bool = True  # net.ipv4.icmp_echo_ignore_broadcasts
    probe_addresses: bool = False  # RFC 5227 §2.1: probe for 4 to 7 s before an address is used; Linux never does
    # net.ipv4.ip_local_port_range: TCP and UDP ports for those who do not choose one
    ip_local_port_range: tuple = _within((32_768, 60_999), 1, 65_535)
    mailbox_limit: int = _within(1000, 1, 1 << 20)  # batches that may wait for one busy stage
    queue: str = _among("mailbox", "mailbox", "gevent")  # joins the stages: rendezvous, or gevent.queue.SimpleQueue
    tcp: TcpConfig = field(default_factory=TcpConfig)
    udp: UdpConfig = field(default_factory=UdpConfig)
    ipv6: Ipv6Config = field(default_factory=Ipv6Config)


def check_setting(settings, name, value):
    """Raise StackError unless *name* is a field of the dataclass *settings*, a transport's, and may have *value*."""
    kinds = {each.name: each.type for each in fields(settings)}
    if name.startswith("v6.") and "v6" in kinds:
        check_setting(kinds["v6"], name[3:], value)
        return
    if name not in kinds:
        raise StackError(f"no setting {name!r}; there are {', '.join(kinds)}")
    kind = kinds[name]
    right = isinstance(value, (int, float) if kind is float else kind)
    if right and kind is not bool and isinstance(value, (int, float)):
        right = value >= 0 and not isinstance(value, bool)
    if not right:
        raise StackError(f"{name} cannot be {value!r}: it must be {getattr(kind, '__name__', kind)}, and not negative")
