"""Addresses as `_socket` takes and gives them, and as they cross to the engine."""

import _socket
import errno

from pystack.sockets import protocol

_BROADCAST = bytes((255, 255, 255, 255))


def parse(engine, address, caller):
    """``(packed address, port)`` of a program's ``(host, port)``; names are resolved, as `_socket` does.

    Raises what `_socket` raises: TypeError, OverflowError, gaierror.
    """
    if not isinstance(address, tuple):
        raise TypeError(f"{caller}(): AF_INET address must be tuple, not {type(address).__name__}")
    if len(address) != 2:
        raise TypeError("AF_INET address must be a pair (host, port)")
    host, port = address
    if not isinstance(port, int) and not hasattr(port, "__index__"):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    port = port.__index__()
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{caller}(): port must be 0-65535.")
    return pack(engine, host), port


def pack(engine, host):
    """The 4 bytes of a host, by name or number. Raises gaierror, TypeError."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    elif not isinstance(host, str):
        raise TypeError(f"str, bytes or bytearray expected, not {type(host).__name__}")
    if not host:
        return bytes(4)
    if host == "<broadcast>":
        return _BROADCAST
    try:
        return _socket.inet_pton(_socket.AF_INET, host)
    except OSError:
        pass
    if "\0" in host:
        raise ValueError("embedded null character")
    found = engine.resolver.getaddrinfo(host, None, _socket.AF_INET, _socket.SOCK_DGRAM)
    return _socket.inet_aton(found[0][4][0])


def text(data):
    """What a program sees of a packed `protocol.ENDPOINT`."""
    address, port, _ = protocol.unpack_endpoint(data)
    if address is None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    return _socket.inet_ntoa(address), port
