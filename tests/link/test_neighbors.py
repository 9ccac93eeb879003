"""The neighbour table: every (state, event) pair, and the life of entries in virtual time."""

from collections import Counter
from itertools import product
from random import Random

import pytest

from pystack import errors
from pystack.link import neighbors
from pystack.link.neighbors import (
    CHANGED,
    CONFIRMED,
    DELAY,
    FAILED,
    HEARD,
    INCOMPLETE,
    NAMES,
    PROBE,
    REACHABLE,
    SENT,
    STALE,
    TIMED_OUT,
    TRANSITIONS,
    NeighborTable,
)

GATEWAY = bytes((10, 0, 0, 1))
MAC = b"\x02\0\0\0\0\x01"
OTHER_MAC = b"\x02\0\0\0\0\x99"
STATES = range(6)
EVENTS = range(5)
EVENT_NAMES = ("SENT", "CONFIRMED", "HEARD", "CHANGED", "TIMED_OUT")


class Table:
    """A table and its clock."""

    def __init__(self):
        self.drops = Counter()
        self.now = 100.0
        self.table = NeighborTable(Random(1), lambda mac, address: mac + address, self.drops)

    def state(self, address=GATEWAY):
        return next((entry.state for entry in self.table if entry.address == address), FAILED)

    def sends(self, packet="packet", size=100, address=GATEWAY):
        """As the layer sends; returns the header, or None if the packet waits."""
        header = self.table.header(address, self.now)
        if header is None:
            self.table.wait(address, packet, size, self.now)
        return header

    def hears(self, mac=MAC, address=GATEWAY, **how):
        self.table.heard(address, mac, self.now, **how)

    def after(self, seconds):
        """Let time pass; returns ``[(seconds since, unicast), ...]`` of the solicitations."""
        start, end, asked = self.now, self.now + seconds, []
        while (due := self.table.next_deadline()) is not None and due <= end:
            self.now = due
            self.table.expire(due)
            asked += [(round(due - start, 6), unicast) for _, unicast in self.solicits()]
        self.now = end
        return asked

    def solicits(self):
        taken, self.table.solicits = self.table.solicits, []
        return taken

    def released(self):
        taken, self.table.released = self.table.released, []
        return [packet for _, packets in taken for packet in packets]

    def failed(self):
        taken, self.table.failed = self.table.failed, []
        return taken


def table_in(state):
    """A table whose GATEWAY is in *state*; FAILED is its absence."""
    t = Table()
    if state == INCOMPLETE:
        t.sends()
    elif state != FAILED:
        t.hears(create=True)
        if state == REACHABLE:
            t.table.confirmed(GATEWAY, t.now)
        elif state in (DELAY, PROBE):
            t.sends()
            if state == PROBE:
                t.after(5)
    t.solicits()
    assert t.state() == state
    return t


def cause(t, event):
    """Let *event* happen to the GATEWAY by the table's public methods."""
    if event == SENT:
        t.sends()
    elif event == CONFIRMED:
        t.hears(solicited=True)
    elif event == HEARD:
        t.hears()
    elif event == CHANGED:
        t.hears(OTHER_MAC, override=True)
    else:
        t.after({REACHABLE: 46, DELAY: 5}.get(t.state(), 3))


# RFC 4861 appendix C. What is not here changes nothing, or cannot happen.
LEGAL = {
    (INCOMPLETE, CONFIRMED): REACHABLE,
    (INCOMPLETE, HEARD): STALE,
    (INCOMPLETE, CHANGED): STALE,
    (INCOMPLETE, TIMED_OUT): FAILED,
    (REACHABLE, CONFIRMED): REACHABLE,
    (REACHABLE, CHANGED): STALE,
    (REACHABLE, TIMED_OUT): STALE,
    (STALE, SENT): DELAY,
    (STALE, CONFIRMED): REACHABLE,
    (DELAY, CONFIRMED): REACHABLE,
    (DELAY, CHANGED): STALE,
    (DELAY, TIMED_OUT): PROBE,
    (PROBE, CONFIRMED): REACHABLE,
    (PROBE, CHANGED): STALE,
    (PROBE, TIMED_OUT): FAILED,
}

# What is seen from outside, where that is not the same: an INCOMPLETE entry has packets waiting, so STALE moves on to
# DELAY at once; REACHABLE ends only when it is looked at; and to send to an absent neighbour makes an entry.
SEEN = {
    (INCOMPLETE, HEARD): DELAY,
    (INCOMPLETE, CHANGED): DELAY,
    (REACHABLE, TIMED_OUT): REACHABLE,
    (FAILED, SENT): INCOMPLETE,
}


PAIRS = list(product(STATES, EVENTS))


@pytest.mark.parametrize("state, event", PAIRS, ids=[f"{NAMES[s]}-{EVENT_NAMES[e]}" for s, e in PAIRS])
def test_every_state_and_event(state, event):
    assert TRANSITIONS.get((state, event)) == LEGAL.get((state, event))
    t = table_in(state)
    cause(t, event)
    assert t.state() == SEEN.get((state, event), LEGAL.get((state, event), state))
    if t.state() in (REACHABLE, STALE, FAILED):
        t.after(120)  # the heap may keep a cancelled entry, which then does nothing
        assert t.solicits() == [] and t.table.next_deadline() is None


def test_dead_neighbour_fails_after_three_questions_and_a_later_packet_starts_again():
    """RFC 4861 §7.2.2."""
    t = Table()
    assert t.sends("first") is None and t.sends("second") is None
    assert [unicast for _, unicast in t.solicits()] == [False]
    assert t.after(2.999) == [(1, False), (2, False)]
    assert t.failed() == []
    assert t.after(0.001) == []
    assert t.failed() == [(GATEWAY, ["first", "second"])]
    assert t.state() == FAILED and t.table.next_deadline() is None and t.released() == []
    t.sends("third")
    assert len(t.solicits()) == 1 and t.state() == INCOMPLETE


def test_answer_releases_what_waits_in_order_once():
    t = Table()
    for packet in "abc":
        t.sends(packet)
    assert len(t.solicits()) == 1
    t.hears(solicited=True)
    assert t.released() == ["a", "b", "c"]
    assert t.sends("d") == MAC + GATEWAY
    assert t.released() == [] and t.failed() == [] and t.after(100) == []


def test_reachable_ends_between_half_and_one_and_a_half_base_times_and_costs_no_timer():
    """RFC 4861 §6.3.2; the lapse is seen only when a packet is sent."""
    t = table_in(REACHABLE)
    lapses = []
    for _ in range(200):
        t.table.confirmed(GATEWAY, t.now)
        (entry,) = t.table
        lapses.append(entry.until - t.now)
        assert t.table.next_deadline() is None
    assert 15 <= min(lapses) < 17 and 43 < max(lapses) <= 45
    t.now = entry.until - 0.001
    t.sends()
    assert t.state() == REACHABLE
    t.now = entry.until
    assert t.sends() == MAC + GATEWAY  # goes out meanwhile
    assert t.state() == DELAY


def test_used_stale_entry_is_probed_by_unicast_after_the_delay_then_forgotten():
    """RFC 4861 §7.3.3: 5 s for upper layers to confirm, then three unicast probes a second apart."""
    t = table_in(STALE)
    assert t.after(1000) == []
    assert t.sends() == MAC + GATEWAY
    assert t.solicits() == []
    assert t.after(7.999) == [(5, True), (6, True), (7, True)]
    assert t.sends() == MAC + GATEWAY and t.state() == PROBE
    assert t.after(0.001) == []
    assert t.state() == FAILED and t.failed() == []  # nothing waited, so there is nobody to tell


def test_transport_progress_in_delay_spares_the_probe():
    """RFC 4861 §7.3.1."""
    t = table_in(DELAY)
    t.after(4.9)
    t.table.confirmed(GATEWAY, t.now)
    assert t.state() == REACHABLE and t.after(14) == []


def test_transport_progress_means_nothing_for_unknown_or_unresolved_neighbours():
    t = table_in(INCOMPLETE)
    t.table.confirmed(GATEWAY, t.now)
    t.table.confirmed(bytes(4), t.now)
    assert t.state() == INCOMPLETE and len(t.table) == 1


def test_another_mac_within_the_lock_time_loses_unless_it_overrides():
    """Linux's locktime, 1 s."""
    t = table_in(REACHABLE)
    t.after(0.999)
    t.hears(OTHER_MAC, solicited=True)
    assert t.sends() == MAC + GATEWAY and t.state() == REACHABLE
    t.hears(OTHER_MAC, override=True)
    assert t.sends() == OTHER_MAC + GATEWAY and t.state() == DELAY
    t.after(1)
    t.hears(MAC)
    assert t.sends() == MAC + GATEWAY


def test_unknown_neighbours_are_not_learned_unasked():
    t = Table()
    t.hears()
    t.hears(solicited=True)
    t.hears(override=True)
    assert len(t.table) == 0


def test_queue_of_one_neighbour_is_bounded_and_keeps_the_latest():
    """RFC 1122 §2.3.2.2; Linux's unres_qlen_bytes."""
    t = Table()
    for number in range(300):
        t.sends(number, size=1000)
    kept = neighbors.QUEUE_BYTES // 1000
    assert t.drops == {errors.NEIGHBOR_QUEUE_FULL: 300 - kept}
    assert len(t.solicits()) == 1
    t.hears(solicited=True)
    assert t.released() == list(range(300 - kept, 300))


@pytest.mark.parametrize("size", [28, 60_000])
def test_all_queues_together_are_bounded_and_the_room_comes_back(size):
    """Small packets are charged for the objects around them too."""
    t = Table()
    fits = neighbors.TABLE_BYTES // (size + neighbors.PACKET_COST)
    for _ in range(2):
        t.drops.clear()
        for number in range(10_000):
            t.sends(number, size=size, address=bytes((10, 1, number % 250, 1)))
        t.after(3)
        failed = [packet for _, packets in t.failed() for packet in packets]
        assert fits - 1 <= len(failed) <= fits
        assert len(failed) + t.drops[errors.NEIGHBOR_QUEUE_FULL] == 10_000
        assert len(t.table) == 0


def forged(number):
    """One of many addresses that are not the GATEWAY."""
    return (0x0B000000 + number).to_bytes(4, "big")


def test_flood_of_forged_senders_is_bounded_and_spares_what_is_in_use():
    t = table_in(REACHABLE)
    asked = bytes((10, 0, 0, 7))
    t.sends("waits", address=asked)
    t.solicits()
    for number in range(100_000):
        t.hears(address=forged(number), create=True)
    assert len(t.table) == neighbors.MAX_ENTRIES
    assert t.state() == REACHABLE and t.state(asked) == INCOMPLETE
    assert t.state(forged(99_999)) == STALE and t.state(forged(98_000)) == FAILED
    assert t.drops == {} and t.solicits() == []
    t.hears(address=asked, solicited=True)
    assert t.released() == ["waits"]
    assert t.after(1000) == []


def test_full_table_gives_up_the_oldest_unresolved_neighbour_for_a_packet_of_ours():
    t = Table()
    for number in range(neighbors.MAX_ENTRIES + 1):
        t.sends(number, address=forged(number))
    assert len(t.table) == neighbors.MAX_ENTRIES
    assert t.state(forged(0)) == FAILED and t.state(forged(1)) == INCOMPLETE
    assert t.drops == {errors.NEIGHBOR_TABLE_FULL: 1}
    t.hears(address=GATEWAY, create=True)  # but not for hearsay
    assert t.state() == FAILED and t.state(forged(1)) == INCOMPLETE
    assert t.drops == {errors.NEIGHBOR_TABLE_FULL: 2}
    t.after(3)
    assert sorted(packet for _, (packet,) in t.failed()) == list(range(1, neighbors.MAX_ENTRIES + 1))


def test_table_full_of_neighbours_in_use_drops_until_one_lapses():
    t = Table()
    for number in range(neighbors.MAX_ENTRIES):
        t.hears(address=forged(number), create=True)
        t.table.confirmed(forged(number), t.now)
    assert t.sends() is None and t.state() == FAILED
    assert t.drops == {errors.NEIGHBOR_TABLE_FULL: 1} and t.solicits() == []
    t.after(46)  # all are over, though no packet was sent that would have noticed
    t.sends()
    assert t.state() == INCOMPLETE and len(t.table) == neighbors.MAX_ENTRIES


def test_stale_entry_that_was_used_again_is_not_the_one_to_go():
    t = Table()
    for number in range(neighbors.MAX_ENTRIES):
        t.hears(address=forged(number), create=True)
    t.sends(address=forged(0))
    t.hears(create=True)
    assert t.state(forged(0)) == DELAY and t.state(forged(1)) == FAILED and t.state() == STALE


def test_sixteen_byte_addresses_live_beside_four_byte_ones():
    t = Table()
    address = bytes.fromhex("fe80000000000000000000000000abcd")
    t.sends("six", address=address)
    t.sends("four")
    t.hears(address=address, solicited=True)
    assert t.released() == ["six"] and t.state() == INCOMPLETE and t.state(address) == REACHABLE


# Neighbour discovery's own rules. The whole way, by packets: tests/inet/test_neighbordiscovery.py.

NEIGHBOR = bytes.fromhex("fd770000000000000000000000000001")


def six(state):
    """A table whose NEIGHBOR is in *state* with MAC; INCOMPLETE has a packet waiting."""
    t = Table()
    if state == INCOMPLETE:
        t.sends("waits", address=NEIGHBOR)
    else:
        t.hears(address=NEIGHBOR, create=True)
        if state == REACHABLE:
            t.table.confirmed(NEIGHBOR, t.now)
        elif state in (DELAY, PROBE):
            t.sends(address=NEIGHBOR)
            if state == PROBE:
                t.after(5)
    t.solicits()
    assert t.state(NEIGHBOR) == state
    return t


@pytest.mark.parametrize("solicited", [False, True])
@pytest.mark.parametrize("override", [False, True])
@pytest.mark.parametrize("mac", [MAC, OTHER_MAC, None])
@pytest.mark.parametrize("state", [INCOMPLETE, REACHABLE, STALE, DELAY, PROBE], ids=NAMES[:5])
def test_an_advertisement_by_the_words_of_the_rfc(state, mac, override, solicited):
    """RFC 4861 §7.2.5, with no lock time."""
    t = six(state)
    believed = t.table.advertised(NEIGHBOR, mac, t.now, solicited=solicited, override=override)
    (entry,) = t.table
    if state == INCOMPLETE:
        assert believed == (mac is not None)
        # "REACHABLE if the Solicited flag is set, STALE otherwise"; what waited is sent, which is a use of STALE
        assert entry.state == (INCOMPLETE if mac is None else REACHABLE if solicited else DELAY)
        assert entry.mac == mac and t.released() == (["waits"] if mac else [])
    elif mac == OTHER_MAC and not override:
        assert not believed and entry.mac == MAC
        assert entry.state == (STALE if state == REACHABLE else state)
    else:
        assert believed and entry.mac == (mac or MAC)
        assert entry.state == (REACHABLE if solicited else STALE if mac == OTHER_MAC else state)


def test_an_advertisement_makes_no_entry():
    """RFC 4861 §7.2.5: "there is no need to create an entry"."""
    t = Table()
    assert not t.table.advertised(NEIGHBOR, MAC, t.now, solicited=True, override=True)
    assert len(t.table) == 0


def test_times_of_routers_are_for_ipv6_alone():
    """RFC 4861 §6.3.4: Retrans Timer and Reachable Time."""
    t = Table()
    t.table.set_times(16, 2.0, 0.25)
    t.sends("six", address=NEIGHBOR)
    t.sends("four")
    t.solicits()
    assert t.after(0.74) == [(0.25, False), (0.5, False)] and t.failed() == []
    assert t.after(0.01) == [] and t.failed() == [(NEIGHBOR, ["six"])]
    assert t.after(3) == [(0.25, False), (1.25, False)] and t.failed() == [(GATEWAY, ["four"])]
    t = six(REACHABLE)
    t.table.set_times(16, 2.0, 0.25)
    t.table.confirmed(NEIGHBOR, t.now)
    t.after(3.1)
    t.sends(address=NEIGHBOR)
    assert t.state(NEIGHBOR) == DELAY
