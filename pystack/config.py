"""Frozen settings of a stack, each with its unit, its origin and Linux's name for it."""

from dataclasses import dataclass

from pystack.errors import StackError


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """Defaults are Linux's. Raises `StackError` at once for a value that cannot work."""

    default_ttl: int = 64  # net.ipv4.ip_default_ttl
    reassembly_max_bytes: int = 4 << 20  # net.ipv4.ipfrag_high_thresh: frames pinned by incomplete datagrams
    reassembly_max_datagrams: int = 1024
    reassembly_timeout: float = 30.0  # net.ipv4.ipfrag_time, seconds
    pmtu_expires: float = 600.0  # net.ipv4.route.mtu_expires, seconds (RFC 1191 §6.3)
    min_pmtu: int = 552  # net.ipv4.route.min_pmtu, bytes: a smaller claim is not believed
    icmp_ratelimit: float = 1.0  # net.ipv4.icmp_ratelimit: seconds per error to one destination, bursts of 6
    icmp_msgs_per_second: float = 1000.0  # net.ipv4.icmp_msgs_per_sec: errors to all destinations together
    icmp_msgs_burst: int = 50  # net.ipv4.icmp_msgs_burst
    icmp_echo_ignore_broadcasts: bool = True  # net.ipv4.icmp_echo_ignore_broadcasts
    probe_addresses: bool = False  # RFC 5227 §2.1: probe for 4 to 7 s before an address is used; Linux never does
    mailbox_limit: int = 1000  # batches that may wait for one busy stage
    queue: str = "mailbox"  # what joins the stages: "mailbox" (rendezvous) or "gevent" (gevent.queue.SimpleQueue)

    def __post_init__(self):
        for name, least, most in (
            ("default_ttl", 1, 255),
            ("reassembly_max_bytes", 65_536, 1 << 40),
            ("reassembly_max_datagrams", 1, 1 << 24),
            ("reassembly_timeout", 0.001, 3600),
            ("pmtu_expires", 1, 1e9),
            ("min_pmtu", 68, 1500),
            ("icmp_ratelimit", 0, 1e6),
            ("icmp_msgs_per_second", 0.001, 1e9),
            ("icmp_msgs_burst", 1, 1 << 20),
            ("mailbox_limit", 1, 1 << 20),
        ):
            value = getattr(self, name)
            kind = self.__dataclass_fields__[name].type
            if not isinstance(value, (int, float) if kind is float else int) or not least <= value <= most:
                raise StackError(
                    f"StackConfig: {name} must be {kind.__name__} within {least} and {most}, not {value!r}"
                )
        if self.queue not in ("mailbox", "gevent"):
            raise StackError(f"StackConfig: queue must be 'mailbox' or 'gevent', not {self.queue!r}")
