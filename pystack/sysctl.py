"""Linux's sysctl names for the fields of `StackConfig`, and values as sysctl(8) takes them.

What Linux has keeps its name and unit; what it lacks is ``pystack.<field>``. ``python -m pystack.sysctl`` prints
docs/sysctl.md.
"""

import re
from dataclasses import MISSING, dataclass, fields, replace

from pystack.config import Ipv6Config, StackConfig, TcpConfig, UdpConfig
from pystack.errors import StackError

_INTEGER = re.compile(r"[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_SECTIONS = {"": StackConfig, "tcp": TcpConfig, "udp": UdpConfig, "ipv6": Ipv6Config}
_SWITCHES = {"0": False, "1": True}


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of `TABLE`; a value in *unit* divided by *scale* is the field's."""

    name: str
    section: str  # "", "tcp", "udp" or "ipv6": the part of StackConfig
    field: str
    unit: str
    meaning: str
    scale: int = 1

    @property
    def declared(self):
        """The field of the dataclass."""
        return next(each for each in fields(_SECTIONS[self.section]) if each.name == self.field)

    @property
    def default(self):
        """As sysctl prints it."""
        declared = self.declared
        assert declared.default is not MISSING
        return self.text(declared.default)

    @property
    def takes(self):
        """The values allowed, in words."""
        declared = self.declared
        default = declared.default
        if "among" in declared.metadata:
            return " or ".join(sorted(declared.metadata["among"]))
        if isinstance(default, bool):
            return "0 or 1"
        if isinstance(default, str):
            return "a name"
        least, most = (self.text(bound) for bound in declared.metadata["within"])
        if isinstance(default, tuple):
            return f"{len(default)} rising integers from {least} to {most}"
        kind = "a number" if isinstance(default, float) and self.scale == 1 else "an integer"
        return f"{kind} from {least} to {most}"

    def text(self, value):
        """A value of the field as sysctl prints it."""
        if isinstance(value, bool):
            return str(int(value))
        if isinstance(value, tuple):
            return " ".join(map(str, value))
        if isinstance(value, float):
            value = round(value * self.scale, 9)
            return str(int(value)) if value == int(value) else str(value)
        return str(value * self.scale if isinstance(value, int) else value)

    def parse(self, text):
        """The field's value; ValueError if *text* is none. Bounds are left to the dataclass."""
        default = self.declared.default
        parts = text.split()
        if isinstance(default, tuple):
            return tuple(_integer(part) for part in parts)
        if len(parts) != 1:
            raise ValueError(text)
        [part] = parts
        if isinstance(default, bool):
            if part not in _SWITCHES:
                raise ValueError(text)
            return _SWITCHES[part]
        if isinstance(default, int):
            return _integer(part)
        if isinstance(default, float):
            if self.scale != 1:
                return _integer(part) / self.scale
            if not _NUMBER.fullmatch(part):
                raise ValueError(text)
            return float(part)
        return part


def _integer(text):
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _tcp(name, unit, meaning, field=None, scale=1):
    return Setting(name, "tcp", field or name.rpartition(".")[2], unit, meaning, scale)


def _udp(name, unit, meaning):
    return Setting(name, "udp", name.rpartition(".")[2], unit, meaning)


def _ipv6(name, unit, meaning, field=None, scale=1):
    """Linux has these for each interface; here they are for all."""
    return Setting(f"net.ipv6.{name}", "ipv6", field or name.rpartition(".")[2], unit, meaning, scale)


def _stack(name, unit, meaning, field=None, scale=1):
    return Setting(name, "", field or name.rpartition(".")[2], unit, meaning, scale)


_TIMEOUTS = "timeouts in a row"
_ROWS = (
    _stack("net.ipv4.ip_default_ttl", "hops", "TTL of packets whose program does not choose one", "default_ttl"),
    _stack("net.ipv4.ip_local_port_range", "ports", "TCP and UDP ports for those who do not choose one"),
    _stack(
        "net.ipv4.ipfrag_high_thresh",
        "bytes",
        "what all fragments that wait may hold; Linux counts its buffers, here it is frames",
        "reassembly_max_bytes",
    ),
    _stack("net.ipv4.ipfrag_time", "seconds", "how long a fragment waits for the others", "reassembly_timeout"),
    _stack("net.ipv4.route.min_pmtu", "bytes", "a smaller path MTU is not believed", "min_pmtu"),
    _stack("net.ipv4.route.mtu_expires", "seconds", "how long a path MTU is remembered", "pmtu_expires"),
    _stack("net.ipv4.icmp_ratelimit", "milliseconds", "least time between ICMP errors to one destination", scale=1000),
    _stack("net.ipv4.icmp_msgs_per_sec", "per second", "ICMP errors to all destinations", "icmp_msgs_per_second"),
    _stack("net.ipv4.icmp_msgs_burst", "messages", "ICMP errors that may be sent at once"),
    _stack("net.ipv4.icmp_echo_ignore_broadcasts", "", "whether pings to broadcast and multicast stay unanswered"),
    _stack("pystack.reassembly_max_datagrams", "datagrams", "incomplete datagrams that may wait for fragments"),
    _stack("pystack.probe_addresses", "", "whether an address is probed for 4 to 7 s before its use (RFC 5227 §2.1)"),
    _stack("pystack.mailbox_limit", "batches", "how many may wait for one busy stage"),
    _stack("pystack.queue", "", "what joins the stages: our rendezvous, or gevent.queue.SimpleQueue"),
    _tcp("net.core.somaxconn", "connections", "the most that a program's backlog may ask for"),
    _tcp("net.ipv4.tcp_rmem", "bytes", "receive buffer: least, at first, most; Linux's most is 6 MB"),
    _tcp("net.ipv4.tcp_wmem", "bytes", "send buffer: least, at first, most; Linux's most is 4 MB"),
    _tcp(
        "net.ipv4.tcp_mem",
        "bytes",
        "what all connections may hold; Linux has three counts of pages, here it is one number of bytes",
    ),
    _tcp("net.ipv4.tcp_window_scaling", "", "window scale option (RFC 7323)"),
    _tcp("net.ipv4.tcp_timestamps", "", "timestamps option (RFC 7323); Linux's 2 is not known"),
    _tcp("net.ipv4.tcp_sack", "", "selective acknowledgements (RFC 2018)"),
    _tcp("net.ipv4.tcp_ecn", "", "0: never; 1: ask for it; 2: agree when asked (RFC 3168)"),
    _tcp("net.ipv4.tcp_syn_retries", "retransmissions", "of a SYN, before a connect fails"),
    _tcp("net.ipv4.tcp_synack_retries", "retransmissions", "of a SYN-ACK, before the attempt is forgotten"),
    _tcp("net.ipv4.tcp_syncookies", "", "0: never; 1: when the SYN queue overflows; 2: always"),
    _tcp("net.ipv4.tcp_max_syn_backlog", "connections", "half-open ones of a listener"),
    _tcp("net.ipv4.tcp_abort_on_overflow", "", "whether a full accept queue answers with RST"),
    _tcp("net.ipv4.tcp_retries1", _TIMEOUTS, "before a black hole is suspected"),
    _tcp("net.ipv4.tcp_retries2", _TIMEOUTS, "before the connection is given up"),
    _tcp(
        "net.ipv4.tcp_orphan_retries",
        _TIMEOUTS,
        "before a connection that its program has closed is given up; Linux's 0 means 8, here it means 0",
    ),
    _tcp("net.ipv4.tcp_rto_min_us", "microseconds", "least retransmission timeout", "tcp_rto_min", 1_000_000),
    _tcp("net.ipv4.tcp_rto_max_ms", "milliseconds", "most that the timeout backs off to", "tcp_rto_max", 1000),
    _tcp("net.ipv4.tcp_frto", "", "detection of spurious timeouts (RFC 5682)"),
    _tcp("net.ipv4.tcp_mtu_probing", "", "0: path MTU by ICMP alone; 1: after a black hole too (Linux's default is 0)"),
    _tcp("net.ipv4.tcp_base_mss", "bytes", "where the search behind a black hole begins"),
    _tcp("net.ipv4.tcp_min_snd_mss", "bytes", "least segment, whatever the peer or the path says"),
    _tcp("net.ipv4.tcp_congestion_control", "", "algorithm of connections whose program does not choose one"),
    _tcp("net.ipv4.tcp_slow_start_after_idle", "", "whether an idle connection starts anew (RFC 5681 §4.1)"),
    _tcp("net.ipv4.tcp_pacing_ss_ratio", "percent", "of cwnd/srtt, the pace in slow start"),
    _tcp("net.ipv4.tcp_pacing_ca_ratio", "percent", "of cwnd/srtt, the pace after slow start"),
    _tcp("net.ipv4.tcp_challenge_ack_limit", "per second", "challenge ACKs of all connections (RFC 5961 §7)"),
    _tcp(
        "net.ipv4.tcp_invalid_ratelimit",
        "milliseconds",
        "least time between answers to bad segments of one connection",
        scale=1000,
    ),
    _tcp("net.ipv4.tcp_keepalive_time", "seconds", "of silence before the first probe, if SO_KEEPALIVE is set"),
    _tcp("net.ipv4.tcp_keepalive_probes", "probes", "without an answer before the connection is given up"),
    _tcp("net.ipv4.tcp_keepalive_intvl", "seconds", "between probes"),
    _tcp("net.ipv4.tcp_fin_timeout", "seconds", "in FIN-WAIT-2 after the program has closed"),
    _tcp("net.ipv4.tcp_max_tw_buckets", "connections", "that may be in TIME-WAIT"),
    _tcp("net.ipv4.tcp_max_orphans", "connections", "that may outlive their program"),
    _tcp("net.ipv4.tcp_tw_reuse", "", "may a connect take over a TIME-WAIT: 0: no; 1: yes; 2: on the loopback"),
    _tcp("net.ipv4.tcp_rfc1337", "", "whether an RST in TIME-WAIT is ignored"),
    _tcp("pystack.initial_window", "segments", "the congestion window at first (RFC 6928)"),
    _tcp("pystack.tcp_pacing", "", "whether every connection is paced, not only those with SO_MAX_PACING_RATE"),
    _tcp("pystack.delayed_ack_min", "seconds", "Linux's TCP_DELACK_MIN"),
    _tcp("pystack.delayed_ack_max", "seconds", "Linux's TCP_DELACK_MAX"),
    _tcp("pystack.time_wait", "seconds", "in TIME-WAIT, 2 MSL (Linux's TCP_TIMEWAIT_LEN)"),
    _udp("net.core.rmem_default", "bytes", "receive queue of a UDP socket"),
    _udp("net.core.wmem_default", "bytes", "send queue of a UDP socket"),
    _udp(
        "net.ipv4.udp_mem",
        "bytes",
        "what all receive queues may hold; Linux has three counts of pages, here it is one number of bytes",
    ),
    _ipv6("conf.all.hop_limit", "hops", "hop limit of packets whose program does not choose one"),
    _ipv6("conf.all.dad_transmits", "solicitations", "of duplicate address detection (RFC 4862); 0: none"),
    _ipv6("conf.all.enhanced_dad", "", "duplicate address detection that knows its own words (RFC 7527)"),
    _ipv6("conf.all.stable_secret", "", "text, the secret of stable private addresses (RFC 7217)"),
    _ipv6("conf.all.use_tempaddr", "", "temporary addresses (RFC 8981): 0: none; 1: beside stable ones; 2: preferred"),
    _ipv6("conf.all.temp_prefered_lft", "seconds", "for which a temporary address is preferred"),
    _ipv6("conf.all.temp_valid_lft", "seconds", "for which a temporary address is valid; Linux's is 604800"),
    _ipv6("conf.all.max_addresses", "addresses", "made by autoconfiguration on one interface"),
    _ipv6("conf.all.accept_ra", "", "whether router advertisements are believed"),
    _ipv6("conf.all.autoconf", "", "whether they make addresses (RFC 4862)"),
    _ipv6("conf.all.accept_ra_defrtr", "", "whether they make default routers"),
    _ipv6("conf.all.accept_ra_pinfo", "", "whether their prefixes count"),
    _ipv6("conf.all.accept_ra_mtu", "", "whether their MTU counts"),
    _ipv6("conf.all.accept_ra_min_hop_limit", "hops", "a smaller hop limit of theirs is not believed"),
    _ipv6("conf.all.accept_ra_rt_info_max_plen", "bits", "longest prefix of their routes (RFC 4191); Linux's is 0"),
    _ipv6("conf.all.accept_redirects", "", "whether redirects are believed"),
    _ipv6("conf.all.router_solicitation_delay", "seconds", "at most, before the first solicitation"),
    _ipv6("conf.all.router_solicitation_interval", "seconds", "to the second, doubled each time (RFC 7559)"),
    _ipv6("conf.all.router_solicitation_max_interval", "seconds", "the most that it doubles to"),
    _ipv6("conf.all.disable_ipv6", "", "no IPv6 at all"),
    _ipv6("auto_flowlabels", "", "flow labels for every flow (RFC 6437)"),
    _ipv6("ip6frag_high_thresh", "bytes", "what all fragments that wait may hold"),
    _ipv6("ip6frag_time", "seconds", "how long a fragment waits for the others"),
    _ipv6("route.mtu_expires", "seconds", "how long a path MTU is remembered"),
    _ipv6(
        "icmp.ratelimit", "milliseconds", "least time between ICMPv6 errors to one destination", "icmp_ratelimit", 1000
    ),
    _ipv6("icmp.echo_ignore_multicast", "", "whether pings to multicast stay unanswered"),
)
TABLE = {setting.name: setting for setting in _ROWS}


def apply(config, values):
    """A copy of the `StackConfig` with *values*, ``{name: text}``, e.g. ``{"net.ipv4.tcp_sack": "0"}``.

    Names may be written with slashes, as sysctl(8) allows. Raises StackError for a name that is not in `TABLE` and for
    a value that the setting does not take.
    """
    for given, text in values.items():
        name = given.strip().replace("/", ".")
        setting = TABLE.get(name)
        if setting is None:
            raise StackError(f"unknown sysctl {given!r}{_hint(name)}; docs/sysctl.md lists all")
        try:
            config = _with(config, setting, setting.parse(text))
        except (ValueError, StackError):
            unit = f" ({setting.unit})" if setting.unit else ""
            raise StackError(f"sysctl {name}: {text!r} is not {setting.takes}{unit}") from None
    return config


def _with(config, setting, value):
    if not setting.section:
        return replace(config, **{setting.field: value})
    section = replace(getattr(config, setting.section), **{setting.field: value})
    return replace(config, **{setting.section: section})


def _hint(name):
    """The names in TABLE that end as *name* does: whoever forgets the prefix finds it."""
    last = name.rpartition(".")[2]
    alike = [each for each, setting in TABLE.items() if last in (each.rpartition(".")[2], setting.field)]
    return f", meant is {' or '.join(alike)}" if alike else ""


def values(config):
    """``{name: text}`` of all settings, as `sysctl -a` prints them."""
    return {
        setting.name: setting.text(
            getattr(getattr(config, setting.section) if setting.section else config, setting.field)
        )
        for setting in TABLE.values()
    }


def page():
    """docs/sysctl.md."""
    lines = [
        "# Settings by Linux's names",
        "",
        "For `--sysctl NAME=VALUE` of `python -m pystack.run`, and `pystack.sysctl.apply`. What Linux has keeps its",
        "name and unit; what it lacks begins with `pystack`. Written by `python -m pystack.sysctl` from the table in",
        "`pystack/sysctl.py`, and the defaults and bounds in `pystack/config.py`; do not edit.",
        "",
        "| name | default | takes | unit | meaning |",
        "|---|---|---|---|---|",
    ]
    for each in sorted(TABLE.values(), key=lambda setting: setting.name):
        lines.append(f"| `{each.name}` | {each.default} | {each.takes} | {each.unit} | {each.meaning} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
