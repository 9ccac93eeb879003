"""Addresses as `_socket` takes and gives them, and as they cross to the engine.

A sockaddr is packed as ``(address, port, scope)``: 4 or 16 bytes, and the index of a link-local address's interface.
"""

import _socket
import errno
from _socket import AF_INET, AF_INET6

from pystack.sockets import protocol

_BROADCAST = bytes((255, 255, 255, 255))
V4_MAPPED = bytes(10) + b"\xff\xff"
_MOST_FLOW_INFO = 0xFFFFF


def parse(engine, family, address, caller):
    """A program's ``(host, port)``, or ``(host, port, flowinfo, scope_id)``, packed; names are resolved, as `_socket`
    does.

    Raises what `_socket` raises: TypeError, OverflowError, gaierror.
    """
    name = "AF_INET" if family == AF_INET else "AF_INET6"
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): {name} address must be tuple, not {type(address).__name__}")
    scope = 0
    if family == AF_INET:
        if len(address) != 2:
            raise TypeError("AF_INET address must be a pair (host, port)")
    else:
        if not 2 <= len(address) <= 4:
            raise TypeError("AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
        flow_info, scope = (*map(_integer, address[2:]), *(0, 0)[len(address) - 2 :])
        if not 0 <= flow_info <= _MOST_FLOW_INFO:
            raise OverflowError(f"{caller}(): flowinfo must be 0-1048575.")
        scope &= 0xFFFFFFFF  # `_socket` does not mind one that is too large
    host, port = address[0], _integer(address[1])
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    return pack(engine, family, host), port, scope


def _integer(value):
    if not isinstance(value, int) and not hasattr(value, "__index__"):
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
    return value.__index__()


def pack(engine, family, host):
    """The bytes of a host, by name or number. Raises gaierror, TypeError."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    elif not isinstance(host, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if not host:
        return bytes(4 if family == AF_INET else 16)
    if host == "<broadcast>" and family == AF_INET:
        return _BROADCAST
    try:
        return _socket.inet_pton(family, host)
    except OSError:
        pass
    if "\0" in host:
        raise ValueError("embedded null character")
    found = engine.resolver.getaddrinfo(host, None, family, _socket.SOCK_DGRAM)
    return _socket.inet_pton(family, found[0][4][0].partition("%")[0])


def text(data, family):
    """What a program whose socket is of *family* sees of a packed `protocol.ENDPOINT`."""
    address, port, scope = protocol.unpack_endpoint(data)
    if address is None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    return sockaddr(family, address, port, scope)


def sockaddr(family, address, port, scope=0):
    """The same of an address of 4 or 16 bytes; an IPv4 one is mapped for a socket of AF_INET6."""
    if family == AF_INET:
        return _socket.inet_ntop(AF_INET, address), port
    if len(address) == 4:
        address = V4_MAPPED + address
    return _socket.inet_ntop(AF_INET6, address), port, 0, scope


def is_link_local(address):
    """Whether it needs a scope (fe80::/10)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
