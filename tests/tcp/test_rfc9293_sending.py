"""RFC 9293 §3.7.4, §3.8.6.2.1, §3.9.1.2: PUSH, Nagle, silly windows, TTL and DiffServ. See docs/rfc9293.md."""

import pytest

from pystack.tcp.settings import Settings
from tests.support.tcp import SYN_OPTIONS, Conversation, Sent, established, options
from tests.tcp.test_layer import Server

MSS = 1460


# -- PUSH -------------------------------------------------------------------------------------------------------------


def test_the_end_of_what_is_written_has_push():
    """MUST-60, MUST-61: no call sets PUSH, so what is written leaves as soon as it may, and its end has PSH."""
    made = established()
    assert made.write(b"a") == [Sent("PA", 1, 1, 1)]
    made.arrives("A", 1, 2)
    (sent,) = made.write(bytes(2 * MSS + 10))
    assert sent == Sent("PA", 2, 1, 2 * MSS + 10)  # inet or the device cut it: PSH is on the last segment alone


def test_what_was_written_piece_by_piece_leaves_in_full_segments_with_one_push():
    """MAY-16, SHLD-27, SHLD-28: what has to wait is put together, and only its end has PSH."""
    made = established(window=4 * MSS)
    assert made.write(bytes(4 * MSS)) == [Sent("PA", 1, 1, 4 * MSS)]
    for _ in range(30):
        assert made.write(bytes(100)) == []
    assert made.arrives("A", 1, 1 + 4 * MSS) == [Sent("PA", 1 + 4 * MSS, 1, 3000)]
    assert made.packets[0].gso_size == MSS


def test_a_long_stream_has_push_now_and_then():
    """As Linux (forced_push): after half of the largest window, so that no receiver waits for the rest of it."""
    made = established(window=4 * MSS)
    sent, acked, plain = made.write(bytes(80 * MSS)), 1, 0
    while sent:
        (each,) = sent
        plain = 0 if "P" in each.flags else plain + each.length
        assert plain <= 65_535 // 2
        acked += each.length
        sent = made.arrives("A", 1, acked, window=4 * MSS)
    assert acked == 1 + 80 * MSS and each.flags == "PA"


# -- Nagle ------------------------------------------------------------------------------------------------------------


def test_nagle_holds_a_small_segment_while_another_is_in_flight():
    """SHLD-7: the next small one leaves when all is acknowledged, or when it has become a full one."""
    made = established()
    assert made.write(b"a") == [Sent("PA", 1, 1, 1)]
    assert made.write(b"b") == made.write(b"c") == []
    assert made.arrives("A", 1, 2) == [Sent("PA", 2, 1, 2)]
    assert made.write(bytes(MSS - 1)) == []
    assert [each.length for each in made.write(b"d")] == [MSS]


def test_nagle_lets_a_small_segment_follow_full_ones():
    """Minshall's variant (RFC 9293 appendix A.3), as Linux: only small segments wait for one another."""
    made = established()
    assert sum(each.length for each in made.write(bytes(MSS))) == MSS
    assert made.write(b"a") == [Sent("PA", 1 + MSS, 1, 1)]
    assert made.write(b"b") == []


def test_the_program_can_switch_nagle_off():
    """MUST-17: TCP_NODELAY; what waited leaves at once."""
    made = established()
    made.write(b"a")
    assert made.write(b"b") == []
    assert made.does("set_option", "nodelay", True) == [Sent("PA", 2, 1, 1)]
    assert made.write(b"c") == [Sent("PA", 3, 1, 1)]


def test_the_end_of_the_stream_does_not_wait_for_nagle():
    made = established()
    made.write(b"a")
    assert made.write(b"b") == []
    assert made.does("shutdown") == [Sent("FPA", 2, 1, 1)]


def test_cork_holds_what_is_not_full_until_it_is_pulled():
    """TCP_CORK (tcp(7))."""
    made = established()
    made.does("set_option", "cork", True)
    assert made.write(b"a") == []
    assert [each.length for each in made.write(bytes(MSS))] == [MSS]
    assert made.does("set_option", "cork", False) == [Sent("PA", 1 + MSS, 1, 1)]


# -- silly windows ----------------------------------------------------------------------------------------------------


def test_the_sender_fills_no_silly_window_until_the_persist_timer_says_so():
    """MUST-38: RFC 9293 §3.8.6.2.1, (4) an override timeout for what never becomes worth sending."""
    made = established(window=8 * MSS)
    made.write(bytes(20 * MSS))
    assert made.arrives("A", 1, 1 + 8 * MSS, window=100) == []
    probes = made.after(3)
    assert probes[0][0] >= 0.2 and probes[0][1].length == 100


def test_half_of_the_largest_window_is_worth_a_segment():
    """MUST-38: (3), for peers whose window is smaller than a segment."""
    made = Conversation()
    made.connection.accept_syn(made.segment("S", 0, opts=options(**SYN_OPTIONS), window=1000), made.now)
    made.sent()
    made.arrives("A", 1, 1, window=1000)
    made.does("set_option", "nodelay", True)
    assert [each.length for each in made.write(bytes(5000))] == [1000]
    assert made.arrives("A", 1, 1001, window=499) == []
    assert [each.length for each in made.arrives("A", 1, 1001, window=500)] == [500]


# -- TTL, DiffServ ----------------------------------------------------------------------------------------------------


def test_ttl_and_diffserv_field_are_the_programs():
    """MUST-49, MUST-48; SHLD-21: also in the middle; SHLD-22: unchanged but for the two bits that are ECN's."""
    made = established()
    made.does("set_option", "ttl", 9)
    made.does("set_option", "tos", 0x28)
    made.write(b"x")
    assert (made.packets[-1].ttl, made.packets[-1].tos) == (9, 0x28)
    made.does("set_option", "tos", 0xB8 | 3)
    made.arrives("PA", 1, 2, b"y")
    made.write(b"z")
    assert [packet.tos for packet in made.packets] == [0xB8]


@pytest.mark.parametrize(("settings", "ttl", "tos"), [({}, 64, 0), ({"ttl": 7, "tos": 0x88}, 7, 0x88)])
def test_ttl_and_diffserv_field_reach_the_ip_header(settings, ttl, tos):
    """MUST-49, MUST-48, SHLD-22: from the SYN on; without a setting it is StackConfig.default_ttl."""
    server = Server(listen=False)
    server.program.connect(bytes((10, 0, 0, 1)), 99, **settings)
    server.network.settle()
    (packet,) = server.sees()
    assert (packet[8], packet[1]) == (ttl, tos)


def test_no_setting_is_shared():
    """What one program sets on its socket is nobody else's."""
    one, other = established(settings=Settings()), established(settings=Settings())
    one.does("set_option", "tos", 0x28)
    other.write(b"x")
    assert other.packets[-1].tos == 0
