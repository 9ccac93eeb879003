"""Claims of IPv4 addresses: RFC 5227."""

from itertools import product
from random import Random

import pytest

from pystack.link.conflict import (
    ANNOUNCED,
    ANNOUNCING,
    CLEAR,
    CONFLICT,
    CONFLICT_AGAIN,
    HELD,
    LOST,
    PROBING,
    TRANSITIONS,
    Claims,
)

OURS = bytes((10, 0, 0, 2))
THEIRS = bytes((10, 0, 0, 1))
NONE = bytes(4)
MAC = b"\x02\0\0\0\0\x09"

LEGAL = {
    (PROBING, CLEAR): ANNOUNCING,
    (PROBING, CONFLICT): LOST,
    (ANNOUNCING, ANNOUNCED): HELD,
    (ANNOUNCING, CONFLICT): ANNOUNCING,
    (ANNOUNCING, CONFLICT_AGAIN): LOST,
    (HELD, CONFLICT): HELD,
    (HELD, CONFLICT_AGAIN): LOST,
}


class Host:
    """Claims and their clock."""

    def __init__(self, seed=1):
        self.claims = Claims(Random(seed))
        self.now = 0.0

    def done(self):
        """What was asked for since the last look: ``[("probe" | "announce" | "won" | "lost", value), ...]``."""
        claims, done = self.claims, []
        for name, box in (
            ("probe", claims.probes),
            ("won", claims.won),
            ("announce", claims.announcements),
            ("lost", claims.lost),
        ):
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

    def sees(self, sender, target=OURS, probe=False):
        self.claims.seen(sender, target, MAC, probe, self.now)
        return self.done()


def host_in(state):
    """A host that has probed for its address."""
    host = Host()
    host.claims.add(OURS, True, 0.0)
    host.done()
    if state != PROBING:
        while not host.claims.holds(OURS):
            host.after(0.1)
    if state == HELD:
        host.after(100)
    return host


@pytest.mark.parametrize("state, event", list(product(range(4), range(4))))
def test_every_state_and_event(state, event):
    assert TRANSITIONS.get((state, event)) == LEGAL.get((state, event))


@pytest.mark.parametrize("seed", range(20))
def test_free_address_is_probed_three_times_then_announced_twice(seed):
    """RFC 5227 §1.1, §2.1.1, §2.3."""
    host = Host(seed)
    host.claims.add(OURS, True, 0.0)
    assert host.done() == [] and not host.claims.holds(OURS)
    seen = host.after(100)
    assert [name for _, name, _ in seen] == ["probe"] * 3 + ["won"] + ["announce"] * 2
    first, second, third, won, announced, again = (at for at, _, _ in seen)
    assert 0 <= first <= 1 and 1 <= second - first <= 2 and 1 <= third - second <= 2
    assert won - third == pytest.approx(2) and announced == won and again - announced == pytest.approx(2)
    assert host.claims.holds(OURS) and host.claims.next_deadline() is None


def test_claim_without_probe_is_won_and_announced_at_once():
    host = Host()
    host.claims.add(OURS, False, 0.0)
    assert host.done() == [("won", OURS), ("announce", OURS)] and host.claims.holds(OURS)
    assert host.after(100) == [(2.0, "announce", OURS)]


@pytest.mark.parametrize("waited", [0.0, 1.5, 4.0])
@pytest.mark.parametrize("sender, target, probe", [(OURS, THEIRS, False), (OURS, OURS, False), (NONE, OURS, True)])
def test_conflict_while_probing_loses_the_address_silently(waited, sender, target, probe):
    """RFC 5227 §2.1.1: the holder's packet, or another host's simultaneous probe."""
    host = host_in(PROBING)
    host.after(waited)
    assert host.sees(sender, target, probe) == [("lost", (OURS, MAC))]
    assert host.after(100) == [] and not host.claims.holds(OURS)


def test_others_traffic_while_probing_is_no_conflict():
    host = host_in(PROBING)
    assert host.sees(THEIRS, OURS) == []  # a request for it, from a host that believes it exists
    assert host.sees(NONE, THEIRS, probe=True) == []
    assert ("won", OURS) in [what[1:] for what in host.after(100)]


@pytest.mark.parametrize("state", [ANNOUNCING, HELD])
def test_first_conflict_is_answered_by_one_announcement_and_the_second_gives_up(state):
    """RFC 5227 §2.4 (b)."""
    host = host_in(state)
    assert host.sees(OURS) == [("announce", OURS)]
    assert host.claims.holds(OURS)
    host.after(9.999)
    assert host.sees(OURS) == [("lost", (OURS, MAC))]
    assert not host.claims.holds(OURS) and host.claims.first() is None
    assert host.sees(OURS) == [] and host.after(100) == []


def test_a_doubled_frame_is_one_conflict():
    host = host_in(HELD)
    assert host.sees(OURS) == [("announce", OURS)]
    host.after(0.5)
    assert host.sees(OURS) == [] and host.claims.holds(OURS)


def test_an_address_given_by_hand_is_defended_and_never_given_up():
    """RFC 5227 §2.4 (c); at most one announcement in ten seconds."""
    host = Host()
    host.claims.add(OURS, False, 0.0)
    host.after(100)
    host.done()
    assert host.sees(OURS) == [("announce", OURS)]
    for _ in range(9):
        host.after(1)
        assert host.sees(OURS) == []
    host.after(1)
    assert host.sees(OURS) == [("announce", OURS)]
    assert host.claims.holds(OURS)


def test_conflicts_ten_seconds_apart_are_defended_each_time():
    host = host_in(HELD)
    for _ in range(5):
        assert host.sees(OURS) == [("announce", OURS)]
        assert host.after(10) == []
    assert host.claims.holds(OURS)


def test_probe_for_a_held_address_is_no_conflict():
    """It is answered like any request, and the prober gives up."""
    host = host_in(HELD)
    assert host.sees(NONE, OURS, probe=True) == [] and host.claims.holds(OURS)


def test_released_claim_is_silent_and_a_renewed_one_starts_once():
    host = host_in(PROBING)
    host.after(1.5)
    host.claims.release(OURS)
    host.claims.release(THEIRS)
    assert host.after(100) == [] and host.sees(OURS) == []
    host.claims.add(OURS, True, host.now)
    host.after(0.5)
    host.done()
    host.claims.add(OURS, False, host.now)
    assert host.done() == [("won", OURS), ("announce", OURS)]
    assert [name for _, name, _ in host.after(100)] == ["announce"]


def test_first_is_the_first_claimed_that_may_be_used():
    host = host_in(PROBING)
    assert host.claims.first() is None
    host.claims.add(THEIRS, False, 0.0)
    assert host.claims.first() == THEIRS
    host.after(100)
    assert host.claims.first() == OURS
