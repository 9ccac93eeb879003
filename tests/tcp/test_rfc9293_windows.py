"""RFC 9293: windows, PUSH, Nagle, silly windows, urgent data, ACKs. docs/rfc9293.md names these tests."""

import pytest

from pystack import transport
from tests.support.tcp import Sent, established, half_open, options

MSS = 1460


def data(conversation, seq, size, ack=1, **how):
    """The peer's text arrives."""
    return conversation.arrives("A", seq, ack, bytes(size), **how)


def quiet(**how):
    """Established, and past the time of quick ACKs."""
    made = established(**how)
    for each in range(20):
        data(made, 1 + each * 10, 10)
        made.connection.consumed(10, made.now)
    made.after(0.3)
    made.events()
    return made, 201


# -- the window -------------------------------------------------------------------------------------------------------


def test_the_window_is_an_unsigned_number():
    """MUST-1: 65,535 is a large window, not -1."""
    made = established(window=0xFFFF)
    made.write(bytes(10 * MSS))
    assert made.connection.sender.snd_wnd == 0xFFFF


def test_the_window_is_kept_in_32_bits_and_more():
    """REC-1, and RFC 7323's scale."""
    made = established(options(mss=MSS, window_scale=14, sack_permitted=True), window=0xFFFF)
    assert made.connection.sender.snd_wnd == 0xFFFF << 14


def test_our_right_edge_never_moves_left():
    """SHLD-14: not when the buffer gets smaller, nor when the program reads nothing."""
    made = established()
    edge = 0
    seq = 1
    for size in (1000, 100, 1, MSS, 5000, 3):
        data(made, seq, size)
        seq += size
        made.does("set_option", "receive_buffer", 4096)
        receiver = made.connection.receiver
        assert receiver.rcv_adv >= edge
        edge = receiver.rcv_adv


def test_a_window_that_shrinks_stops_new_data_and_lets_old_be_sent_again():
    """SHLD-15, SHLD-16, MUST-34; SHLD-17: and the connection does not time out for it."""
    made = established(window=10 * MSS)
    assert sum(each.length for each in made.write(bytes(20 * MSS))) == 10 * MSS
    assert made.arrives("A", 1, 1 + MSS, window=MSS) == []
    again = [sent for _, sent in made.after(3)]
    assert again and all(sent.seq < 1 + 2 * MSS or sent.seq + sent.length <= 1 + 10 * MSS for sent in again)
    assert made.state == "ESTABLISHED"


def test_a_zero_window_is_probed_for_ever_with_growing_pauses():
    """MUST-35, MUST-36, MUST-37, SHLD-29, SHLD-30: a peer that answers may keep its window closed."""
    made = established(window=0)
    assert made.write(b"x") == []
    times = []
    for _ in range(20):
        due = made.deadline()
        assert due is not None
        sent = made.after(due)
        assert [each for _, each in sent] == [Sent("A", 0, 1, 0)]
        times.append(due)
        made.arrives("A", 1, 1, window=0)
    assert times[0] <= 1.0 and times[1] == pytest.approx(2 * times[0])
    assert max(times) <= 120 and made.state == "ESTABLISHED"
    assert made.arrives("A", 1, 1, window=100) == [Sent("PA", 1, 1, 1)]


def test_a_zero_window_that_nobody_answers_ends_by_r2():
    made = established(window=0)
    made.write(b"x")
    made.after(4000)
    assert made.state == "CLOSED" and made.events()[-1] == transport.Failed(1, "timed_out")


def test_rst_and_urg_count_with_our_window_closed():
    """MUST-66."""
    for flags in ("R", "UA"):
        made = closed_window()
        nxt = made.connection.receiver.rcv_nxt - made.connection.receiver.irs
        made.arrives(flags, nxt, 1, urgent=1)
        assert made.state == ("CLOSED" if flags == "R" else "ESTABLISHED")
        if flags == "UA":
            assert made.drops["not_acceptable"] == 0


def closed_window():
    """We offer nothing any more."""
    made = half_open()
    made.connection.settings.receive_buffer = 4096
    made.arrives("A", 1, 1)
    seq = 1
    while made.connection.receiver.rcv_wnd and seq < 200_000:
        size = min(made.connection.receiver.rcv_wnd, MSS)
        data(made, seq, size)
        seq += size
    assert not made.connection.receiver.rcv_wnd
    made.events()
    return made


# -- PUSH, Nagle, silly windows ----------------------------------------------------------------------------------------


def test_the_last_segment_of_a_write_has_push_and_the_others_of_it_have_not():
    """MUST-60, MUST-61, SHLD-27, SHLD-28: what is buffered leaves in full segments, PSH on the last."""
    made = established()
    made.does("set_option", "nodelay", True)
    sent = made.write(bytes(2 * MSS + 10))
    assert sum(each.length for each in sent) == 2 * MSS + 10
    assert [each.flags for each in sent][-1] == "PA"


def test_nagle_holds_a_small_segment_while_another_is_in_flight():
    """SHLD-7; MUST-17: TCP_NODELAY lets it go."""
    made = established()
    assert made.write(b"a") == [Sent("PA", 1, 1, 1)]
    assert made.write(b"b") == []
    assert made.arrives("A", 1, 2) == [Sent("PA", 2, 1, 1)]
    made.does("set_option", "nodelay", True)
    assert made.write(b"c") == [Sent("PA", 3, 1, 1)]


def test_cork_holds_what_is_not_full_until_it_is_pulled():
    """TCP_CORK (tcp(7))."""
    made = established()
    made.does("set_option", "cork", True)
    assert made.write(b"a") == []
    assert made.does("set_option", "cork", False) == [Sent("PA", 1, 1, 1)]


def test_the_sender_fills_no_small_window():
    """MUST-38: not less than a full segment, unless it is half of the largest window; then the persist timer does."""
    made = established(window=8 * MSS)
    made.write(bytes(20 * MSS))
    made.arrives("A", 1, 1 + 8 * MSS, window=100)
    assert made.sent() == []
    probes = [sent for _, sent in made.after(3)]
    assert probes[0].length == 100


def test_the_receiver_opens_its_window_in_large_steps():
    """MUST-39: reading single bytes announces nothing; reading a lot does, at once."""
    made = closed_window()
    assert made.does("consumed", 1) == []
    unread = made.connection.receiver.unread
    assert made.does("consumed", unread)[0].flags == "A"
    assert made.window_sent() > 0


# -- urgent data ------------------------------------------------------------------------------------------------------


def test_urgent_data_is_sent_with_a_pointer_behind_it():
    """MUST-30, MUST-62 (Linux, RFC 6093: the octet that follows)."""
    made = established()
    made.does("set_option", "nodelay", True)
    assert made.write(b"abc", True) == [Sent("PAU", 1, 1, 3)]
    assert made.packets[-1].header[18:20] == b"\0\x03"
    made.arrives("A", 1, 4)
    assert made.write(b"d") == [Sent("PA", 4, 1, 1)]


def test_urgent_data_of_any_length_is_told_of_with_its_place():
    """MUST-31, MUST-32, MUST-33."""
    made = established()
    made.arrives("PAU", 1, 1, b"x" * 1000, urgent=1000)
    urgent = [event for event in made.events() if type(event) is transport.UrgentReceived]
    assert urgent == [transport.UrgentReceived(1, ord("x"), 999)]


# -- ACKs -------------------------------------------------------------------------------------------------------------


def test_acks_are_delayed_but_not_long_and_every_second_full_segment_is_acknowledged():
    """SHLD-18, MUST-40, SHLD-19, MUST-58."""
    made, nxt = quiet()
    assert data(made, nxt, 536) == []
    later = made.after(0.5)
    assert [sent for _, sent in later] == [Sent("A", 1, nxt + 536, 0)] and later[0][0] < 0.5
    nxt += 536
    assert data(made, nxt, 536) == []
    assert data(made, nxt + 536, 536) == [Sent("A", 1, nxt + 1072, 0)]


def test_a_segment_out_of_order_is_kept_and_acknowledged_at_once():
    """SHLD-31, MAY-13; MUST-59: all that is queued is processed before one ACK is sent."""
    made, nxt = quiet()
    assert data(made, nxt + 100, 100) == [Sent("A", 1, nxt, 0)]
    assert data(made, nxt, 100) == [Sent("A", 1, nxt + 200, 0)]
    segments = [made.segment("A", nxt + 200 + each * 100, 1, bytes(100)) for each in range(8)]
    assert len(made.batch(segments)) <= 1


# -- sending ----------------------------------------------------------------------------------------------------------


def test_ttl_and_tos_are_the_programs():
    """MUST-49, MUST-48, SHLD-21, SHLD-22: as set, also in the middle, and passed on unchanged."""
    made = established()
    made.does("set_option", "ttl", 9)
    made.does("set_option", "tos", 0x28)
    made.write(b"x")
    assert (made.packets[-1].ttl, made.packets[-1].tos) == (9, 0x28)


def test_karn_and_the_backoff():
    """MUST-18, MUST-19: a retransmitted segment gives no sample without timestamps; each timeout doubles the next."""
    made = established()
    made.write(b"x")
    times = [at for at, sent in made.after(20) if sent.length]
    pauses = [later - sooner for sooner, later in zip(times[-3:], times[-2:], strict=False)]
    assert pauses[1] == pytest.approx(2 * pauses[0])
    before = made.connection.sender.rtt.srtt
    made.arrives("A", 1, 2)
    assert made.connection.sender.rtt.srtt == before


def test_the_first_flight_is_ten_segments_and_grows():
    """MUST-19: slow start, from RFC 6928's window."""
    made = established(window=0xFFFF, opts=options(mss=MSS, window_scale=7, sack_permitted=True))
    sent = made.write(bytes(60 * MSS))
    assert sum(each.length for each in sent) == 10 * MSS
    sent = made.arrives("A", 1, 1 + 10 * MSS, at=made.now + 0.1)
    assert sum(each.length for each in sent) == 20 * MSS
