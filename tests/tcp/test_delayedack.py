"""How long an ACK may wait."""

import pytest

from pystack.config import TcpConfig
from pystack.tcp.delayedack import DelayedAck
from pystack.tcp.settings import Settings


def make(mss=1000, quick=False, **settings):
    acks = DelayedAck(Settings(**settings), TcpConfig(), mss)
    if not quick:
        for _ in range(16):
            acks.sent()
    return acks


def test_the_first_sixteen_acks_are_not_delayed():
    """Linux's quick ACKs: the peer's slow start lives of them."""
    acks = make(quick=True)
    for _ in range(16):
        assert acks.received(100, 100, False, 0.0) == 0
        acks.sent()
    assert acks.received(100, 100, False, 0.0) > 0


def test_more_than_a_full_segment_is_acknowledged_at_once():
    """RFC 9293 MUST-59, RFC 5681 §4.2: at least every second."""
    acks = make()
    assert acks.received(1000, 1000, False, 0.0) == pytest.approx(0.04)
    assert acks.received(1000, 2000, False, 0.0) == 0
    assert acks.received(1, 1001, False, 0.0) == 0  # as Linux: "more than one" is enough


def test_what_is_a_full_segment_is_learned():
    acks = make(mss=1000)
    assert acks.rcv_mss == 536
    acks.received(1460, 1460, False, 0.0)
    assert acks.rcv_mss == 1460
    acks.received(300, 300, True, 0.0)
    acks.received(300, 600, True, 0.0)
    assert acks.rcv_mss == 1460  # messages that end with PSH say nothing about the path
    acks.received(600, 600, False, 0.0)
    acks.received(600, 600, False, 0.0)
    assert acks.rcv_mss == 600


def test_delay_follows_the_gaps_between_segments_within_its_bounds():
    acks = make()
    now, delays = 0.0, []
    for _ in range(20):
        now += 0.1
        delays.append(acks.received(10, 10, False, now))
        acks.expired()
    assert delays[0] == pytest.approx(0.04) and delays[1] == pytest.approx(0.08)
    assert max(delays) == 0.2 == pytest.approx(delays[-1])
    for _ in range(20):
        now += 0.001
        delays.append(acks.received(10, 10, False, now))
    assert delays[-1] == pytest.approx(0.04, abs=0.001)


def test_a_long_gap_or_disorder_brings_quick_acks_back():
    acks = make()
    assert acks.received(10, 10, False, 0.0) > 0
    assert acks.received(10, 10, False, 1.5) == 0
    acks = make()
    acks.quicken()
    assert acks.received(10, 10, False, 0.0) == 0


def test_tcp_quickack_delays_nothing():
    acks = make(quickack=True)
    assert acks.received(10, 10, False, 0.0) == 0
