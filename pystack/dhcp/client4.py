"""The DHCPv4 client of one interface (RFC 2131 §4.4)."""

from typing import NamedTuple

from pystack import errors
from pystack.counts import Counts
from pystack.deadlines import NEVER
from pystack.dhcp import lease4
from pystack.wire import dhcp

FIRST_RETRY, LAST_RETRY = 4.0, 64.0  # seconds, doubled each time, and 1 more or less (§4.1)
LEAST_RENEWAL = 60.0  # seconds between requests while renewing (§4.4.5)
TRIES = 4  # requests for an offer before another is looked for; §3.1 (5) says so of a delay of 60 s
WAIT_AFTER_CONFLICT = 10.0  # seconds (§3.1 (5))
MOST_CONFLICTS, WAIT_AFTER_MOST = 10, 60.0  # after so many in a row so many seconds (RFC 5227 §2.1.1)
FIRST_WAIT_AFTER_NAK, LAST_WAIT_AFTER_NAK = 1.0, 64.0  # seconds, doubled each time until an address is had
MAX_MESSAGE = 1500 - 28  # bytes that we take
EVERYBODY = b"\xff" * 4

IDLE, SELECTING, REQUESTING, CHECKING, BOUND, RENEWING, REBINDING, WAITING = range(8)

START = 0  # events
OFFERED = 1  # a server offers an address
GRANTED = 2  # and it is ours, if nobody else uses it
EXTENDED = 3  # the one that we have, for longer
REFUSED = 4  # the server says no (NAK)
CLEAR = 5  # nobody else uses it
CONFLICT = 6  # somebody does
T1 = 7
T2 = 8
EXPIRED = 9
WAITED = 10
STOP = 11
SILENT = 12  # the server that made an offer says nothing more

# RFC 2131 figure 5; CHECKING is its "ARP probe", WAITING its delay after a DHCPDECLINE, and ours after a DHCPNAK: a
# server that offers and refuses would be asked without a pause.
TRANSITIONS = {
    (IDLE, START): SELECTING,
    (SELECTING, OFFERED): REQUESTING,
    (SELECTING, STOP): IDLE,
    (REQUESTING, GRANTED): CHECKING,
    (REQUESTING, REFUSED): WAITING,
    (REQUESTING, SILENT): SELECTING,
    (REQUESTING, STOP): IDLE,
    (CHECKING, CLEAR): BOUND,
    (CHECKING, CONFLICT): WAITING,
    (CHECKING, EXPIRED): SELECTING,
    (CHECKING, STOP): IDLE,
    (BOUND, T1): RENEWING,
    (BOUND, CONFLICT): WAITING,
    (BOUND, STOP): IDLE,
    (RENEWING, EXTENDED): BOUND,
    (RENEWING, REFUSED): WAITING,
    (RENEWING, T2): REBINDING,
    (RENEWING, CONFLICT): WAITING,
    (RENEWING, STOP): IDLE,
    (REBINDING, EXTENDED): BOUND,
    (REBINDING, REFUSED): WAITING,
    (REBINDING, EXPIRED): SELECTING,
    (REBINDING, CONFLICT): WAITING,
    (REBINDING, STOP): IDLE,
    (WAITING, WAITED): SELECTING,
    (WAITING, STOP): IDLE,
}
TIMERS = {CHECKING: EXPIRED, BOUND: T1, RENEWING: T2, REBINDING: EXPIRED, WAITING: WAITED}  # what `_due_at` stands for
_HOLDING = (BOUND, RENEWING, REBINDING)

_PARAMETERS = bytes(
    (dhcp.MASK, dhcp.ROUTES, dhcp.ROUTERS, dhcp.NAME_SERVERS, dhcp.DOMAIN, dhcp.SEARCH, dhcp.MTU, dhcp.BROADCAST)
    + (dhcp.T1, dhcp.T2)
)

# Why a lease is lost.
LEASE_EXPIRED = "expired"
LEASE_REFUSED = "refused"
LEASE_CONFLICT = "another host uses the address"
LEASE_RELEASED = "released"


class Check(NamedTuple):
    """Probe for other users of the lease's address (RFC 5227), then call `Client4.address_clear` or
    `address_conflict`."""

    lease: lease4.Lease


class Bound(NamedTuple):
    """The address may be used; a second one replaces the first."""

    lease: lease4.Lease


class Lost(NamedTuple):
    """The address must not be used any more, nor checked; ``reason`` is one of the strings above."""

    reason: str


class Client4:
    """What is to be done collects in ``messages``, ``(payload, destination, source)``, all from port 68 to port 67, and
    in ``events`` (Check, Bound, Lost); the owner empties them after each call.

    A *destination* is `EVERYBODY` or the server's address, a *source* zeros or the leased address, 4 bytes. ``state``
    is one of the above, ``lease`` the one that is held or checked, else None; ``drops`` counts what was refused, by
    reason. Nothing that a server sends raises.

    Args:
        mac: 6 bytes.
        random: a ``random.Random``.
        hostname: text that the server is told, or None.
    """

    def __init__(self, mac, random, hostname=None):
        self.state = IDLE
        self.lease = None
        self.messages = []
        self.events = []
        self.drops = Counts()
        self._mac = bytes(mac)
        self._random = random
        self._hostname = hostname.encode("ascii", "ignore")[:63] if hostname else b""
        self._transaction = 0
        self._began_at = 0.0  # the exchange
        self._asked_at = 0.0  # for what would be granted now: from then on a lease counts
        self._seconds = 0  # of the last DHCPDISCOVER, which the request that follows repeats (§4.4.1)
        self._offer = None  # the Lease that is asked for
        self._tries = 0
        self._refusals = self._conflicts = 0  # since an address was had
        self._wait = 0.0  # seconds, for `WAITING`
        self._resend_at = self._due_at = NEVER

    # The owner's calls.

    def start(self, now):
        """Look for a server. At once: the delay of 1 to 10 s of §4.4.1 is for hosts that start together."""
        self._step(START, now)

    def release(self, now):
        """Give the address back (§4.4.6), and stop."""
        if self.state in _HOLDING:
            lease = self.lease
            self._begin_exchange(now)
            self._put(dhcp.RELEASE, {dhcp.SERVER: lease.server}, lease.server, lease.address)
            self._lose(LEASE_RELEASED)
        elif self.state == CHECKING:
            self._lose(LEASE_RELEASED)
        self._step(STOP, now)

    def address_clear(self, now):
        """Nobody else uses the address."""
        if self.state == CHECKING:
            self._refusals = self._conflicts = 0
            self._step(CLEAR, now)
            self.events.append(Bound(self.lease))

    def address_conflict(self, now):
        """Somebody else uses it: the server is told (§3.1 (5)), and asked anew after a while."""
        if (self.state, CONFLICT) not in TRANSITIONS:
            return
        lease = self.lease
        options = {dhcp.REQUESTED_ADDRESS: lease.address, dhcp.SERVER: lease.server}
        self._put(dhcp.DECLINE, options)
        self._lose(LEASE_CONFLICT)
        self._conflicts += 1
        self._wait = WAIT_AFTER_CONFLICT if self._conflicts < MOST_CONFLICTS else WAIT_AFTER_MOST
        self._step(CONFLICT, now)

    def next_deadline(self):
        """When `expire` is wanted, or None."""
        at = min(self._resend_at, self._due_at)
        return None if at == NEVER else at

    def expire(self, now):
        """Do what was due."""
        if self._due_at <= now:
            event = TIMERS[self.state]
            if event == EXPIRED:
                self._lose(LEASE_EXPIRED)
            self._step(event, now)
        if self._resend_at <= now:
            if self.state == REQUESTING and self._tries >= TRIES:
                self._step(SILENT, now)
            else:
                self._send(now)

    def receive(self, data, source, now):
        """A UDP payload came to port 68; *source* is the sender's address."""
        message = dhcp.parse(data)
        if message is None or dhcp.operation(data) != dhcp.BOOTREPLY:
            self.drops[errors.BAD_DHCP] += 1
        elif message.mac != self._mac:
            self.drops[errors.DHCP_OTHER_CLIENT] += 1
        elif self._resend_at == NEVER:
            self.drops[errors.DHCP_UNEXPECTED] += 1
        elif message.transaction != self._transaction:
            self.drops[errors.DHCP_OTHER_TRANSACTION] += 1
        elif self.state == SELECTING and message.kind == dhcp.OFFER:
            self._receive_offer(message, now)
        elif self.state != SELECTING and message.kind in (dhcp.ACK, dhcp.NAK):
            self._receive_answer(message, now)
        else:
            self.drops[errors.DHCP_UNEXPECTED] += 1

    # What comes.

    def _receive_offer(self, message, now):
        """The first that can be used is taken."""
        server = message.address(dhcp.SERVER)
        if server is None:
            self.drops[errors.DHCP_OTHER_SERVER] += 1
            return
        offer = lease4.read(message, server, now, self.drops)
        if offer is not None:
            self._offer = offer
            self._step(OFFERED, now)

    def _receive_answer(self, message, now):
        asked = self._offer if self.state == REQUESTING else self.lease
        server = message.address(dhcp.SERVER)
        # While rebinding any server may answer.
        if server is None or (server != asked.server and self.state != REBINDING):
            self.drops[errors.DHCP_OTHER_SERVER] += 1
            return
        if message.kind == dhcp.NAK:
            self._lose(LEASE_REFUSED)
            self._wait = min(FIRST_WAIT_AFTER_NAK * 2 ** min(self._refusals, 8), LAST_WAIT_AFTER_NAK)
            self._refusals += 1
            self._step(REFUSED, now)
            return
        lease = lease4.read(message, server, self._asked_at, self.drops)
        if lease is None:
            return
        if lease.address != asked.address:
            self.drops[errors.DHCP_BAD_ADDRESS] += 1
            return
        self.lease = lease
        if self.state == REQUESTING:
            self._step(GRANTED, now)
            self.events.append(Check(lease))
        else:
            self._step(EXTENDED, now)
            self.events.append(Bound(lease))

    # What follows.

    def _step(self, event, now):
        """Walk the table; nothing happens if it does not know the event."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            return
        self.state = state
        self._resend_at = NEVER
        self._due_at = self._deadline(now)
        if state in (SELECTING, REQUESTING, RENEWING, REBINDING):
            if state != REQUESTING:
                self._begin_exchange(now)
            self._tries = 0
            self._send(now)

    def _deadline(self, now):
        """When the state's time is over."""
        if self.state == WAITING:
            return now + self._wait
        lease = self.lease
        spans = {CHECKING: "lease", BOUND: "t1", RENEWING: "t2", REBINDING: "lease"}
        return lease.obtained_at + getattr(lease, spans[self.state]) if self.state in spans else NEVER

    def _begin_exchange(self, now):
        self._transaction = self._random.getrandbits(32)
        self._began_at = now

    def _lose(self, reason):
        if self.lease is not None:
            self.lease = None
            self.events.append(Lost(reason))

    def _send(self, now):
        """Send what the state has to say, and settle when to say it again."""
        self._tries += 1
        self._asked_at = now
        state = self.state
        if state == SELECTING:
            self._seconds = min(int(now - self._began_at), 0xFFFF)
            self._put(dhcp.DISCOVER, {}, seconds=self._seconds)
        elif state == REQUESTING:
            offer = self._offer
            options = {dhcp.REQUESTED_ADDRESS: offer.address, dhcp.SERVER: offer.server}
            self._put(dhcp.REQUEST, options, seconds=self._seconds)
        else:
            lease = self.lease
            seconds = min(int(now - self._began_at), 0xFFFF)
            self._put(dhcp.REQUEST, {}, lease.server if state == RENEWING else EVERYBODY, lease.address, seconds)
            self._resend_at = now + max((self._due_at - now) / 2, LEAST_RENEWAL)
            return
        wait = min(FIRST_RETRY * 2 ** min(self._tries - 1, 8), LAST_RETRY)
        self._resend_at = now + wait + 2 * self._random.random() - 1

    def _put(self, kind, options, destination=EVERYBODY, source=bytes(4), seconds=0):
        options = {**options, dhcp.CLIENT_ID: b"\x01" + self._mac}
        if kind in (dhcp.DISCOVER, dhcp.REQUEST):
            options[dhcp.PARAMETERS] = _PARAMETERS
            options[dhcp.MAX_SIZE] = MAX_MESSAGE.to_bytes(2, "big")
            if self._hostname:
                options[dhcp.HOST_NAME] = self._hostname
        # Without an address we hear only what goes to all (§4.1).
        message = dhcp.Message(
            kind, self._transaction, self._mac, seconds, not any(source), client=source, options=options
        )
        self.messages.append((dhcp.build(message), destination, source))
