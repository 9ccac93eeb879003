"""RFC 9293 §3.8.6.3, §3.10.7.4: when an ACK is sent, and what for. See docs/rfc9293.md."""

import pytest

from tests.support.tcp import Sent, established

SIZE = 536  # of the peer's full segments here: what is taken for full until a larger one comes


def quiet(**how):
    """A connection that is past its first sixteen ACKs, which Linux does not delay; the peer's next number."""
    made = established(**how)
    for each in range(20):
        made.arrives("A", 1 + each * 10, 1, bytes(10))
        made.connection.consumed(10, made.now)
    made.after(0.3)
    made.events()
    return made, 201


def text(made, seq, size=SIZE, **how):
    return made.arrives("A", seq, 1, bytes(size), **how)


# -- delay ------------------------------------------------------------------------------------------------------------


def test_an_ack_is_delayed_but_not_for_long():
    """SHLD-18, MUST-40: one segment is acknowledged when nothing else has come for a while, always below half a
    second: between 40 and 200 ms as on Linux, however the peer's pauses grow."""
    made, nxt = quiet()
    for _ in range(50):
        assert text(made, nxt) == []
        ((delay, sent),) = made.after(0.6)
        nxt += SIZE
        assert sent == Sent("A", 1, nxt, 0) and 0.04 <= delay <= 0.2


def test_every_second_full_segment_is_acknowledged_at_once():
    """SHLD-19."""
    made, nxt = quiet()
    for _ in range(10):
        assert text(made, nxt) == []
        assert text(made, nxt + SIZE) == [Sent("A", 1, nxt + 2 * SIZE, 0)]
        made.connection.consumed(2 * SIZE, made.now)
        nxt += 2 * SIZE


def test_an_ack_goes_with_text_if_there_is_some():
    """SHLD-18: that is what the delay is for."""
    made, nxt = quiet()
    assert text(made, nxt) == []
    assert made.write(b"answer") == [Sent("PA", 1, nxt + SIZE, 6)]
    assert all(sent.length for _, sent in made.after(1))


# -- aggregation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8, 40])
def test_what_is_queued_is_processed_before_one_ack_is_sent(count):
    """MUST-58, MUST-59: a batch of segments in order has one ACK, of the last."""
    made, nxt = quiet()
    segments = [made.segment("A", nxt + each * SIZE, 1, bytes(SIZE)) for each in range(count)]
    assert made.batch(segments) == [Sent("A", 1, nxt + count * SIZE, 0)]


def test_text_and_fin_together_have_one_ack():
    """MUST-58, MUST-59."""
    made, nxt = quiet()
    assert made.batch([made.segment("A", nxt, 1, bytes(SIZE)), made.segment("FA", nxt + SIZE, 1)]) == [
        Sent("A", 1, nxt + SIZE + 1, 0)
    ]


def test_an_ack_that_lets_text_leave_is_not_sent_beside_it():
    """MUST-58: the peer's text and the ACK that opens the way for ours; one segment answers both."""
    made = established(window=1000)
    made.write(bytes(1000))
    made.write(b"next")
    assert made.arrives("PA", 1, 1001, b"request", window=1000) == [Sent("PA", 1001, 8, 4)]


# -- out of order -----------------------------------------------------------------------------------------------------


def test_a_segment_out_of_order_is_kept_and_acknowledged_at_once():
    """SHLD-31, MAY-13: with the number that is awaited; when that has come, all of it is acknowledged."""
    made, nxt = quiet()
    assert text(made, nxt + SIZE) == [Sent("A", 1, nxt, 0)]
    assert made.received() == b""
    assert text(made, nxt) == [Sent("A", 1, nxt + 2 * SIZE, 0)]
    assert len(made.received()) == 2 * SIZE


def test_each_segment_of_a_batch_beyond_a_hole_has_its_ack():
    """MAY-13 before MUST-58: RFC 5681 §4.2 and Linux want each duplicate ACK, as the peer counts them."""
    made, nxt = quiet()
    segments = [made.segment("A", nxt + each * SIZE, 1, bytes(SIZE)) for each in (1, 2, 3)]
    assert made.batch(segments) == [Sent("A", 1, nxt, 0)] * 3


def test_a_segment_that_was_there_before_is_acknowledged_at_once():
    """RFC 9293 §3.10.7.4, first: <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>."""
    made, nxt = quiet()
    assert text(made, nxt - 100, 100) == [Sent("A", 1, nxt, 0)]


def test_an_ack_is_never_answered():
    """Or two ends would do nothing else."""
    made, nxt = quiet()
    for _ in range(10):
        assert made.arrives("A", nxt, 1) == []
    assert made.after(10) == []
