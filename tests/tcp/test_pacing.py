"""The rate and the leaky bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.config import TcpConfig
from pystack.tcp.pacing import Pacer

CONFIG = TcpConfig()


def pacer(rate):
    made = Pacer()
    made.update(1000, 0.0, True, CONFIG, rate)
    assert made.rate == rate
    return made


def test_the_rate_is_twice_a_window_per_round_trip_in_slow_start_and_a_fifth_more_after_it():
    """Linux's tcp_pacing_ss_ratio and tcp_pacing_ca_ratio."""
    made = Pacer()
    made.update(100_000, 0.1, True, CONFIG, 0)
    assert made.rate == pytest.approx(2_000_000)
    made.update(100_000, 0.1, False, CONFIG, 0)
    assert made.rate == pytest.approx(1_200_000)


def test_the_cap_holds_also_before_the_first_round_trip():
    made = Pacer()
    made.update(100_000, 0.1, True, CONFIG, 500_000.0)
    assert made.rate == 500_000
    made.update(100_000, 0.1, True, CONFIG, 5_000_000.0)
    assert made.rate == pytest.approx(2_000_000)
    made.update(100_000, 0.0, True, CONFIG, 500_000.0)
    assert made.rate == 500_000


def test_without_a_rate_nothing_waits():
    made = Pacer()
    made.update(100_000, 0.0, True, CONFIG, 0)
    made.sent(65_000, 1.0)
    assert made.rate == 0.0
    assert made.ready_at <= 1.0


def test_each_piece_takes_its_time():
    made = pacer(1_000_000.0)
    made.ready_at = 1.0
    made.sent(10_000, 1.0)
    assert made.ready_at == pytest.approx(1.01)
    made.sent(5000, 1.0)  # forced out early
    assert made.ready_at == pytest.approx(1.015)


def test_who_is_late_makes_up_for_it_by_half_at_most():
    """Linux's tcp_update_skb_after_send."""
    made = pacer(1_000_000.0)
    made.ready_at = 1.0
    made.sent(10_000, 1.002)
    assert made.ready_at == pytest.approx(1.010)
    made.sent(10_000, 5.0)
    assert made.ready_at == pytest.approx(5.005)


@given(
    st.floats(1000, 1e9),
    st.lists(st.tuples(st.integers(1, 65_535), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_no_more_leaves_than_twice_the_rate(rate, pieces):
    made = pacer(rate)
    made.ready_at = now = 1.0
    total = 0
    for size, late in pieces:
        now = max(now, made.ready_at) + late
        made.sent(size, now)
        total += size
        assert made.ready_at > now
    assert total <= 2 * rate * (made.ready_at - 1.0) * 1.001
