"""The options of sockets, in the numbers and the binary form of setsockopt(2): socket(7), ip(7), tcp(7), udp(7).

An `Option` leads to a field of the transport's settings (`tcp.settings.Settings`, `udp.settings.Settings`), or to one
that the engine's end keeps for itself. What is in neither table is answered with ENOPROTOOPT.
"""

import errno
import struct
from typing import NamedTuple

SOL_SOCKET, IPPROTO_IP, IPPROTO_TCP = 1, 0, 6

_INT = struct.Struct("=i")
_UINT = struct.Struct("=I")
_LINGER = struct.Struct("=ii")

_LEAST_SEND_BUFFER = 4608  # SOCK_MIN_SNDBUF
_LEAST_RECEIVE_BUFFER = 2304  # SOCK_MIN_RCVBUF
_MOST_BUFFER = 212_992  # net.core.wmem_max and rmem_max
_INT_MAX = 0x7FFFFFFF


class Option(NamedTuple):
    """How one option is kept.

    ``setting``: the field's name. ``to_value`` and ``to_bytes``: from setsockopt's bytes, raising OSError, and back.
    ``transport``: whether it is a field of the transport's settings; else the end's own. ``default``: of such a one.
    """

    setting: str
    to_value: object
    to_bytes: object
    transport: bool = True
    default: object = None


def read_int(data):
    """The int of an option's value, of which Linux takes the first 4 bytes. Raises OSError (EINVAL)."""
    if len(data) < 4:
        raise OSError(errno.EINVAL, "Invalid argument")
    return _INT.unpack_from(data)[0]


def invalid():
    """What Linux says of a value that cannot be."""
    return OSError(errno.EINVAL, "Invalid argument")


def write_int(value):
    """The value of an option that is an int."""
    return _INT.pack(int(value))


def _flag(setting, transport=True, default=False):
    return Option(setting, lambda data: read_int(data) != 0, write_int, transport, default)


def _number(setting, least, most, transport=True, default=0, kind=int, scale=1):
    """*scale*: how many of the option's units make one of the setting's."""

    def to_value(data):
        value = read_int(data)
        if not least <= value <= most:
            raise invalid()
        return kind(value / scale) if scale != 1 else kind(value)

    return Option(setting, to_value, lambda value: write_int(value * scale), transport, default)


def _buffer(setting, least):
    """As Linux doubles it; a negative one counts as very large."""
    return Option(setting, lambda data: max(min(read_int(data) & 0xFFFFFFFF, _MOST_BUFFER) * 2, least), write_int)


def _byte(setting, least, most, transport=True, default=0, wildcard=None):
    """An option of level IP, which may be given as one byte; *wildcard*: what -1 stands for."""

    def to_value(data):
        value = data[0] if 1 <= len(data) < 4 else read_int(data)
        if value == -1 and wildcard is not None:
            return wildcard
        if not least <= value <= most:
            raise invalid()
        return value

    return Option(setting, to_value, write_int, transport, default)


def _ip_flag(setting, transport=True, default=False):
    return Option(setting, lambda data: any(data[:4]), write_int, transport, default)


def _to_linger(data):
    if len(data) < _LINGER.size:
        raise invalid()
    on, seconds = _LINGER.unpack_from(data)
    return seconds if on else None


def _from_linger(seconds):
    return _LINGER.pack(0, 0) if seconds is None else _LINGER.pack(1, seconds)


def _to_tos(data):
    value = data[0] if 1 <= len(data) < 4 else read_int(data)
    return value & 0xFC  # TCP's own are the last two bits (ip(7) says so for SOCK_STREAM)


def _to_congestion(data):
    return data[:16].split(b"\0")[0].decode("ascii", "replace")


def _text(value):
    return value.encode() + b"\0"


def _user_timeout(data):
    value = read_int(data)
    if value < 0:
        raise invalid()
    return value / 1000


def _seconds(setting, least, most):
    return _number(setting, least, most, kind=float)


_SOCKET = {
    (SOL_SOCKET, 2): _flag("reuse_address", False),  # SO_REUSEADDR
    (SOL_SOCKET, 15): _flag("reuse_port", False),  # SO_REUSEPORT
    (SOL_SOCKET, 5): _flag("dont_route", False),  # SO_DONTROUTE: every destination of ours is routed alike
    (SOL_SOCKET, 12): _number("priority", -_INT_MAX, _INT_MAX, False),  # SO_PRIORITY: kept, there are no queues
    (SOL_SOCKET, 1): _flag("debug", False),  # SO_DEBUG
    (IPPROTO_IP, 24): _ip_flag("bind_no_port", False),  # IP_BIND_ADDRESS_NO_PORT: a hint, which costs nothing here
}

TCP = {
    **_SOCKET,
    (SOL_SOCKET, 6): _flag("broadcast", False),  # SO_BROADCAST
    (SOL_SOCKET, 9): _flag("keepalive"),  # SO_KEEPALIVE
    (SOL_SOCKET, 10): _flag("urgent_inline"),  # SO_OOBINLINE
    (SOL_SOCKET, 13): Option("linger", _to_linger, _from_linger, False),  # SO_LINGER
    (SOL_SOCKET, 7): _buffer("send_buffer", _LEAST_SEND_BUFFER),  # SO_SNDBUF
    (SOL_SOCKET, 8): _buffer("receive_buffer", _LEAST_RECEIVE_BUFFER),  # SO_RCVBUF
    (SOL_SOCKET, 47): Option(  # SO_MAX_PACING_RATE
        "max_pacing_rate",
        lambda data: 0.0 if len(data) < 4 or data[:4] == b"\xff" * 4 else float(_UINT.unpack_from(data)[0]),
        lambda value: _UINT.pack(min(int(value), 0xFFFFFFFF) or 0xFFFFFFFF),
    ),
    (IPPROTO_IP, 1): Option("tos", _to_tos, write_int),  # IP_TOS
    (IPPROTO_IP, 2): _byte("ttl", 1, 255, wildcard=0),  # IP_TTL
    (IPPROTO_IP, 10): Option(  # IP_MTU_DISCOVER
        "discover_pmtu", lambda data: _mtu_discover(data) != 0, lambda value: write_int(1 if value else 0)
    ),
    (IPPROTO_TCP, 1): _flag("nodelay"),  # TCP_NODELAY
    (IPPROTO_TCP, 2): _number("maximum_segment_size", 0, 32_767),  # TCP_MAXSEG; 88 at least, see `check`
    (IPPROTO_TCP, 3): _flag("cork"),  # TCP_CORK
    (IPPROTO_TCP, 4): _seconds("keepalive_idle", 1, 32_767),  # TCP_KEEPIDLE
    (IPPROTO_TCP, 5): _seconds("keepalive_interval", 1, 32_767),  # TCP_KEEPINTVL
    (IPPROTO_TCP, 6): _number("keepalive_count", 1, 127),  # TCP_KEEPCNT
    (IPPROTO_TCP, 7): _number("syn_retries", 1, 127),  # TCP_SYNCNT
    (IPPROTO_TCP, 8): _seconds("fin_timeout", 0, 120),  # TCP_LINGER2
    (IPPROTO_TCP, 9): _seconds("defer_accept", 0, 65_535),  # TCP_DEFER_ACCEPT
    (IPPROTO_TCP, 10): _number("window_clamp", 0, _INT_MAX),  # TCP_WINDOW_CLAMP
    (IPPROTO_TCP, 12): _flag("quickack"),  # TCP_QUICKACK
    (IPPROTO_TCP, 13): Option("congestion", _to_congestion, lambda value: _text(value).ljust(16, b"\0")),
    (IPPROTO_TCP, 18): Option("user_timeout", _user_timeout, lambda value: write_int(value * 1000)),
    (IPPROTO_TCP, 25): Option(  # TCP_NOTSENT_LOWAT
        "notsent_lowat",
        lambda data: read_int(data) & 0xFFFFFFFF if len(data) >= 4 else 0,
        lambda value: _UINT.pack(value & 0xFFFFFFFF),
    ),
}


def _mtu_discover(data):
    value = data[0] if 1 <= len(data) < 4 else read_int(data)
    if not 0 <= value <= 5:
        raise invalid()
    return value


UDP = {
    **_SOCKET,
    (SOL_SOCKET, 6): _flag("broadcast"),  # SO_BROADCAST
    (SOL_SOCKET, 9): _flag("keepalive", False),  # SO_KEEPALIVE
    (SOL_SOCKET, 10): _flag("urgent_inline", False),  # SO_OOBINLINE
    (SOL_SOCKET, 11): _flag("no_check"),  # SO_NO_CHECK
    (SOL_SOCKET, 13): Option("linger", _to_linger, _from_linger, False),  # SO_LINGER
    (SOL_SOCKET, 7): _buffer("send_buffer", _LEAST_SEND_BUFFER),  # SO_SNDBUF
    (SOL_SOCKET, 8): _buffer("receive_buffer", _LEAST_RECEIVE_BUFFER),  # SO_RCVBUF
    (IPPROTO_IP, 1): _byte("tos", 0, 255),  # IP_TOS
    (IPPROTO_IP, 2): _byte("ttl", 1, 255, wildcard=0),  # IP_TTL
    (IPPROTO_IP, 8): _ip_flag("packet_info", False),  # IP_PKTINFO
    (IPPROTO_IP, 10): Option("discover_pmtu", _mtu_discover, write_int),  # IP_MTU_DISCOVER
    (IPPROTO_IP, 11): _ip_flag("recv_error"),  # IP_RECVERR
    (IPPROTO_IP, 12): _ip_flag("receive_ttl", False),  # IP_RECVTTL
    (IPPROTO_IP, 13): _ip_flag("receive_tos", False),  # IP_RECVTOS
    (IPPROTO_IP, 33): _byte("multicast_ttl", 0, 255, wildcard=1),  # IP_MULTICAST_TTL
    (IPPROTO_IP, 34): _ip_flag("multicast_loop"),  # IP_MULTICAST_LOOP
    (IPPROTO_IP, 49): _ip_flag("multicast_all"),  # IP_MULTICAST_ALL
}

# What getsockopt says of a setting whose 0 leaves it to the stack.
LEFT_TO_STACK = {
    "maximum_segment_size": 536,
    "send_buffer": 16_384,
    "receive_buffer": 131_072,
    "ttl": 64,
    "hop_limit": 64,
    "v6.ttl": 64,
}

BINDTODEVICE = (SOL_SOCKET, 25)
MULTICAST_IF = (IPPROTO_IP, 32)
ADD_MEMBERSHIP = (IPPROTO_IP, 35)
DROP_MEMBERSHIP = (IPPROTO_IP, 36)
IP_MTU = (IPPROTO_IP, 14)
IP_OPTIONS = (IPPROTO_IP, 4)
TCP_INFO = (IPPROTO_TCP, 11)

_MREQ = struct.Struct("=4s4s")
_MREQN = struct.Struct("=4s4si")


def read_membership(data):
    """``(group, address or None, interface)`` of an ip_mreq or ip_mreqn. Raises OSError."""
    if len(data) >= _MREQN.size:
        group, address, interface = _MREQN.unpack_from(data)
    elif len(data) >= _MREQ.size:
        (group, address), interface = _MREQ.unpack_from(data), 0
    else:
        raise invalid()
    return group, address if any(address) else None, interface


def read_multicast_interface(data):
    """``(address or None, interface)`` of an ip_mreqn, ip_mreq or in_addr. Raises OSError."""
    if len(data) >= _MREQ.size:
        _, address, interface = read_membership(data)
        return address, interface
    if len(data) >= 4:
        return bytes(data[:4]) if any(data[:4]) else None, 0
    raise invalid()


_INFO = struct.Struct("=8B24I4Q6I2Q")


def pack_tcp_info(info):
    """struct tcp_info up to tcpi_delivery_rate and the busy times; *info* is a `tcp.info.TcpInfo`.

    What the stack counts in bytes is turned into Linux's packets by the MSS.
    """
    mss = info.snd_mss or 1

    def packets(size):
        return min(-(-int(size) // mss), 0xFFFFFFFF)

    def us(seconds):
        return min(int(seconds * 1e6), 0xFFFFFFFF)

    def ms(seconds):
        return min(int(seconds * 1e3), 0xFFFFFFFF)

    def rate(value):
        return int(value) if 0 < value < 1 << 63 else 0xFFFFFFFFFFFFFFFF

    flags = (1 if info.timestamps else 0) | (2 if info.sack else 0) | 4 * bool(info.snd_wscale) | 8 * bool(info.ecn)
    return _INFO.pack(
        info.state, info.ca_state, info.retransmits, info.probes, info.backoff, flags,
        info.snd_wscale & 15 | (info.rcv_wscale & 15) << 4, 1 if info.delivery_rate_app_limited else 0,
        us(info.rto), us(info.ato), info.snd_mss, info.rcv_mss,
        packets(info.unacked), packets(info.sacked), packets(info.lost), packets(info.retrans), 0,
        ms(info.last_data_sent), 0, ms(info.last_data_recv), ms(info.last_data_recv),
        info.pmtu, min(info.rcv_ssthresh, 0xFFFFFFFF), us(info.rtt), us(info.rttvar),
        min(packets(min(info.snd_ssthresh, 1 << 40)), 0x7FFFFFFF), packets(info.snd_cwnd), info.advmss,
        3 + 10 * bool(info.reordering), us(info.rcv_rtt), min(info.rcv_space, 0xFFFFFFFF), info.total_retrans,
        rate(info.pacing_rate), rate(info.max_pacing_rate), info.bytes_acked, info.bytes_received,
        info.segs_out, info.segs_in, info.notsent_bytes,
        0 if info.min_rtt == 0 else us(info.min_rtt), info.data_segs_in, info.data_segs_out,
        int(info.delivery_rate), 0,
    )  # fmt: skip
