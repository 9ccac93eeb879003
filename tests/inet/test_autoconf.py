"""The addresses that an interface gives itself: RFC 4862 §5.5, RFC 7217, RFC 8981."""

import hashlib
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import scope
from pystack.config import Ipv6Config
from pystack.deadlines import NEVER
from pystack.inet.autoconf import (
    AGED,
    ASSIGNED,
    CHOSEN,
    DELAYED,
    DEPRECATED,
    DUPLICATED,
    ENDED,
    EXHAUSTED,
    FAILED,
    GONE,
    PREFERRED,
    RENEWED,
    TENTATIVE,
    TRANSITIONS,
    Add,
    Autoconf,
    Deprecate,
    GaveUp,
    Remove,
)
from pystack.wire.ndp import INFINITE, Prefix, RouterAdvertisement

LEGAL = {
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
DAY = 86_400
INDEX = 2


def network(number):
    return bytes.fromhex("20010db8") + number.to_bytes(4, "big") + bytes(8)


NET = network(1)
GIVEN = network(9)[:15] + b"\x07"


def prefix(valid=30 * DAY, preferred=7 * DAY, prefix=NET, length=64, autonomous=True):
    return Prefix(prefix, length, True, autonomous, valid, preferred)


class Host:
    """An interface and its clock; ``known`` are its addresses as the changes tell, each with "tentative", "preferred"
    or "deprecated"."""

    def __init__(self, seed=1, name="eth0", **settings):
        self.autoconf = Autoconf(Random(seed), Ipv6Config(**settings), INDEX, name)
        self.now = 0.0
        self.known = {}
        self.temporary = set()

    def done(self):
        """The changes since the last look; each must make sense."""
        changes = list(self.autoconf.changes)
        self.autoconf.changes.clear()
        for change in changes:
            if type(change) is Add:
                assert change.address not in self.known
                self.known[change.address] = "tentative"
                if change.temporary:
                    self.temporary.add(change.address)
            elif type(change) is Deprecate:
                assert self.known[change.address] == ("preferred" if change.deprecated else "deprecated")
                self.known[change.address] = "deprecated" if change.deprecated else "preferred"
            elif type(change) is Remove:
                del self.known[change.address]
                self.temporary.discard(change.address)
        return changes

    def after(self, seconds):
        """Let time pass; returns ``[(time, change), ...]``."""
        end, seen = self.now + seconds, []
        while (due := self.autoconf.next_deadline()) is not None and due <= end:
            self.now = due
            self.autoconf.expire(due)
            seen += [(due, what) for what in self.done()]
        self.now = end
        return seen

    def start(self):
        self.autoconf.start(self.now)
        return self.done()

    def hears(self, *prefixes):
        self.autoconf.advertised(RouterAdvertisement(prefixes=prefixes), self.now)
        return self.done()

    def assigned(self, address):
        if self.known.get(address) == "tentative":
            self.known[address] = "preferred"
        self.autoconf.assigned(address, self.now)
        return self.done()

    def duplicate(self, address):
        self.autoconf.duplicate(address, self.now)
        return self.done()

    def added(self, *prefixes):
        """Hear *prefixes*, which make addresses and nothing else; they pass their detection. Returns them."""
        changes = self.hears(*prefixes)
        assert {type(each) for each in changes} == {Add}
        for each in changes:
            self.assigned(each.address)
        return [each.address for each in changes]

    def left(self, address):
        """``(preferred, valid)``, whole seconds."""
        lifetimes = self.autoconf.lifetimes(address, self.now)
        return tuple(each if each == NEVER else round(each) for each in lifetimes)


def identifier(net, counter, name=b"eth0", secret=b"secret"):
    fields = [len(field).to_bytes(4, "big") + field for field in (name, b"", secret)]
    return hashlib.sha256(net[:8] + counter.to_bytes(4, "big") + b"".join(fields)).digest()[-8:]


@pytest.mark.parametrize("state, event", list(product(range(6), range(7))))
def test_every_state_and_event(state, event):
    assert TRANSITIONS.get((state, event)) == LEGAL.get((state, event))


# The link-local address.


def test_the_link_local_address_is_for_ever_and_carries_its_link():
    """RFC 4862 §5.3, with an identifier of RFC 7217."""
    host = Host(stable_secret="secret")
    wire = bytes.fromhex("fe80") + bytes(6) + identifier(bytes.fromhex("fe80") + bytes(14), 0)
    address = scope.scoped(wire, INDEX)
    assert host.start() == [Add(address, 64, False)]
    assert host.start() == [] and host.assigned(address) == []
    assert host.left(address) == (NEVER, NEVER)
    assert host.after(1e10) == []


def test_stop_removes_all_and_start_makes_the_same_again():
    host = Host(use_tempaddr=1)
    [add] = host.start()
    host.added(prefix())
    host.hears(prefix(prefix=network(2)))
    host.autoconf.add(GIVEN, 128, 10, 20, host.now)
    host.done()
    assert len(host.known) == 6
    host.autoconf.stop()
    assert {type(each) for each in host.done()} == {Remove} and host.known == {}
    host.autoconf.stop()
    assert host.done() == [] and host.after(1e10) == []
    assert host.start() == [add]


# Identifiers.


def test_identifiers_are_stable_and_differ_by_prefix_interface_and_secret():
    """RFC 7217 §5."""
    made = [
        Host(seed, name, stable_secret=secret).hears(prefix(prefix=net))[0].address[8:]
        for seed, name, secret, net in (
            (1, "eth0", "secret", NET),
            (2, "eth0", "secret", NET),
            (1, "eth1", "secret", NET),
            (1, "eth0", "other", NET),
            (1, "eth0", "secret", network(2)),
        )
    ]
    assert made[0] == made[1] == identifier(NET, 0) and len(set(made)) == 4


def test_without_a_secret_they_are_those_of_one_run():
    first, again, other = (Host(seed).hears(prefix()) for seed in (1, 1, 2))
    assert first == again != other


class _Scripted(Random):
    """Random, but that the identifiers are given."""

    def __init__(self, identifiers):
        super().__init__(1)
        self.identifiers = list(identifiers)

    def getrandbits(self, count):
        return self.identifiers.pop(0) if count == 64 else super().getrandbits(count)


def test_reserved_identifiers_are_skipped():
    """RFC 5453."""
    reserved = [
        0,
        0x02005EFFFE000000,
        0x02005EFFFE005213,
        0x02005EFFFEFFFFFF,
        0xFDFFFFFFFFFFFF80,
        0xFDFFFFFFFFFFFFFF,
    ]
    for last in (1, 0x02005EFFFDFFFFFF, 0x02005EFFFF000000, 0xFDFFFFFFFFFFFF7F, 0xFE00000000000000):
        autoconf = Autoconf(_Scripted([*reserved, last]), Ipv6Config(use_tempaddr=1), INDEX, "eth0")
        autoconf.advertised(RouterAdvertisement(prefixes=(prefix(),)), 0.0)
        assert autoconf.changes[1].address[8:] == last.to_bytes(8, "big")


@pytest.mark.parametrize("link_local", [True, False])
def test_a_duplicate_is_followed_by_the_next_identifier_at_most_three_times(link_local):
    """RFC 7217 §6; each after a delay of up to IDGEN_DELAY."""
    host = Host(stable_secret="secret")
    net = bytes.fromhex("fe80") + bytes(14) if link_local else NET
    [add] = host.start() if link_local else host.hears(prefix())
    for counter in range(1, 4):
        assert host.duplicate(add.address) == [Remove(add.address)]
        assert host.duplicate(add.address) == [] and host.assigned(add.address) == []
        [(_, add)] = host.after(1)
        assert add == Add(scope.scoped(net[:8] + identifier(net, counter), INDEX), 64, False)
    assert host.duplicate(add.address) == [Remove(add.address), GaveUp(scope.scoped(net, INDEX), False)]
    assert host.known == {} and (host.start() if link_local else host.hears(prefix())) == []
    assert host.after(DAY) == []


def test_a_prefix_that_was_given_up_is_tried_again_when_it_has_ended():
    host = Host()
    [add] = host.hears(prefix(100, 100))
    for _ in range(3):
        host.duplicate(add.address)
        [(_, add)] = host.after(1)
    assert host.duplicate(add.address) == [Remove(add.address), GaveUp(NET, False)]
    assert host.hears(prefix(100, 100)) == []
    assert host.after(101) == []
    assert [type(each) for each in host.hears(prefix(100, 100))] == [Add]


def test_advertisements_do_not_put_the_next_identifier_off():
    host = Host()
    [add] = host.hears(prefix())
    host.duplicate(add.address)
    seen = []
    for _ in range(11):
        seen += host.after(0.1)
        host.hears(prefix())
    assert [type(each) for _, each in seen] == [Add]


@pytest.mark.parametrize("seed", range(5))
def test_a_prefix_that_ends_while_it_waits_is_silent(seed):
    host = Host(seed)
    [add] = host.hears(prefix(1, 1))
    host.after(0.999999)
    assert host.duplicate(add.address) == [Remove(add.address)]
    assert host.after(10) == [] and host.autoconf.next_deadline() is None


def test_a_duplicate_of_what_is_assigned_is_ignored():
    host = Host()
    [address] = host.added(prefix())
    assert host.duplicate(address) == [] and host.duplicate(GIVEN) == [] and host.assigned(GIVEN) == []
    assert host.known == {address: "preferred"}


# Lifetimes.


def test_a_prefix_makes_an_address_that_is_deprecated_and_then_gone():
    host = Host()
    [address] = host.added(prefix(1000, 400))
    assert address[:8] == NET[:8] and host.left(address) == (400, 1000)
    assert host.after(2000) == [(400.0, Deprecate(address, True)), (1000.0, Remove(address))]
    assert host.autoconf.lifetimes(address, host.now) is None and host.autoconf.next_deadline() is None


@pytest.mark.parametrize(
    "ignored",
    [
        prefix(autonomous=False),
        prefix(length=63),
        prefix(length=128),
        prefix(preferred=31 * DAY),
        prefix(valid=0, preferred=0),
        prefix(prefix=bytes.fromhex("fe80") + bytes(14)),
        prefix(prefix=bytes.fromhex("ff02") + bytes(14)),
    ],
)
def test_prefixes_that_make_no_address(ignored):
    """RFC 4862 §5.5.3 (a) to (d); RFC 2464 §4."""
    host = Host(use_tempaddr=1)
    assert host.hears(ignored) == [] and host.after(1e10) == []


@pytest.mark.parametrize("setting", ["accept_ra", "accept_ra_pinfo", "autoconf"])
def test_settings_that_forbid_them(setting):
    host = Host(**{setting: False})
    assert host.hears(prefix()) == []
    assert len(host.start()) == 1


def test_infinite_lifetimes_have_no_deadline():
    host = Host()
    [address] = host.added(prefix(INFINITE, INFINITE))
    assert host.autoconf.next_deadline() is None and host.left(address) == (NEVER, NEVER)
    assert host.hears(prefix(INFINITE, 100)) == []
    assert host.after(1e10) == [(100.0, Deprecate(address, True))]
    assert host.left(address) == (0, NEVER)


@pytest.mark.parametrize(
    "remaining, received, result",
    [
        (10_000, 8000, 8000),  # longer than two hours: as received
        (1000, 1500, 1500),  # longer than what remains: as received
        (1000, 999, 1000),  # less than two hours remain: ignored
        (1000, 0, 1000),
        (7200, 0, 7200),
        (10_000, 7200, 7200),  # otherwise two hours
        (10_000, 100, 7200),
        (10_000, 0, 7200),
        (INFINITE, 0, 7200),
        (INFINITE, 8000, 8000),
        (1000, INFINITE, NEVER),
    ],
)
def test_the_valid_lifetime_follows_the_rule_of_two_hours(remaining, received, result):
    """RFC 4862 §5.5.3 (e); the preferred lifetime is always as received."""
    host = Host()
    [address] = host.added(prefix(remaining, 1000))
    assert host.hears(prefix(received, min(received, 50))) == ([] if received else [Deprecate(address, True)])
    assert host.left(address) == (min(received, 50), result)


def test_a_deprecated_address_is_preferred_again_when_a_router_says_so():
    host = Host()
    [address] = host.added(prefix(1000, 400))
    assert host.hears(prefix(1000, 0)) == [Deprecate(address, True)]
    assert host.hears(prefix(1000, 0)) == []
    assert host.hears(prefix(1000, 300)) == [Deprecate(address, False)]
    assert host.after(301) == [(300.0, Deprecate(address, True))]


def test_one_that_is_deprecated_from_the_first_is_so_when_assigned():
    host = Host()
    [add] = host.hears(prefix(1000, 0))
    assert host.hears(prefix(1000, 0)) == []
    assert host.assigned(add.address) == [Deprecate(add.address, True)]
    assert host.assigned(add.address) == []


def test_a_tentative_one_ends_too():
    host = Host()
    [add] = host.hears(prefix(10, 5))
    assert host.after(100) == [(10.0, Remove(add.address))] and host.assigned(add.address) == []


def test_at_most_max_addresses_are_made_and_the_link_local_one_is_not_counted():
    host = Host(max_addresses=2)
    host.start()
    assert len(host.added(*(prefix(prefix=network(each)) for each in range(5)))) == 2
    assert len(host.known) == 3
    host.autoconf.add(GIVEN, 128, 10, 20, host.now)
    assert len(host.done()) == 1


def test_what_the_user_removes_is_gone_until_the_next_advertisement():
    host = Host()
    [address] = host.added(prefix())
    host.autoconf.forget(address)
    host.autoconf.forget(address)
    assert host.done() == []
    del host.known[address]
    assert host.after(40 * DAY) == []
    assert host.hears(prefix()) == [Add(address, 64, False)]


def test_a_link_local_address_that_was_removed_is_made_at_the_next_start():
    host = Host()
    [add] = host.start()
    host.autoconf.forget(add.address)
    assert host.done() == []
    del host.known[add.address]
    assert host.start() == [add]


# Temporary addresses.


def temporaries(host):
    return sorted(host.temporary, key=lambda address: host.autoconf.lifetimes(address, host.now))


def test_without_the_setting_there_are_none():
    assert [each.temporary for each in Host().hears(prefix())] == [False]


@pytest.mark.parametrize("seed", range(10))
def test_a_temporary_address_has_lifetimes_of_its_own(seed):
    """RFC 8981 §3.4, §3.8: a day less a random part of at most 0.4 days, and two days."""
    host = Host(seed, use_tempaddr=1)
    stable, temporary = host.added(prefix(30 * DAY, 7 * DAY))
    assert host.temporary == {temporary} and temporary[:8] == stable[:8] and temporary[8:] != stable[8:]
    preferred, valid = host.left(temporary)
    assert 0.6 * DAY <= preferred <= DAY and valid == 2 * DAY
    assert host.left(stable) == (7 * DAY, 30 * DAY)


def test_they_are_no_longer_than_the_prefix():
    host = Host(use_tempaddr=1)
    _, temporary = host.added(prefix(1000, 500))
    assert host.left(temporary) == (500, 1000)
    assert host.hears(prefix(300, 200)) == [] and host.left(temporary) == (200, 1000)
    assert host.hears(prefix(2000, 1500)) == [] and host.left(temporary) == (1500, 2000)


def test_advertisements_do_not_prolong_one_beyond_its_own_end():
    host = Host(use_tempaddr=1)
    _, temporary = host.added(prefix())
    preferred, valid = host.left(temporary)
    host.after(1000)
    assert host.hears(prefix()) == []
    assert host.left(temporary) == (preferred - 1000, valid - 1000)


def test_a_new_one_is_made_before_the_old_one_is_deprecated():
    """RFC 8981 §3.5: REGEN_ADVANCE, which is 5 s with one solicitation each second, before."""
    host = Host(use_tempaddr=2)
    _, old = host.added(prefix(INFINITE, INFINITE))
    preferred, _ = host.autoconf.lifetimes(old, 0.0)
    (at, add), *rest = host.after(preferred - 1)
    assert at == pytest.approx(preferred - 5) and add.temporary and rest == []
    host.assigned(add.address)
    assert host.after(2) == [(pytest.approx(preferred), Deprecate(old, True))]
    assert host.left(add.address)[0] > 0.5 * DAY
    seen = []
    for _ in range(10 * 24):
        seen += host.after(DAY / 24)
        for address in [each for each, state in host.known.items() if state == "tentative"]:
            seen += [(host.now, each) for each in host.assigned(address)]
    assert 9 <= sum(type(each) is Add for _, each in seen) <= 17
    assert 2 <= len(host.temporary) <= 4
    assert [host.known[each] for each in temporaries(host)][-1] == "preferred"


def test_a_late_process_replaces_what_is_deprecated():
    host = Host(use_tempaddr=1)
    _, old = host.added(prefix())
    host.now = DAY + 1.0
    host.autoconf.expire(host.now)
    deprecate, add = host.done()
    assert deprecate == Deprecate(old, True) and add.temporary


def test_the_advance_follows_the_time_that_detection_takes():
    host = Host(use_tempaddr=1, dad_transmits=2)
    host.autoconf.retransmit = 3.0
    _, old = host.added(prefix())
    preferred, _ = host.autoconf.lifetimes(old, 0.0)
    [(at, _)] = host.after(preferred - 1)
    assert at == pytest.approx(preferred - 2 - 3 * 2 * 3)


def test_none_is_made_that_would_be_replaced_at_once():
    """RFC 8981 §3.4: its preferred lifetime must be longer than REGEN_ADVANCE."""
    host = Host(use_tempaddr=1)
    assert [each.temporary for each in host.hears(prefix(1000, 5))] == [False]
    assert host.hears(prefix(1000, 5)) == []
    assert [each.temporary for each in host.hears(prefix(1000, 6))] == [True]


def test_a_new_one_is_made_when_a_prefix_that_was_over_is_preferred_again():
    host = Host(use_tempaddr=1)
    _, old = host.added(prefix(30 * DAY, 2000))
    host.after(3000)
    assert host.known[old] == "deprecated"
    assert Deprecate(old, False) in host.hears(prefix(30 * DAY, 2000))
    host.after(DAY)
    assert host.known[old] == "deprecated"
    changes = host.hears(prefix(30 * DAY, 2000))
    assert [type(each) for each in changes] == [Deprecate, Add] and changes[1].temporary


def test_a_temporary_duplicate_is_replaced_at_once_and_given_up_after_three():
    """RFC 8981 §3.4: TEMP_IDGEN_RETRIES; no other for that prefix after them."""
    host = Host(use_tempaddr=1)
    stable, add = host.hears(prefix())
    host.assigned(stable.address)
    for _ in range(2):
        remove, following = host.duplicate(add.address)
        assert remove == Remove(add.address) and following.temporary and following.address != add.address
        add = following
    assert host.duplicate(add.address) == [Remove(add.address), GaveUp(NET, True)]
    assert host.hears(prefix()) == [] and host.after(DAY) == [] and host.hears(prefix()) == []
    assert [each.temporary for each in host.hears(prefix(prefix=network(2)))] == [False, True]


def test_temporary_addresses_count_too():
    host = Host(use_tempaddr=1, max_addresses=3)
    assert [each.temporary for each in host.hears(prefix(), prefix(prefix=network(2)))] == [False, True, False]


def test_with_the_stable_one_removed_its_temporary_ones_go():
    host = Host(use_tempaddr=1)
    stable, temporary = host.added(prefix())
    host.autoconf.forget(temporary)
    assert host.done() == []
    del host.known[temporary]
    host.temporary.clear()
    [add] = host.hears(prefix())
    host.autoconf.forget(stable)
    assert host.done() == [Remove(add.address)]
    del host.known[stable]
    assert host.after(1e8) == []


def test_with_the_prefix_its_temporary_ones_go():
    host = Host(use_tempaddr=1)
    stable, temporary = host.added(prefix(100, 100))
    assert sorted(what for _, what in host.after(101) if type(what) is Remove) == sorted(
        (Remove(stable), Remove(temporary))
    )
    assert host.known == {}


# Addresses that others configure.


def test_given_addresses_have_lifetimes_that_change():
    host = Host()
    host.autoconf.add(GIVEN, 128, 100, 200, 0.0)
    assert host.done() == [Add(GIVEN, 128, False)]
    assert host.assigned(GIVEN) == []
    host.after(50)
    host.autoconf.add(GIVEN, 128, 100, 60, host.now)
    assert host.done() == [] and host.left(GIVEN) == (60, 60)
    host.autoconf.add(GIVEN, 128, 0, 60, host.now)
    assert host.done() == [Deprecate(GIVEN, True)]
    host.autoconf.add(GIVEN, 128, INFINITE, INFINITE, host.now)
    assert host.done() == [Deprecate(GIVEN, False)] and host.after(1e10) == []
    host.autoconf.add(GIVEN, 128, 10, 20, host.now)
    assert [what for _, what in host.after(100)] == [Deprecate(GIVEN, True), Remove(GIVEN)]


def test_given_addresses_are_removed():
    host = Host()
    host.autoconf.add(GIVEN, 128, 100, 200, 0.0)
    host.autoconf.remove(GIVEN)
    assert host.done() == [Add(GIVEN, 128, False), Remove(GIVEN)]
    host.autoconf.remove(GIVEN)
    host.autoconf.add(GIVEN, 128, 0, 0, 0.0)
    assert host.done() == [] and host.after(1000) == []
    host.autoconf.add(GIVEN, 128, 100, 200, host.now)
    host.autoconf.add(GIVEN, 128, 0, 0, host.now)
    assert host.done() == [Add(GIVEN, 128, False), Remove(GIVEN)]


def test_a_given_duplicate_is_removed_and_not_replaced():
    host = Host()
    host.autoconf.add(GIVEN, 128, 100, 200, 0.0)
    host.done()
    assert host.duplicate(GIVEN) == [Remove(GIVEN)] and host.after(1000) == []


# Bounds.


def test_a_flood_is_bounded():
    host = Host(use_tempaddr=1)
    for number in range(1000):
        host.hears(*(prefix(prefix=network(number * 8 + each)) for each in range(8)))
        host.hears(*(prefix(0, 0, network(number * 8 + each)) for each in range(8)))
        host.after(0.01)
    assert len(host.known) == 16
    host.after(60 * DAY)
    assert host.known == {} and host.autoconf.next_deadline() is None


LIFETIME = st.sampled_from((0, 1, 6, 100, 7200, 7201, 100_000, INFINITE))
PREFIX = st.builds(
    Prefix,
    st.integers(0, 5).map(network) | st.just(bytes.fromhex("fe80") + bytes(14)),
    st.sampled_from((64, 64, 64, 0, 128)),
    st.booleans(),
    st.sampled_from((True, True, True, False)),
    LIFETIME,
    LIFETIME,
)
STEP = st.one_of(
    st.tuples(st.just("hears"), st.lists(PREFIX, max_size=6)),
    st.tuples(st.sampled_from(("assigned", "duplicate", "forget", "remove")), st.integers(0, 30)),
    st.tuples(st.just("add"), st.integers(0, 3), LIFETIME, LIFETIME),
    st.tuples(st.just("after"), st.sampled_from((0.3, 5.0, 200.0, 8000.0, 90_000.0))),
    st.tuples(st.sampled_from(("start", "stop"))),
    st.tuples(st.just("late"), st.floats(0, 100_000)),
)


@given(st.lists(STEP, max_size=40), st.integers(0, 2), st.integers(1, 6))
def test_whatever_comes_the_addresses_are_those_of_the_changes(steps, use_tempaddr, most):
    """`Host.done` checks each change; no address outlives its lifetime, none is preferred for longer than valid."""
    host = Host(use_tempaddr=use_tempaddr, max_addresses=most)
    given_addresses = {GIVEN[:15] + bytes((each,)) for each in range(4)}
    for name, *values in steps:
        if name in ("assigned", "duplicate", "forget", "remove"):
            address = list(host.known)[values[0]] if values[0] < len(host.known) else network(values[0])
            if name == "forget" and host.known.pop(address, None):
                host.temporary.discard(address)
            if name in ("assigned", "duplicate"):
                getattr(host, name)(address)
            elif name == "forget":
                host.autoconf.forget(address)
            else:
                host.autoconf.remove(address)
        elif name == "add":
            host.autoconf.add(GIVEN[:15] + bytes((values[0],)), 128, *values[1:], host.now)
        elif name == "after":
            host.after(*values)
        elif name == "late":
            host.now += values[0]
            host.autoconf.expire(host.now)
        elif name == "hears":
            host.hears(*values[0])
        else:
            arguments = (host.now,) if name == "start" else ()
            getattr(host.autoconf, name)(*arguments)
        host.done()
        made = [each for each in host.known if each not in given_addresses and not scope.is_link_local(each)]
        assert len(made) <= most
        assert host.temporary <= set(made)
        for address, state in host.known.items():
            preferred, valid = host.autoconf.lifetimes(address, host.now)
            assert 0 <= preferred <= valid and valid > 0
            assert state == "tentative" or (state == "deprecated") == (preferred == 0)
        due = host.autoconf.next_deadline()
        assert due is None or due > host.now - 1e-6
    host.autoconf.stop()
    host.done()
    assert host.known == {} and (host.autoconf.next_deadline() is None or host.after(1e11) == [])
