"""Which ports are taken, and who may share one: Linux's rules of bind, listen and connect for one transport.

Ports below 1024 are nobody's privilege: the stack belongs to one program, and knows no users but as numbers.
"""

import hashlib

from pystack import errors

_PERTURBATIONS = 256  # counters of RFC 6056 §3.3.4 ("TABLE_LENGTH"); Linux has 65,536, shared by all namespaces
_NOT_SHARED, _BY_ALL, _BY_ONE_ADDRESS = range(3)  # how SO_REUSEPORT stands on a port (fastreuseport)


class Claim:
    """One socket's hold on a port. Its flags may change while it lasts, as by setsockopt."""

    __slots__ = (
        "address",
        "automatic",
        "interface",
        "listening",
        "owner",
        "port",
        "reuse_address",
        "reuse_port",
        "time_wait",
        "v6_only",
    )

    def __init__(self, address, port, *, reuse_address=False, reuse_port=False, interface=0, owner=0, v6_only=False):
        self.address = address  # 4 or 16 bytes, zeros for any
        self.port = port
        self.reuse_address = reuse_address  # SO_REUSEADDR
        self.reuse_port = reuse_port  # SO_REUSEPORT
        self.interface = interface  # SO_BINDTODEVICE, or 0
        self.owner = owner  # the user's id
        self.v6_only = v6_only  # of a 16-byte any: it leaves the IPv4 addresses to others
        self.listening = False
        self.time_wait = False
        self.automatic = False  # chosen by connect: may be shared with other such, as long as the peers differ


def overlap(one, other):
    """Whether two claims of the same port are for one address, and one interface, in part at least."""
    if one.interface and other.interface and one.interface != other.interface:
        return False
    mine, yours = one.address, other.address
    if len(mine) == len(yours):
        return mine == yours or not any(mine) or not any(yours)
    wide = one if len(mine) == 16 else other
    return not any(wide.address) and not wide.v6_only


class Bucket:
    """The claims of one port, and what Linux's TCP keeps beside them to be quick (struct inet_bind_bucket).

    What it keeps may go stale: then a bind is let through that a look at each claim would refuse. Programs may count on
    that, so it is kept here too.
    """

    __slots__ = ("_all_reuse", "_shared", "_shared_address", "_shared_owner", "chosen", "claims")

    def __init__(self):
        self.claims = {}  # socket -> Claim, oldest first
        self.chosen = 0  # how many of them are not automatic
        self._all_reuse = False  # fastreuse: every bind and listen had SO_REUSEADDR, and none was a listen
        self._shared = _NOT_SHARED  # fastreuseport: by whom SO_REUSEPORT is known to be right
        self._shared_address = b""
        self._shared_owner = 0

    def newest_first(self):
        """The claims."""
        return reversed(self.claims.values())

    def welcomes(self, claim):
        """Whether *claim* needs no look at the others."""
        if not self.claims:
            return True
        return (self._all_reuse and claim.reuse_address and not claim.listening) or self._shares(claim)

    def note(self, claim):
        """A bind or listen for *claim* succeeds (inet_csk_update_fastreuse). It may be among the claims already."""
        reuse = claim.reuse_address and not claim.listening
        self._all_reuse = reuse and (self._all_reuse or not self.claims)
        if not claim.reuse_port:
            self._shared = _NOT_SHARED
        elif not self.claims or not self._shares(claim):
            self._shared = _BY_ONE_ADDRESS if self.claims else _BY_ALL
            self._shared_address, self._shared_owner = claim.address, claim.owner

    def _shares(self, claim):
        """As far as SO_REUSEPORT goes (sk_reuseport_match)."""
        if self._shared == _NOT_SHARED or not claim.reuse_port or claim.owner != self._shared_owner:
            return False
        return self._shared == _BY_ALL or not any(self._shared_address) or self._shared_address == claim.address


def tcp_conflict(claim, bucket):
    """Whether *claim* cannot stand beside those of *bucket*: Linux's inet_csk_get_port and inet_bind_conflict.

    SO_REUSEADDR of both lets them share while the other does not listen; SO_REUSEPORT of both if their user is one.
    """
    if bucket.welcomes(claim):
        return False
    for other in bucket.claims.values():
        if other is claim or not overlap(claim, other):
            continue
        if claim.reuse_address and other.reuse_address and not other.listening:
            continue
        if claim.reuse_port and other.reuse_port and (other.time_wait or claim.owner == other.owner):
            continue
        return True
    return False


def udp_conflict(claim, bucket):
    """The same for UDP (udp_lib_lport_inuse).

    SO_REUSEADDR of both lets them share always. As on Linux the newest that shares by SO_REUSEPORT settles it, whatever
    older ones would have said.
    """
    for other in bucket.newest_first():
        if other is claim or (claim.reuse_address and other.reuse_address) or not overlap(claim, other):
            continue
        return not (claim.reuse_port and other.reuse_port and claim.owner == other.owner)
    return False


class PortTable:
    """The claims of one transport. A socket (a number) has one at most.

    Args:
        config: a `config.StackConfig` (ip_local_port_range).
        random: a ``random.Random``: secrets and choices.
        conflict: `tcp_conflict` or `udp_conflict`.
    """

    def __init__(self, config, random, conflict=tcp_conflict):
        self._low, high = config.ip_local_port_range
        self._size = high - self._low + 1
        self._random = random
        self._conflict = conflict
        self._claims = {}  # socket -> Claim
        self._buckets = {}  # port -> Bucket
        self._secret = random.randbytes(16)
        self._perturbations = [random.getrandbits(16) for _ in range(_PERTURBATIONS)]

    def bind(self, socket, address, port, **how):
        """Claim *port*, or a free one if it is 0, on *address* (4 or 16 bytes; zeros: any).

        Whether the address is ours is the caller's to check.

        Args:
            how: ``reuse_address``, ``reuse_port``, ``interface``, ``owner``, ``v6_only`` as in `Claim`.

        Returns:
            ``(port, None)``, or ``(0, cause)``: ADDRESS_IN_USE; BAD_ADDRESS if the socket is bound already.
        """
        if socket in self._claims:
            return 0, errors.BAD_ADDRESS
        claim = Claim(address, port, **how)
        if port:
            bucket = self._buckets.get(port)
            if bucket is not None and self._conflict(claim, bucket):
                return 0, errors.ADDRESS_IN_USE
        else:
            port = claim.port = self._free_port(claim)
            if not port:
                return 0, errors.ADDRESS_IN_USE  # so says Linux, where connect says EADDRNOTAVAIL
        self._buckets.setdefault(port, Bucket()).note(claim)
        self._add(socket, claim)
        return port, None

    def listen(self, socket):
        """Mark the bound socket as listening. Returns None, or ADDRESS_IN_USE if others will not have it.

        TCP: SO_REUSEADDR lets two sockets bind, but not listen. Listening again changes nothing.
        """
        claim = self._claims[socket]
        if claim.listening:
            return None
        bucket = self._buckets[claim.port]
        claim.listening = True
        if self._conflict(claim, bucket):
            claim.listening = False
            return errors.ADDRESS_IN_USE
        bucket.note(claim)
        return None

    def connect(self, socket, address, remote_address, remote_port, in_use, **how):
        """Claim a port for an unbound socket that connects from *address*: RFC 6056 §3.3.4, double hash, as Linux.

        A port that any bind or listen holds is passed over, whatever its address; one that others have got by connect
        will do if the connection is a new one.

        Args:
            in_use: ``in_use(port)``, whether there is a connection from there to the same peer.
            how: as in `bind`.

        Returns:
            ``(port, None)``, or ``(0, NO_FREE_PORT)``; BAD_ADDRESS if the socket is bound already.
        """
        if socket in self._claims:
            return 0, errors.BAD_ADDRESS
        low, size = self._low, self._size
        flow = address + remote_address + remote_port.to_bytes(2, "big")
        digest = hashlib.blake2s(flow, key=self._secret, digest_size=8).digest()
        index = digest[7] % _PERTURBATIONS
        offset = int.from_bytes(digest[:4], "big") + self._perturbations[index]
        for step in range(size):
            port = low + (offset + step) % size
            bucket = self._buckets.get(port)
            if (bucket is not None and bucket.chosen) or in_use(port):
                continue
            # Linux's noise: the next port of this counter cannot be told from the last.
            self._perturbations[index] += step + 1 + self._random.getrandbits(3)
            claim = Claim(address, port, **how)
            claim.automatic = True
            self._add(socket, claim)
            return port, None
        return 0, errors.NO_FREE_PORT

    def specify(self, socket, address):
        """The socket now has this address: its connect, or its disconnect, has settled that. Never a conflict."""
        self._claims[socket].address = address

    def inherit(self, socket, listener, address, port):
        """Claim for a connection that *listener* has accepted at ``(address, port)``; never a conflict.

        It keeps the listener's flags, so that a server which is restarted while it lasts needs SO_REUSEADDR.
        """
        claim = Claim(address, port)
        parent = self._claims.get(listener)
        if parent is not None:
            claim.reuse_address, claim.reuse_port = parent.reuse_address, parent.reuse_port
            claim.interface, claim.owner = parent.interface, parent.owner
        self._add(socket, claim)

    def time_wait(self, socket):
        """The socket's connection is in TIME-WAIT: it is no user's any more. Nothing if it has no claim."""
        claim = self._claims.get(socket)
        if claim is not None:
            claim.time_wait = True

    def set_reuse(self, socket, *, reuse_address=None, reuse_port=None):
        """SO_REUSEADDR or SO_REUSEPORT has changed. Nothing if the socket has no claim."""
        claim = self._claims.get(socket)
        if claim is None:
            return
        if reuse_address is not None:
            claim.reuse_address = reuse_address
        if reuse_port is not None:
            claim.reuse_port = reuse_port

    def set_interface(self, socket, interface):
        """SO_BINDTODEVICE has changed. Nothing if the socket has no claim."""
        claim = self._claims.get(socket)
        if claim is not None:
            claim.interface = interface

    def release(self, socket):
        """Give up the socket's claim. Nothing if it has none."""
        claim = self._claims.pop(socket, None)
        if claim is None:
            return
        bucket = self._buckets[claim.port]
        del bucket.claims[socket]
        if not bucket.claims:
            del self._buckets[claim.port]
        elif not claim.automatic:
            bucket.chosen -= 1

    def claim(self, socket):
        """The socket's `Claim`, to be read only; None if it is not bound."""
        return self._claims.get(socket)

    def __len__(self):
        return len(self._claims)

    def _free_port(self, claim):
        """A port that nobody holds who overlaps with *claim* (RFC 6056 §3.3.1, as Linux), or 0.

        Nothing is shared here, SO_REUSEADDR or not. Linux's UDP shares by chance what both may, which none can want.
        """
        start = self._random.randrange(self._size)
        for step in range(self._size):
            port = self._low + (start + step) % self._size
            bucket = self._buckets.get(port)
            if bucket is None or not any(overlap(claim, other) for other in bucket.claims.values()):
                return port
        return 0

    def _add(self, socket, claim):
        bucket = self._buckets.setdefault(claim.port, Bucket())
        self._claims[socket] = bucket.claims[socket] = claim
        bucket.chosen += not claim.automatic
