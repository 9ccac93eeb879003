"""Addresses as people write them, to bytes and back; a link-local one with its interface, "fe80::1%eth0" (RFC 4007)."""

import ipaddress

from pystack.errors import StackError
from pystack.scope import is_link_local, on_wire, scope_of, scoped


def format_address(address, name_of=None):
    """The text of an address of 4 or 16 bytes.

    Args:
        name_of: ``name_of(index)``, an interface's name; without it a scope is written as a number.
    """
    if len(address) == 4:
        return ".".join(map(str, address))
    scope = scope_of(address)
    zone = f"%{name_of(scope) if name_of else scope}" if scope else ""
    return str(ipaddress.IPv6Address(on_wire(address))) + zone


def parse_address(value, what="address", index_of=None):
    """The 4 or 16 bytes of an address given as text; *what* it is to be is for the message.

    Args:
        index_of: ``index_of(name)``, an interface's index or None; for link-local addresses.

    Raises:
        StackError: it is none, or a link-local one whose interface is not named, or not known.
    """
    try:
        address = ipaddress.ip_address(value)
    except ValueError as error:
        raise StackError(f"Stack: {what} {value!r} is not an IP {what}: {error}") from error
    packed = address.packed
    if not is_link_local(packed):
        return packed
    zone = address.scope_id
    index = int(zone) if zone and zone.isdecimal() else index_of and zone and index_of(zone)
    if not index:
        raise StackError(f"Stack: {what} {value!r} needs the interface that it is on, such as {address}%eth0")
    return scoped(packed, index)


def parse_interface(value, what="address"):
    """``(address, prefix length)`` of a text in CIDR form; a link-local address is without its scope still.

    Raises StackError.
    """
    try:
        interface = ipaddress.ip_interface(value)
    except ValueError as error:
        raise StackError(f"Stack: {what} {value!r} is not an IP {what} with its prefix length: {error}") from error
    return interface.packed, interface.network.prefixlen
