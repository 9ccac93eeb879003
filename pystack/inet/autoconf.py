"""The addresses that an IPv6 interface gives itself, and how long they last: RFC 4862 §5.5, RFC 7217, RFC 8981."""

import hashlib
from typing import NamedTuple

from pystack import scope
from pystack.deadlines import NEVER, Deadlines
from pystack.wire import ndp

PREFIX_LENGTH = 64  # of Ethernet: an identifier has the other 64 bits (RFC 2464 §4)
LINK_LOCAL = b"\xfe\x80" + bytes(6)
TWO_HOURS = 7200.0  # RFC 4862 §5.5.3 (e)
IDGEN_RETRIES = 3  # RFC 7217 §7
IDGEN_DELAY = 1.0  # seconds, at most; Linux always waits for all of it
TEMP_IDGEN_RETRIES = 3  # RFC 8981 §3.8, and so the next two
DESYNC_SHARE = 0.4  # MAX_DESYNC_FACTOR, of the preferred lifetime
REGEN_MARGIN = 2.0  # seconds, beside the time that duplicate address detection takes
RETRANS_TIME = 1.0  # seconds, until a router says otherwise
_SECRET_BITS = 256

# Ranges of identifiers that mean something else (RFC 5453 §3): the routers of a subnet, IANA's, anycast.
_RESERVED = (
    (0, 0),
    (0x02005EFFFE000000, 0x02005EFFFEFFFFFF),
    (0xFDFFFFFFFFFFFF80, 0xFDFFFFFFFFFFFFFF),
)

DELAYED, TENTATIVE, PREFERRED, DEPRECATED, FAILED, GONE = range(6)

CHOSEN = 0  # events: it has an identifier
ASSIGNED = 1  # nobody else has it
DUPLICATED = 2  # somebody has
EXHAUSTED = 3  # for the last time
AGED = 4  # its preferred lifetime is over
RENEWED = 5  # it has one again
ENDED = 6  # its valid lifetime is over, or somebody takes it away

TRANSITIONS = {
    (DELAYED, CHOSEN): TENTATIVE,
    (DELAYED, ENDED): GONE,
    (TENTATIVE, ASSIGNED): PREFERRED,
    (TENTATIVE, DUPLICATED): DELAYED,
    (TENTATIVE, EXHAUSTED): FAILED,
    (TENTATIVE, ENDED): GONE,
    (PREFERRED, AGED): DEPRECATED,
    (PREFERRED, ENDED): GONE,
    (DEPRECATED, RENEWED): PREFERRED,
    (DEPRECATED, ENDED): GONE,
    (FAILED, ENDED): GONE,
}


class Add(NamedTuple):
    """A new address: tentative, until `Autoconf.assigned` says that nobody else has it."""

    address: bytes  # 16
    prefix_length: int
    temporary: bool


class Deprecate(NamedTuple):
    """Whether it should not be the source of anything new (RFC 4862 §5.5.4)."""

    address: bytes
    deprecated: bool


class Remove(NamedTuple):
    address: bytes


class GaveUp(NamedTuple):
    """All identifiers tried were others' too: the prefix has no address of this kind. Log it (RFC 7217 §6)."""

    prefix: bytes  # 16
    temporary: bool


class _Address:
    """One address, or the wish for one: in DELAYED and FAILED, ``address`` is None.

    Due when the next thing happens to it. Times are the clock's, `NEVER` of what is infinite.
    """

    __slots__ = (
        "address",
        "counter",
        "created",
        "desync",
        "due_at",
        "failures",
        "preferred_until",
        "prefix",
        "prefix_length",
        "queued_at",
        "retry_at",
        "stable",
        "state",
        "temporaries",
        "valid_until",
    )

    def __init__(self, prefix, now, stable=None):
        self.address = None
        self.prefix = prefix  # 8 bytes; None of an address that others configure
        self.prefix_length = PREFIX_LENGTH
        self.stable = stable  # of a temporary address: the one that lends it the prefix's lifetimes
        self.temporaries = []
        self.state = DELAYED
        self.counter = 0  # DAD_Counter of RFC 7217
        self.failures = 0
        self.created = now
        self.desync = 0.0  # seconds
        self.retry_at = NEVER  # in DELAYED
        self.preferred_until = self.valid_until = NEVER
        self.due_at = self.queued_at = NEVER


class Autoconf:
    """The lives of the addresses of one interface.

    What is to be done collects in ``changes``, a list of the NamedTuples above; the owner empties it after each call.
    Link-local addresses carry the interface's index (`pystack.scope`). ``retransmit`` is the time between two
    solicitations, in seconds, as routers say.

    Args:
        random: a ``random.Random``.
        config: an Ipv6Config.
        index: of the interface.
        name: of the interface; with the secret and a prefix, it decides on the identifier.
        agenda: see `Deadlines`.
    """

    def __init__(self, random, config, index, name, agenda=None):
        self.changes = []
        self.retransmit = RETRANS_TIME
        self._random = random
        self._config = config
        self._index = index
        secret = config.stable_secret.encode()
        if config.stable_secret == "none":
            secret = random.getrandbits(_SECRET_BITS).to_bytes(_SECRET_BITS // 8, "big")
        self._key = _delimited(name.encode()) + _delimited(b"") + _delimited(secret)  # Network_ID: none
        self._link_local = None
        self._stable = {}  # prefix, 8 bytes -> _Address; each knows its temporaries
        self._addresses = {}  # address -> _Address, of all that have one
        self._deadlines = Deadlines(agenda)

    def start(self, now):
        """The interface is up: make the link-local address, unless there is one (RFC 4862 §5.3)."""
        if self._link_local is None:
            self._link_local = _Address(LINK_LOCAL, now)
            self._choose(self._link_local, now)

    def stop(self):
        """The interface is down: remove all addresses."""
        for entry in (self._link_local, *self._stable.values(), *self._addresses.values()):
            if entry is not None:
                self._end(entry)

    def advertised(self, message, now):
        """A router says *message*, an ndp.RouterAdvertisement that has passed the checks of RFC 4861 §6.1.2: make
        addresses of its autonomous prefixes, or let them last (RFC 4862 §5.5.3)."""
        config = self._config
        if not (config.accept_ra and config.accept_ra_pinfo and config.autoconf):
            return
        self.expire(now)
        for each in message.prefixes:
            if (
                each.autonomous
                and each.length == PREFIX_LENGTH
                and each.preferred <= each.valid
                and not scope.is_link_local(each.prefix)
                and each.prefix[0] != 0xFF
            ):
                self._hear_prefix(each, now)

    def assigned(self, address, now):
        """Duplicate address detection has found nobody else who has it."""
        entry = self._addresses.get(address)
        if entry is not None and self._step(entry, ASSIGNED):
            if entry.preferred_until <= now:
                self._set_deprecated(entry, AGED)
            self._schedule(entry, now)

    def duplicate(self, address, now):
        """Somebody else has it: remove it, and try another (RFC 7217 §6, RFC 8981 §3.4)."""
        entry = self._addresses.get(address)
        if entry is None or entry.state != TENTATIVE:
            return
        if entry.prefix is None:
            self._end(entry)
            return
        entry.failures += 1
        # RFC 7217 has 3 tries after the first one; RFC 8981 may be read so, too, but means 3 by its REGEN_ADVANCE.
        exhausted = entry.failures >= (IDGEN_RETRIES + 1 if entry.stable is None else TEMP_IDGEN_RETRIES)
        self._step(entry, EXHAUSTED if exhausted else DUPLICATED)
        self._take_away(entry)
        entry.retry_at = now + self._random.random() * IDGEN_DELAY
        if exhausted:
            self.changes.append(GaveUp(self._full(entry.prefix, bytes(8)), entry.stable is not None))
        elif entry.stable is not None:
            self._choose(entry, now)
            return
        self._schedule(entry, now)

    def forget(self, address):
        """The user has removed it, and with it those temporary ones that hang on it, as in Linux. The next router
        advertisement makes it anew."""
        entry = self._addresses.pop(address, None)
        if entry is not None:
            self._end(entry, told=False)

    def add(self, address, prefix_length, preferred, valid, now):
        """An address that others configure (DHCPv6) has these lifetimes from now on, in seconds or ndp.INFINITE; one
        that is not there yet is added, and removed if *valid* is 0."""
        self.expire(now)
        entry = self._addresses.get(address)
        if not valid:
            self.remove(address)
            return
        if entry is None:
            entry = _Address(None, now)
            entry.prefix_length = prefix_length
            self._give(entry, address)
        self._set_lifetimes(entry, _until(preferred, now), _until(valid, now), now)

    def remove(self, address):
        """Undo `add`; unknown ones are ignored."""
        entry = self._addresses.get(address)
        if entry is not None:
            self._end(entry)

    def lifetimes(self, address, now):
        """``(preferred, valid)``: the seconds left, `NEVER` of what is infinite; None if there is no such address."""
        entry = self._addresses.get(address)
        if entry is None:
            return None
        return max(entry.preferred_until - now, 0.0), max(entry.valid_until - now, 0.0)

    def expire(self, now):
        """Deprecate, replace and remove what is due."""
        for entry in self._deadlines.due(now):
            if entry.state == GONE:
                continue
            if entry.valid_until <= now:
                self._end(entry)
                continue
            if entry.state == DELAYED:
                self._choose(entry, now)
                continue
            if entry.state == PREFERRED and entry.preferred_until <= now:
                self._set_deprecated(entry, AGED)
            if entry.stable is not None:
                self._ensure_temporary(entry.stable, now)
            self._schedule(entry, now)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    # Prefixes: RFC 4862 §5.5.3, RFC 8981 §3.4.

    def _hear_prefix(self, option, now):
        prefix = option.prefix[:8]
        valid_until, preferred_until = _until(option.valid, now), _until(option.preferred, now)
        entry = self._stable.get(prefix)
        if entry is None:
            if not option.valid or self._is_full():
                return
            entry = self._stable[prefix] = _Address(prefix, now)
            entry.preferred_until, entry.valid_until = preferred_until, valid_until
            self._choose(entry, now)
        else:
            # (e): no message, which anybody may have sent, ends an address sooner than in two hours. The preferred
            # lifetime is always what it says.
            valid_until = max(valid_until, min(entry.valid_until, now + TWO_HOURS))
            self._set_lifetimes(entry, preferred_until, valid_until, now)
            for temporary in entry.temporaries:
                self._set_lifetimes(temporary, *self._temporary_ends(temporary), now)
        self._ensure_temporary(entry, now)

    def _is_full(self):
        """The link-local address is not counted, nor are those that others configure."""
        made = sum(1 + len(entry.temporaries) for entry in self._stable.values())
        return made >= self._config.max_addresses

    def _regen_advance(self):
        """How long before its end a temporary address is replaced, in seconds (RFC 8981 §3.8)."""
        return REGEN_MARGIN + TEMP_IDGEN_RETRIES * self._config.dad_transmits * self.retransmit

    def _temporary_ends(self, entry):
        """``(preferred_until, valid_until)``: the prefix's, but no longer than its own age allows."""
        config = self._config
        valid_until = min(entry.stable.valid_until, entry.created + config.temp_valid_lft)
        preferred_until = entry.created + config.temp_prefered_lft - entry.desync
        return min(entry.stable.preferred_until, preferred_until, valid_until), valid_until

    def _ensure_temporary(self, stable, now):
        """Make a temporary address with the prefix of *stable* unless there is one that lasts; none that would be
        replaced at once, and none after one that has found no identifier, for as long as that would have been
        valid."""
        if not self._config.use_tempaddr or self._is_full():
            return
        advance = self._regen_advance()
        for each in stable.temporaries:
            if each.state == FAILED or (each.state != DEPRECATED and each.preferred_until - now > advance):
                return
        entry = _Address(stable.prefix, now, stable)
        most = self._config.temp_prefered_lft
        entry.desync = self._random.random() * max(0.0, min(DESYNC_SHARE * most, most - advance))
        entry.preferred_until, entry.valid_until = self._temporary_ends(entry)
        if entry.preferred_until - now > advance:
            stable.temporaries.append(entry)
            self._choose(entry, now)

    # Identifiers: RFC 7217 §5, RFC 8981 §3.3.1.

    def _choose(self, entry, now):
        """Give it an identifier that is not reserved nor in use here."""
        while True:
            if entry.stable is not None:
                identifier = self._random.getrandbits(64).to_bytes(8, "big")
            else:
                identifier = self._stable_identifier(entry.prefix, entry.counter)
                entry.counter += 1
            address = self._full(entry.prefix, identifier)
            if address not in self._addresses and not _is_reserved(identifier):
                break
        self._give(entry, address)
        self._schedule(entry, now)

    def _stable_identifier(self, prefix, counter):
        text = prefix + counter.to_bytes(4, "big") + self._key
        return hashlib.sha256(text).digest()[-8:]

    def _full(self, prefix, identifier):
        return scope.scoped(prefix + identifier, self._index)

    # Lives.

    def _step(self, entry, event):
        """Returns whether the event means anything in its state."""
        state = TRANSITIONS.get((entry.state, event))
        if state is None:
            return False
        entry.state = state
        return True

    def _give(self, entry, address):
        self._step(entry, CHOSEN)
        entry.address = address
        self._addresses[address] = entry
        self.changes.append(Add(address, entry.prefix_length, entry.stable is not None))

    def _take_away(self, entry):
        """The address, from what stays the wish for one."""
        self._addresses.pop(entry.address, None)
        self.changes.append(Remove(entry.address))
        entry.address = None

    def _end(self, entry, told=True):
        """Let go of it, and of the temporary ones that hang on it; *told* is whether that is news to the owner."""
        if not self._step(entry, ENDED):
            return
        self._deadlines.cancel(entry)
        if entry.address is not None and told:
            self._take_away(entry)
        for temporary in list(entry.temporaries):
            self._end(temporary)
        if entry.stable is not None:
            entry.stable.temporaries.remove(entry)
        elif entry is self._link_local:
            self._link_local = None
        elif entry.prefix is not None:
            del self._stable[entry.prefix]

    def _set_lifetimes(self, entry, preferred_until, valid_until, now):
        entry.valid_until = valid_until
        entry.preferred_until = min(preferred_until, valid_until)
        self._set_deprecated(entry, RENEWED if entry.preferred_until > now else AGED)
        self._schedule(entry, now)

    def _set_deprecated(self, entry, event):
        if self._step(entry, event):
            self.changes.append(Deprecate(entry.address, event == AGED))

    def _schedule(self, entry, now):
        """Set its deadline by its state."""
        at = entry.valid_until
        if entry.state == DELAYED:
            at = min(at, entry.retry_at)
        elif entry.state == PREFERRED:
            at = entry.preferred_until
            if entry.stable is not None and now < at - self._regen_advance():
                at -= self._regen_advance()
        if at == NEVER:
            self._deadlines.cancel(entry)
        else:
            self._deadlines.set(entry, at)


def _until(lifetime, now):
    return NEVER if lifetime == ndp.INFINITE else now + lifetime


def _delimited(field):
    return len(field).to_bytes(4, "big") + field


def _is_reserved(identifier):
    value = int.from_bytes(identifier, "big")
    return any(least <= value <= most for least, most in _RESERVED)
