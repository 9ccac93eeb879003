"""What is advertised: edges, scale, silly windows, updates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.config import TcpConfig
from pystack.tcp.receivewindow import ReceiveWindow, initial_window, initial_window_scale
from pystack.tcp.settings import Settings


class Room:
    """A ReceiveBuffer as far as the window knows it."""

    def __init__(self, room, capacity=131_072):
        self.left = room
        self.capacity = capacity

    def room(self):
        return self.left


def make(room=60_000, bits=0, mss=1000, edge=60_000):
    buffer = Room(room)
    return ReceiveWindow(buffer, bits, mss, edge), buffer


@pytest.mark.parametrize(
    "settings_, window, scale",
    [
        ({}, 65_535, 10),
        ({"receive_buffer": 20_000}, 10_000, 10),
        ({"window_clamp": 3000}, 3000, 0),
        ({"receive_buffer": 1 << 30}, 65_535, 14),
    ],
)
def test_what_a_syn_offers(settings_, window, scale):
    """Linux's tcp_select_initial_window: the scale is for the most that the buffer may become."""
    config, chosen = TcpConfig(), Settings(**settings_)
    assert initial_window(config, chosen) == window
    assert initial_window_scale(config, chosen) == scale


def test_the_largest_window_can_be_said_with_the_scale():
    config, chosen = TcpConfig(), Settings()
    assert 0xFFFF << initial_window_scale(config, chosen) >= config.tcp_rmem[2]


def test_the_edge_stays_while_the_gain_is_silly():
    """RFC 9293 §3.8.6.2.2: less than a segment."""
    window, buffer = make()
    buffer.left = 59_000 + 999
    assert window.advertise(1000) == 59_000
    buffer.left = 59_000 + 1000
    assert window.advertise(1000) == 60_000
    assert window.adv == 61_000


def test_a_small_buffer_opens_by_half_of_it():
    window, buffer = make(room=0, mss=1460, edge=0)
    buffer.capacity = 2000
    buffer.left = 499
    assert window.advertise(0) == 0
    buffer.left = 500
    assert window.advertise(0) == 500


def test_a_window_never_shrinks_when_room_does():
    """RFC 9293 §3.8.6: SHLD-14."""
    window, buffer = make()
    buffer.left = 0
    assert window.advertise(0) == 60_000
    assert window.advertise(60_000) == 0
    assert window.adv == 60_000


def test_windows_are_multiples_of_the_scale_rounded_up_while_there_is_room():
    """As Linux: the edge does not go left by rounding."""
    window, buffer = make(room=30_000, bits=10, mss=10_000, edge=20_480)
    assert window.advertise(1) == 20_480
    assert window.adv == 20_481
    buffer.left = 20_480
    assert window.advertise(2) == 20_480


def test_single_bytes_fill_a_window_whatever_the_scale():
    """RFC 7323 §2.4: without room it is rounded down, and the gap is taken still."""
    window, buffer = make(room=2048, bits=10, mss=1000, edge=2048)
    for nxt in range(2048):
        buffer.left = 2048 - nxt
        assert nxt + window.advertise(nxt) <= 2048
        assert window.adv == 2048
    assert window.advertise(1025) == 0


def test_no_window_beyond_what_the_header_can_say():
    window, _ = make(room=1 << 20, bits=0)
    assert window.advertise(0) == 65_535
    window, _ = make(room=1 << 20, bits=2)
    assert window.advertise(0) == 65_535 << 2


def test_an_update_is_due_when_the_window_doubles():
    window, buffer = make()
    buffer.left = 10_000
    assert window.advertise(50_000) == 10_000
    buffer.left = 19_999
    assert not window.update_due(50_000)
    buffer.left = 20_000
    assert window.update_due(50_000)


def test_a_closed_window_reopens_with_a_segments_room():
    window, buffer = make(edge=1000)
    buffer.left = 999
    assert not window.update_due(1000)
    buffer.left = 1000
    assert window.update_due(1000)


def test_a_window_closed_by_rounding_reopens_too():
    window, buffer = make(room=552, bits=10, mss=1460, edge=552)
    assert window.advertise(0) == 0
    assert not window.update_due(0)
    buffer.left = 1152
    assert window.update_due(0)


@settings(max_examples=200, deadline=None)
@given(
    bits=st.integers(0, 14),
    mss=st.sampled_from([1, 536, 1460, 65_000]),
    steps=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1 << 20)), max_size=60),
)
def test_no_sequence_of_rooms_moves_the_edge_left(bits, mss, steps):
    window, buffer = make(bits=bits, mss=mss, edge=60_000)
    nxt, told = 0, 60_000
    for arrives, amount in steps:
        if arrives:
            nxt += min(amount, window.adv - nxt)
        buffer.left = amount
        before = window.adv
        offered = window.advertise(nxt)
        assert offered & ((1 << bits) - 1) == 0 and offered >> bits <= 0xFFFF
        assert window.adv >= before and nxt + offered <= window.adv
        assert nxt + offered > told - (1 << bits)  # by rounding only
        assert window.adv == before or offered <= amount
        told = max(told, nxt + offered)
