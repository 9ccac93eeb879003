"""RFC 6298."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp.rtt import MIN_RTT_WINDOW, RttEstimator


def make(rto_min=0.2, rto_max=120.0):
    return RttEstimator(rto_min, rto_max)


def test_before_the_first_sample():
    """§2.1."""
    rtt = make()
    assert (rtt.srtt, rtt.rttvar, rtt.rto, rtt.min_rtt) == (0.0, 0.0, 1.0, inf)


def test_the_first_sample():
    """§2.2: SRTT = R, RTTVAR = R/2, RTO = SRTT + 4 RTTVAR."""
    rtt = make()
    rtt.sample(0.5, 1.0)
    assert (rtt.srtt, rtt.rttvar, rtt.latest, rtt.min_rtt) == (0.5, 0.25, 0.5, 0.5)
    assert rtt.rto == 1.5


def test_the_next_samples():
    """§2.3: RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R'|, then SRTT = 7/8 SRTT + 1/8 R'."""
    rtt = make()
    rtt.sample(0.5, 1.0)
    rtt.sample(0.9, 2.0)
    assert rtt.rttvar == pytest.approx(0.75 * 0.25 + 0.25 * 0.4)
    assert rtt.srtt == pytest.approx(7 / 8 * 0.5 + 0.9 / 8)
    assert rtt.rto == pytest.approx(rtt.srtt + 4 * rtt.rttvar)


def test_the_floor_is_a_margin_above_the_round_trip():
    """§2.4 has a floor of 1 s under the sum; Linux has 200 ms under 4 RTTVAR."""
    rtt = make()
    for at in range(100):
        rtt.sample(0.5, at)
    assert rtt.rttvar < 0.001
    assert rtt.rto == pytest.approx(0.7)


def test_the_timeout_has_a_ceiling():
    """§2.5."""
    rtt = make(rto_max=60.0)
    rtt.sample(50.0, 1.0)
    assert rtt.rto == 60.0


def test_each_timeout_doubles_it_up_to_the_ceiling():
    """§5.5."""
    rtt = make()
    rtt.sample(0.1, 1.0)
    seen = []
    for _ in range(12):
        rtt.backoff()
        seen.append(rtt.rto)
    assert seen[:3] == pytest.approx([0.6, 1.2, 2.4])
    assert seen[-1] == 120.0
    assert rtt.backoff_shift == 12


def test_a_sample_or_an_acknowledgement_ends_the_backoff():
    rtt = make()
    rtt.sample(0.1, 1.0)
    before = rtt.rto
    rtt.backoff()
    rtt.reset_backoff()
    assert (rtt.rto, rtt.backoff_shift) == (before, 0)
    rtt.backoff()
    rtt.sample(0.1, 2.0)
    assert (rtt.rto, rtt.backoff_shift) == (before, 0)


def test_after_a_lost_syn_the_timeout_is_three_seconds():
    """§5.7; a sample, by timestamps, is better."""
    rtt = make()
    rtt.backoff()
    rtt.after_syn_timeout()
    assert (rtt.rto, rtt.backoff_shift) == (3.0, 0)
    rtt = make()
    rtt.sample(0.1, 1.0)
    before = rtt.rto
    rtt.after_syn_timeout()
    assert rtt.rto == before


def test_a_round_trip_of_nothing_is_a_sample():
    rtt = make()
    rtt.sample(0.0, 1.0)
    assert 0 < rtt.srtt < 1e-5
    assert rtt.min_rtt == 0.0
    assert rtt.rto == pytest.approx(0.2, abs=1e-5)


def test_the_least_is_forgotten_after_five_minutes():
    rtt = make()
    rtt.sample(0.01, 0.0)
    for at in range(1, 300):
        rtt.sample(0.05, float(at))
        assert rtt.min_rtt == 0.01
    rtt.sample(0.05, 301.0)
    assert rtt.min_rtt == 0.05


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5)), min_size=1, max_size=60))
def test_the_least_is_a_sample_of_the_window_and_not_above_the_latest(samples):
    rtt = make()
    now = 0.0
    taken = []
    for pause, value in samples:
        now += pause
        rtt.sample(value, now)
        taken.append((now, value))
        recent = [each for at, each in taken if at >= now - MIN_RTT_WINDOW]
        assert rtt.min_rtt in recent  # three slots: not always the very least, but of the window
        assert rtt.min_rtt <= value
        assert 0.2 <= rtt.rto <= 120.0
        assert rtt.srtt > 0
