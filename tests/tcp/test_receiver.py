"""The receiver: order, windows, FIN, urgent data, ECN, timestamps, memory."""

import pytest

from pystack import errors
from pystack.deadlines import NEVER
from pystack.tcp.memory import Memory
from pystack.tcp.receivebuffer import OVERHEAD
from pystack.tcp.settings import Settings
from tests.support.receiving import HEADERS, Ends


def test_text_in_order_is_delivered_as_it_lies_in_the_frame():
    ends = Ends()
    assert ends.gets(1, b"x" * 2000)
    (buffer,) = ends.receiver.take_delivered()
    assert type(buffer) is memoryview and bytes(buffer) == b"x" * 2000
    assert ends.receiver.take_delivered() == []
    assert ends.receiver.unread == ends.receiver.bytes_received == 2000
    assert ends.memory.used == 2000 + HEADERS + OVERHEAD
    ends.receiver.consumed(2000, 0.0)
    assert ends.receiver.unread == ends.memory.used == 0


def test_a_hole_holds_text_back_until_it_is_filled():
    ends = Ends()
    assert not ends.gets(1001, b"b" * 1000)
    assert ends.read() == b""
    assert ends.gets(1, b"a" * 1000)
    assert ends.read() == b"a" * 1000 + b"b" * 1000
    assert ends.at(ends.receiver.rcv_nxt) == 2001


# -- acceptability ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seq, length, acceptable",
    [
        (1, 0, True),
        (1, 1000, True),
        (2001, 0, True),  # Linux: at the right edge
        (2001, 10, True),  # of which `receive` takes nothing
        (2002, 0, False),
        (0, 0, False),
        (0, 1, True),  # a keepalive's byte: Linux answers by the duplicate
        (-500, 400, False),
    ],
)
def test_what_is_acceptable(seq, length, acceptable):
    """RFC 9293 §3.4, as Linux's tcp_sequence; the window is 2000."""
    ends = Ends(settings=Settings(receive_buffer=4000))
    assert ends.receiver.acceptable(ends.irs + seq, length) == acceptable


def test_a_closed_window_accepts_what_touches_it():
    """RFC 9293 §3.10.7.4: "special allowance should be made to accept valid ACKs, URGs and RSTs"."""
    ends = Ends(settings=Settings(receive_buffer=4000))
    ends.gets(1, 2000)
    assert ends.acks()[2] == 0
    edge = ends.irs + 2001
    assert ends.receiver.rcv_wnd == 0
    assert ends.receiver.acceptable(edge, 0)
    assert ends.receiver.acceptable(edge, 1)
    assert not ends.receiver.acceptable(edge + 1, 0)
    assert not ends.receiver.acceptable(edge - 1, 0)


def test_a_probe_of_a_closed_window_is_answered_and_not_taken():
    ends = Ends(settings=Settings(receive_buffer=4000))
    ends.gets(1, 2000)
    ends.acks()
    assert not ends.gets(2001, b"p")
    assert ends.acks() == (2001, [], 0)
    assert ends.drops[errors.WINDOW_OVERFLOW] == 1
    assert ends.drain() == bytes(2000)


def test_text_beyond_the_window_is_cut_off_and_the_rest_taken():
    ends = Ends(settings=Settings(receive_buffer=4000))
    assert ends.gets(1, b"a" * 3000)
    assert ends.read() == b"a" * 2000
    assert ends.drops[errors.WINDOW_OVERFLOW] == 1
    assert ends.receiver.ack_now


def test_a_keepalives_byte_is_acknowledged():
    """RFC 1122 §4.2.3.6."""
    ends = Ends(sack=False)
    ends.gets(1, 10)
    ends.acks()
    assert not ends.gets(10, b"?")
    assert ends.acks()[:2] == (11, [])
    assert ends.read() == bytes(10)


# -- windows ----------------------------------------------------------------------------------------------------------


def test_a_program_that_never_reads_holds_its_buffer_and_no_more():
    for size in (1, 10, 100, 536, 1460, 9000, 60_000):
        ends = Ends(settings=Settings(receive_buffer=200_000), bits=2, mss=min(size, 1460))
        taken, at = [], 1
        while ends.receiver.rcv_wnd:
            length = min(size, ends.receiver.rcv_wnd)
            ends.gets(at, bytes(length))
            at += length
            taken += ends.receiver.take_delivered()
            ends.receiver.ack_now = True
            ends.acks()
        assert at - 1 >= 65_535
        assert ends.memory.used <= 200_000 + OVERHEAD + HEADERS, size  # the last piece may end beyond
        assert not ends.drops


def test_a_reader_reopens_a_closed_window_with_one_update():
    ends = Ends(settings=Settings(receive_buffer=20_000), mss=1000)
    full = ends.fill(1100)  # long enough not to be joined
    assert full >= 10_000
    ends.receiver.take_delivered()
    ends.receiver.consumed(1099, 0.0)
    assert ends.acks() is None  # not a frame is free
    ends.receiver.consumed(1, 0.0)
    assert ends.acks()[2] >= 1000
    ends.receiver.consumed(1100, 0.0)
    assert ends.acks() is None
    ends.receiver.consumed(full - 2200, 0.0)
    assert ends.acks()[2] > 9000


def test_no_update_for_a_window_that_is_open_enough():
    ends = Ends()
    ends.gets(1, 1000)
    ends.acks()
    ends.read()
    assert ends.acks() is None


def test_no_update_after_fin():
    ends = Ends(settings=Settings(receive_buffer=20_000))
    ends.gets(ends.fill() + 1, fin=True)
    assert ends.acks()[2] == 0
    ends.read()
    assert ends.acks() is None


def test_a_window_of_a_gigabit_at_100_ms_within_some_round_trips():
    """Linux's DRS: the peer's slow start, which doubles, is never held up by the window."""
    ends = Ends(bits=10, mss=1448)
    in_flight, at, now, limited = 10 * 1448, 1, 0.1, 0
    for _round_trip in range(12):
        allowed = ends.receiver.rcv_wnd
        limited += in_flight > allowed
        size, burst_end = min(in_flight, allowed), now + 0.09
        pieces = max(1, size // 57_920)
        for _ in range(pieces):
            length = min(57_920, size)
            size -= length
            ends.gets(at, length, now=now, gso_size=1448)
            at += length
            ends.read(now)
            ends.receiver.ack_now = True
            ends.acks(now=now)
            now += 0.09 / pieces
        now = burst_end + 0.01
        in_flight *= 2
    assert limited == 0
    assert ends.receiver.rcv_wnd > 12_500_000
    assert ends.receiver.buffer.capacity <= 32 << 20


def test_under_pressure_windows_do_not_grow_and_without_memory_they_stay():
    memory = Memory(1_000_000)
    ends = Ends(memory=memory, bits=10)
    ends.receiver.buffer.grow(1_000_000)
    memory.charge(800_000)
    ends.gets(1, 1000)
    assert 60_000 < ends.acks()[2] <= 65_536
    memory.charge(200_000)
    edge = ends.receiver.rcv_adv
    ends.read()
    ends.receiver.ack_now = True
    assert ends.acks()[2] <= 65_536
    assert ends.receiver.rcv_adv == edge


# -- memory -----------------------------------------------------------------------------------------------------------


def test_without_memory_a_program_that_has_read_all_still_gets_one_segment():
    """Linux's sk_forced_mem_schedule: else nothing would ever move again."""
    memory = Memory(100_000)
    ends = Ends(memory=memory)
    memory.charge(100_000)
    assert ends.gets(1, 1000)
    assert not ends.gets(1001, 1000)
    assert ends.drops == {errors.OUT_OF_MEMORY: 1}
    assert ends.acks()[0] == 1001
    ends.read()
    assert ends.gets(1001, 1000)


def test_without_memory_what_is_out_of_order_goes_first():
    memory = Memory(100_000)
    ends = Ends(memory=memory)
    ends.gets(1, 1000)
    ends.gets(3001, 2000)
    memory.charge(100_000 - memory.used)
    assert ends.gets(1001, 2000)
    assert ends.at(ends.receiver.rcv_nxt) == 3001
    assert not ends.gets(9001, 2000)
    assert ends.drops == {errors.OUT_OF_MEMORY: 1}
    assert ends.sacks() == (3001, [])


def test_single_bytes_out_of_order_hold_at_most_the_buffer():
    """The highest go first: they will be sent again last."""
    ends = Ends(settings=Settings(receive_buffer=50_000))
    for at in range(24_000, 2, -2):
        ends.gets(at, b"x")
        assert ends.memory.used <= 50_000
    blocks = ends.sacks()[1]
    assert blocks[0] == (4, 5)
    assert ends.gets(1, bytes(20_000))
    assert ends.memory.used <= 50_000
    assert not ends.drops


def test_text_in_order_takes_the_room_of_what_is_out_of_order():
    ends = Ends(settings=Settings(receive_buffer=50_000))
    for at in range(24_000, 20_000, -2):
        ends.gets(at, b"x")
    assert ends.memory.used > 49_000
    while ends.at(ends.receiver.rcv_nxt) < 20_000:
        ends.gets(ends.at(ends.receiver.rcv_nxt), bytes(1100))
        assert ends.memory.used <= 50_000 + 1100 + HEADERS + OVERHEAD
    assert not ends.drops


def test_drop_gives_everything_back():
    ends = Ends()
    ends.gets(1, 5000)
    ends.gets(7001, 5000)
    ends.gets(20_001, 50, fin=True)
    ends.receiver.drop()
    assert ends.memory.used == 0
    ends.receiver.consumed(5000, 0.0)
    assert ends.memory.used == 0


# -- FIN --------------------------------------------------------------------------------------------------------------


def test_fin_with_the_last_text():
    ends = Ends()
    assert ends.gets(1, b"bye", fin=True)
    assert ends.receiver.fin_received and ends.read() == b"bye"
    assert ends.acks()[0] == 5
    assert ends.receiver.bytes_received == 3


def test_fin_out_of_order_waits_for_the_text_before_it():
    ends = Ends()
    ends.gets(1001, b"b" * 1000, fin=True)
    assert not ends.receiver.fin_received
    assert ends.sacks() == (1, [(1001, 2002)])  # as on Linux FIN is in its block
    ends.gets(1, b"a" * 1000)
    assert ends.receiver.fin_received
    assert ends.sacks() == (2002, [])
    assert ends.drain() == b"a" * 1000 + b"b" * 1000
    assert ends.memory.used == 0


def test_fin_alone_out_of_order():
    ends = Ends()
    ends.gets(1001, fin=True)
    assert ends.sacks() == (1, [(1001, 1002)])
    ends.gets(1, b"a" * 1000)
    assert ends.receiver.fin_received and ends.sacks() == (1002, [])
    assert ends.drain() == b"a" * 1000 and ends.memory.used == 0


def test_fin_that_was_pruned_is_remembered():
    ends = Ends(settings=Settings(receive_buffer=10_000))
    ends.gets(1001, b"b" * 1000, fin=True)
    for at in range(10, 1001, 20):
        ends.gets(at, b"x")
    assert ends.memory.used <= 10_000
    ends.gets(1, b"a" * 1000)
    ends.gets(1001, b"b" * 1000)
    assert ends.receiver.fin_received
    assert ends.memory.used == ends.receiver.buffer.charged


def test_fin_sent_again_is_acknowledged_again():
    ends = Ends()
    ends.gets(1, b"bye", fin=True)
    ends.acks()
    assert not ends.gets(1, b"bye", fin=True)
    assert ends.acks()[0] == 5
    assert ends.read() == b"bye"


def test_fin_after_text_that_is_there_already():
    ends = Ends()
    ends.gets(1, b"bye")
    assert ends.gets(1, b"bye", fin=True)
    assert ends.receiver.fin_received and ends.sacks() == (5, [(1, 4)])


def test_text_after_fin_is_ignored():
    """RFC 9293 §3.10.7.4: nothing is after FIN."""
    ends = Ends()
    ends.gets(1001, b"b" * 1000, fin=True)
    ends.gets(1501, b"c" * 2000)
    ends.gets(3001, b"c" * 1000)
    assert ends.sacks()[1][-1] == (1001, 2002)
    ends.gets(1, b"a" * 1000)
    assert ends.receiver.fin_received
    assert not ends.gets(2001, b"c" * 100) and not ends.gets(2002, b"c" * 100)
    assert ends.drain() == b"a" * 1000 + b"b" * 1000
    assert ends.memory.used == 0


def test_fin_cuts_text_that_came_from_beyond_it():
    ends = Ends()
    ends.gets(501, b"c" * 2000)
    ends.gets(1, b"a" * 1000, fin=True)
    assert ends.receiver.fin_received
    assert ends.drain() == b"a" * 500 + b"c" * 500
    assert ends.memory.used == 0


def test_fin_alone_passes_a_closed_window():
    """As on Linux: it takes no room, and some send nothing else until it is taken."""
    ends = Ends(settings=Settings(receive_buffer=4000))
    ends.gets(1, 2000)
    ends.acks()
    assert ends.gets(2001, fin=True)
    assert ends.receiver.fin_received and ends.acks() == (2002, [], 0)


def test_fin_beyond_the_window_is_not_taken():
    ends = Ends(settings=Settings(receive_buffer=4000))
    ends.gets(1, 3000, fin=True)
    assert not ends.receiver.fin_received
    ends.gets(2001, 1, fin=True)
    assert not ends.receiver.fin_received and ends.acks()[0] == 2001
    ends = Ends(settings=Settings(receive_buffer=4000))
    ends.gets(1001, 1000, fin=True)
    assert ends.sacks() == (1, [(1001, 2001)])


# -- acknowledgement --------------------------------------------------------------------------------------------------


def test_one_segment_waits_the_second_is_acknowledged():
    ends = Ends().quiet()
    ends.gets(1, 1000, now=1.0)
    assert ends.acks() is None and ends.receiver.ack_at == pytest.approx(1.04)
    ends.gets(1001, 1000, now=1.01)
    assert ends.acks(now=1.01)[0] == 2001
    assert ends.receiver.ack_at == NEVER


def test_a_super_segment_is_acknowledged_at_once():
    ends = Ends().quiet()
    ends.gets(1, 2000, gso_size=1000)
    assert ends.acks()[0] == 2001


def test_a_delayed_ack_becomes_due():
    ends = Ends().quiet()
    ends.gets(1, 100, now=1.0)
    ends.receiver.expire(1.03)
    assert ends.acks() is None
    ends.receiver.expire(1.041)
    assert ends.acks()[0] == 101 and ends.receiver.ack_at == NEVER


def test_more_text_does_not_put_the_ack_off():
    """RFC 9293 MUST-58: not more than half a second, from the first."""
    ends = Ends().quiet()
    for step in range(4):
        ends.gets(1 + 100 * step, 100, now=1 + step * 0.009, push=True)
    assert ends.acks() is None and ends.receiver.ack_at == pytest.approx(1.04)


def test_disorder_is_answered_at_once():
    """RFC 5681 §4.2: beyond a hole, into a hole, and twice."""
    ends = Ends().quiet()
    ends.gets(101, 100)
    assert ends.acks()[0] == 1
    ends.gets(301, 100)
    assert ends.acks()[0] == 1
    ends.quiet().gets(1, 100)
    assert ends.acks()[0] == 201
    ends.quiet().gets(201, 100)
    assert ends.acks()[0] == 401
    ends.quiet().gets(1, 100)
    assert ends.acks()[0] == 401


def test_in_order_text_below_another_hole_is_answered_at_once():
    ends = Ends().quiet()
    ends.gets(5001, 100)
    ends.quiet().acks()
    ends.gets(1, 100)
    assert ends.acks()[0] == 101


# -- ECN, timestamps --------------------------------------------------------------------------------------------------


def test_ece_lasts_from_ce_to_cwr():
    """RFC 3168 §6.1.3."""
    ends = Ends().quiet()
    assert not ends.receiver.ece
    ends.receiver.on_ce()
    ends.gets(1, 100)
    assert ends.receiver.ece and ends.acks() is not None
    ends.gets(101, 100)
    assert ends.receiver.ece
    ends.receiver.on_cwr()
    assert not ends.receiver.ece


def test_ts_recent_comes_from_the_segment_that_the_last_ack_points_at():
    """RFC 7323 §4.3 (2): a later one in the same flight must not be echoed."""
    ends = Ends()
    receiver, irs = ends.receiver, ends.irs
    receiver.update_ts_recent(100, irs, 0.0)
    receiver.update_ts_recent(101, irs + 1, 1.0)
    ends.gets(1, 100)
    receiver.update_ts_recent(102, irs + 101, 2.0)
    assert (receiver.ts_recent, receiver.ts_recent_at) == (101, 1.0)
    ends.acks()
    receiver.update_ts_recent(103, irs + 101, 3.0)
    assert receiver.ts_recent == 103
    receiver.update_ts_recent(90, irs + 101, 4.0)
    assert receiver.ts_recent == 103
    assert receiver.paws_rejects(102, 5.0, False) and not receiver.paws_rejects(103, 5.0, False)


# -- urgent data ------------------------------------------------------------------------------------------------------


def test_the_urgent_byte_is_taken_out_of_the_stream():
    """RFC 6093 §3.1, as Linux: the pointer points behind it."""
    ends = Ends()
    ends.receiver.urgent(ends.irs + 1 + 3)
    ends.gets(1, b"abcdef")
    assert ends.receiver.unread == 5
    assert ends.drain() == b"abdef"
    assert ends.receiver.take_urgent() == (ord("c"), 2)
    assert ends.receiver.take_urgent() is None
    assert ends.memory.used == 0


def test_the_urgent_byte_may_come_later_and_out_of_order():
    ends = Ends()
    ends.receiver.urgent(ends.irs + 1 + 2005)
    ends.gets(2001, b"abcdef")
    assert ends.receiver.take_urgent() is None
    ends.gets(1, bytes(2000))
    assert ends.receiver.take_urgent() == (ord("e"), 2004)
    assert ends.drain() == bytes(2000) + b"abcdf"
    assert ends.memory.used == 0


def test_the_urgent_byte_stays_in_line_if_the_program_wants_it():
    ends = Ends(settings=Settings(urgent_inline=True))
    ends.receiver.urgent(ends.irs + 1 + 3)
    ends.gets(1, b"abcdef")
    assert ends.drain() == b"abcdef" and ends.receiver.take_urgent() is None


def test_a_newer_urgent_pointer_takes_the_place_of_the_older():
    ends = Ends()
    ends.receiver.urgent(ends.irs + 1 + 2)
    ends.receiver.urgent(ends.irs + 1 + 4)
    ends.receiver.urgent(ends.irs + 1 + 3)
    ends.gets(1, b"abcdef")
    assert ends.receiver.take_urgent() == (ord("d"), 3)
    assert ends.drain() == b"abcef"


def test_an_urgent_pointer_into_the_past_means_nothing():
    ends = Ends()
    ends.gets(1, b"abc")
    ends.receiver.urgent(ends.irs + 1 + 3)
    ends.gets(4, b"def")
    assert ends.receiver.take_urgent() is None and ends.drain() == b"abcdef"


@pytest.mark.parametrize("offset", [0, 1999])
def test_an_urgent_byte_at_either_end(offset):
    ends = Ends()
    stream = bytes(range(200)) * 10
    ends.receiver.urgent(ends.irs + 1 + offset + 1)
    ends.gets(1, stream)
    assert ends.receiver.take_urgent() == (stream[offset], offset)
    assert ends.drain() == stream[:offset] + stream[offset + 1 :]
    assert ends.memory.used == 0
