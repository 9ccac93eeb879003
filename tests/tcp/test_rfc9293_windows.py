"""RFC 9293 §3.8.6: the peer's window and ours, shrinking, closed, probed. See docs/rfc9293.md."""

from itertools import pairwise

import pytest

from pystack import transport
from pystack.wire import tcp
from pystack.wire.seq import MASK
from tests.support.tcp import IRS, Sent, established, half_open, options

MSS = 1460
HOUR = 3600.0


def closed_window(**how):
    """A connection that offers nothing any more, as its program reads nothing; and the peer's next number."""
    made = half_open(**how)
    made.connection.settings.receive_buffer = 4096
    made.arrives("A", 1, 1)
    seq = 1
    while made.connection.receiver.rcv_wnd and seq < 200_000:
        size = min(made.connection.receiver.rcv_wnd, MSS)
        made.arrives("A", seq, 1, bytes(size))
        seq += size
    assert made.window_sent() == 0
    made.events()
    return made, seq


def offered(made):
    """The right edge that the last packet offers, counted from the peer's first byte."""
    header = bytes(made.packets[-1].header)
    return (tcp.parse(header, 0, 20)[3] - IRS - 1 & MASK) + (made.window_sent() << made.connection.terms.window_scale)


def answered_for(made, seconds, ack, window=0):
    """The peer answers whatever comes by this ACK for so long; returns what was sent, with its times."""
    start, found = made.now, []
    while made.now < start + seconds and not made.connection.over:
        due = made.deadline()
        if due is None:
            break
        found += [(made.now - start, sent) for _, sent in made.after(due)]
        made.arrives("A", 1, ack, window=window)
    return found


# -- the numbers ------------------------------------------------------------------------------------------------------


def test_the_window_is_an_unsigned_number():
    """MUST-1: 65,535 is a large window, not -1; so is one with its upper bit set."""
    for window in (0xFFFF, 0x8000):
        made = established(window=window)
        assert sum(each.length for each in made.write(bytes(9 * MSS))) == 9 * MSS


def test_a_scaled_window_is_no_less_a_number():
    """REC-1: 16 bits and a scale of 14 are 30 bits; both windows are Python's ints."""
    made = established(options(mss=MSS, window_scale=14, sack_permitted=True), window=0xFFFF)
    assert made.connection.sender.snd_wnd == 0xFFFF << 14


# -- our window -------------------------------------------------------------------------------------------------------


def test_our_right_edge_never_moves_left():
    """SHLD-14: not when the buffer gets smaller, nor when the program reads nothing. Only what the scale cannot say is
    rounded down when the buffer is full, and taken all the same (RFC 7323 §2.4)."""
    made = established()
    unit = 1 << made.connection.terms.window_scale
    seq, edges = 1, [0]
    for size in (1000, 100, 1, MSS, 5000, 3):
        assert len(made.arrives("A", seq, 1, bytes(size))) == 1
        seq += size
        edges.append(offered(made))
        assert edges[-1] > max(edges) - unit
        made.does("set_option", "receive_buffer", 4096)
    assert max(edges) > 60_000  # as the SYN had promised
    made.arrives("A", seq, 1, bytes(max(edges) - seq + 1))
    assert len(made.received()) == max(edges)


def test_our_window_may_stay_closed_for_ever():
    """MAY-8: each probe, with an old number or a byte, is answered with the closed window, and nothing else happens."""
    made, seq = closed_window()
    for _ in range(120):
        made.now += 30.0
        assert made.arrives("A", seq - 1, 1) == [Sent("A", 1, seq, 0)] and made.window_sent() == 0
        assert made.arrives("A", seq, 1, b"x") == [Sent("A", 1, seq, 0)] and made.window_sent() == 0
    assert made.received() == b"" and made.state == "ESTABLISHED"


def test_the_receiver_opens_its_window_in_large_steps():
    """MUST-39: reading single bytes announces nothing; reading a lot does, at once."""
    made, seq = closed_window()
    for _ in range(100):
        assert made.does("consumed", 1) == []
    assert made.does("consumed", made.connection.receiver.unread) == [Sent("A", 1, seq, 0)]
    assert offered(made) - seq + 1 >= 1024  # a quarter of the buffer, as half of it is for what the frames cost


def test_rst_counts_with_our_window_closed():
    """MUST-66."""
    made, seq = closed_window()
    assert made.arrives("R", seq) == [] and made.state == "CLOSED"
    assert made.events() == [transport.Failed(1, "reset")]


def test_urg_counts_with_our_window_closed():
    """MUST-66: the pointer is remembered; its byte is urgent when it comes, with or without URG."""
    made, seq = closed_window()
    made.arrives("UA", seq, 1, urgent=3)
    made.does("consumed", made.connection.receiver.unread)
    made.arrives("PA", seq, 1, b"abcde")
    told = made.events()
    assert transport.UrgentReceived(1, ord("c"), seq - 1 + 2) in told
    assert [bytes(b"".join(each.buffers)) for each in told if type(each) is transport.Received] == [b"abde"]


def test_an_ack_counts_with_our_window_closed():
    """RFC 9293 §3.10.7.4: valid ACKs are taken however small the window is."""
    made, seq = closed_window()
    assert made.write(b"x") == [Sent("PA", 1, seq, 1)]
    made.arrives("A", seq, 2)
    assert made.connection.sender.snd_una == made.connection.sender.snd_nxt


# -- the peer's window shrinks ----------------------------------------------------------------------------------------


def shrunk(window, **how):
    """The peer had offered ten segments, has got them, acknowledges one, and takes its window back."""
    made = established(window=10 * MSS, **how)
    assert sum(each.length for each in made.write(bytes(20 * MSS))) == 10 * MSS
    assert made.arrives("A", 1, 1 + MSS, window=window) == []
    return made


def test_a_window_that_shrinks_stops_new_data():
    """SHLD-15, MUST-34: nothing beyond what was sent before, however long it stays so."""
    made = shrunk(2 * MSS)
    assert made.write(b"more") == []
    assert max(sent.seq + sent.length for sent in (each for _, each in made.after(60))) <= 1 + 10 * MSS


def test_old_data_within_a_smaller_window_is_sent_again():
    """SHLD-16."""
    made = shrunk(2 * MSS)
    again = [sent for _, sent in made.after(1) if sent.length]
    assert again[-1].seq == 1 + MSS and again[-1].length <= 2 * MSS


def test_old_data_beyond_a_smaller_window_is_sent_again_if_it_is_the_first():
    """MAY-7: as Linux, the first segment is sent even if it does not fit any more, and nothing beyond it."""
    made = shrunk(0)
    again = {sent.seq for _, sent in made.after(20) if sent.length and sent.seq < 1 + 9 * MSS}
    assert again == {1 + MSS}


def test_a_peer_that_answers_is_not_given_up_for_a_window_that_it_took_back():
    """SHLD-17, MUST-34, MUST-37; Linux's tcp_retransmit_timer, which counts only silence if the window is zero."""
    made = shrunk(0)
    sent = answered_for(made, 2 * HOUR, 1 + MSS)
    assert made.state == "ESTABLISHED"
    assert max(later[0] - sooner[0] for sooner, later in pairwise(sent)) < 121
    made.arrives("A", 1, 1 + 10 * MSS)
    assert made.connection.sender.snd_nxt > made.connection.sender.iss + 1 + 10 * MSS


def test_a_peer_that_is_silent_is_given_up_for_a_window_that_it_took_back():
    """R2 holds for a peer that does not answer."""
    made = shrunk(0)
    made.after(2 * HOUR)
    assert made.state == "CLOSED" and made.events()[-1] == transport.Failed(1, "timed_out")


def test_an_ack_stays_within_a_smaller_window():
    """MUST-34, Linux's tcp_acceptable_seq: with a number beyond its right edge the peer would drop our ACK and RST."""
    made = shrunk(2 * MSS)
    assert made.arrives("PA", 1, 1 + MSS, b"x" * 10, window=2 * MSS) == [Sent("A", 1 + 3 * MSS, 11, 0)]
    assert made.does("abort") == [Sent("RA", 1 + 3 * MSS, 11, 0)]


def test_an_ack_has_the_next_number_in_a_window_that_is_only_rounded_down():
    """A peer with a scale of 7 cannot say 10,001 bytes but 9,984: that is no shrinking."""
    made = established(options(mss=MSS, window_scale=7, sack_permitted=True), window=100)
    made.write(bytes(8 * MSS))
    window = (100 * 128 - 1 - MSS) >> 7
    (sent,) = made.arrives("PA", 1, 1 + MSS, b"x", window=window)
    assert sent.seq == 1 + 8 * MSS


# -- the peer's window is closed --------------------------------------------------------------------------------------


def test_a_zero_window_is_probed_for_ever_with_growing_pauses():
    """MUST-35, MUST-36, MUST-37, SHLD-29, SHLD-30: a peer that answers may keep its window closed."""
    made = established(window=0)
    rto = made.connection.sender.rtt.rto
    assert made.write(b"x") == []
    probes = answered_for(made, 2 * HOUR, 1)
    assert made.state == "ESTABLISHED" and len(probes) > 60
    # As Linux's: an old number and no text, which must be answered all the same.
    assert {sent for _, sent in probes} == {Sent("A", 0, 1, 0)}
    times = [0.0, *(at for at, _ in probes)]
    pauses = [later - sooner for sooner, later in pairwise(times)]
    assert pauses[0] == pytest.approx(rto)
    assert pauses[:8] == pytest.approx([rto * 2**each for each in range(8)]) and max(pauses) == pytest.approx(120)
    assert made.arrives("A", 1, 1, window=100) == [Sent("PA", 1, 1, 1)]


def test_a_zero_window_that_nobody_answers_ends_by_r2():
    """MUST-37 is for a peer that answers."""
    made = established(window=0)
    made.write(b"x")
    probes = made.after(4000)
    assert made.state == "CLOSED" and made.events()[-1] == transport.Failed(1, "timed_out")
    assert len(probes) == 15  # tcp_retries2


def test_a_window_that_opens_between_two_probes_is_used_at_once():
    made = established(window=0)
    made.write(bytes(3 * MSS))
    made.after(1)
    assert [each.length for each in made.arrives("A", 1, 1, window=65_535)] == [3 * MSS]


def test_an_older_segment_does_not_close_the_window_again():
    """SND.WL1, SND.WL2 (RFC 9293 §3.10.7.4): the window of a segment that was overtaken is not taken."""
    made = established(window=65_535)
    made.arrives("PA", 1, 1, b"x", window=5000)
    made.arrives("A", 1, 1, window=0)  # sent before the text
    assert [each.length for each in made.write(bytes(2000))] == [2000]
    assert made.connection.sender.snd_wnd == 5000


@pytest.mark.parametrize("queued", [b"", b"last words"])
def test_the_end_of_the_stream_waits_for_a_closed_window_as_long_as_the_peer_answers(queued):
    """MUST-36, MUST-37 hold for FIN as well: it takes a number, so it needs a window, and is probed for (Linux's
    tcp_snd_wnd_test)."""
    made = established(window=0)
    made.write(queued)
    assert made.does("shutdown") == []
    probes = answered_for(made, 2 * HOUR, 1)
    assert made.state == "FIN-WAIT-1" and {sent for _, sent in probes} == {Sent("A", 0, 1, 0)}
    (sent,) = made.arrives("A", 1, 1)
    assert "F" in sent.flags and sent.length == len(queued)
    made.arrives("A", 1, 2 + len(queued))
    assert made.state == "FIN-WAIT-2"


def test_the_end_of_the_stream_does_not_leave_beyond_the_window():
    """SND.UNA + SND.WND is the end for FIN too."""
    made = established(window=1000)
    made.does("set_option", "nodelay", True)
    made.write(bytes(1000))
    assert made.does("shutdown") == []
    assert made.arrives("A", 1, 1001, window=1) == [Sent("FA", 1001, 1, 0)]


def test_an_orphan_is_not_kept_for_ever_by_a_closed_window():
    """Linux's tcp_probe_timer against MUST-37, as RFC 6429 allows: who has closed no longer waits for a peer that only
    answers, once tcp_orphan_retries probes were sent and they cannot get rarer."""
    made = established(window=0)
    made.write(b"x")
    made.does("close", None)
    probes = answered_for(made, 2 * HOUR, 1)
    assert made.state == "CLOSED" and made.memory.used == 0
    assert len(probes) >= 8 and 180 < made.now - 100 < 900
