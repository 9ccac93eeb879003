"""The DHCPv4 client: states, times and what servers say (RFC 2131 §4.4). In virtual time."""

from itertools import product
from random import Random

import pytest

from pystack import errors
from pystack.deadlines import NEVER
from pystack.dhcp import client4
from pystack.dhcp.client4 import (
    BOUND,
    CHECKING,
    IDLE,
    REBINDING,
    RENEWING,
    REQUESTING,
    SELECTING,
    WAITING,
    Bound,
    Check,
    Client4,
    Lost,
)
from pystack.wire import dhcp

MAC = bytes.fromhex("021122334455")
EVERYBODY, NOBODY = b"\xff" * 4, bytes(4)
SERVER, OTHER, ADDRESS = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 9)), bytes((10, 0, 0, 77))
ROUTER = bytes((10, 0, 0, 254))
GRANT = {
    dhcp.SERVER: SERVER,
    dhcp.MASK: bytes((255, 255, 255, 0)),
    dhcp.LEASE_TIME: (1000).to_bytes(4, "big"),
    dhcp.ROUTERS: ROUTER,
}


def seconds(number):
    return number.to_bytes(4, "big")


class Host:
    """A client, its clock, and servers' words to it."""

    def __init__(self, seed=1, hostname=None):
        self.client = Client4(MAC, Random(seed), hostname)
        self.now = 1000.0

    @property
    def state(self):
        return self.client.state

    def sent(self):
        """``[(Message, destination, source)]`` since the last look."""
        found = [(dhcp.parse(data), *where) for data, *where in self.client.messages]
        self.client.messages.clear()
        return found

    def events(self):
        found = list(self.client.events)
        self.client.events.clear()
        return found

    def starts(self):
        """Returns the DHCPDISCOVER."""
        self.client.start(self.now)
        ((discover, *where),) = self.sent()
        assert (discover.kind, where) == (dhcp.DISCOVER, [EVERYBODY, NOBODY])
        return discover

    def hears(self, kind, asked, *, mac=MAC, yours=ADDRESS, operation=dhcp.BOOTREPLY, source=SERVER, **options):
        """An answer to the Message *asked*, with GRANT's options changed, or out if None; what is sent upon it."""
        changed = {**GRANT, **{getattr(dhcp, name): data for name, data in options.items()}}
        changed = {number: data for number, data in changed.items() if data is not None}
        answer = dhcp.Message(kind, asked.transaction, mac, yours=yours, options=changed)
        self.client.receive(dhcp.build(answer, operation), source, self.now)
        return self.sent()

    def requests(self):
        """All the way to REQUESTING; returns the DHCPREQUEST."""
        ((request, *_),) = self.hears(dhcp.OFFER, self.starts())
        return request

    def checks(self, **options):
        self.hears(dhcp.ACK, self.requests(), **options)
        (check,) = self.events()
        assert type(check) is Check and self.state == CHECKING
        return check.lease

    def binds(self, **options):
        """All the way to BOUND; returns the lease."""
        self.checks(**options)
        self.client.address_clear(self.now)
        (bound,) = self.events()
        assert type(bound) is Bound and self.sent() == []
        return bound.lease

    def after(self, duration):
        """Let time pass; returns ``[(time, Message, destination, source)]``."""
        end, seen = self.now + duration, []
        while (due := self.client.next_deadline()) is not None and due <= end:
            self.now = max(due, self.now)
            self.client.expire(self.now)
            seen += [(self.now, *each) for each in self.sent()]
        self.now = end
        return seen


def host_in(state):
    """A Host in that state, with nothing left to look at."""
    host = Host()
    if state == SELECTING:
        host.starts()
    elif state == REQUESTING:
        host.requests()
    elif state == CHECKING:
        host.checks()
    elif state == WAITING:
        host.checks()
        host.client.address_conflict(host.now)
    elif state != IDLE:
        host.binds()
        host.after({BOUND: 0, RENEWING: 501, REBINDING: 876}[state])
    host.sent(), host.events()
    assert host.state == state
    return host


def answer(kind):
    def happens(host):
        host.hears(kind, dhcp.Message(None, host.client._transaction, MAC))  # as a server knows it

    return happens


def late(host):
    host.after(2000)


HAPPENINGS = {  # what can happen -> the state after it, by the state before it where that is another
    "start": (lambda host: host.client.start(host.now), {IDLE: SELECTING}),
    "release": (lambda host: host.client.release(host.now), dict.fromkeys(range(8), IDLE)),
    "clear": (lambda host: host.client.address_clear(host.now), {CHECKING: BOUND}),
    "conflict": (
        lambda host: host.client.address_conflict(host.now),
        dict.fromkeys((CHECKING, BOUND, RENEWING, REBINDING), WAITING),
    ),
    "offer": (answer(dhcp.OFFER), {SELECTING: REQUESTING}),
    "ack": (answer(dhcp.ACK), {REQUESTING: CHECKING, RENEWING: BOUND, REBINDING: BOUND}),
    "nak": (answer(dhcp.NAK), dict.fromkeys((REQUESTING, RENEWING, REBINDING), WAITING)),
    "a long time": (
        late,
        dict.fromkeys((REQUESTING, CHECKING, BOUND, RENEWING, REBINDING, WAITING), SELECTING),
    ),
}


@pytest.mark.parametrize(("state", "happening"), list(product(range(8), HAPPENINGS)))
def test_every_state_and_event(state, happening):
    host = host_in(state)
    happens, leads_to = HAPPENINGS[happening]
    held = state in (CHECKING, BOUND, RENEWING, REBINDING)
    happens(host)
    assert host.state == leads_to.get(state, state)
    lost = [event for event in host.events() if type(event) is Lost]
    assert len(lost) == (held and happening in ("release", "conflict", "a long time")) + (
        state in (RENEWING, REBINDING) and happening == "nak"
    )
    assert (host.client.next_deadline() is None) == (host.state == IDLE)


def test_the_table_knows_no_other_state():
    states = {state for pair, to in client4.TRANSITIONS.items() for state in (pair[0], to)}
    assert states == set(range(8))


def test_what_a_client_says_of_itself():
    host = Host(hostname="pystack.example")
    discover = host.starts()
    assert (discover.mac, discover.broadcast, discover.client, discover.seconds) == (MAC, True, NOBODY, 0)
    assert discover.options[dhcp.CLIENT_ID] == b"\x01" + MAC
    assert discover.options[dhcp.HOST_NAME] == b"pystack.example"
    assert {dhcp.MASK, dhcp.ROUTERS, dhcp.ROUTES, dhcp.NAME_SERVERS, dhcp.MTU} <= set(discover.options[dhcp.PARAMETERS])
    host.now += 3
    ((request, *where),) = host.hears(dhcp.OFFER, discover)
    assert where == [EVERYBODY, NOBODY] and request.transaction == discover.transaction
    assert (request.options[dhcp.REQUESTED_ADDRESS], request.options[dhcp.SERVER]) == (ADDRESS, SERVER)
    assert request.seconds == discover.seconds  # §4.4.1: the same


def test_discover_is_repeated_for_ever():
    """§4.1: 4, 8, 16, 32, 64 s, each 1 s more or less."""
    host = Host()
    host.starts()
    at, waits = host.now, []
    for when, message, *_ in host.after(400):
        assert message.kind == dhcp.DISCOVER and message.seconds == int(when - 1000)
        waits.append(when - at)
        at = when
    assert all(abs(wait - mean) <= 1 for wait, mean in zip(waits, (4, 8, 16, 32, 64, 64, 64, 64), strict=False))
    assert len(waits) >= 7


def test_a_server_that_offers_and_refuses_is_asked_ever_less_often():
    host = Host()
    waits = []
    discover = host.starts()
    for _ in range(9):
        ((request, *_),) = host.hears(dhcp.OFFER, discover)
        host.hears(dhcp.NAK, request)
        waits.append(host.client.next_deadline() - host.now)
        ((_, discover, *_),) = host.after(waits[-1])
        assert discover.kind == dhcp.DISCOVER
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 64, 64, 64])
    ((request, *_),) = host.hears(dhcp.OFFER, discover)
    host.hears(dhcp.ACK, request)
    host.client.address_clear(host.now)
    (*_, (_, request, *_)) = host.after(501)
    host.hears(dhcp.NAK, request)
    assert host.client.next_deadline() - host.now == pytest.approx(1)


def test_after_ten_conflicts_it_takes_its_time():
    """RFC 5227 §2.1.1."""
    host = Host()
    waits = []
    discover = host.starts()
    for _ in range(11):
        ((request, *_),) = host.hears(dhcp.OFFER, discover)
        host.hears(dhcp.ACK, request)
        host.client.address_conflict(host.now)
        assert [message.kind for message, *_ in host.sent()] == [dhcp.DECLINE]
        waits.append(host.client.next_deadline() - host.now)
        ((_, discover, *_),) = host.after(waits[-1])
    assert waits == pytest.approx([10] * 9 + [60] * 2)


def test_a_server_that_is_silent_after_its_offer_is_given_up():
    host = Host()
    host.requests()
    kinds = [message.kind for _, message, *_ in host.after(70)]
    assert kinds[:4] == [dhcp.REQUEST] * 3 + [dhcp.DISCOVER]


def test_a_lease_is_renewed_at_t1_and_rebound_at_t2():
    """§4.4.5: by unicast from T1 on, to all from T2 on, at half of what is left but 60 s at least."""
    host = Host()
    lease = host.binds()
    assert (lease.lease, lease.t1, lease.t2, lease.obtained_at) == (1000.0, 500.0, 875.0, 1000.0)
    said = host.after(999)
    assert [when - 1000 for when, *_ in said] == [500, 687.5, 781.25, 841.25, 875, 937.5, 997.5]
    assert {(message.kind, message.client, *where) for _, message, *where in said[:4]} == {
        (dhcp.REQUEST, ADDRESS, SERVER, ADDRESS)
    }
    assert {tuple(where) for _, _, *where in said[4:]} == {(EVERYBODY, ADDRESS)}
    assert not any(
        dhcp.SERVER in message.options or dhcp.REQUESTED_ADDRESS in message.options for _, message, *_ in said
    )
    assert host.events() == []
    ((_, again, *_),) = host.after(2)
    assert again.kind == dhcp.DISCOVER and host.events() == [Lost("expired")]


@pytest.mark.parametrize("at", [500, 900], ids=["renewing", "rebinding"])
def test_a_renewal_lasts_from_its_request(at):
    host = Host()
    host.binds()
    (*_, (when, request, *_)) = host.after(at)
    host.now += 0.5
    host.hears(dhcp.ACK, request, MTU=(1400).to_bytes(2, "big"))
    (bound,) = host.events()
    assert type(bound) is Bound and host.state == BOUND
    assert (bound.lease.obtained_at, bound.lease.mtu) == (when, 1400)
    assert host.client.next_deadline() == when + 500


def test_another_server_may_extend_it_only_when_rebinding():
    for at, taken in ((501, False), (876, True)):
        host = Host()
        host.binds()
        (*_, (_, request, *_)) = host.after(at)
        host.hears(dhcp.ACK, request, SERVER=OTHER)
        assert bool(host.events()) == taken
        assert host.client.drops == ({} if taken else {errors.DHCP_OTHER_SERVER: 1})


def test_a_duplicate_address_is_declined_and_nothing_said_for_ten_seconds():
    """§3.1 (5)."""
    host = Host()
    host.checks()
    host.client.address_conflict(host.now)
    ((decline, *where),) = host.sent()
    assert decline.kind == dhcp.DECLINE and where == [EVERYBODY, NOBODY]
    assert (decline.options[dhcp.REQUESTED_ADDRESS], decline.options[dhcp.SERVER]) == (ADDRESS, SERVER)
    assert host.events() == [Lost("another host uses the address")]
    assert host.after(9.9) == []
    assert [message.kind for _, message, *_ in host.after(0.1)] == [dhcp.DISCOVER]


def test_release_is_said_to_the_server_alone():
    """§4.4.6."""
    host = Host()
    host.binds()
    host.client.release(host.now)
    ((release, *where),) = host.sent()
    assert (release.kind, release.client, release.options[dhcp.SERVER]) == (dhcp.RELEASE, ADDRESS, SERVER)
    assert where == [SERVER, ADDRESS]
    assert host.events() == [Lost("released")] and host.after(5000) == []


def test_an_infinite_lease_needs_no_word():
    host = Host()
    lease = host.binds(LEASE_TIME=b"\xff" * 4)
    assert (lease.lease, lease.t1, lease.t2) == (NEVER, NEVER, NEVER)
    assert host.client.next_deadline() is None


@pytest.mark.parametrize(
    ("t1", "t2", "expected"),
    [
        (None, None, (500, 875)),
        (100, 200, (100, 200)),
        (0, 0, (500, 875)),
        (300, None, (300, 875)),
        (900, 800, (500, 800)),
        (100, 1000, (100, 875)),
        (None, 400, (400, 400)),
    ],
)
def test_times_that_make_no_sense_are_the_defaults(t1, t2, expected):
    given = {name: seconds(time) for name, time in (("T1", t1), ("T2", t2)) if time is not None}
    lease = Host().binds(**given)
    assert (lease.t1, lease.t2) == expected


def test_everything_that_a_lease_has():
    host = Host()
    lease = host.binds(
        ROUTERS=ROUTER + SERVER,
        NAME_SERVERS=SERVER + NOBODY + OTHER,
        DOMAIN=b"example.org",
        MTU=(60).to_bytes(2, "big"),
    )
    assert (lease.address, lease.prefix_length, lease.server) == (ADDRESS, 24, SERVER)
    assert lease.routes == ((NOBODY, 0, ROUTER), (NOBODY, 0, SERVER))
    assert lease.dns == (SERVER, OTHER)  # nobody's address is none
    assert (lease.search, lease.mtu) == (("example.org",), None)  # 60 is no MTU


def test_classless_routes_come_in_the_place_of_routers():
    """RFC 3442."""
    routes = bytes((0,)) + SERVER + bytes((24, 192, 0, 2)) + OTHER
    lease = Host().binds(ROUTES=routes)
    assert lease.routes == ((NOBODY, 0, SERVER), (bytes((192, 0, 2, 0)), 24, OTHER))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"yours": bytes((224, 0, 0, 1))}, errors.DHCP_BAD_ADDRESS),
        ({"yours": bytes((127, 0, 0, 1))}, errors.DHCP_BAD_ADDRESS),
        ({"yours": NOBODY}, errors.DHCP_BAD_ADDRESS),
        ({"yours": bytes((10, 0, 0, 255))}, errors.DHCP_BAD_ADDRESS),
        ({"yours": bytes((10, 0, 0, 0))}, errors.DHCP_BAD_ADDRESS),
        ({"MASK": bytes((255, 0, 255, 0))}, errors.DHCP_BAD_ADDRESS),
        ({"MASK": NOBODY}, errors.DHCP_BAD_ADDRESS),
        ({"SERVER": EVERYBODY}, errors.DHCP_BAD_ADDRESS),
        ({"SERVER": None}, errors.DHCP_OTHER_SERVER),
        ({"LEASE_TIME": None}, errors.DHCP_BAD_TIMES),
        ({"LEASE_TIME": seconds(0)}, errors.DHCP_BAD_TIMES),
        ({"mac": bytes(6)}, errors.DHCP_OTHER_CLIENT),
        ({"operation": dhcp.BOOTREQUEST}, errors.BAD_DHCP),
    ],
)
def test_an_offer_that_cannot_be_is_refused(options, reason):
    host = Host()
    assert host.hears(dhcp.OFFER, host.starts(), **options) == []
    assert (host.client.drops, host.state) == ({reason: 1}, SELECTING)


def test_a_mask_that_is_missing_is_the_classs():
    assert Host().binds(MASK=None).prefix_length == 8


def test_an_answer_to_another_transaction_is_refused():
    host = Host()
    discover = host.starts()
    assert host.hears(dhcp.OFFER, discover._replace(transaction=discover.transaction ^ 1)) == []
    assert host.client.drops == {errors.DHCP_OTHER_TRANSACTION: 1}


def test_an_acknowledgement_of_another_address_is_refused():
    host = Host()
    request = host.requests()
    host.hears(dhcp.ACK, request, yours=OTHER)
    assert (host.client.drops, host.state, host.events()) == ({errors.DHCP_BAD_ADDRESS: 1}, REQUESTING, [])


def test_the_first_offer_is_taken_and_others_are_late():
    host = Host()
    discover = host.starts()
    host.hears(dhcp.OFFER, discover)
    assert host.hears(dhcp.OFFER, discover, SERVER=OTHER) == []
    assert host.client.drops == {errors.DHCP_UNEXPECTED: 1}


@pytest.mark.parametrize("seed", range(20))
def test_damaged_messages_never_raise(seed):
    random = Random(seed)
    host = Host(seed)
    for _ in range(300):
        if host.state == IDLE:
            host.client.start(host.now)
        kind = random.choice((dhcp.OFFER, dhcp.ACK, dhcp.NAK))
        good = dhcp.Message(kind, host.client._transaction, MAC, yours=ADDRESS, options=GRANT)
        data = bytearray(dhcp.build(good, dhcp.BOOTREPLY))
        for _ in range(random.randrange(4)):
            data[random.randrange(len(data))] = random.randrange(256)
        host.client.receive(bytes(data[: random.choice((len(data), random.randrange(len(data))))]), SERVER, host.now)
        if host.state == CHECKING:
            random.choice((host.client.address_clear, host.client.address_conflict))(host.now)
        host.after(random.choice((0, 1, 100, 1000)))
        host.events()
        assert host.state in range(8)
