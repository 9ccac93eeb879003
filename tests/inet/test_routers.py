"""What routers say: RFC 4861 §6.3, RFC 4191, RFC 7559, RFC 8106."""

from itertools import pairwise, product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.config import Ipv6Config
from pystack.inet import routers
from pystack.inet.routers import (
    FOUND,
    HEARD,
    OFF,
    SOLICITING,
    STARTED,
    STOPPED,
    TRANSITIONS,
    UNREACHABLE,
    DefaultRouters,
    Flags,
    NameServers,
    OnLink,
    Parameters,
    Routers,
    RouteVia,
)
from pystack.wire.ndp import HIGH, INFINITE, LOW, MEDIUM, Prefix, RouteInformation, RouterAdvertisement

LEGAL = {
    (OFF, STARTED): SOLICITING,
    (OFF, HEARD): FOUND,
    (SOLICITING, HEARD): FOUND,
    (SOLICITING, STOPPED): OFF,
    (FOUND, STARTED): SOLICITING,
    (FOUND, STOPPED): OFF,
}


def router(number):
    return bytes.fromhex("fe800002") + number.to_bytes(12, "big")


def network(number):
    return bytes.fromhex("20010db8") + number.to_bytes(4, "big") + bytes(8)


A, B, C = map(router, (1, 2, 3))
NET = network(1)
ANY = bytes(16)
LINK_LOCAL = bytes.fromhex("fe80") + bytes(14)
RESOLVER, SECOND = network(0x100), network(0x101)


def on_link(prefix=NET, valid=1000, length=64):
    return Prefix(prefix, length, True, False, valid, min(valid, 500))


def route(prefix=NET, lifetime=1000, preference=MEDIUM, length=48):
    return RouteInformation(prefix, length, preference, lifetime)


class Host:
    """The routers of an interface and their clock."""

    def __init__(self, seed=1, link_mtu=1500, **settings):
        self.routers = Routers(Random(seed), Ipv6Config(**settings), link_mtu)
        self.now = 0.0

    def done(self):
        """The changes since the last look, a "solicit" for each solicitation after them."""
        done = [*self.routers.changes, *["solicit"] * self.routers.solicitations]
        self.routers.changes.clear()
        self.routers.solicitations = 0
        return done

    def after(self, seconds):
        """Let time pass; returns ``[(time, change), ...]``."""
        end, seen = self.now + seconds, []
        while (due := self.routers.next_deadline()) is not None and due <= end:
            self.now = due
            self.routers.expire(due)
            seen += [(due, what) for what in self.done()]
        self.now = end
        return seen

    def start(self):
        self.routers.start(self.now)
        return self.done()

    def hears(self, source=A, **fields):
        self.routers.advertised(RouterAdvertisement(**fields), source, self.now)
        return self.done()


@pytest.mark.parametrize("state, event", list(product(range(3), range(3))))
def test_every_state_and_event(state, event):
    assert TRANSITIONS.get((state, event)) == LEGAL.get((state, event))


# Solicitation.


@pytest.mark.parametrize("seed", range(10))
def test_solicitations_back_off_and_never_end(seed):
    """RFC 7559 §2: 4 s, doubled up to an hour, a tenth more or less."""
    host = Host(seed)
    assert host.start() == ["solicit"]
    seen = host.after(6 * 3600)
    assert {what for _, what in seen} == {"solicit"} and len(seen) >= 12
    times = [0.0, *(at for at, _ in seen)]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert 3.6 <= waits[0] <= 4.4
    for earlier, later in pairwise(waits):
        assert later <= 3960 and (later >= 3240 or 1.9 * earlier - 1e-6 <= later <= 2.1 * earlier + 1e-6)
    assert waits[-1] >= 3240


def test_a_default_router_ends_the_solicitations():
    host = Host()
    host.start()
    host.after(2)
    assert host.hears(lifetime=1800) == [DefaultRouters((A,))]
    assert host.after(1799) == []
    assert host.start() == []


def test_a_router_that_is_none_by_default_does_not():
    """RFC 7559 §2.1."""
    host = Host()
    host.start()
    assert host.hears(prefixes=(on_link(),)) == [OnLink(NET, 64, True)]
    assert [what for _, what in host.after(10)] == ["solicit"]
    assert host.hears(B, routes=(route(ANY, 100, HIGH, 0),)) == [DefaultRouters((B,))]
    assert host.after(50) == []


def test_without_default_routers_any_router_ends_them():
    host = Host(accept_ra_defrtr=False)
    host.start()
    assert host.hears(lifetime=1800, preference=HIGH) == []
    assert host.after(10_000) == []


def test_one_that_comes_before_the_start_is_enough():
    host = Host()
    assert host.hears(lifetime=1800) == [DefaultRouters((A,))]
    assert host.start() == [] and host.after(1000) == []


def test_one_that_has_ended_is_solicited_for_at_the_next_start_alone():
    host = Host()
    host.start()
    host.hears(lifetime=10)
    assert host.after(10_000) == [(10.0, DefaultRouters(()))]
    assert host.start() == ["solicit"]
    assert host.start() == []


def test_stop_withdraws_all_and_is_silent():
    host = Host()
    host.start()
    host.hears(
        lifetime=100,
        hop_limit=7,
        managed=True,
        prefixes=(on_link(),),
        routes=(route(),),
        resolvers=((10, (RESOLVER,)),),
    )
    host.routers.stop()
    assert host.done() == [
        OnLink(NET, 64, False),
        RouteVia(NET, 48, A, MEDIUM, False),
        DefaultRouters(()),
        Parameters(),
        Flags(),
        NameServers(),
    ]
    assert host.after(10_000) == []
    host.routers.stop()
    assert host.done() == []
    assert host.start() == ["solicit"]
    host.routers.stop()
    assert host.after(10_000) == [] and host.done() == []


def test_accept_ra_off_is_silence():
    host = Host(accept_ra=False)
    assert host.start() == []
    everything = {"lifetime": 100, "hop_limit": 7, "prefixes": (on_link(),), "routes": (route(),), "managed": True}
    assert host.hears(**everything) == [] and host.after(10_000) == []


# Default routers.


def test_default_routers_end_with_their_lifetime_and_are_renewed():
    """RFC 4861 §6.3.4, §6.3.5."""
    host = Host()
    assert host.hears(lifetime=100) == [DefaultRouters((A,))]
    host.after(90)
    assert host.hears(lifetime=100) == []
    assert host.after(99) == []
    assert host.after(2) == [(190.0, DefaultRouters(()))]
    assert host.hears(lifetime=100) == [DefaultRouters((A,))]
    assert host.hears() == [DefaultRouters(())]
    assert host.hears() == [] and host.after(1000) == []


def test_a_shorter_lifetime_counts():
    host = Host()
    host.hears(lifetime=1000)
    host.hears(lifetime=10)
    assert host.after(100) == [(10.0, DefaultRouters(()))]


def test_the_longest_lifetime_is_no_eternity():
    host = Host()
    host.hears(lifetime=65_535)
    assert host.after(70_000) == [(65_535.0, DefaultRouters(()))]


def test_order_is_by_answer_then_preference_then_age():
    """RFC 4861 §6.3.6, RFC 4191 §3.2."""
    host = Host()
    host.hears(A, lifetime=1800)
    assert host.hears(B, lifetime=1800) == [DefaultRouters((A, B))]
    assert host.hears(C, lifetime=1800, preference=HIGH) == [DefaultRouters((C, A, B))]
    assert host.hears(A, lifetime=1800, preference=LOW) == [DefaultRouters((C, B, A))]
    host.routers.unreachable(C)
    assert host.done() == [DefaultRouters((B, A, C))]
    host.routers.unreachable(C)
    host.routers.reachable(B)
    host.routers.unreachable(router(9))
    host.routers.reachable(router(9))
    assert host.done() == []
    assert host.hears(C, lifetime=1800, preference=HIGH) == []  # to be heard is not to answer
    host.routers.reachable(C)
    assert host.done() == [DefaultRouters((C, B, A))]


def test_routers_that_are_all_silent_take_turns():
    """RFC 4861 §6.3.6: round-robin, whatever the preference, until one answers."""
    host = Host()
    host.hears(A, lifetime=1800, preference=HIGH)
    host.hears(B, lifetime=1800)
    host.routers.unreachable(A)
    assert host.done() == [DefaultRouters((B, A))]
    host.routers.unreachable(B)
    assert host.done() == [DefaultRouters((A, B))]
    host.routers.unreachable(A)
    assert host.done() == [DefaultRouters((B, A))]
    host.routers.reachable(A)
    assert host.done() == [DefaultRouters((A, B))]


def test_a_router_that_resigns_is_no_default_router_but_keeps_its_routes():
    """RFC 4861 §7.2.5."""
    host = Host()
    host.hears(A, lifetime=1800, routes=(route(preference=HIGH),))
    assert host.routers.is_default(A) and not host.routers.is_default(B)
    host.routers.resigned(B)
    assert host.done() == []
    host.routers.resigned(A)
    assert host.done() == [DefaultRouters(())] and not host.routers.is_default(A)


def test_a_route_to_everywhere_is_the_last_word_on_the_default_router():
    """RFC 4191 §3.1, the example of a type C host."""
    host = Host()
    host.hears(B, lifetime=1000)
    assert host.hears(A, lifetime=100, preference=LOW, routes=(route(ANY, 200, HIGH, 0),)) == [DefaultRouters((A, B))]
    assert host.after(300) == [(200.0, DefaultRouters((B,)))]
    assert host.hears(B, lifetime=1000, routes=(route(ANY, 0, HIGH, 0),)) == [DefaultRouters(())]


def test_of_seventeen_routers_one_is_ignored_unless_another_is_silent():
    host = Host()
    for number in range(1, 18):
        host.hears(router(number), lifetime=1000)
    assert host.hears(router(17), lifetime=1000) == []
    host.routers.unreachable(A)
    host.done()
    assert host.hears(router(17), lifetime=1000) == [DefaultRouters(tuple(map(router, range(2, 18))))]
    assert host.hears(A, lifetime=1000) == []


# Prefixes and routes.


def test_prefixes_are_on_the_link_for_as_long_as_they_are_valid():
    host = Host()
    assert host.hears(prefixes=(on_link(),)) == [OnLink(NET, 64, True)]
    assert host.hears(B, prefixes=(on_link(valid=100),)) == []
    assert host.after(200) == [(100.0, OnLink(NET, 64, False))]
    assert host.hears(prefixes=(on_link(valid=INFINITE),)) == [OnLink(NET, 64, True)]
    assert host.after(1e10) == []
    assert host.hears(prefixes=(on_link(valid=0),)) == [OnLink(NET, 64, False)]
    assert host.hears(prefixes=(on_link(valid=0),)) == [] and host.after(1e10) == []


def test_prefixes_that_say_nothing_of_the_link_are_ignored():
    """RFC 4861 §6.3.4: no word is not "off the link"; link-local is on it whatever a router says."""
    host = Host()
    host.hears(prefixes=(on_link(),))
    assert host.hears(prefixes=(Prefix(NET, 64, False, True, 0, 0),)) == []
    assert host.hears(prefixes=(on_link(LINK_LOCAL), on_link(b"\xff\x02" + bytes(14), length=16))) == []
    assert Host(accept_ra_pinfo=False).hears(prefixes=(on_link(),)) == []


def test_the_preferred_lifetime_says_nothing_of_the_link():
    host = Host()
    assert host.hears(prefixes=(Prefix(NET, 64, True, True, 100, 200),)) == [OnLink(NET, 64, True)]


def test_routes_last_and_change_their_preference():
    """RFC 4191 §2.3, §3.1."""
    host = Host()
    assert host.hears(routes=(route(),)) == [RouteVia(NET, 48, A, MEDIUM, True)]
    assert host.hears(routes=(route(),)) == []
    assert host.hears(B, routes=(route(preference=LOW),)) == [RouteVia(NET, 48, B, LOW, True)]
    assert host.hears(routes=(route(preference=HIGH, lifetime=INFINITE),)) == [RouteVia(NET, 48, A, HIGH, True)]
    assert host.after(1e10) == [(1000.0, RouteVia(NET, 48, B, LOW, False))]
    assert host.hears(routes=(route(lifetime=0),)) == [RouteVia(NET, 48, A, HIGH, False)]
    assert host.hears(routes=(route(lifetime=0),)) == []


def test_routes_by_a_silent_router_are_worse_than_any_other():
    """RFC 4191 §3.2."""
    host = Host()
    host.hears(lifetime=1800, routes=(route(preference=HIGH),))
    host.routers.unreachable(A)
    assert host.done() == [RouteVia(NET, 48, A, HIGH + UNREACHABLE, True)]
    assert HIGH + UNREACHABLE < LOW
    other = route(network(2))
    assert host.hears(lifetime=1800, routes=(other,)) == [RouteVia(network(2), 48, A, UNREACHABLE, True)]
    host.hears(routes=(route(network(2), 0),))
    host.routers.reachable(A)
    assert host.done() == [RouteVia(NET, 48, A, HIGH, True)]


def test_routes_beyond_what_is_accepted_are_ignored():
    host = Host(accept_ra_rt_info_max_plen=48)
    assert host.hears(routes=(route(length=49), route(LINK_LOCAL), route(b"\xff" + bytes(15), length=8))) == []
    assert host.hears(routes=(route(),)) == [RouteVia(NET, 48, A, MEDIUM, True)]
    assert Host(accept_ra_defrtr=False).hears(routes=(route(ANY, length=0),)) == []


# Parameters, flags, names.


def test_parameters_are_kept_until_a_router_says_another():
    """RFC 4861 §6.3.4: unspecified values leave what is there."""
    host = Host()
    assert host.hears(hop_limit=255, mtu=1400, reachable=20.0, retransmit=2.0) == [Parameters(255, 1400, 20.0, 2.0)]
    assert host.hears() == []
    assert host.hears(B, hop_limit=3) == [Parameters(3, 1400, 20.0, 2.0)]
    assert host.after(1e10) == []


@pytest.mark.parametrize("mtu", [0, 1279, 1501, 0xFFFFFFFF])
def test_an_mtu_that_cannot_be_is_ignored(mtu):
    assert Host().hears(mtu=mtu) == []


@pytest.mark.parametrize("mtu", [1280, 1500])
def test_an_mtu_within_the_links_is_taken(mtu):
    assert Host().hears(mtu=mtu) == [Parameters(mtu=mtu)]
    assert Host(accept_ra_mtu=False).hears(mtu=mtu) == []
    assert Host(link_mtu=1279).hears(mtu=mtu) == []


def test_a_small_hop_limit_is_not_believed():
    host = Host(accept_ra_min_hop_limit=32)
    assert host.hears(hop_limit=31) == []
    assert host.hears(hop_limit=32) == [Parameters(hop_limit=32)]


def test_times_have_bounds():
    host = Host()
    assert host.hears(reachable=3601.0, retransmit=4_000_000.0) == []
    assert host.hears(reachable=0.001, retransmit=0.001) == [Parameters(reachable=0.1, retransmit=0.01)]


def test_flags_are_those_of_the_last_message():
    host = Host()
    assert host.hears(other=True) == [Flags(False, True)]
    assert host.hears(B, other=True) == []
    assert host.hears(managed=True) == [Flags(True, False)]
    assert host.hears() == [Flags(False, False)]


def test_name_servers_last_in_the_order_of_their_coming():
    """RFC 8106 §5.3.1; a lifetime of 0 takes one out, of whoever it comes."""
    host = Host()
    assert host.hears(resolvers=((100, (SECOND, RESOLVER)),), search=((50, ("example.org",)),)) == [
        NameServers((SECOND, RESOLVER), ("example.org",))
    ]
    assert host.hears(B, resolvers=((INFINITE, (RESOLVER, SECOND)), (200, (SECOND,)))) == []
    assert host.after(1e10) == [
        (50.0, NameServers((SECOND, RESOLVER))),
        (200.0, NameServers((RESOLVER,))),
    ]
    assert host.hears(resolvers=((0, (RESOLVER,)),), search=((0, ("example.org",)),)) == [NameServers()]


def test_a_link_local_name_server_is_of_the_routers_link():
    assert Host().hears(resolvers=((9, (LINK_LOCAL[:15] + b"\1",)),)) == [NameServers((A,))]


# Bounds.


def test_a_flood_is_bounded_and_what_came_first_stays():
    host = Host()
    host.start()
    for number in range(1, 1001):
        host.hears(
            router(number),
            lifetime=9000,
            prefixes=tuple(on_link(network(number * 8 + each), INFINITE) for each in range(8)),
            routes=tuple(route(network(number * 8 + each), INFINITE) for each in range(8)),
            resolvers=((INFINITE, tuple(network(number * 8 + each) for each in range(8))),),
            search=((INFINITE, tuple(f"{number}.{each}.example" for each in range(8))),),
        )
    held = host.routers
    held.stop()
    changes = host.done()
    counts = {kind: sum(type(each) is kind for each in changes) for kind in (OnLink, RouteVia)}
    assert counts == {OnLink: routers.MAX_PREFIXES, RouteVia: routers.MAX_ROUTES}
    assert next(each for each in changes if type(each) is OnLink).prefix == network(8)
    host.after(1e10)
    assert held.next_deadline() is None


def test_renewal_without_end_leaves_one_deadline_each():
    host = Host()
    for _ in range(1000):
        host.hears(lifetime=1800, prefixes=(on_link(),))
        host.hears(lifetime=0, prefixes=(on_link(valid=0),))
        host.now += 0.001
    host.hears(lifetime=1800)
    assert len(host.after(2000)) == 1 and host.routers.next_deadline() is None


LIFETIME = st.sampled_from((0, 1, 10, 1000, INFINITE))
NETWORK = st.one_of(st.integers(0, 100).map(network), st.sampled_from((LINK_LOCAL, ANY)))
PREFERENCE = st.sampled_from((HIGH, MEDIUM, LOW))
MESSAGE = st.builds(
    RouterAdvertisement,
    hop_limit=st.integers(0, 255),
    managed=st.booleans(),
    other=st.booleans(),
    preference=PREFERENCE,
    lifetime=st.sampled_from((0, 1, 10, 65_535)),
    reachable=st.floats(0, 4_294_967),
    retransmit=st.floats(0, 4_294_967),
    mtu=st.none() | st.integers(0, 0xFFFFFFFF),
    prefixes=st.lists(
        st.builds(Prefix, NETWORK, st.integers(0, 128), st.booleans(), st.booleans(), LIFETIME, LIFETIME), max_size=20
    ).map(tuple),
    routes=st.lists(st.builds(RouteInformation, NETWORK, st.integers(0, 128), PREFERENCE, LIFETIME), max_size=20).map(
        tuple
    ),
    resolvers=st.lists(st.tuples(LIFETIME, st.lists(NETWORK, min_size=1, max_size=9).map(tuple)), max_size=2).map(
        tuple
    ),
    search=st.lists(st.tuples(LIFETIME, st.lists(st.text(max_size=3), min_size=1).map(tuple)), max_size=2).map(tuple),
)
STEP = st.one_of(
    st.tuples(st.just("hears"), MESSAGE, st.integers(1, 40).map(router)),
    st.tuples(st.sampled_from(("unreachable", "reachable", "resigned")), st.integers(1, 40).map(router)),
    st.tuples(st.sampled_from(("start", "stop"))),
    st.tuples(st.just("after"), st.floats(0, 2000)),
)


@given(st.lists(STEP, max_size=30))
def test_changes_tell_the_same_story_whatever_comes(steps):
    """Nothing is added twice or removed unheard of; no table passes its bound; after a stop nothing is left."""
    host = Host()
    tables = {OnLink: {}, RouteVia: {}}
    last = {}
    for name, *values in [*steps, ("stop",)]:
        if name == "after":
            changes = [what for _, what in host.after(*values)]
        elif name == "hears":
            host.routers.advertised(*values, host.now)
            changes = host.done()
        else:
            arguments = (host.now,) if name == "start" else values
            getattr(host.routers, name)(*arguments)
            changes = host.done()
        for change in changes:
            if type(change) in tables:
                table = tables[type(change)]
                *key, present = change
                if type(change) is RouteVia:
                    *key, preference = key
                    assert LOW + UNREACHABLE <= preference <= HIGH
                    assert not present or table.get(tuple(key)) != preference
                else:
                    preference = None
                    assert present != (tuple(key) in table)
                if present:
                    table[tuple(key)] = preference
                else:
                    del table[tuple(key)]
            elif change != "solicit":
                assert last.get(type(change)) != change
                last[type(change)] = change
        assert len(tables[OnLink]) <= routers.MAX_PREFIXES and len(tables[RouteVia]) <= routers.MAX_ROUTES
        assert len(last.get(DefaultRouters, ((),))[0]) <= routers.MAX_ROUTERS
        names = last.get(NameServers, NameServers())
        assert len(names.addresses) <= routers.MAX_RESOLVERS and len(names.search) <= routers.MAX_SEARCH
        parameters = last.get(Parameters, Parameters())
        assert parameters.mtu is None or 1280 <= parameters.mtu <= 1500
    assert tables == {OnLink: {}, RouteVia: {}}
    assert host.routers.next_deadline() is None or host.after(1e11) == []
