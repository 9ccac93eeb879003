"""The DHCPv6 client of one interface (RFC 8415): addresses and other configuration, or the latter alone."""

from typing import NamedTuple

from pystack import errors
from pystack.counts import Counts
from pystack.deadlines import NEVER
from pystack.dhcp import exchange6
from pystack.dhcp.exchange6 import Allowance, Exchange
from pystack.dhcp.lease6 import Holding, Lease, screen, usable
from pystack.wire import dhcp6

MAX_OFFERS = 16
NO_NEED_TO_WAIT = 255  # the preference that ends the wait for other servers (§18.2.1)
IRT_DEFAULT = 86400  # §7.6, seconds: how long information is good
IRT_MINIMUM = 600
LEAST_MAX_RT = 60  # §21.24, §21.25: SOL_MAX_RT and INF_MAX_RT outside of these are ignored
GREATEST_MAX_RT = 86400

(
    IDLE,
    SOLICITING,
    REQUESTING,
    CHECKING,  # duplicate address detection is somebody else's (§18.2.10.1)
    BOUND,
    RENEWING,
    REBINDING,
    RELEASING,
    DECLINING,
    ASKING,
    INFORMED,
) = range(11)

START_MANAGED = 0  # events: addresses are wanted, and other configuration
START_STATELESS = 1  # other configuration alone is wanted
STOP = 2
RELEASE = 3
OFFERED = 4  # a server is chosen, or the next one
NO_SERVER = 5  # none of those that offered gives an address
GRANTED = 6  # addresses that are yet to be checked
EXTENDED = 7  # none but addresses that are checked
UNBOUND = 8  # the server does not know the lease
CLEAR = 9  # no other host has one of the addresses
DUPLICATE = 10  # another host has one
GONE = 11  # no address is left
T1 = 12
T2 = 13
FINISHED = 14  # the server knows that we have parted, or does not answer
ANSWERED = 15  # information came
REFRESH = 16  # it is old

TRANSITIONS = {
    (IDLE, START_MANAGED): SOLICITING,
    (IDLE, START_STATELESS): ASKING,
    (SOLICITING, START_STATELESS): ASKING,
    (SOLICITING, OFFERED): REQUESTING,
    (SOLICITING, GRANTED): CHECKING,  # rapid commit
    (SOLICITING, STOP): IDLE,
    (REQUESTING, START_STATELESS): ASKING,
    (REQUESTING, OFFERED): REQUESTING,
    (REQUESTING, NO_SERVER): IDLE,
    (REQUESTING, GRANTED): CHECKING,
    (REQUESTING, EXTENDED): BOUND,
    (REQUESTING, DUPLICATE): DECLINING,
    (REQUESTING, GONE): IDLE,
    (REQUESTING, RELEASE): RELEASING,
    (REQUESTING, STOP): IDLE,
    (CHECKING, CLEAR): BOUND,
    (CHECKING, DUPLICATE): DECLINING,
    (CHECKING, GONE): IDLE,
    (CHECKING, RELEASE): RELEASING,
    (CHECKING, STOP): IDLE,
    (BOUND, T1): RENEWING,
    (BOUND, DUPLICATE): DECLINING,
    (BOUND, GONE): IDLE,
    (BOUND, RELEASE): RELEASING,
    (BOUND, STOP): IDLE,
    (RENEWING, GRANTED): CHECKING,
    (RENEWING, EXTENDED): BOUND,
    (RENEWING, UNBOUND): REQUESTING,
    (RENEWING, T2): REBINDING,
    (RENEWING, DUPLICATE): DECLINING,
    (RENEWING, GONE): IDLE,
    (RENEWING, RELEASE): RELEASING,
    (RENEWING, STOP): IDLE,
    (REBINDING, GRANTED): CHECKING,
    (REBINDING, EXTENDED): BOUND,
    (REBINDING, UNBOUND): REQUESTING,
    (REBINDING, DUPLICATE): DECLINING,
    (REBINDING, GONE): IDLE,
    (REBINDING, RELEASE): RELEASING,
    (REBINDING, STOP): IDLE,
    (RELEASING, FINISHED): IDLE,
    (RELEASING, STOP): IDLE,
    (DECLINING, FINISHED): IDLE,
    (DECLINING, STOP): IDLE,
    (ASKING, START_MANAGED): SOLICITING,
    (ASKING, ANSWERED): INFORMED,
    (ASKING, STOP): IDLE,
    (INFORMED, START_MANAGED): SOLICITING,
    (INFORMED, REFRESH): ASKING,
    (INFORMED, STOP): IDLE,
}

SCHEDULES = {  # of the states in which an answer is waited for
    SOLICITING: exchange6.SOLICIT,
    REQUESTING: exchange6.REQUEST,
    RENEWING: exchange6.RENEW,
    REBINDING: exchange6.REBIND,
    RELEASING: exchange6.RELEASE,
    DECLINING: exchange6.DECLINE,
    ASKING: exchange6.INFORMATION_REQUEST,
}
TIMERS = {BOUND: T1, RENEWING: T2, INFORMED: REFRESH}  # the event that `_due_at` stands for

_ASKED = (dhcp6.DNS_SERVERS, dhcp6.DOMAIN_LIST)
REQUESTED = {  # the option request option, by message type
    dhcp6.SOLICIT: (*_ASKED, dhcp6.SOL_MAX_RT),
    dhcp6.REQUEST: (*_ASKED, dhcp6.SOL_MAX_RT),
    dhcp6.RENEW: (*_ASKED, dhcp6.SOL_MAX_RT),
    dhcp6.REBIND: (*_ASKED, dhcp6.SOL_MAX_RT),
    dhcp6.INFORMATION_REQUEST: (*_ASKED, dhcp6.INFORMATION_REFRESH_TIME, dhcp6.INF_MAX_RT),
}

# Why a lease is lost.
EXPIRED = "expired"
WITHDRAWN = "withdrawn"  # the server has shortened the lifetimes to 0
FORGOTTEN = "forgotten"  # the server did not know it, and gives no other
TAKEN = "taken"  # another host has one of the addresses
RELEASED = "released"
STOPPED = "stopped"


class Check(NamedTuple):
    """Look for other hosts that have these addresses, then call `Client6.address_clear` or `address_duplicate`."""

    addresses: tuple


class Bound(NamedTuple):
    """These addresses may be used, with these lifetimes; what an earlier Lease had beside them may not any more."""

    lease: Lease


class Lost(NamedTuple):
    """No address may be used any more, nor checked; ``reason`` is one of the strings above."""

    reason: str


class Information(NamedTuple):
    """The answer without addresses: name servers and domains to search, as in a Lease."""

    dns: tuple
    search: tuple


class _Offer(NamedTuple):
    preference: int
    server: bytes
    addresses: tuple


class Client6:
    """What is to be done collects in ``messages`` (payloads, all from port 546 of the link-local address to port 547 of
    ff02::1:2) and ``events`` (Check, Bound, Lost, Information); the owner empties them after each call.

    ``state`` is one of the above, ``lease`` the last one reported while it holds, else None; ``drops`` counts what was
    refused, by reason. Nothing that a server sends raises. CONFIRM is not used: a link that was down is a new start.
    """

    def __init__(self, mac, random, duid=None):
        """*mac* is 6 bytes, *random* a random.Random; *duid* is a DUID-LL of the MAC address (§11.4) unless given."""
        self.duid = b"\0\x03\0\x01" + bytes(mac) if duid is None else bytes(duid)
        self.state = IDLE
        self.lease = None
        self.messages = []
        self.events = []
        self.drops = Counts()
        self._iaid = int.from_bytes(mac[-4:], "big")
        self._random = random
        self._managed = None  # what was asked for by `start`, None after `stop` and `release`
        self._exchange = None
        self._allowance = Allowance()
        self._offers = []  # _Offer, the best first
        self._holding = Holding()
        self._told = False  # the owner has a Check or a Bound that no Lost has taken back
        self._resend_at = NEVER
        self._due_at = NEVER
        self._max_rt = {each.kind: each.most for each in SCHEDULES.values()}

    # The owner's calls.

    def start(self, managed, now):
        """Ask for addresses and other configuration, or (*managed* false) for the latter alone. A second call changes
        this; addresses that are held by then are kept, and renewed, until they are lost."""
        self._managed = bool(managed)
        if managed or not self._holding:
            self._step(START_MANAGED if managed else START_STATELESS, now)

    def stop(self, now):
        """Forget everything, without a word to the server."""
        self._managed = None
        self._lose(STOPPED)
        self._step(STOP, now)

    def release(self, now):
        """Give the addresses back (§18.2.7), then stop."""
        self._managed = None
        if self._holding:
            server, addresses = self._holding.server, self._holding.addresses()
            self._lose(RELEASED)
            self._step(RELEASE, now, server, addresses)
        elif self.state not in (RELEASING, DECLINING):
            self._step(STOP, now)

    def address_clear(self, address, now):
        """No other host has it."""
        self._holding.mark_clear(address)
        self._end_check(now)

    def address_duplicate(self, address, now):
        """Another host has it: the server is told (§18.2.8), and asked anew. All addresses of the lease are lost; the
        good ones are bound to our IA still, and will be offered again."""
        if address in self._holding:
            server = self._holding.server
            self._lose(TAKEN)
            self._step(DUPLICATE, now, server, (address,))

    def next_deadline(self):
        """When `expire` is wanted, or None."""
        at = min(self._resend_at, self._due_at, self._holding.expires_at())
        return None if at == NEVER else at

    def expire(self, now):
        """Do what was due."""
        if self._holding.expires_at() <= now:
            self._drop_expired(now)
        if self._due_at <= now:
            event = TIMERS[self.state]
            self._step(event, now, self._holding.server if event == T1 else None)
        if self._resend_at <= now:
            self._resend(now)

    def receive(self, data, source, now):
        """A UDP payload came to port 546; *source* is the sender's address, 16 bytes."""
        message = dhcp6.parse(data)
        reason = errors.BAD_DHCP if message is None else self._why_not(message, source)
        if reason is not None:
            self.drops[reason] += 1
            return
        self._learn_max_rt(message)
        if message.kind == dhcp6.ADVERTISE:
            self._receive_offer(message, now)
        elif self.state == ASKING:
            self._receive_information(message, now)
        elif self.state in (RELEASING, DECLINING):  # any Reply will do (§18.2.10.2, §18.2.10.3)
            self._begin_anew(FINISHED, None, now)
        else:
            self._receive_grant(message, now)

    # What comes.

    def _why_not(self, message, source):
        """The drop reason of a message that is not an answer to ours (§16), or None."""
        exchange = self._exchange
        if not usable(source):
            return errors.MARTIAN_SOURCE
        if exchange is None or exchange.count == 0:
            return errors.DHCP_UNEXPECTED
        if message.kind != dhcp6.REPLY and (message.kind != dhcp6.ADVERTISE or self.state != SOLICITING):
            return errors.DHCP_UNEXPECTED  # a RECONFIGURE too: we do not say that we accept it (§16.11)
        if message.transaction != exchange.transaction:
            return errors.DHCP_OTHER_TRANSACTION
        if message.client != self.duid:
            return errors.DHCP_OTHER_CLIENT
        if message.server is None or exchange.server not in (None, message.server):
            return errors.DHCP_OTHER_SERVER
        if message.kind == dhcp6.REPLY and self.state == SOLICITING and not message.rapid_commit:
            return errors.DHCP_UNEXPECTED  # §18.2.10
        return None

    def _learn_max_rt(self, message):
        # §18.2.9: whatever else the message says. Where servers differ, the default is to be used.
        for schedule, value in (
            (exchange6.SOLICIT, message.sol_max_rt),
            (exchange6.INFORMATION_REQUEST, message.inf_max_rt),
        ):
            if value is not None and LEAST_MAX_RT <= value <= GREATEST_MAX_RT:
                limits = self._exchange.limits
                if limits.setdefault(schedule.kind, value) != value:
                    limits[schedule.kind] = value = schedule.most
                self._max_rt[schedule.kind] = value

    def _receive_offer(self, message, now):
        """§18.2.9."""
        ia, failure = self._read(message)
        if failure:
            return
        addresses = tuple(each.address for each in screen(ia.addresses, self.drops) if each.valid)
        if not addresses:
            self.drops[errors.DHCP_NO_ADDRESS] += 1
            return
        offer = _Offer(message.preference or 0, message.server, addresses)
        offers = [each for each in self._offers if each.server != offer.server] + [offer]
        offers.sort(key=lambda each: -each.preference)  # the first to come stays before its equals
        if len(offers) > MAX_OFFERS:
            self.drops[errors.DHCP_TABLE_FULL] += 1
            offers.pop()
        self._offers = offers
        # Within the first RT the offers are collected; later the first one is taken (§18.2.1).
        if offer.preference == NO_NEED_TO_WAIT or self._exchange.count > 1:
            self._choose(now)

    def _receive_grant(self, message, now):
        """§18.2.10.1."""
        ia, failure = self._read(message)
        renewal = self.state in (RENEWING, REBINDING)
        if failure in (dhcp6.NO_ADDRS_AVAIL, dhcp6.NOT_ON_LINK, dhcp6.NO_BINDING) and self.state == REQUESTING:
            self._choose(now)
        elif failure == dhcp6.NO_BINDING and renewal:
            self._step(UNBOUND, now, message.server)
        if failure:
            return  # after any other failure, as if nothing had come: the message is sent again in its time
        addresses = screen(ia.addresses, self.drops)
        if not any(each.valid or renewal for each in addresses):
            self.drops[errors.DHCP_NO_ADDRESS] += 1
            if self.state == REQUESTING:
                self._choose(now)
            return
        self._holding.grant(message, ia, addresses, not renewal, now, self.drops)
        if not self._holding:
            self._begin_anew(GONE, WITHDRAWN, now)
        elif unchecked := self._holding.unchecked():
            self._step(GRANTED, now)
            if self.lease is not None:
                self._report()  # addresses in use may have been extended, others are no more
            self.events.append(Check(unchecked))
            self._told = True
        else:
            self._step(EXTENDED, now)
            self._report()

    def _read(self, message):
        """``(our Ia, status code)`` of a message, counted if the code is not SUCCESS. One that is without our IA, or
        with a T1 after its T2 (§21.4), has an Ia without addresses."""
        ia = next((each for each in message.ias if each.iaid == self._iaid), dhcp6.Ia(self._iaid))
        for status in (message.status, ia.status):
            if status is not None and status.code != dhcp6.SUCCESS:
                self.drops[errors.DHCP_FAILURE] += 1
                return ia, status.code
        if ia.t1 > ia.t2 > 0:
            self.drops[errors.DHCP_BAD_TIMES] += 1
            ia = dhcp6.Ia(self._iaid)
        return ia, dhcp6.SUCCESS

    def _receive_information(self, message, now):
        """§18.2.10.4."""
        if message.status is not None and message.status.code != dhcp6.SUCCESS:
            self.drops[errors.DHCP_FAILURE] += 1
            return
        self._step(ANSWERED, now)
        refresh = IRT_DEFAULT if message.refresh is None else max(message.refresh, IRT_MINIMUM)  # §21.23
        self._due_at = NEVER if refresh == dhcp6.INFINITY else now + refresh
        self.events.append(Information(tuple(filter(usable, message.dns)), message.search))

    # What follows.

    def _step(self, event, now, server=None, addresses=()):
        """Walk the table; nothing happens if it does not know the event. In the new state, a message goes to *server*
        (None: to all), about *addresses*."""
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            return
        self.state = state
        self._due_at = {BOUND: self._holding.t1_at, RENEWING: self._holding.t2_at}.get(state, NEVER)
        self._resend_at = NEVER
        self._exchange = None
        if state != REQUESTING:
            self._offers = []
        schedule = SCHEDULES.get(state)
        if schedule is not None:
            self._exchange = Exchange(schedule, self._random, server, addresses)
            if schedule.delay:
                self._resend_at = now + self._random.random() * schedule.delay
            else:
                self._send(now)

    def _choose(self, now):
        """Go to the server with the best offer of those that are left, or begin anew."""
        if self._offers:
            offer = self._offers.pop(0)
            self._step(OFFERED, now, offer.server, offer.addresses)
        else:
            self._begin_anew(NO_SERVER, FORGOTTEN, now)

    def _begin_anew(self, event, reason, now):
        """Lose what is held for *reason*, and start again if that is wanted still."""
        self._lose(reason)
        self._step(event, now)
        if self._managed is not None:
            self.start(self._managed, now)

    def _lose(self, reason):
        if self._told:
            self._told = False
            self._holding.forget()
            self.lease = None
            self.events.append(Lost(reason))

    def _end_check(self, now):
        if self.state == CHECKING and not self._holding.unchecked():
            self._step(CLEAR, now)
            self._report()

    def _report(self):
        self.lease = self._holding.lease()
        self.events.append(Bound(self.lease))

    def _drop_expired(self, now):
        self._holding.expire(now)
        if not self._holding:
            self._begin_anew(GONE, EXPIRED, now)
        elif self.state == CHECKING and not self._holding.unchecked():
            self._end_check(now)
        elif self.lease is not None:
            self._report()

    def _resend(self, now):
        if self.state == SOLICITING and self._offers:
            self._choose(now)
        elif not self._exchange.is_over():
            self._send(now)
        elif self.state == REQUESTING:
            self._choose(now)
        else:
            self._begin_anew(FINISHED, None, now)

    def _send(self, now):
        wait = self._allowance.take(now)
        if wait:
            self._resend_at = now + wait
            return
        exchange = self._exchange
        kind = exchange.schedule.kind
        ias = ()
        if kind != dhcp6.INFORMATION_REQUEST:
            addresses = exchange.addresses or self._holding.addresses()
            ias = (dhcp6.Ia(self._iaid, addresses=tuple(map(dhcp6.Address, addresses))),)
        message = dhcp6.Message(
            kind,
            exchange.transaction,
            client=self.duid,
            server=exchange.server,
            elapsed=exchange.elapsed(now),
            rapid_commit=kind == dhcp6.SOLICIT or None,
            requested=REQUESTED.get(kind, ()),
            ias=ias,
        )
        self.messages.append(dhcp6.build(message))
        self._resend_at = exchange.sent(now, self._max_rt[kind])
