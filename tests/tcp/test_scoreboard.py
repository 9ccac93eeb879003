"""The scoreboard tiles what is in flight, whatever is acknowledged, reported, lost and sent again."""

from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp.scoreboard import Scoreboard

EVENT = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 5000)),
    st.tuples(st.just("ack"), st.floats(0, 1)),
    st.tuples(st.just("sack"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("lose"), st.integers(0, 20)),
    st.tuples(st.just("resend"), st.integers(1, 3000)),
    st.tuples(st.just("renege")),
)


def check(board, una, nxt):
    at = una
    for record in board.records:
        assert record.start == at < record.end
        assert not (record.sacked and (record.lost or record.again))
        at = record.end
    assert at == nxt

    def total(name):
        return sum(each.end - each.start for each in board.records if getattr(each, name))

    assert (board.size, board.sacked, board.lost, board.again) == (
        nxt - una,
        total("sacked"),
        total("lost"),
        total("again"),
    )
    assert board.in_flight >= 0


@given(st.lists(EVENT, max_size=60))
def test_the_records_tile_what_is_in_flight(events):
    board = Scoreboard()
    una = nxt = 1000
    for now, (kind, *values) in enumerate(events):
        if kind == "send":
            board.sent(nxt, nxt + values[0], 1000, now)
            nxt += values[0]
        elif kind == "ack":
            una += int((nxt - una) * values[0])
            board.acknowledge(una)
        elif kind == "sack" and nxt > una + 1:
            left = una + 1 + int((nxt - una - 1) * values[0])
            right = left + int((nxt - left) * values[1])
            if left < right:
                board.sack([(left, right)])
        elif kind == "lose" and values[0] < len(board.records):
            if not board.records[values[0]].sacked:
                board.mark_lost(board.records[values[0]])
        elif kind == "resend" and (record := board.to_resend()) is not None:
            board.resent(record, min(values[0], record.end - record.start), 1000, now)
        elif kind == "renege":
            board.forget_sacks()
        check(board, una, nxt)


def test_a_block_that_is_reported_again_is_not_new():
    board = Scoreboard()
    board.sent(0, 10_000, 1000, 0.0)
    assert sum(each.end - each.start for each in board.sack([(2000, 4000)])) == 2000
    assert board.sack([(2000, 4000)]) == []
    assert [(each.start, each.end) for each in board.sack([(2000, 5000)])] == [(4000, 5000)]
