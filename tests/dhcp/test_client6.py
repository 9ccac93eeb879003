"""The DHCPv6 client: states, times and what servers say (RFC 8415)."""

from dataclasses import replace
from itertools import pairwise, product
from random import Random

import pytest

from pystack import errors
from pystack.dhcp import client6
from pystack.dhcp.client6 import (
    ASKING,
    BOUND,
    CHECKING,
    DECLINING,
    IDLE,
    INFORMED,
    REBINDING,
    RELEASING,
    RENEWING,
    REQUESTING,
    SOLICITING,
    Bound,
    Check,
    Client6,
    Information,
    Lost,
)
from pystack.dhcp.lease6 import Lease
from pystack.wire import dhcp6
from pystack.wire.dhcp6 import Address, Ia, Message, Status

MAC = bytes.fromhex("021122334455")
CLIENT = b"\0\x03\0\x01" + MAC
IAID = 0x22334455
SERVER = b"\0\x03\0\x01server"
OTHER = b"\0\x03\0\x01other."
SOURCE = bytes.fromhex("fe80") + bytes(13) + b"\x09"
FOREVER = float("inf")
STATES = range(11)


def address(number):
    return bytes.fromhex("20010db8") + bytes(11) + bytes([number])


ONE, TWO, DNS = address(1), address(2), address(53)


class Host:
    """A client, its clock, and a server's words to it."""

    def __init__(self, seed=1):
        self.client = Client6(MAC, Random(seed))
        self.now = 1000.0
        self.ends_at = None  # of the address that `host_in` grants

    @property
    def state(self):
        return self.client.state

    @property
    def drops(self):
        return dict(self.client.drops)

    def sent(self):
        """The Messages since the last look."""
        messages = [dhcp6.parse(data) for data in self.client.messages]
        self.client.messages.clear()
        return messages

    def events(self):
        events = list(self.client.events)
        self.client.events.clear()
        return events

    def after(self, seconds):
        """Let time pass; returns ``[(time, Message), ...]``."""
        end, seen = self.now + seconds, []
        while (due := self.client.next_deadline()) is not None and due <= end:
            assert due >= self.now or self.client.messages == []
            self.now = max(due, self.now)
            self.client.expire(self.now)
            seen += [(self.now, message) for message in self.sent()]
        self.now = end
        return seen

    def until_sent(self):
        """Let time pass until messages go out, and return them."""
        while not self.client.messages:
            self.now = max(self.client.next_deadline(), self.now)
            self.client.expire(self.now)
        return self.sent()

    def hears(self, kind, asked, source=SOURCE, **fields):
        """An answer to the Message *asked*; returns what is sent upon it at once."""
        fields = {"client": CLIENT, "server": SERVER, **fields}
        self.client.receive(dhcp6.build(Message(kind, asked.transaction, **fields)), source, self.now)
        return self.sent()

    def solicits(self):
        self.client.start(True, self.now)
        (solicit,) = self.until_sent()
        return solicit

    def binds(self, **fields):
        """All the way to BOUND; returns the lease."""
        request = self.requests()
        self.hears(dhcp6.REPLY, request, ias=fields.pop("ias", GRANT), **fields)
        (check,) = self.events()
        for each in check.addresses:
            self.client.address_clear(each, self.now)
        (bound,) = self.events()
        assert self.sent() == [] and self.state == BOUND
        return bound.lease

    def requests(self):
        solicit = self.solicits()
        (request,) = self.hears(dhcp6.ADVERTISE, solicit, ias=GRANT, preference=255)
        return request


def granted(*addresses, t1=0, t2=0, status=None):
    return (Ia(IAID, t1, t2, tuple(addresses), status),)


def rounded(lease):
    """Without the noise of differences of times."""
    addresses = tuple((each, round(preferred, 6), round(valid, 6)) for each, preferred, valid in lease.addresses)
    return replace(lease, addresses=addresses, t1=round(lease.t1, 6), t2=round(lease.t2, 6))


GRANT = granted(Address(ONE, 1000, 2000), t1=500, t2=800)
NOTHING = granted(status=Status(dhcp6.NO_ADDRS_AVAIL))


def host_in(state):
    """A host in that state and its last message; it holds ONE where it holds anything."""
    host = Host()
    last = None
    if state in (ASKING, INFORMED):
        host.client.start(False, host.now)
        (last,) = host.until_sent()
        if state == INFORMED:
            host.hears(dhcp6.REPLY, last, dns=(DNS,))
    elif state == SOLICITING:
        last = host.solicits()
    elif state == REQUESTING:
        last = host.requests()
    elif state == CHECKING:
        last = host.requests()
        host.hears(dhcp6.REPLY, last, ias=GRANT)
        host.ends_at = host.now + 2000
    elif state != IDLE:
        host.ends_at = host.binds().obtained_at + 2000
        if state == RENEWING:
            ((_, last),) = host.after(500)
        elif state == REBINDING:
            *_, (_, last) = host.after(800)
        elif state == RELEASING:
            host.client.release(host.now)
            (last,) = host.sent()
        elif state == DECLINING:
            host.client.address_duplicate(ONE, host.now)
            (last,) = host.sent()
    host.sent()
    host.events()
    assert host.state == state
    return host, last


# Every state and event.

HOLDING = (CHECKING, BOUND, RENEWING, REBINDING)
WAITING = (SOLICITING, REQUESTING, RENEWING, REBINDING, RELEASING, DECLINING, ASKING)


def run_out(host, last):
    """The longest that any state lasts without an answer or a check."""
    host.after(host.ends_at - 1 - host.now if host.state in HOLDING else 300)


EVENTS = {
    "start managed": lambda host, last: host.client.start(True, host.now),
    "start stateless": lambda host, last: host.client.start(False, host.now),
    "stop": lambda host, last: host.client.stop(host.now),
    "release": lambda host, last: host.client.release(host.now),
    "clear": lambda host, last: host.client.address_clear(ONE, host.now),
    "clear, another": lambda host, last: host.client.address_clear(TWO, host.now),
    "duplicate": lambda host, last: host.client.address_duplicate(ONE, host.now),
    "duplicate, another": lambda host, last: host.client.address_duplicate(TWO, host.now),
    "offer": lambda host, last: host.hears(dhcp6.ADVERTISE, last, ias=GRANT, preference=255),
    "grant": lambda host, last: host.hears(dhcp6.REPLY, last, ias=GRANT, rapid_commit=True),
    "new grant": lambda host, last: host.hears(
        dhcp6.REPLY, last, ias=granted(Address(TWO, 1000, 2000), t1=500), rapid_commit=True
    ),
    "nothing": lambda host, last: host.hears(dhcp6.REPLY, last, ias=NOTHING, rapid_commit=True),
    "no binding": lambda host, last: host.hears(
        dhcp6.REPLY, last, ias=granted(status=Status(dhcp6.NO_BINDING)), rapid_commit=True
    ),
    "withdrawn": lambda host, last: host.hears(dhcp6.REPLY, last, ias=granted(Address(ONE, 0, 0)), rapid_commit=True),
    "failure": lambda host, last: host.hears(dhcp6.REPLY, last, status=Status(dhcp6.UNSPEC_FAIL), rapid_commit=True),
    "reconfigure": lambda host, last: host.hears(dhcp6.RECONFIGURE, last),
    "1 s before all addresses end": run_out,
    "all addresses end": lambda host, last: (run_out(host, last), host.after(1)),
}
FOLLOWS = {  # what is not here leaves the state as it is
    "start managed": {IDLE: SOLICITING, ASKING: SOLICITING, INFORMED: SOLICITING},
    "start stateless": {IDLE: ASKING, SOLICITING: ASKING, REQUESTING: ASKING},
    "stop": dict.fromkeys(STATES, IDLE),
    "release": {
        **dict.fromkeys(HOLDING, RELEASING),
        **dict.fromkeys((SOLICITING, REQUESTING, ASKING, INFORMED), IDLE),
    },
    "clear": {CHECKING: BOUND},
    "duplicate": dict.fromkeys(HOLDING, DECLINING),
    "offer": {SOLICITING: REQUESTING},
    "grant": {
        **{SOLICITING: CHECKING, REQUESTING: CHECKING, RENEWING: BOUND, REBINDING: BOUND},
        **{RELEASING: IDLE, DECLINING: SOLICITING, ASKING: INFORMED},
    },
    "new grant": {
        **{SOLICITING: CHECKING, REQUESTING: CHECKING, RENEWING: CHECKING, REBINDING: CHECKING},
        **{RELEASING: IDLE, DECLINING: SOLICITING, ASKING: INFORMED},
    },
    "nothing": {REQUESTING: SOLICITING, RELEASING: IDLE, DECLINING: SOLICITING, ASKING: INFORMED},
    "no binding": {
        **{REQUESTING: SOLICITING, RENEWING: REQUESTING, REBINDING: REQUESTING},
        **{RELEASING: IDLE, DECLINING: SOLICITING, ASKING: INFORMED},
    },
    "withdrawn": {
        **{REQUESTING: SOLICITING, RENEWING: SOLICITING, REBINDING: SOLICITING},
        **{RELEASING: IDLE, DECLINING: SOLICITING, ASKING: INFORMED},
    },
    "failure": {RELEASING: IDLE, DECLINING: SOLICITING},
    "1 s before all addresses end": {
        **{REQUESTING: SOLICITING, BOUND: REBINDING, RENEWING: REBINDING},
        **{RELEASING: IDLE, DECLINING: SOLICITING},
    },
    "all addresses end": {
        **dict.fromkeys((*HOLDING, REQUESTING, DECLINING), SOLICITING),
        RELEASING: IDLE,
    },
}
UNANSWERABLE = (IDLE, CHECKING, BOUND, INFORMED)  # nothing has been asked


@pytest.mark.parametrize("state, event", list(product(STATES, EVENTS)))
def test_every_state_and_event(state, event):
    host, last = host_in(state)
    had = state in HOLDING
    EVENTS[event](host, last or Message(0, 0))
    assert host.state == FOLLOWS.get(event, {}).get(state, state)
    lost = [each for each in host.events() if isinstance(each, Lost)]
    holds = host.state in HOLDING
    assert len(lost) == (had and not holds and host.state != REQUESTING)
    assert (host.client.next_deadline() is None) == (host.state == IDLE)


@pytest.mark.parametrize("state, event", list(product(STATES, range(17))))
def test_the_table_leads_from_states_that_have_the_event(state, event):
    """STOP ends all; only where addresses can be held can they be lost, released or found twice."""
    follows = client6.TRANSITIONS.get((state, event))
    if event == client6.STOP:
        assert follows == (None if state == IDLE else IDLE)
    elif event in (client6.DUPLICATE, client6.RELEASE, client6.GONE):
        target = {client6.DUPLICATE: DECLINING, client6.RELEASE: RELEASING, client6.GONE: IDLE}[event]
        assert follows == (target if state in (*HOLDING, REQUESTING) else None)
    elif event == client6.FINISHED:
        assert follows == (IDLE if state in (RELEASING, DECLINING) else None)
    elif follows is not None:
        assert follows not in (IDLE, RELEASING, DECLINING) or event == client6.NO_SERVER


# What is sent.


def test_solicit():
    """§18.2.1: within a second, with rapid commit; the options that §21.24 wants asked for."""
    for seed in range(20):
        host = Host(seed)
        host.client.start(True, host.now)
        assert host.sent() == [] and 1000 <= host.client.next_deadline() <= 1001
        (solicit,) = host.until_sent()
        assert solicit == Message(
            dhcp6.SOLICIT,
            solicit.transaction,
            client=CLIENT,
            elapsed=0,
            rapid_commit=True,
            requested=(23, 24, 82),
            ias=(Ia(IAID),),
        )
        assert host.events() == []


def test_request_renew_rebind_release_and_decline():
    """§18.2.2, §18.2.4, §18.2.5, §18.2.7, §18.2.8."""
    ias = granted(Address(ONE))
    expected = {
        REQUESTING: Message(dhcp6.REQUEST, 0, CLIENT, SERVER, 0, requested=(23, 24, 82), ias=ias),
        RENEWING: Message(dhcp6.RENEW, 0, CLIENT, SERVER, 0, requested=(23, 24, 82), ias=ias),
        RELEASING: Message(dhcp6.RELEASE, 0, CLIENT, SERVER, 0, ias=ias),
        DECLINING: Message(dhcp6.DECLINE, 0, CLIENT, SERVER, 0, ias=ias),
        ASKING: Message(dhcp6.INFORMATION_REQUEST, 0, CLIENT, None, 0, requested=(23, 24, 32, 83)),
    }
    for state, message in expected.items():
        assert host_in(state)[1]._replace(transaction=0) == message
    rebind = Message(dhcp6.REBIND, 0, CLIENT, None, 0, requested=(23, 24, 82), ias=ias)
    assert host_in(REBINDING)[1]._replace(transaction=0) == rebind


def test_the_identifiers():
    assert Client6(MAC, Random(1)).duid == CLIENT  # §11.4
    host = Host()
    host.client = Client6(MAC, Random(1), duid=OTHER)
    assert host.solicits().client == OTHER


def test_each_exchange_has_its_transaction_and_keeps_it():
    host = Host()
    host.client.start(True, host.now)
    seen = {message.transaction for _, message in host.after(100)}
    assert len(seen) == 1
    host.client.stop(host.now)
    assert host.solicits().transaction not in seen


# When it is sent.


def check_times(times, first, most, positive=False):
    """§15: each RT is twice the one before, or MRT, more or less a tenth (of RT before: 1.9 to 2.1)."""
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert (first if positive else 0.9 * first) <= waits[0] <= 1.1 * first
    for before, wait in pairwise(waits):
        assert 1.9 * before <= wait <= 2.1 * before or (0.9 * most <= wait <= 1.1 * most and 2.1 * before >= 0.9 * most)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("managed, kind", [(True, dhcp6.SOLICIT), (False, dhcp6.INFORMATION_REQUEST)])
def test_solicit_and_information_request_never_end(seed, managed, kind):
    """§18.2.1, §18.2.6: no MRC, no MRD; the first RT of a SOLICIT is longer than IRT."""
    host = Host(seed)
    host.client.start(managed, host.now)
    seen = host.after(100_000)
    assert {message.kind for _, message in seen} == {kind}
    check_times([at for at, _ in seen], 1, 3600, positive=managed)
    assert len(seen) > 12 + 20 and host.events() == []
    start = seen[0][0]
    assert [message.elapsed for _, message in seen] == [min(round((at - start) * 100), 0xFFFF) for at, _ in seen]


@pytest.mark.parametrize("seed", range(10))
def test_request_is_given_up_after_ten(seed):
    """§18.2.2: REQ_MAX_RC."""
    host = Host(seed)
    request = host.requests()
    start = host.now
    seen = [(start, request), *host.after(10_000)]
    requests = [at for at, message in seen if message.kind == dhcp6.REQUEST]
    assert len(requests) == 10
    check_times(requests, 1, 30)
    after = [at for at, message in seen if message.kind == dhcp6.SOLICIT]
    assert after[0] - requests[-1] >= 27 and host.events() == []


@pytest.mark.parametrize("state", [RELEASING, DECLINING])
def test_release_and_decline_are_given_up_after_four(state):
    """§18.2.7, §18.2.8: REL_MAX_RC, DEC_MAX_RC; no MRT."""
    host, last = host_in(state)
    times = [host.now, *(at for at, message in host.after(1000) if message.kind == last.kind)]
    assert len(times) == 4
    check_times(times, 1, 1000)
    assert host.state == (IDLE if state == RELEASING else SOLICITING)


def test_renew_until_t2_then_rebind_until_the_end():
    """§18.2.4, §18.2.5; the address is lost when its valid lifetime ends, and asked for again."""
    host = Host()
    lease = host.binds(ias=granted(Address(ONE, 10_000, 20_000), t1=5000, t2=8000))
    start = lease.obtained_at
    seen = host.after(19_999)
    renews = [at for at, message in seen if message.kind == dhcp6.RENEW]
    rebinds = [at for at, message in seen if message.kind == dhcp6.REBIND]
    assert {message.kind for _, message in seen} == {dhcp6.RENEW, dhcp6.REBIND}
    assert renews[0] == start + 5000 and rebinds[0] == start + 8000 > renews[-1]
    check_times(renews, 10, 600)
    check_times(rebinds, 10, 600)
    assert host.events() == []
    seen = host.after(2)
    assert host.events() == [Lost(client6.EXPIRED)] and host.client.lease is None
    assert [message.kind for _, message in seen] == [dhcp6.SOLICIT]


@pytest.mark.parametrize(
    "t1, t2, addresses, expected",
    [
        (0, 0, [Address(ONE, 1000, 2000)], (500, 800)),
        (0, 0, [Address(ONE, 1000, 2000), Address(TWO, 100, 9000)], (50, 80)),
        (0, 0, [Address(ONE, 0, 2000), Address(TWO, 100, 9000)], (50, 80)),
        (0, 0, [Address(ONE, 0, 2000)], (1000, 1600)),  # nothing is preferred
        (0, 0, [Address(ONE, dhcp6.INFINITY, dhcp6.INFINITY)], (FOREVER, FOREVER)),
        (0, 100, [Address(ONE, 1000, 2000)], (100, 100)),
        (900, 0, [Address(ONE, 1000, 2000)], (900, 900)),
        (600, 0, [Address(ONE, 1000, 2000)], (600, 800)),
        (600, 600, [Address(ONE, 1000, 2000)], (600, 600)),
        (600, dhcp6.INFINITY, [Address(ONE, 1000, 2000)], (600, FOREVER)),
        (dhcp6.INFINITY, dhcp6.INFINITY, [Address(ONE, 1000, 2000)], (FOREVER, FOREVER)),
    ],
)
def test_t1_and_t2(t1, t2, addresses, expected):
    """§14.2, §21.4."""
    host = Host()
    lease = host.binds(ias=granted(*addresses, t1=t1, t2=t2))
    assert (lease.t1, lease.t2) == expected
    due = host.client.next_deadline()
    ends = min(each.valid for each in addresses)
    if expected[0] == FOREVER and ends == dhcp6.INFINITY:
        assert due is None
    else:
        assert due == lease.obtained_at + min(expected[0], ends)


# Servers.


@pytest.mark.parametrize(
    "offers",
    [
        [(b"srv1", None), (b"best", 7), (b"srv3", 7), (b"srv4", 3)],
        [(b"srv1", None), (b"best", 1)],
        [(b"best", None), (b"srv2", 0)],
        [(b"srv1", 9), (b"best", 5), (b"srv1", 4)],  # what a server says last counts
    ],
)
def test_offers_are_collected_for_the_first_rt_and_the_best_is_taken(offers):
    """§18.2.1, §18.2.9: the highest preference; of equals the first."""
    host = Host()
    solicit = host.solicits()
    for server, preference in offers:
        assert host.hears(dhcp6.ADVERTISE, solicit, server=server, ias=GRANT, preference=preference) == []
    assert host.state == SOLICITING and host.client.next_deadline() > host.now + 1
    (request,) = host.until_sent()
    assert (request.kind, request.server) == (dhcp6.REQUEST, b"best")
    assert host.now - 1001 <= 1.1


def test_preference_255_ends_the_wait():
    host = Host()
    solicit = host.solicits()
    assert host.hears(dhcp6.ADVERTISE, solicit, server=OTHER, ias=GRANT, preference=254) == []
    (request,) = host.hears(dhcp6.ADVERTISE, solicit, ias=GRANT, preference=255)
    assert (request.kind, request.server) == (dhcp6.REQUEST, SERVER)


def test_after_the_first_rt_the_first_offer_is_taken():
    host = Host()
    solicit = host.solicits()
    assert [message.kind for _, message in host.after(2)] == [dhcp6.SOLICIT]
    (request,) = host.hears(dhcp6.ADVERTISE, solicit, ias=GRANT)
    assert request.kind == dhcp6.REQUEST


@pytest.mark.parametrize(
    "refusal",
    [
        {"ias": NOTHING},
        {"status": Status(dhcp6.NO_ADDRS_AVAIL)},
        {"status": Status(dhcp6.NOT_ON_LINK)},
        {"ias": granted(Address(ONE, 0, 0, Status(dhcp6.NO_ADDRS_AVAIL)))},
        {"ias": granted(Address(ONE, 10, 5))},
        {"ias": granted(Address(ONE, 10, 20), t1=9, t2=8)},
        {"ias": ()},
        {"ias": (Ia(IAID + 1, 0, 0, (Address(ONE, 10, 20),)),)},
    ],
)
def test_the_next_server_is_asked_when_one_refuses_then_all_anew(refusal):
    """§18.2.10.1."""
    host = Host()
    solicit = host.solicits()
    host.hears(dhcp6.ADVERTISE, solicit, server=OTHER, ias=GRANT, preference=3)
    (first,) = host.hears(dhcp6.ADVERTISE, solicit, ias=GRANT, preference=255)
    (second,) = host.hears(dhcp6.REPLY, first, **refusal)
    assert (second.kind, second.server, second.elapsed) == (dhcp6.REQUEST, OTHER, 0)
    assert host.hears(dhcp6.REPLY, second, server=OTHER, **refusal) == []
    assert host.state == SOLICITING and host.events() == [] and sum(host.drops.values()) >= 2
    assert [message.kind for message in host.until_sent()] == [dhcp6.SOLICIT]


def test_a_silent_server_is_followed_by_the_next():
    host = Host()
    solicit = host.solicits()
    host.hears(dhcp6.ADVERTISE, solicit, server=OTHER, ias=GRANT, preference=3)
    host.hears(dhcp6.ADVERTISE, solicit, ias=GRANT, preference=255)
    servers = [message.server for _, message in host.after(300)]
    assert servers[:9] == [SERVER] * 9 and servers[9] == OTHER


@pytest.mark.parametrize("code", [dhcp6.UNSPEC_FAIL, dhcp6.USE_MULTICAST, 999])
@pytest.mark.parametrize("state", [REQUESTING, RENEWING, REBINDING, ASKING])
def test_a_failure_without_a_remedy_is_as_silence(state, code):
    host, last = host_in(state)
    due = host.client.next_deadline()
    assert host.hears(dhcp6.REPLY, last, status=Status(code), ias=GRANT) == []
    assert host.state == state and host.client.next_deadline() == due and host.events() == []
    assert host.drops == {errors.DHCP_FAILURE: 1}


@pytest.mark.parametrize("offer", [{"ias": NOTHING}, {"status": Status(dhcp6.NO_ADDRS_AVAIL)}, {"ias": ()}])
def test_an_offer_of_nothing_is_refused(offer):
    host, last = host_in(SOLICITING)
    assert host.hears(dhcp6.ADVERTISE, last, preference=255, **offer) == []
    assert host.state == SOLICITING and sum(host.drops.values()) == 1


def test_rapid_commit():
    """§18.2.1: a Reply with the option is taken at once, one without it never."""
    host, last = host_in(SOLICITING)
    assert host.hears(dhcp6.REPLY, last, ias=GRANT) == [] and host.state == SOLICITING
    assert host.drops == {errors.DHCP_UNEXPECTED: 1}
    assert host.hears(dhcp6.REPLY, last, ias=GRANT, rapid_commit=True) == []
    assert host.events() == [Check((ONE,))] and host.state == CHECKING


# Leases.


def test_lease():
    host = Host()
    request = host.requests()
    ias = granted(Address(ONE, 1000, dhcp6.INFINITY), Address(TWO, 600, 700), t1=300, t2=400)
    search = ("example.com", "example.org")
    host.hears(dhcp6.REPLY, request, ias=ias, dns=(DNS, bytes(16), SOURCE, b"\xff\2" + bytes(14)), search=search)
    assert host.events() == [Check((ONE, TWO))] and host.client.lease is None
    at = host.now
    host.after(1)
    host.client.address_clear(TWO, host.now)
    host.client.address_clear(TWO, host.now)
    assert host.events() == [] and host.state == CHECKING
    host.client.address_clear(ONE, host.now)
    lease = Lease(((ONE, 1000, FOREVER), (TWO, 600, 700)), (DNS, SOURCE), search, SERVER, 300, 400, at)
    assert host.events() == [Bound(lease)] and host.client.lease == lease
    assert host.sent() == [] and host.client.next_deadline() == at + 300


def test_a_renewal_extends_adds_and_withdraws():
    """§18.2.10.1: what is not named stays as it was; lifetimes of 0 take an address away."""
    host = Host()
    three = address(3)
    addresses = [Address(each, 1000, 2000) for each in (ONE, TWO, three)]
    lease = host.binds(ias=granted(*addresses, t1=500, t2=800))
    ((at, renew),) = host.after(500)
    assert [each.address for each in renew.ias[0].addresses] == [ONE, TWO, three]
    four = address(4)
    ias = granted(Address(ONE, 0, 0), Address(TWO, 3000, 4000), Address(four, 10, 2000), t1=600, t2=700)
    assert host.hears(dhcp6.REPLY, renew, ias=ias) == []
    bound, check = host.events()
    assert rounded(bound.lease).addresses == ((TWO, 3000, 4000), (three, 500, 1500)) and check == Check((four,))
    assert lease.obtained_at + 500 == at == bound.lease.obtained_at
    host.client.address_clear(four, host.now)
    (bound,) = host.events()
    assert rounded(bound.lease).addresses == ((TWO, 3000, 4000), (three, 500, 1500), (four, 10, 2000))
    assert host.client.next_deadline() == at + 600


def test_one_of_two_addresses_expires():
    host = Host()
    lease = host.binds(ias=granted(Address(ONE, 10, 20), Address(TWO, 100, 200), t1=150, t2=160))
    assert host.after(19) == [] and host.events() == []
    assert host.after(1) == []
    at = lease.obtained_at + 20
    (bound,) = host.events()
    assert rounded(bound.lease) == Lease(((TWO, 80, 180),), (), (), SERVER, 130, 140, at)


def test_an_address_that_expires_unchecked_does_not_hold_up_the_others():
    host, last = host_in(REQUESTING)
    host.hears(dhcp6.REPLY, last, ias=granted(Address(ONE, 1, 2), Address(TWO, 100, 200), t1=50, t2=60))
    host.client.address_clear(TWO, host.now)
    assert host.events() == [Check((ONE, TWO))]
    host.after(2)
    (bound,) = host.events()
    assert bound.lease.addresses == ((TWO, 98, 198),) and host.state == BOUND


def test_any_server_may_answer_a_rebind_and_has_the_lease_then():
    host, last = host_in(REBINDING)
    host.hears(dhcp6.REPLY, last, ias=GRANT, server=OTHER)
    (bound,) = host.events()
    assert bound.lease.server == OTHER
    ((_, renew),) = host.after(500)
    assert (renew.kind, renew.server) == (dhcp6.RENEW, OTHER)


def test_a_server_without_our_binding_is_asked_for_it():
    """§18.2.10.1; the addresses are used until it has answered."""
    host, last = host_in(RENEWING)
    no_binding = granted(status=Status(dhcp6.NO_BINDING))
    (request,) = host.hears(dhcp6.REPLY, last, ias=no_binding)
    assert (request.kind, request.server) == (dhcp6.REQUEST, SERVER) and host.events() == []
    assert request.ias == granted(Address(ONE))
    host.hears(dhcp6.REPLY, request, ias=GRANT)
    assert [type(each) for each in host.events()] == [Bound] and host.state == BOUND

    host, last = host_in(RENEWING)
    (request,) = host.hears(dhcp6.REPLY, last, ias=no_binding)
    host.hears(dhcp6.REPLY, request, ias=granted(Address(TWO, 10, 20)))
    bound, check = host.events()
    assert bound.lease.addresses == () and check == Check((TWO,))  # ONE is used no more

    host, last = host_in(RENEWING)
    (request,) = host.hears(dhcp6.REPLY, last, ias=no_binding)
    host.hears(dhcp6.REPLY, request, ias=no_binding)
    assert host.events() == [Lost(client6.FORGOTTEN)] and host.state == SOLICITING


@pytest.mark.parametrize("ias", [(), granted(), granted(Address(ONE, 9, 8)), (Ia(IAID, 9, 8, GRANT[0].addresses),)])
def test_a_renewal_without_our_addresses_is_as_silence(ias):
    host, last = host_in(RENEWING)
    due = host.client.next_deadline()
    host.hears(dhcp6.REPLY, last, ias=ias)
    assert host.state == RENEWING and host.events() == [] and host.client.next_deadline() == due
    assert host.drops[errors.DHCP_NO_ADDRESS] == 1


def test_duplicate_address_is_declined_alone_and_all_is_asked_anew():
    """§18.2.8, §18.2.10.1."""
    host, last = host_in(REQUESTING)
    host.hears(dhcp6.REPLY, last, ias=granted(Address(ONE, 1000, 2000), Address(TWO, 1000, 2000)))
    host.events()
    host.client.address_duplicate(TWO, host.now)
    (decline,) = host.sent()
    assert decline.kind == dhcp6.DECLINE and decline.ias == granted(Address(TWO))
    assert host.events() == [Lost(client6.TAKEN)]
    host.client.address_duplicate(ONE, host.now)
    host.client.address_clear(ONE, host.now)
    assert host.sent() == [] and host.events() == []
    assert host.hears(dhcp6.REPLY, decline, status=Status(dhcp6.NO_BINDING)) == []
    assert host.state == SOLICITING
    assert [message.kind for message in host.until_sent()] == [dhcp6.SOLICIT]


def test_release_loses_the_addresses_at_once():
    """§18.2.7."""
    host, _ = host_in(BOUND)
    host.client.release(host.now)
    assert host.events() == [Lost(client6.RELEASED)] and host.client.lease is None
    (release,) = host.sent()
    host.client.release(host.now)
    assert host.sent() == []
    assert host.hears(dhcp6.REPLY, release) == [] and host.state == IDLE
    assert host.after(10_000) == [] and host.events() == []


def test_a_start_during_release_waits_for_its_end():
    host, last = host_in(RELEASING)
    host.client.start(True, host.now)
    assert host.state == RELEASING and host.sent() == []
    host.hears(dhcp6.REPLY, last)
    assert host.state == SOLICITING


def test_stop_is_silent():
    host, _ = host_in(RENEWING)
    host.client.stop(host.now)
    assert host.events() == [Lost(client6.STOPPED)] and host.sent() == []
    host.client.stop(host.now)
    assert host.after(10_000) == [] and host.events() == []


def test_a_lease_is_kept_when_addresses_are_wanted_no_more_until_it_is_lost():
    host, _ = host_in(BOUND)
    host.client.start(False, host.now)
    assert host.state == BOUND and host.sent() == [] and host.events() == []
    seen = [message.kind for _, message in host.after(2001)]
    assert seen[-1] == dhcp6.INFORMATION_REQUEST and dhcp6.SOLICIT not in seen
    assert host.events() == [Lost(client6.EXPIRED)]


# Information alone.


@pytest.mark.parametrize(
    "refresh, expected",
    [(None, 86400), (0, 600), (599, 600), (7200, 7200), (dhcp6.INFINITY, None)],
)
def test_information_and_its_refresh(refresh, expected):
    """§18.2.6, §21.23: asked for again within a second after it is old."""
    host = Host()
    host.client.start(False, host.now)
    (ask,) = host.until_sent()
    host.hears(dhcp6.REPLY, ask, dns=(DNS, bytes(16)), search=("a.example",), refresh=refresh)
    assert host.events() == [Information((DNS,), ("a.example",))] and host.state == INFORMED
    at = host.now
    host.client.start(False, host.now)
    seen = host.after(100_000)
    if expected is None:
        assert seen == [] and host.client.next_deadline() is None
    else:
        assert expected <= seen[0][0] - at <= expected + 1 and seen[0][1].kind == dhcp6.INFORMATION_REQUEST
        assert seen[0][1].transaction != ask.transaction


@pytest.mark.parametrize(
    "told, most", [((60,), 60), ((59,), 3600), ((86401,), 3600), ((60, 60), 60), ((60, 61, 60), 3600)]
)
def test_servers_set_the_greatest_rt(told, most):
    """§18.2.9, §21.24: even in an offer of nothing; where they differ, the default."""
    host = Host()
    solicit = host.solicits()
    for number, value in enumerate(told):
        host.hears(dhcp6.ADVERTISE, solicit, server=b"srv%d" % number, ias=NOTHING, sol_max_rt=value)
    times = [at for at, _ in host.after(50_000)]
    assert 0.9 * most <= times[-1] - times[-2] <= 1.1 * most


def test_inf_max_rt():
    """§21.25."""
    host, last = host_in(ASKING)
    host.hears(dhcp6.REPLY, last, inf_max_rt=100, refresh=600)
    host.after(600)
    times = [at for at, _ in host.after(10_000)]
    assert 90 <= times[-1] - times[-2] <= 110


# Hostile servers.


@pytest.mark.parametrize("state", WAITING)
@pytest.mark.parametrize(
    "fields, reason",
    [
        ({"client": None}, errors.DHCP_OTHER_CLIENT),
        ({"client": OTHER}, errors.DHCP_OTHER_CLIENT),
        ({"server": None}, errors.DHCP_OTHER_SERVER),
        ({"source": bytes(16)}, errors.MARTIAN_SOURCE),
        ({"source": b"\xff\2" + bytes(14)}, errors.MARTIAN_SOURCE),
    ],
)
def test_an_answer_for_somebody_else_is_refused(state, fields, reason):
    """§16.3, §16.10."""
    host, last = host_in(state)
    kind = dhcp6.ADVERTISE if state == SOLICITING else dhcp6.REPLY
    assert host.hears(kind, last, ias=GRANT, preference=255, **fields) == []
    wrong = last._replace(transaction=last.transaction ^ 1)
    assert host.hears(kind, wrong, ias=GRANT, preference=255) == []
    assert host.state == state and host.events() == []
    assert host.drops == {reason: 1, errors.DHCP_OTHER_TRANSACTION: 1}


@pytest.mark.parametrize("state", [REQUESTING, RENEWING, RELEASING, DECLINING])
def test_another_server_than_the_one_asked_is_refused(state):
    host, last = host_in(state)
    assert host.hears(dhcp6.REPLY, last, server=OTHER, ias=GRANT) == []
    assert host.state == state and host.drops == {errors.DHCP_OTHER_SERVER: 1}


@pytest.mark.parametrize("state, kind", list(product(STATES, range(1, 12))))
def test_messages_of_other_types_are_refused(state, kind):
    host, last = host_in(state)
    if (kind == dhcp6.REPLY and state in WAITING) or (kind == dhcp6.ADVERTISE and state == SOLICITING):
        return
    assert host.hears(kind, last or Message(0, 0), ias=GRANT) == []
    assert host.state == state and host.events() == [] and host.drops == {errors.DHCP_UNEXPECTED: 1}


def test_nothing_is_an_answer_before_anything_is_asked():
    host, same = Host(), Host()
    host.client.start(False, host.now)
    same.client.start(False, same.now)
    host.hears(dhcp6.REPLY, *same.until_sent())
    assert host.state == ASKING and host.drops == {errors.DHCP_UNEXPECTED: 1}


def test_garbage_is_counted():
    host, _ = host_in(BOUND)
    host.client.receive(b"\x07\0\0\0\0", SOURCE, host.now)
    assert host.drops == {errors.BAD_DHCP: 1} and host.sent() == []


@pytest.mark.parametrize(
    "bad, reason",
    [
        (Address(bytes(16), 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(bytes(15) + b"\1", 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(SOURCE, 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(b"\xfe\xbf" + SOURCE[2:], 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(b"\xff\2" + bytes(14), 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(bytes(10) + b"\xff\xff\x0a\0\0\1", 10, 20), errors.DHCP_BAD_ADDRESS),
        (Address(TWO, 20, 10), errors.DHCP_BAD_TIMES),
        (Address(TWO, dhcp6.INFINITY, 10), errors.DHCP_BAD_TIMES),
        (Address(TWO, 10, 20, Status(dhcp6.NOT_ON_LINK)), errors.DHCP_FAILURE),
        (Address(TWO, 0, 0), None),
    ],
)
def test_a_bad_address_is_left_out(bad, reason):
    """§21.6."""
    host, last = host_in(REQUESTING)
    host.hears(dhcp6.REPLY, last, ias=granted(bad, Address(ONE, 10, 20, Status(dhcp6.SUCCESS))))
    assert host.events() == [Check((ONE,))]
    assert host.drops == ({reason: 1} if reason else {})


def test_tables_are_bounded():
    """The best offers, the first addresses."""
    host, last = host_in(SOLICITING)
    for number in range(40):
        server = b"srv%02d" % number
        assert host.hears(dhcp6.ADVERTISE, last, server=server, ias=GRANT, preference=number) == []
    assert host.drops == {errors.DHCP_TABLE_FULL: 24}
    asked = list(dict.fromkeys(message.server for message in host.until_sent()))
    while host.state == REQUESTING:
        asked += [message.server for message in host.until_sent() if message.server not in (None, *asked)]
    assert asked == [b"srv%02d" % number for number in range(39, 23, -1)]

    host, last = host_in(RENEWING)
    for start in (10, 30):
        many = (Address(address(start + number), 1000, 2000) for number in range(16))
        host.hears(dhcp6.REPLY, last, ias=granted(*many, t1=100))
        *_, check = host.events()
        for each in check.addresses:
            host.client.address_clear(each, host.now)
        (bound,) = host.events()
        if start == 10:
            ((_, last),) = host.after(100)
            host.hears(dhcp6.REPLY, last, ias=granted(Address(ONE, 0, 0), t1=100))
            host.events()
            ((_, last),) = host.after(100)
    assert len(bound.lease.addresses) == 16 and host.drops == {errors.DHCP_TABLE_FULL: 1 + 15}


@pytest.mark.parametrize("seed", range(5))
def test_no_server_makes_us_send_more_than_a_message_a_second(seed):
    """§14.1: here one that offers, grants and refuses at once, as it likes."""
    host, random = Host(seed), Random(seed)
    host.client.start(True, host.now)
    times = []
    statuses = [None, *map(Status, range(6))]
    while host.now < 3000:
        for message in host.until_sent():
            times.append(host.now)
            kind, ias = dhcp6.ADVERTISE, GRANT
            if message.kind != dhcp6.SOLICIT:
                kind = dhcp6.REPLY
                lifetimes = Address(address(random.randrange(4)), 0, random.randrange(3))
                ias = granted(lifetimes, t1=random.choice((0, 1)), t2=1, status=random.choice(statuses))
            answer = Message(kind, message.transaction, CLIENT, SERVER, ias=ias, preference=255)
            host.client.receive(dhcp6.build(answer), SOURCE, host.now)
            for event in host.events():
                if isinstance(event, Check):
                    random.choice((host.client.address_clear, host.client.address_duplicate))(
                        event.addresses[0], host.now
                    )
    assert len(times) > 200
    for number in (20, 40, 200):
        for first, last in zip(times, times[number:], strict=False):
            assert last - first >= number - 20 - 0.001


def damaged(message, random):
    """A server's Message as bytes, with some of them changed."""
    data = bytearray(dhcp6.build(message))
    for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
        at = random.randrange(len(data))
        kind = random.randrange(5)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at] = random.choice((0, 1, 3, 5, 13, 16, 24, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            data[at : at + 4] = random.choice((bytes(4), b"\xff" * 4, random.randbytes(4)))
        elif kind == 3:
            data[at:at] = random.randbytes(random.randrange(1, 20))
        else:
            del data[max(at, 4) :]
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_messages(seed):
    """Nothing raises, tables stay small, the client can always go on, and a lease is always sound."""
    random = Random(seed)
    host = Host(seed)
    client = host.client
    client.start(True, host.now)
    last = Message(0, 0)
    seen = set()
    for _ in range(3000):
        seen.add(client.state)
        choice = random.random()
        if choice < 0.5:
            addresses = [
                Address(address(random.randrange(20)), random.choice((0, 50, 100)), random.choice((0, 100, 2**32 - 1)))
                for _ in range(random.randrange(4))
            ]
            code = random.choice((None, None, None, *range(6)))
            answer = Message(
                dhcp6.ADVERTISE if client.state == SOLICITING and random.random() < 0.7 else dhcp6.REPLY,
                last.transaction,
                CLIENT,
                last.server or random.choice((SERVER, OTHER)),
                rapid_commit=random.choice((None, True)),
                ias=granted(*addresses, t1=random.choice((0, 10)), t2=random.choice((0, 20))),
                preference=random.choice((None, 255)),
                status=None if code is None else Status(code),
                dns=(DNS,),
                search=("a.example",),
                refresh=random.choice((None, 600)),
                sol_max_rt=random.choice((None, 60)),
            )
            client.receive(damaged(answer, random), SOURCE, host.now)
        elif choice < 0.85:
            due = client.next_deadline()
            if due is not None:
                host.now = max(host.now, due)
                client.expire(host.now)
        elif choice < 0.87:
            client.start(random.random() < 0.8, host.now)
        elif choice < 0.88:
            random.choice((client.stop, client.release))(host.now)
            client.start(random.random() < 0.8, host.now)
        sent = host.sent()
        last = sent[-1] if sent else last
        for event in host.events():
            if isinstance(event, Check):
                assert 0 < len(event.addresses) <= 16
                for each in event.addresses:
                    if random.random() < 0.9:
                        client.address_clear(each, host.now)
                    else:
                        client.address_duplicate(each, host.now)
            elif isinstance(event, Bound):
                check_lease(event.lease)
        assert (client.state == IDLE) <= (client.next_deadline() is None)
        assert client.next_deadline() is not None or client.state in (IDLE, CHECKING, BOUND, RENEWING, INFORMED)
    assert len(seen) >= 9 and sum(client.drops.values()) > 300


def check_lease(lease):
    assert 0 <= lease.t1 <= lease.t2 and len(lease.addresses) <= 16 and len(lease.dns) <= 8
    for each, preferred, valid in lease.addresses:
        assert len(each) == 16 and each[0] != 0xFF and 0 <= preferred <= valid and valid > 0
