"""What a DHCPv4 server has granted: an address and what goes with it (RFC 2131 §4.3.1, RFC 2132)."""

from dataclasses import dataclass

from pystack import errors
from pystack.deadlines import NEVER
from pystack.wire import dhcp

LEAST_LEASE = 10  # seconds; less is nothing to live on
LEAST_MTU = 68  # RFC 2132 §5.1


@dataclass(frozen=True, slots=True)
class Lease:
    """All times are seconds from ``obtained_at``, `NEVER` (float infinity) for ever.

    Addresses are 4 bytes; ``routes`` is a tuple of ``(network, prefix length, gateway)``, in which zeros as gateway
    mean that the network is on the link; default routes are among them. ``mtu`` is None if the server does not say.
    """

    address: bytes
    prefix_length: int
    routes: tuple
    dns: tuple
    search: tuple
    mtu: int | None
    server: bytes
    lease: float
    t1: float
    t2: float
    obtained_at: float


def read(message, server, now, drops):
    """The Lease that a `wire.dhcp.Message`, an offer or acknowledgement of *server*, stands for; None, counted, if it
    cannot be used."""
    address = message.yours
    if not usable(address) or not usable(server):
        drops[errors.DHCP_BAD_ADDRESS] += 1
        return None
    prefix_length = _prefix_length(message.address(dhcp.MASK), address)
    if prefix_length is None or _is_nobodys(address, prefix_length):
        drops[errors.DHCP_BAD_ADDRESS] += 1
        return None
    seconds = message.number(dhcp.LEASE_TIME, 4)
    if seconds is None or seconds < LEAST_LEASE:
        drops[errors.DHCP_BAD_TIMES] += 1
        return None
    lease, t1, t2 = _times(seconds, message.number(dhcp.T1, 4), message.number(dhcp.T2, 4))
    mtu = message.number(dhcp.MTU, 2)
    return Lease(
        address,
        prefix_length,
        _routes(message),
        tuple(filter(usable, message.addresses(dhcp.NAME_SERVERS))),
        message.search,
        mtu if mtu is not None and mtu >= LEAST_MTU else None,
        server,
        lease,
        t1,
        t2,
        now,
    )


def usable(address):
    """Whether these 4 bytes may be the address of one host."""
    return 0 < address[0] < 224 and address[0] != 127


def _prefix_length(mask, address):
    """Of a mask without holes; that of the address's class if there is no mask; None if it cannot be."""
    if mask is None:
        return 8 if address[0] < 128 else 16 if address[0] < 192 else 24
    holes = ~int.from_bytes(mask, "big") & 0xFFFFFFFF
    length = 32 - holes.bit_length()
    return length if holes & (holes + 1) == 0 and length else None


def _is_nobodys(address, prefix_length):
    """Whether it is the network's own, or its broadcast address."""
    hosts = (1 << (32 - prefix_length)) - 1
    host = int.from_bytes(address, "big") & hosts
    return prefix_length < 31 and host in (0, hosts)


def _times(seconds, t1, t2):
    """Lease, T1 and T2; by RFC 2131 §4.4.5 where the server's make no sense."""
    if seconds == dhcp.INFINITE:
        return NEVER, NEVER, NEVER
    t2 = float(t2) if t2 is not None and 0 < t2 < seconds else seconds * 0.875
    t1 = float(t1) if t1 is not None and 0 < t1 < t2 else min(seconds * 0.5, t2)
    return float(seconds), t1, t2


def _routes(message):
    """Classless static routes come in the place of the routers (RFC 3442)."""
    routes = message.routes
    if routes:
        return tuple(route for route in routes if not any(route[2]) or usable(route[2]))
    return tuple((bytes(4), 0, router) for router in message.addresses(dhcp.ROUTERS) if usable(router))
