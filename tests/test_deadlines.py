"""The lazy heap of deadlines against a plain dict, and its bounds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.deadlines import NEVER, Deadlines


class Item:
    __slots__ = ("due_at", "name", "queued_at")

    def __init__(self, name=""):
        self.name = name
        self.due_at = self.queued_at = NEVER

    def __lt__(self, other):
        raise AssertionError("items are never compared")


def test_fires_once_in_order_of_time():
    d, a, b, c = Deadlines(), Item(), Item(), Item()
    d.set(a, 3.0)
    d.set(b, 1.0)
    d.set(c, 2.0)
    assert d.next() == 1.0 and d.due(0.9) == []
    assert d.due(2.0) == [b, c] and d.due(2.0) == []
    assert d.due(9.0) == [a] and d.next() is None and len(d) == 0
    assert a.due_at == a.queued_at == NEVER


def test_ties_fire_in_the_order_in_which_they_were_queued():
    d, items = Deadlines(), [Item() for _ in range(200)]
    for item in items:
        d.set(item, 1.0)
    for item in items[::2]:
        d.cancel(item)  # more than 64: the heap is built anew once the stale ones are the majority
    d.cancel(items[1])
    assert d.due(1.0) == items[3::2]


def test_a_store_moves_a_deadline_later():
    d, a = Deadlines(), Item()
    d.set(a, 1.0)
    a.due_at = 5.0
    assert d.next() == 1.0 and d.due(1.0) == [] and d.next() == 5.0
    assert d.due(5.0) == [a]


def test_a_store_cancels():
    d, a = Deadlines(), Item()
    d.set(a, 1.0)
    a.due_at = NEVER
    assert d.due(1.0) == [] and d.next() is None


def test_moved_earlier_fires_once():
    d, a = Deadlines(), Item()
    d.set(a, 5.0)
    d.set(a, 2.0)
    assert d.next() == 2.0 and d.due(2.0) == [a]
    assert d.due(5.0) == [] and d.next() is None


def test_late_call_returns_what_moved_in_its_new_place():
    """The entry of *a* is the first in the heap, but it is due after *b*."""
    d, a, b = Deadlines(), Item("a"), Item("b")
    d.set(a, 1.0)
    d.set(b, 2.0)
    d.set(a, 3.0)
    assert d.due(10.0) == [b, a]


def test_an_item_may_be_set_again_where_a_replaced_entry_still_lies():
    d, a = Deadlines(), Item()
    d.set(a, 10.0)
    d.set(a, 5.0)
    assert d.due(5.0) == [a]
    d.set(a, 10.0)
    assert d.due(10.0) == [a] and d.due(10.0) == [] and len(d) == 0


def test_entries_are_bounded_when_deadlines_move_to_and_fro():
    """A keepalive in two hours, a delayed ACK in 40 ms, over and over: each ACK leaves an entry behind."""
    d, a = Deadlines(), Item()
    for turn in range(10_000):
        now = turn * 0.05
        d.set(a, now + 7200)
        d.set(a, now + 0.04)
        assert d.due(now + 0.04) == [a]
        assert len(d) < 200


def test_cancelled_entries_are_bounded():
    d = Deadlines()
    keep = Item()
    d.set(keep, 1.0)
    for _ in range(10_000):
        item = Item()
        d.set(item, 30.0)
        d.cancel(item)
        assert len(d) < 200
    assert d.due(1.0) == [keep]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["set", "later", "cancel", "drop", "due"]), st.integers(0, 7), st.integers(0, 40)),
    max_size=120,
)


@given(OPERATIONS)
@settings(deadline=None)
def test_agrees_with_a_dict(operations):
    d, items, now, model = Deadlines(), [Item(n) for n in range(8)], 0, {}
    for what, n, delay in operations:
        item = items[n]
        if what == "set":
            d.set(item, now + delay)
            model[n] = now + delay
        elif what == "later" and n in model:
            model[n] = item.due_at = model[n] + delay
        elif what == "cancel":
            d.cancel(item)
            model.pop(n, None)
        elif what == "drop":
            item.due_at = NEVER
            model.pop(n, None)
        elif what == "due":
            now += delay // 4
            expected = sorted(at for at in model.values() if at <= now)
            fired = d.due(now)
            assert [model[one.name] for one in fired] == expected
            for one in fired:
                del model[one.name]
        assert not model or d.next() <= min(model.values()), "early, never late"
