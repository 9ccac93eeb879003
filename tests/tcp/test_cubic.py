"""RFC 9438. MSS is 1,000 bytes; `segments` are floats where the curve is meant."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp import congestion
from pystack.tcp.congestion import Ack
from pystack.tcp.cubic import ALPHA, BETA

MSS = 1000


def after_loss(segments, min_rtt=0.1, now=0.0):
    """CUBIC with this window at its first loss, which has been repaired."""
    control = congestion.make("cubic", MSS, segments * MSS)
    control.ssthresh = control.cwnd
    lose(control, now)
    return control


def lose(control, now):
    control.on_congestion(now, control.cwnd)
    control.cwnd = control.ssthresh


def one_round(control, now, rtt=0.1, burst=1):
    """A window's worth of ACKs, each of *burst* segments, at *now*."""
    for _ in range(max(control.cwnd // (burst * MSS), 1)):
        control.on_ack(Ack(now, burst * MSS, rtt, rtt, rtt, 0, False))


def run(control, start, seconds, rtt=0.1, burst=1):
    """Windows in segments, at the end of each round trip."""
    windows = []
    for number in range(round(seconds / rtt)):
        one_round(control, start + number * rtt, rtt, burst)
        windows.append(control.cwnd / MSS)
    return windows


def test_the_constants():
    """§4.6 and §4.3: beta 0.7, alpha 3 (1 - beta) / (1 + beta) = 9/17."""
    assert pytest.approx(0.7, abs=0.001) == BETA
    assert pytest.approx(9 / 17, abs=0.001) == ALPHA


def test_a_congestion_leaves_seven_tenths():
    control = congestion.make("cubic", MSS, 1024 * MSS)
    control.on_congestion(1.0, control.cwnd)
    assert control.ssthresh == 717 * MSS


def test_the_old_window_is_reached_after_k():
    """§4.2: K = cbrt((W_max - cwnd_epoch) / C): for 1,000 segments 9.1 s, concave before and convex after."""
    control = after_loss(1000)
    k = (1000 * (1 - BETA) / 0.4) ** (1 / 3)
    assert k == pytest.approx(9.09, abs=0.01)
    windows = run(control, 0.0, 14.0)
    assert windows[0] == pytest.approx(1000 * BETA, rel=0.02)
    at = {round(0.1 * (number + 1), 1): window for number, window in enumerate(windows)}
    for t in (2.0, 5.0, 9.0, 12.0, 14.0):
        # Each round trip aims at the curve's place at its end, and gets there but for the shape of one step.
        assert at[t] == pytest.approx(1000 + 0.4 * (t - k) ** 3, rel=0.005), t
    assert at[5.0] - at[3.0] > at[9.0] - at[7.0]
    assert at[14.0] - at[12.0] > at[11.0] - at[9.0]


def test_it_does_not_matter_how_many_acks_there_are():
    few, many = after_loss(1000), after_loss(1000)
    for one, other in zip(run(few, 0.0, 12.0, burst=64), run(many, 0.0, 12.0), strict=True):
        assert one == pytest.approx(other, rel=0.02)


def test_growth_is_by_half_per_round_trip_at_most():
    """§4.2: target is at most 1.5 cwnd."""
    control = after_loss(100)
    one_round(control, 0.0)
    before = control.cwnd
    control.on_ack(Ack(1e6, before, 0.1, 0.1, 0.1, 0, False))
    assert before < control.cwnd <= 1.5 * before + MSS


def test_on_a_short_path_it_is_as_fast_as_reno():
    """§4.3: alpha segments per round trip up to the old window, then one."""
    control = after_loss(20)
    windows = run(control, 0.0, 0.010, rtt=0.001)  # the curve has moved by 0.3 segments at most
    assert windows[-1] - 14 == pytest.approx(10 * ALPHA, abs=1)
    windows = run(control, 0.010, 0.030, rtt=0.001)
    assert windows[-1] - windows[9] == pytest.approx(20, abs=2)


def test_fast_convergence():
    """§4.7: less than the last time, so W_max is cwnd (1 + beta) / 2."""
    control = after_loss(1000)
    one_round(control, 0.0)
    control.cwnd = 800 * MSS
    lose(control, 1.0)
    flat = 800 * (1 + BETA) / 2
    k = ((flat - 800 * BETA) / 0.4) ** (1 / 3)
    windows = run(control, 1.0, k)
    assert windows[-1] == pytest.approx(flat, rel=0.005)


def test_more_than_the_last_time_is_the_new_flat():
    control = after_loss(1000)
    control.cwnd = 1200 * MSS
    lose(control, 1.0)
    k = (1200 * (1 - BETA) / 0.4) ** (1 / 3)
    assert run(control, 1.0, k)[-1] == pytest.approx(1200, rel=0.005)


def test_without_a_known_loss_the_curve_begins_at_the_window():
    """§4.2: K = 0; as Linux five percent per round trip at least."""
    control = congestion.make("cubic", MSS, 100 * MSS)
    control.ssthresh = control.cwnd
    assert run(control, 0.0, 0.1) == [105]


def test_a_timeout_forgets_the_curve():
    """§4.8."""
    control = after_loss(1000)
    run(control, 0.0, 1.0)
    control.on_timeout(2.0, control.cwnd)
    assert control.cwnd == MSS
    control.cwnd = flat = control.ssthresh
    windows = run(control, 3.0, 0.1)
    assert windows[0] * MSS == pytest.approx(flat * 1.05, abs=2 * MSS)


@pytest.mark.parametrize("reduce", ["on_congestion", "on_timeout"])
def test_undo_puts_the_curve_back(reduce):
    """§4.9.2."""
    control, other = after_loss(1000), after_loss(1000)
    run(control, 0.0, 3.0)
    run(other, 0.0, 3.0)
    before = control.cwnd
    getattr(control, reduce)(3.0, before)
    control.cwnd = MSS
    control.undo()
    assert control.cwnd == before
    for one, two in zip(run(control, 3.2, 8.0), run(other, 3.2, 8.0), strict=True):
        assert one == pytest.approx(two, abs=1)


def test_idle_time_does_not_count():
    """§5.8: the curve goes on where it stood."""
    control, other = after_loss(1000), after_loss(1000)
    run(control, 0.0, 3.0)
    run(other, 0.0, 3.0)
    control.on_idle(103.0, 100.0, inf)  # no decay: net.ipv4.tcp_slow_start_after_idle is 0
    for one, two in zip(run(control, 103.0, 8.0), run(other, 3.0, 8.0), strict=True):
        assert one == two


def test_idle_time_never_puts_the_epoch_into_the_future():
    control = after_loss(1000)
    one_round(control, 5.0)
    control.on_idle(6.0, 100.0, inf)
    before = control.cwnd
    one_round(control, 6.0)
    assert before <= control.cwnd <= 1.5 * before


@given(
    st.integers(2, 10_000),
    st.floats(0, 1e6),
    st.one_of(st.just(inf), st.floats(0, 10)),
    st.lists(st.tuples(st.integers(1, 65_535), st.floats(0, 100)), min_size=1, max_size=30),
)
def test_in_avoidance_a_window_of_acks_adds_half_a_window_at_most(segments, now, min_rtt, acks):
    control = after_loss(segments, now=now)
    for acked, pause in acks:
        now += pause
        before = control.cwnd
        control.on_ack(Ack(now, acked, None, min_rtt, 0.1, 0, False))
        assert before <= control.cwnd <= before + acked / 2 + 2 * MSS
