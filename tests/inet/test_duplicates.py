"""Duplicate address detection: RFC 4862 §5.4 and RFC 7527."""

from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.config import Ipv6Config
from pystack.inet.duplicates import CLEAR, CONFLICT, HELD, LOOPED, LOST, TENTATIVE, TRANSITIONS, Duplicates

OURS = bytes.fromhex("fe800002000000000000000000000001")
OTHER = bytes.fromhex("20010db8000000000000000000000002")
MAC = b"\x02\0\0\0\0\x09"
NONCE = b"\xff" * 6  # another host's

LEGAL = {
    (TENTATIVE, CLEAR): HELD,
    (TENTATIVE, LOOPED): TENTATIVE,
    (TENTATIVE, CONFLICT): LOST,
    (HELD, CONFLICT): HELD,
}


class Host:
    """Claims and their clock."""

    def __init__(self, seed=1, **settings):
        self.claims = Duplicates(Random(seed), Ipv6Config(**settings))
        self.now = 0.0

    def done(self):
        """What was asked for since the last look: ``[("solicit" | "won" | "lost", value), ...]``."""
        claims, done = self.claims, []
        for name, box in (("solicit", claims.solicitations), ("won", claims.won), ("lost", claims.lost)):
            done += [(name, value) for value in box]
            box.clear()
        return done

    def after(self, seconds):
        """Let time pass; returns ``[(time, name, value), ...]``."""
        end, seen = self.now + seconds, []
        while (due := self.claims.next_deadline()) is not None and due <= end:
            self.now = due
            self.claims.expire(due)
            seen += [(due, *what) for what in self.done()]
        self.now = end
        return seen

    def solicited(self, nonce, target=OURS):
        self.claims.solicited(target, nonce, self.now)
        return self.done()

    def advertised(self, target=OURS, mac=MAC):
        self.claims.advertised(target, mac, self.now)
        return self.done()


def host_in(state, **settings):
    host = Host(**settings)
    host.claims.add(OURS, 0.0)
    if state == HELD:
        host.after(100)
    return host


@pytest.mark.parametrize("state, event", list(product(range(3), range(3))))
def test_every_state_and_event(state, event):
    assert TRANSITIONS.get((state, event)) == LEGAL.get((state, event))


@pytest.mark.parametrize("seed", range(20))
def test_a_free_address_is_solicited_once_and_held_a_second_later(seed):
    """RFC 4862 §5.4.2: the delay is at most MAX_RTR_SOLICITATION_DELAY."""
    host = Host(seed)
    host.claims.add(OURS, 0.0)
    assert host.done() == [] and host.claims.is_tentative(OURS) and not host.claims.holds(OURS)
    (first, name, (target, nonce)), won = host.after(100)
    assert name == "solicit" and target == OURS and len(nonce) == 6 and 0 <= first <= 1
    assert won == (pytest.approx(first + 1), "won", OURS)
    assert host.claims.holds(OURS) and not host.claims.is_tentative(OURS)
    assert host.claims.next_deadline() is None


@pytest.mark.parametrize("transmits", [1, 3, 100])
def test_solicitations_are_retransmit_apart_each_with_its_own_nonce(transmits):
    host = Host(dad_transmits=transmits)
    host.claims.retransmit = 0.25
    host.claims.add(OURS, 0.0, delay=0.0)
    seen = host.after(100)
    assert [at for at, _, _ in seen] == pytest.approx([0.25 * count for count in range(transmits + 1)])
    assert [name for _, name, _ in seen] == ["solicit"] * transmits + ["won"]
    assert len({nonce for _, _, (_, nonce) in seen[:-1]}) == transmits


def test_no_retransmit_time_of_a_router_is_a_storm():
    host = Host(dad_transmits=3)
    host.claims.retransmit = 0.0
    host.claims.add(OURS, 0.0, delay=0.0)
    assert [at for at, _, _ in host.after(1)] == pytest.approx([0, 0.01, 0.02, 0.03])


@pytest.mark.parametrize("probe, transmits", [(False, 1), (True, 0), (False, 0)])
def test_without_a_probe_it_is_held_at_once(probe, transmits):
    host = Host(dad_transmits=transmits)
    host.claims.add(OURS, 0.0, probe)
    assert host.done() == [("won", OURS)] and host.claims.holds(OURS)
    assert host.after(100) == []


def test_the_delay_is_as_configured_or_as_said():
    host = Host(router_solicitation_delay=0.0)
    host.claims.add(OURS, 0.0)
    assert host.claims.next_deadline() == 0.0
    host.claims.add(OTHER, 0.0, delay=50.0)
    host.after(1.5)
    assert host.claims.holds(OURS) and host.claims.is_tentative(OTHER)


@pytest.mark.parametrize("waited", [0.0, 1.0, 1.1])
def test_conflict_while_tentative_loses_the_address_silently(waited):
    """RFC 4862 §5.4.3, §5.4.4: another that solicits it, or has it, before or after our own solicitation."""
    for hears, mac in ((lambda host: host.solicited(NONCE), None), (lambda host: host.advertised(), MAC)):
        host = host_in(TENTATIVE)
        host.after(waited)
        assert hears(host) == [("lost", (OURS, mac))]
        assert not host.claims.holds(OURS) and not host.claims.is_tentative(OURS)
        assert host.after(100) == [] and host.advertised() == [] and host.solicited(NONCE) == []


def test_a_solicitation_without_a_nonce_is_a_conflict():
    host = host_in(TENTATIVE)
    host.after(1)
    assert host.solicited(None) == [("lost", (OURS, None))]


def test_without_nonces_every_solicitation_is_a_conflict():
    host = host_in(TENTATIVE, enhanced_dad=False)
    [(_, _, what)] = host.after(1)
    assert what == (OURS, None)
    assert host.solicited(None) == [("lost", (OURS, None))]


def test_one_that_comes_back_is_followed_by_three_with_other_nonces():
    """RFC 7527 §4.1; §4.2: it is no conflict."""
    host = host_in(TENTATIVE)
    [(_, _, (_, nonce))] = host.after(1)
    assert host.solicited(nonce) == [] and host.claims.is_tentative(OURS)
    assert host.solicited(nonce) == []
    seen = host.after(100)
    assert [name for _, name, _ in seen] == ["solicit"] * 3 + ["won"]
    assert len({nonce, *(each for _, _, (_, each) in seen[:3])}) == 4


def test_a_loop_that_stays_does_not_keep_the_address_from_use():
    host = host_in(TENTATIVE)
    sent = 0
    while not host.claims.holds(OURS):
        for _, name, what in host.after(0.1):
            if name == "solicit":
                sent += 1
                assert host.solicited(what[1]) == []
    assert sent == 4


def test_another_host_is_found_behind_a_loop():
    host = host_in(TENTATIVE)
    [(_, _, (_, nonce))] = host.after(1)
    host.solicited(nonce)
    host.after(1.5)
    assert host.advertised() == [("lost", (OURS, MAC))]


def test_a_held_address_is_kept_and_the_conflict_counted():
    host = host_in(HELD)
    assert host.solicited(NONCE) == [] and host.solicited(None) == [] and host.claims.conflicts == 0
    assert host.advertised() == [] and host.claims.conflicts == 1
    assert host.claims.holds(OURS) and host.after(100) == []


def test_what_others_say_of_other_addresses_is_nothing_to_us():
    host = host_in(TENTATIVE)
    assert host.solicited(NONCE, OTHER) == [] and host.advertised(OTHER) == []
    assert host.claims.is_tentative(OURS) and not host.claims.is_tentative(OTHER)
    assert host.claims.conflicts == 0


def test_a_released_claim_is_silent_and_a_renewed_one_starts_once():
    host = host_in(TENTATIVE)
    host.after(1)
    host.claims.release(OURS)
    host.claims.release(OTHER)
    assert host.after(100) == [] and host.advertised() == []
    host.claims.add(OURS, host.now)
    host.after(0.5)
    host.claims.add(OURS, host.now)
    assert [name for _, name, _ in host.after(100)] == ["solicit", "won"]


ADDRESS = st.sampled_from((OURS, OTHER))
STEP = st.one_of(
    st.tuples(st.just("add"), ADDRESS, st.booleans()),
    st.tuples(st.just("release"), ADDRESS),
    st.tuples(st.just("solicited"), ADDRESS, st.none() | st.just(NONCE) | st.just("ours")),
    st.tuples(st.just("advertised"), ADDRESS, st.none() | st.just(MAC)),
    st.tuples(st.just("after"), st.floats(0, 5)),
)


@given(st.lists(STEP, max_size=40), st.integers(0, 3), st.booleans())
def test_no_sequence_wins_an_address_without_its_solicitations(steps, transmits, enhanced):
    host = Host(dad_transmits=transmits, enhanced_dad=enhanced)
    nonce, sent, probed = None, {OURS: 0, OTHER: 0}, {}
    for name, *values in steps:
        if name == "after":
            seen = [what[1:] for what in host.after(*values)]
        else:
            if name == "add":
                sent[values[0]], probed[values[0]] = 0, values[1]
                host.claims.add(values[0], host.now, values[1])
            elif name == "release":
                host.claims.release(*values)
            elif name == "solicited":
                host.claims.solicited(values[0], nonce if values[1] == "ours" else values[1], host.now)
            else:
                host.claims.advertised(*values, host.now)
            seen = host.done()
        for what, value in seen:
            if what == "solicit":
                sent[value[0]] += 1
                nonce = value[1]
            elif what == "won":
                assert not probed[value] or sent[value] in (range(transmits, transmits + 4))
            else:
                assert not host.claims.holds(value[0])
        for address in (OURS, OTHER):
            assert not (host.claims.holds(address) and host.claims.is_tentative(address))
