"""Out of order text: blocks, overlaps, recency, charges."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.tcp.reassembly import FIN, Reassembly
from pystack.tcp.receivebuffer import OVERHEAD

STREAM = bytes(range(256)) * 64
BASE = (1 << 32) - 2000


def insert(r, at, data, frame_size=None):
    return r.insert(at, memoryview(data), frame_size or len(data) + 54)


def content(pieces):
    return b"".join(bytes(buffer) for buffer, _, _ in pieces)


def test_pieces_that_touch_become_one_block():
    r = Reassembly()
    insert(r, 100, b"a" * 10)
    insert(r, 120, b"c" * 10)
    assert r.ranges() == [(100, 110), (120, 130)]
    insert(r, 110, b"b" * 10)
    assert r.ranges() == [(100, 130)]
    assert r.duplicate is None
    assert r.pop_ready(99) == []
    assert content(r.pop_ready(100)) == b"a" * 10 + b"b" * 10 + b"c" * 10
    assert not r and r.charged == 0


def test_of_bytes_that_come_twice_the_first_are_kept():
    r = Reassembly()
    insert(r, 110, b"1" * 10)
    insert(r, 130, b"1" * 10)
    insert(r, 100, b"2" * 50)
    assert r.duplicate == (110, 120)
    assert r.ranges() == [(100, 150)]
    assert content(r.pop_ready(100)) == b"2" * 10 + b"1" * 10 + b"2" * 10 + b"1" * 10 + b"2" * 10


def test_what_is_there_already_costs_nothing_but_is_news():
    """RFC 2018 §4: the block that the last segment is in comes first."""
    r = Reassembly()
    insert(r, 100, b"a" * 50)
    insert(r, 200, b"b" * 50)
    assert insert(r, 110, b"x" * 20) == 0
    assert r.duplicate == (110, 130)
    assert r.blocks(4) == [(100, 150), (200, 250)]


def test_recency_decides_the_order_and_the_choice_of_blocks():
    r = Reassembly()
    for at in range(100, 2100, 100):
        insert(r, at, b"a" * 10)
    assert r.blocks(3) == [(2000, 2010), (1900, 1910), (1800, 1810)]
    insert(r, 510, b"b" * 10)
    assert r.blocks(3) == [(500, 520), (2000, 2010), (1900, 1910)]
    insert(r, 2010, b"b" * 10)
    assert r.blocks(3) == [(2000, 2020), (500, 520), (1900, 1910)]
    r.prune(5 * (OVERHEAD + 10), 0)
    assert r.blocks(3) == [(500, 520), (1500, 1510), (1400, 1410)]
    for at in range(100, 1000, 100):
        r.pop_ready(at)
    assert r.blocks(10) == [(1500, 1510), (1400, 1410), (1300, 1310), (1200, 1210), (1100, 1110), (1000, 1010)]


def test_long_text_is_not_copied_and_short_text_pins_no_frame():
    r = Reassembly()
    frame = bytes(5000)
    view = memoryview(frame)[100:4900]
    assert r.insert(100, view, len(frame)) == 5000 + OVERHEAD
    assert r.insert(10_000, memoryview(frame)[:50], 5000) == 50 + OVERHEAD
    assert r.insert(20_000, memoryview(frame)[:2000], 5000) == 2000 + OVERHEAD
    assert r.pop_ready(100)[0][0].obj is frame
    assert type(r.pop_ready(10_000)[0][0]) is bytearray


def test_single_bytes_that_continue_each_other_are_joined():
    r = Reassembly()
    for at in range(1000):
        insert(r, 100 + at, b"x", 60)
    assert r.charged == 1000 + OVERHEAD


def test_pruning_takes_the_highest_and_stops_above_a_number():
    r = Reassembly()
    for at in (1000, 4000, 7000):
        insert(r, at, bytes(2000))
    each = 2054 + OVERHEAD
    assert r.prune(1, 0) == each
    assert r.ranges() == [(1000, 3000), (4000, 6000)]
    assert r.prune(10 * each, 4000) == each
    assert r.prune(10 * each, 1001) == 0
    assert r.ranges() == [(1000, 3000)]
    assert r.charged == each


def test_the_end_of_the_stream_cuts_what_was_beyond():
    r = Reassembly()
    insert(r, 1000, b"a" * 2000)
    insert(r, 4000, b"b" * 2000)
    assert r.cut(2500) == 2054 + OVERHEAD
    assert r.ranges() == [(1000, 2500)]
    r.insert_fin(2500)
    assert r.ranges() == [(1000, 2501)]
    pieces = r.pop_ready(1000)
    assert content(pieces) == b"a" * 1500
    assert pieces[-1][0] is FIN and pieces[-1][1] == 1
    assert r.charged == 0


def test_fin_alone_is_a_block_of_one_number():
    """As on Linux: the peer learns that it need not send it again."""
    r = Reassembly()
    r.insert_fin(500)
    assert r.blocks(4) == [(500, 501)]
    r.insert_fin(500)
    assert r.duplicate == (500, 501)
    insert(r, 400, b"a" * 100)
    assert r.ranges() == [(400, 501)]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 4000), st.one_of(st.integers(1, 30), st.integers(1, 3000)), st.integers(0, 9)),
        max_size=40,
    )
)
def test_random_inserts_equal_a_map_of_bytes(steps):
    """Blocks are sorted, disjoint, not adjacent; the first of each byte is kept; charges come to nothing."""
    r = Reassembly()
    held = {}
    for turn, (at, size, action) in enumerate(steps):
        data = bytes((turn + i) & 0xFF for i in range(size))
        if action == 0 and held:
            before = r.charged
            assert r.prune(size, BASE + at) == before - r.charged
            highest = r.ranges()[-1][1] if r else 0
            held = {key: value for key, value in held.items() if key < highest}
        elif action == 1:
            r.cut(BASE + at)
            held = {key: value for key, value in held.items() if key < BASE + at}
        elif action == 2 and held:
            left, right = r.ranges()[0]
            assert content(r.pop_ready(left)) == bytes(held.pop(key) for key in range(left, right))
        else:
            numbers = range(BASE + at, BASE + at + size)
            there = [key for key in numbers if key in held]
            insert(r, BASE + at, data)
            assert (r.duplicate is not None) == bool(there)
            if there:
                left, right = r.duplicate
                assert left == there[0] and all(key in held for key in range(left, right))
                assert right == numbers[-1] + 1 or right not in held
            for key, byte in zip(numbers, data, strict=True):
                held.setdefault(key, byte)
            left, right = r.blocks(1)[0]
            assert left <= BASE + at and right >= BASE + at + size
        ranges = r.ranges()
        assert {key for left, right in ranges for key in range(left, right)} == set(held)
        assert all(a[1] < b[0] for a, b in pairwise(ranges))
        assert bool(r) == bool(held)
        blocks = r.blocks(4)
        assert len(blocks) == min(4, len(ranges)) == len(set(blocks)) and set(blocks) <= set(ranges)
    for left, right in r.ranges():
        assert content(r.pop_ready(left)) == bytes(held[key] for key in range(left, right))
    assert r.charged == 0
