"""/etc/hosts, /etc/services and /etc/resolv.conf as glibc reads them, and addresses as it reads those."""

import _socket
import os
import re
from _socket import AF_INET, AF_INET6


def literal(name, index_of):
    """``(family, address, scope id)`` of a numeric *name*, or None; the scope is None if there is no such zone.

    ``index_of(interface name)`` gives an index, or raises OSError.
    """
    try:
        if not any(character.isspace() for character in name):  # inet_aton stops at it, and calls the rest good
            return AF_INET, _socket.inet_ntoa(_socket.inet_aton(name)), 0
    except OSError:
        pass
    address, percent, scope = name.partition("%")
    try:
        address = _socket.inet_ntop(AF_INET6, _socket.inet_pton(AF_INET6, address))
    except OSError:
        return None
    return AF_INET6, address, _scope_id(address, scope, index_of) if percent else 0


def is_link_local(address):
    packed = _socket.inet_pton(AF_INET6, address)
    return (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80) or (packed[0] == 0xFF and packed[1] & 0xF == 2)


def _scope_id(address, scope, index_of):
    """RFC 4007 §11.2: an interface's name only where the scope is a link; None if there is no such zone."""
    if is_link_local(address):
        try:
            return index_of(scope)
        except OSError:
            pass
    return int(scope) if scope.isdecimal() and int(scope) < 2**32 else None


def as_ipv4(address):
    """The IPv4 address that glibc takes an IPv6 one of /etc/hosts for, where only those are wanted; or None."""
    if address == "::1":
        return "127.0.0.1"
    return address.removeprefix("::ffff:") if address.startswith("::ffff:") and "." in address else None


class File:
    """A parsed file, read again when it has changed; as if empty while it cannot be read."""

    def __init__(self, path, parse):
        self._path = path
        self._parse = parse
        self._cached = (None, None)

    def read(self):
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            version = ()
        cached = self._cached
        if cached[0] != version:
            cached = self._cached = (version, self._parse(_lines(self._path)))  # one store: threads need no lock
        return cached[1]


def _lines(path):
    """The words of each line of a configuration file, without comments; none if there is no file."""
    try:
        with open(path, encoding="latin-1") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    return [words for words in (re.split("[#;]", line)[0].split() for line in lines) if words]


def _any_index(name):
    return 1


def parse_hosts(lines):
    """By lower-case name and by address; an entry is ``(family, address, canonical name, *aliases)``."""
    by_name, by_address = {}, {}
    for text, *names in lines:
        found = literal(text, _any_index)
        if found is None or not names:
            continue
        entry = (found[0], text if "%" in text else found[1], *names)
        for address in filter(None, (found[1], as_ipv4(found[1]))):
            by_address.setdefault(address, entry)
        for name in dict.fromkeys(name.lower() for name in names):
            by_name.setdefault(name, []).append(entry)
    return by_name, by_address


def parse_services(lines):
    """``{(name, protocol): port}`` with the aliases, and ``{(port, protocol): name}``."""
    by_name, by_port = {}, {}
    for name, *words in lines:
        port, _, protocol = words[0].partition("/") if words else ("", "", "")
        if port.isdecimal() and protocol:
            by_port.setdefault((int(port), protocol), name)
            for alias in (name, *words[1:]):
                by_name.setdefault((alias, protocol), int(port))
    return by_name, by_port


def read_resolv_conf(path):
    """resolv.conf(5) as keyword arguments of `Resolver`; glibc's defaults for what is not there, or no file."""
    servers, found = [], {}
    domain = _socket.gethostname().partition(".")[2]
    if domain:
        found["search"] = [domain]
    for key, *words in _lines(path):
        if key == "nameserver" and words:
            servers.append((words[0], 53))
        elif key in ("search", "domain"):  # the last one wins
            found["search"] = words if key == "search" else words[:1]
        elif key == "options":
            for option, _, value in (word.partition(":") for word in words):
                if option in ("ndots", "timeout", "attempts") and value.isdecimal():
                    found[option] = int(value)
    return {"nameservers": servers[:3] or [("127.0.0.1", 53)], **found}
