"""DHCP for IPv4: messages (RFC 2131 §2) and those of their options (RFC 2132 and later) that a client reads."""

import struct
from typing import NamedTuple

from pystack.wire.domains import host_name

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_LEAST = 300  # bytes of a message (RFC 1542 §2.1)
_BROADCAST = 0x8000
_SNAME_AT, _FILE_AT = 44, 108

BOOTREQUEST, BOOTREPLY = 1, 2
_ETHERNET = 1

# Message types (RFC 2132 §9.6).
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)

# Options.
PAD, END = 0, 255
MASK = 1
ROUTERS = 3
NAME_SERVERS = 6
HOST_NAME = 12
DOMAIN = 15
MTU = 26
BROADCAST = 28
REQUESTED_ADDRESS = 50
LEASE_TIME = 51
OVERLOAD = 52
MESSAGE_TYPE = 53
SERVER = 54
PARAMETERS = 55
MAX_SIZE = 57
T1, T2 = 58, 59
CLIENT_ID = 61
SEARCH = 119  # RFC 3397
ROUTES = 121  # RFC 3442

INFINITE = 0xFFFFFFFF  # of a time
MOST_ADDRESSES = 16  # of one option that are read
_MOST_NAMES = 16
_MOST_POINTERS = 32  # in one name


class Message(NamedTuple):
    """A message, or what is to be one. Addresses are 4 bytes, times seconds; what is absent is None or empty.

    ``routes`` are ``(network, prefix length, gateway)``. ``options`` has the raw bytes of each option by number.
    """

    kind: int | None
    transaction: int
    mac: bytes  # 6
    seconds: int = 0  # since the client began
    broadcast: bool = False
    client: bytes = bytes(4)  # ciaddr: what the client uses already
    yours: bytes = bytes(4)  # yiaddr: what it may use
    options: dict = {}

    def address(self, number):
        """The one address of an option, or None."""
        data = self.options.get(number, b"")
        return data if len(data) == 4 else None

    def addresses(self, number):
        """The addresses of an option, a tuple."""
        data = self.options.get(number, b"")
        if len(data) % 4:
            return ()
        return tuple(data[at : at + 4] for at in range(0, min(len(data), 4 * MOST_ADDRESSES), 4))

    def number(self, number, size):
        """The integer of an option of *size* bytes, or None."""
        data = self.options.get(number, b"")
        return int.from_bytes(data, "big") if len(data) == size else None

    @property
    def routes(self):
        """Classless static routes; () if they are broken (RFC 3442)."""
        data, at, found = self.options.get(ROUTES, b""), 0, []
        while at < len(data):
            length = data[at]
            size = -(-length // 8)
            if length > 32 or at + 1 + size + 4 > len(data):
                return ()
            network = data[at + 1 : at + 1 + size].ljust(4, b"\0")
            shift = 32 - length
            network = (int.from_bytes(network, "big") >> shift << shift).to_bytes(4, "big")
            found.append((network, length, data[at + 1 + size : at + 5 + size]))
            at += 5 + size
        return tuple(found[:MOST_ADDRESSES])

    @property
    def search(self):
        """The domains to search, as text, without what is no host name; () if they are broken."""
        data = self.options.get(SEARCH)
        if data is not None:
            return _read_names(data)
        domain = host_name(self.options.get(DOMAIN, b"").rstrip(b"\0").strip(b".").split(b"."))
        return () if domain is None else (domain,)


def parse(data):
    """Read a message: a `Message`, or None if it is none for Ethernet, or its options are broken.

    Options that come in pieces are put together (RFC 3396), in the order of options, file and sname.
    """
    if len(data) < _HEADER.size:
        return None
    fields = _HEADER.unpack_from(data)
    _, hardware, length, _, transaction, seconds, flags, client, yours, _, _, mac, _, _, cookie = fields
    if (hardware, length, cookie) != (_ETHERNET, 6, _COOKIE):
        return None
    options = {}
    if not _read_options(data, _HEADER.size, len(data), options):
        return None
    overload = options.get(OVERLOAD, b"\0")
    if len(overload) != 1:
        return None
    for bit, at, end in ((1, _FILE_AT, _HEADER.size - 4), (2, _SNAME_AT, _FILE_AT)):
        if overload[0] & bit and not _read_options(data, at, end, options):
            return None
    kind = options.get(MESSAGE_TYPE, b"")
    return Message(
        kind[0] if len(kind) == 1 else None,
        transaction,
        mac[:6],
        seconds,
        bool(flags & _BROADCAST),
        client,
        yours,
        options,
    )


def operation(data):
    """BOOTREQUEST or BOOTREPLY, of data that `parse` has read."""
    return data[0]


def _read_options(data, at, end, options):
    """Add those in ``data[at:end]``; False if one passes the end."""
    while at < end:
        kind = data[at]
        if kind == END:
            return True
        if kind == PAD:
            at += 1
            continue
        if at + 2 > end or at + 2 + data[at + 1] > end:
            return False
        behind = at + 2 + data[at + 1]
        options[kind] = options.get(kind, b"") + bytes(data[at + 2 : behind])
        at = behind
    return True


def _read_names(data):
    """Names in RFC 1035 §4.1.4's form, compressed within *data*; () if one is broken."""
    names, at = [], 0
    while at < len(data) and len(names) < _MOST_NAMES:
        labels, at = _read_name(data, at)
        if labels is None:
            return ()
        name = host_name(labels)
        if name is not None:
            names.append(name)
    return tuple(names)


def _read_name(data, at):
    """``(labels, offset behind the name)``; labels is None if it is broken."""
    labels, behind, pointers = [], None, 0
    while at < len(data):
        size = data[at]
        if size >= 0xC0:
            pointers += 1
            if at + 2 > len(data) or pointers > _MOST_POINTERS:
                return None, at
            behind = at + 2 if behind is None else behind
            at = (size & 0x3F) << 8 | data[at + 1]
        elif size > 63 or at + 1 + size > len(data) or len(labels) > 127:
            return None, at
        elif size == 0:
            return labels, at + 1 if behind is None else behind
        else:
            labels.append(data[at + 1 : at + 1 + size])
            at += 1 + size
    return None, at


def build(message, operation=BOOTREQUEST):
    """The bytes of a Message: its ``options`` as they are, MESSAGE_TYPE before them. At least 300 bytes.

    An option of more than 255 bytes comes in pieces (RFC 3396).
    """
    flags = _BROADCAST if message.broadcast else 0
    zero = bytes(4)
    parts = [
        _HEADER.pack(
            operation, _ETHERNET, 6, 0, message.transaction, message.seconds, flags, message.client, message.yours,
            zero, zero, message.mac, b"", b"", _COOKIE,
        ),
        bytes((MESSAGE_TYPE, 1, message.kind)),
    ]  # fmt: skip
    for number, data in message.options.items():
        if number == MESSAGE_TYPE:
            continue
        for at in range(0, max(len(data), 1), 255):
            piece = data[at : at + 255]
            parts.append(bytes((number, len(piece))) + piece)
    parts.append(bytes((END,)))
    return b"".join(parts).ljust(_LEAST, b"\0")
