"""What a DHCPv6 server has granted: the addresses of one IA_NA and their lifetimes (RFC 8415 §21.4, §21.6)."""

from dataclasses import dataclass

from pystack import errors
from pystack.deadlines import NEVER
from pystack.wire import dhcp6

MAX_ADDRESSES = 16

_UNSPECIFIED = bytes(16)
_LOOPBACK = bytes(15) + b"\x01"
_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 addresses (RFC 4291 §2.5.5.2)


@dataclass(frozen=True, slots=True)
class Lease:
    """All times are seconds from ``obtained_at``, `NEVER` (float infinity) for ever.

    ``addresses`` is a tuple of ``(address, preferred, valid)``, none of which another host has; ``dns`` one of
    addresses, ``search`` of domain names (str); ``server`` is the server's DUID; at ``t1`` the lease is renewed, from
    ``t2`` on with any server.
    """

    addresses: tuple
    dns: tuple
    search: tuple
    server: bytes
    t1: float
    t2: float
    obtained_at: float


def usable(address):
    """Whether these 16 bytes may be the address of one host."""
    return address[0] != 0xFF and address not in (_UNSPECIFIED, _LOOPBACK) and address[:12] != _MAPPED


def screen(addresses, drops):
    """List those Addresses of an IA that may be used or are withdrawn (valid for 0 s); the others are counted."""
    good = []
    for each in addresses:
        if each.status is not None and each.status.code != dhcp6.SUCCESS:
            drops[errors.DHCP_FAILURE] += 1
        elif each.preferred > each.valid:  # §21.6
            drops[errors.DHCP_BAD_TIMES] += 1
        elif not usable(each.address) or (each.address[0] == 0xFE and each.address[1] & 0xC0 == 0x80):
            drops[errors.DHCP_BAD_ADDRESS] += 1  # link-local ones are not a server's to give
        else:
            good.append(each)
    return good


def _seconds(number):
    return NEVER if number == dhcp6.INFINITY else float(number)


class _Held:
    __slots__ = ("clear", "granted_at", "preferred", "valid")  # lifetimes in seconds from ``granted_at``

    def __init__(self):
        self.clear = False  # duplicate address detection has found nobody

    def left(self, now):
        """``(preferred, valid)``: seconds from *now*."""
        age = now - self.granted_at
        return max(self.preferred - age, 0.0), self.valid - age


class Holding:
    """The addresses held, at most MAX_ADDRESSES; false without any. ``server``, ``t1_at`` and ``t2_at`` are of the
    last grant."""

    def __init__(self):
        self._held = {}  # address: _Held
        self._dns = self._search = ()
        self._obtained_at = 0.0
        self.server = None
        self.t1_at = self.t2_at = NEVER
        self._times = (NEVER, NEVER)  # T1 and T2 in seconds from `_obtained_at`

    def __len__(self):
        return len(self._held)

    def __contains__(self, address):
        return address in self._held

    def addresses(self):
        """All of them, as a tuple."""
        return tuple(self._held)

    def unchecked(self):
        """Those that another host might have."""
        return tuple(address for address, held in self._held.items() if not held.clear)

    def mark_clear(self, address):
        """Nobody else has it; unknown addresses are ignored."""
        if address in self._held:
            self._held[address].clear = True

    def forget(self):
        """Hold nothing."""
        self._held.clear()

    def grant(self, message, ia, addresses, only, now, drops):
        """A server's Reply: *addresses* are of its *ia*, and screened. Those that it does not name stay as they are
        (RFC 8415 §18.2.10.1), or go if these are to be the *only* ones."""
        if only:
            for address in self._held.keys() - {each.address for each in addresses}:
                del self._held[address]
        for each in addresses:
            if each.valid == 0:
                self._held.pop(each.address, None)
                continue
            if each.address not in self._held and len(self._held) == MAX_ADDRESSES:
                drops[errors.DHCP_TABLE_FULL] += 1
                continue
            held = self._held.setdefault(each.address, _Held())
            held.granted_at = now
            held.preferred = _seconds(each.preferred)
            held.valid = _seconds(each.valid)
        self.server = message.server
        self._dns = tuple(filter(usable, message.dns))
        self._search = message.search
        self._obtained_at = now
        self._set_times(_seconds(ia.t1), _seconds(ia.t2), now)

    def _set_times(self, t1, t2, now):
        # §14.2: 0 leaves it to the client; §21.4 recommends these shares of the shortest preferred lifetime.
        left = [held.left(now) for held in self._held.values()]
        shortest = min([preferred for preferred, _ in left if preferred] or [valid for _, valid in left], default=0.0)
        t2 = t2 or max(0.8 * shortest, t1)
        t1 = t1 or min(0.5 * shortest, t2)
        self.t1_at = now + t1
        self.t2_at = now + t2
        self._times = (t1, t2)

    def expires_at(self):
        """When the next address ceases to be valid."""
        return min((held.granted_at + held.valid for held in self._held.values()), default=NEVER)

    def expire(self, now):
        """Drop what is valid no more; what is left counts from now."""
        for address, held in list(self._held.items()):
            if held.granted_at + held.valid <= now:
                del self._held[address]
        self._obtained_at = now
        self._times = (max(self.t1_at - now, 0.0), max(self.t2_at - now, 0.0))

    def lease(self):
        """The Lease of the addresses that are clear."""
        start = self._obtained_at
        addresses = tuple((address, *held.left(start)) for address, held in self._held.items() if held.clear)
        return Lease(addresses, self._dns, self._search, self.server, *self._times, start)
