"""Counters of many parts as one."""

from collections import Counter

from pystack.runtime import stats


class Part:
    def __init__(self, counts, drops):
        self.counts = Counter(counts)
        self.drops = Counter(drops)


class OnlyDrops:
    drops = Counter({"queue_full": 2})


def test_parts_of_one_name_add_up_and_zeros_are_left_out():
    parts = {
        "inet": [Part({"InReceives": 3, "OutRequests": 0}, {"bad_checksum": 1, "no_route": 0}), OnlyDrops()],
        "eth0": [OnlyDrops(), OnlyDrops()],
        "udp": [Part({}, {})],
    }
    assert stats.snapshot(parts) == {
        "inet": {"InReceives": 3, "drop.bad_checksum": 1, "drop.queue_full": 2},
        "eth0": {"drop.queue_full": 4},
        "udp": {},
    }


def test_a_snapshot_does_not_change_afterwards():
    part = Part({"turns": 1}, {})
    before = stats.snapshot({"a": [part]})
    part.counts["turns"] += 1
    assert before == {"a": {"turns": 1}}


def test_text_has_one_line_a_counter():
    lines = stats.format({"inet": {"b": 2, "a": 1}, "udp": {}, "eth0": {"drop.x": 30}}).splitlines()
    assert [line.split() for line in lines] == [["inet", "a", "1"], ["inet", "b", "2"], ["eth0", "drop.x", "30"]]
    assert len({len(line) for line in lines}) == 1
