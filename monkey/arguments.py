"""Arguments of `_socket`'s name functions, checked and converted as its C code does."""

import operator
import re
import sys

_DECIMAL = re.compile(r"[ \t-\r]*([+-]?)(\d+)", re.ASCII)  # what strtoul reads


def c_int(value):
    value = operator.index(value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError("Python int too large to convert to C long")
    if not -(2**31) <= value < 2**31:
        what = "greater than maximum" if value > 0 else "less than minimum"
        raise OverflowError(f"signed integer is {what}")
    return value


def _c_string(value):
    return value.partition(b"\0")[0].decode("latin-1")


def name(value, function):
    """The ``et`` argument with codec idna of the gethostby functions."""
    if not isinstance(value, (str, bytes, bytearray)):
        kind = "None" if value is None else type(value).__name__
        raise TypeError(f"{function}() argument 1 must be str, bytes or bytearray, not {kind}")
    raw = value.encode("idna") if isinstance(value, str) else bytes(value)
    if b"\0" in raw:
        kind = type(value).__name__
        raise TypeError(f"{function}() argument 1 must be encoded string without null bytes, not {kind}")
    return raw.decode("latin-1")


def host(value):
    """getaddrinfo's first argument."""
    if value is None:
        return None
    if isinstance(value, (str, bytes)):
        return _c_string(value.encode("idna") if isinstance(value, str) else value)
    raise TypeError("getaddrinfo() argument 1 must be string or None")


def service(port):
    if port is None:
        return None
    if type(port) is int:
        if sys.version_info < (3, 12) and not -(2**63) <= port < 2**63:
            raise OverflowError("Python int too large to convert to C long")
        return str(port)
    if isinstance(port, (str, bytes)):
        return _c_string(port.encode() if isinstance(port, str) else port)
    raise OSError("Int or String expected")


def sockaddr(value):
    """``(host, port, scope id)``: the format ``si|II``."""
    if not 2 <= len(value) <= 4 or not isinstance(value[0], str):
        raise TypeError("getnameinfo(): illegal sockaddr argument")
    host, port, flow, scope = (*value, 0, 0)[:4]
    if "\0" in host:
        raise ValueError("embedded null character")
    port, flow, scope = c_int(port), operator.index(flow) & 0xFFFFFFFF, operator.index(scope) & 0xFFFFFFFF
    if flow > 0xFFFFF:
        raise OverflowError("getnameinfo(): flowinfo must be 0-1048575.")
    return host, port, scope


def is_number(service):
    """Whether strtoul reads all of it."""
    return _DECIMAL.fullmatch(service) is not None


def number(service):
    """*service* as strtoul and a cast to int read it; None if it is a name."""
    if not service:
        return 0
    match = _DECIMAL.fullmatch(service)
    if match is None:
        return None
    number = int(match[2])
    number = (2**64 - 1 if number >= 2**64 else -number if match[1] == "-" else number) & 0xFFFFFFFF
    return None if number >= 2**31 else number
