"""DHCPv6 messages between clients and servers (RFC 8415); those of relays are not read.

Addresses are 16 bytes, times unsigned seconds as on the wire, where INFINITY means for ever (§7.7).
"""

import struct
from typing import NamedTuple

from pystack.wire.domains import host_name

CLIENT_PORT = 546
SERVER_PORT = 547

# Message types (RFC 8415 §7.3).
SOLICIT = 1
ADVERTISE = 2
REQUEST = 3
CONFIRM = 4
RENEW = 5
REBIND = 6
REPLY = 7
RELEASE = 8
DECLINE = 9
RECONFIGURE = 10
INFORMATION_REQUEST = 11

# Options (RFC 8415 §21, RFC 3646).
CLIENTID = 1
SERVERID = 2
IA_NA = 3
IAADDR = 5
ORO = 6
PREFERENCE = 7
ELAPSED_TIME = 8
STATUS_CODE = 13
RAPID_COMMIT = 14
DNS_SERVERS = 23
DOMAIN_LIST = 24
INFORMATION_REFRESH_TIME = 32
SOL_MAX_RT = 82
INF_MAX_RT = 83

# Status codes (RFC 8415 §21.13).
SUCCESS = 0
UNSPEC_FAIL = 1
NO_ADDRS_AVAIL = 2
NO_BINDING = 3
NOT_ON_LINK = 4
USE_MULTICAST = 5

INFINITY = 0xFFFFFFFF

# What is beyond these is ignored.
MAX_IAS = 16
MAX_ADDRESSES = 16  # in one IA
MAX_DNS = 8
MAX_DOMAINS = 16
MAX_STATUS_TEXT = 128  # bytes

_OPTION = struct.Struct("!HH")
_IA = struct.Struct("!III")
_ADDRESS = struct.Struct("!16sII")


class Status(NamedTuple):
    """§21.13; ``text`` is for a person, cut at MAX_STATUS_TEXT bytes."""

    code: int
    text: str = ""


class Address(NamedTuple):
    """§21.6; the lifetimes are what the message says, not checked. ``status`` is a Status or None."""

    address: bytes
    preferred: int = 0
    valid: int = 0
    status: Status = None


class Ia(NamedTuple):
    """An IA_NA (§21.4): ``iaid`` is a 32-bit number, ``addresses`` a tuple of Address, ``status`` a Status or None."""

    iaid: int
    t1: int = 0
    t2: int = 0
    addresses: tuple = ()
    status: Status = None


class Message(NamedTuple):
    """What is absent is None, or empty. ``transaction`` is a 24-bit number, ``elapsed`` in 1/100 s, ``client`` and
    ``server`` are DUIDs (bytes), ``requested`` option codes, ``dns`` addresses and ``search`` names (str, without the
    last dot)."""

    kind: int
    transaction: int
    client: bytes = None
    server: bytes = None
    elapsed: int = None
    rapid_commit: bool = None
    requested: tuple = ()
    ias: tuple = ()
    preference: int = None
    status: Status = None
    dns: tuple = ()
    search: tuple = ()
    refresh: int = None
    sol_max_rt: int = None
    inf_max_rt: int = None


def parse(data):
    """Read a UDP payload, any bytes-like object.

    Returns:
        A Message; or ``None`` if the type is not one of those above, or the message or an option that is known here is
        malformed. Unknown options are skipped (RFC 8415 §16); of an option that may come once the first counts.
    """
    data = bytes(data)
    if len(data) < 4 or not SOLICIT <= data[0] <= INFORMATION_REQUEST:
        return None
    options = _options(data, 4)
    if options is None:
        return None
    fields = {}
    ias = []
    for code, body in options:
        if code == IA_NA:
            if len(ias) < MAX_IAS:
                ias.append(_read_ia(body))
        elif code in _READERS:
            name, read = _READERS[code]
            if name not in fields:
                fields[name] = read(body)
    if None in ias or None in fields.values():
        return None
    return Message(data[0], int.from_bytes(data[1:4], "big"), ias=tuple(ias), **fields)


def _options(data, at):
    """``[(code, body), ...]`` of ``data[at:]``, or None if the last is cut off."""
    options = []
    while at < len(data):
        if at + 4 > len(data):
            return None
        code, length = _OPTION.unpack_from(data, at)
        at += 4
        if at + length > len(data):
            return None
        options.append((code, data[at : at + length]))
        at += length
    return options


def _read_ia(body):
    inner = _options(body, _IA.size) if len(body) >= _IA.size else None
    if inner is None:
        return None
    status = None
    addresses = []
    for code, content in inner:
        if code == IAADDR:
            if len(addresses) < MAX_ADDRESSES:
                addresses.append(_read_address(content))
        elif code == STATUS_CODE and status is None:
            status = _read_status(content)
            if status is None:
                return None
    if None in addresses:
        return None
    return Ia(*_IA.unpack_from(body), tuple(addresses), status)


def _read_address(body):
    inner = _options(body, _ADDRESS.size) if len(body) >= _ADDRESS.size else None
    if inner is None:
        return None
    status = None
    for code, content in inner:
        if code == STATUS_CODE and status is None:
            status = _read_status(content)
            if status is None:
                return None
    return Address(*_ADDRESS.unpack_from(body), status)


def _read_status(body):
    if len(body) < 2:
        return None
    return Status(int.from_bytes(body[:2], "big"), body[2 : 2 + MAX_STATUS_TEXT].decode("utf-8", "ignore"))


def _read_duid(body):
    return body if 3 <= len(body) <= 130 else None  # §11.1


def _number(size):
    return lambda body: int.from_bytes(body, "big") if len(body) == size else None


def _read_flag(body):
    return None if body else True


def _read_codes(body):
    if len(body) % 2:
        return None
    return tuple(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2))


def _read_dns(body):
    if not body or len(body) % 16:  # RFC 3646 §3
        return None
    return tuple(body[at : at + 16] for at in range(0, min(len(body), 16 * MAX_DNS), 16))


def _read_domains(body):
    """Names in the format of RFC 1035 §3.1, without compression (RFC 8415 §10). The root, and what is no host name, is
    left out."""
    names = []
    labels = []
    at = 0
    while at < len(body):
        length = body[at]
        if length > 63 or at + 1 + length > len(body):
            return None
        if length:
            labels.append(body[at + 1 : at + 1 + length])
        else:
            name = host_name(labels)
            if name is not None and len(names) < MAX_DOMAINS:
                names.append(name)
            labels.clear()
        at += 1 + length
    return None if labels else tuple(names)


_READERS = {
    CLIENTID: ("client", _read_duid),
    SERVERID: ("server", _read_duid),
    ELAPSED_TIME: ("elapsed", _number(2)),
    RAPID_COMMIT: ("rapid_commit", _read_flag),
    ORO: ("requested", _read_codes),
    PREFERENCE: ("preference", _number(1)),
    STATUS_CODE: ("status", _read_status),
    DNS_SERVERS: ("dns", _read_dns),
    DOMAIN_LIST: ("search", _read_domains),
    INFORMATION_REFRESH_TIME: ("refresh", _number(4)),
    SOL_MAX_RT: ("sol_max_rt", _number(4)),
    INF_MAX_RT: ("inf_max_rt", _number(4)),
}


def build(message):
    """The bytes of a Message; its names must be host names, its DUIDs 3 to 130 bytes."""
    parts = [bytes([message.kind]), message.transaction.to_bytes(3, "big")]
    for code, body in (
        (CLIENTID, message.client),
        (SERVERID, message.server),
        (ELAPSED_TIME, _pack(message.elapsed, 2)),
        (RAPID_COMMIT, b"" if message.rapid_commit else None),
        (ORO, b"".join(code.to_bytes(2, "big") for code in message.requested) or None),
        *((IA_NA, _build_ia(ia)) for ia in message.ias),
        (PREFERENCE, _pack(message.preference, 1)),
        (STATUS_CODE, _build_status(message.status)),
        (DNS_SERVERS, b"".join(message.dns) or None),
        (DOMAIN_LIST, b"".join(map(_build_name, message.search)) or None),
        (INFORMATION_REFRESH_TIME, _pack(message.refresh, 4)),
        (SOL_MAX_RT, _pack(message.sol_max_rt, 4)),
        (INF_MAX_RT, _pack(message.inf_max_rt, 4)),
    ):
        parts.append(_option(code, body))
    return b"".join(parts)


def _option(code, body):
    return b"" if body is None else _OPTION.pack(code, len(body)) + body


def _pack(number, size):
    return None if number is None else number.to_bytes(size, "big")


def _build_status(status):
    return None if status is None else status.code.to_bytes(2, "big") + status.text.encode()


def _build_ia(ia):
    body = _IA.pack(ia.iaid, ia.t1, ia.t2)
    for address, preferred, valid, status in ia.addresses:
        inner = _option(STATUS_CODE, _build_status(status))
        body += _option(IAADDR, _ADDRESS.pack(address, preferred, valid) + inner)
    return body + _option(STATUS_CODE, _build_status(ia.status))


def _build_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
