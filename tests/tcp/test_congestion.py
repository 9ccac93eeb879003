"""What all congestion controls share, and NewReno. MSS is 1,000 bytes."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp import congestion
from pystack.tcp.congestion import UNLIMITED, Ack, CongestionControl

MSS = 1000


def ack(acked, now=1.0, rtt=0.1, min_rtt=0.1, round_start=False):
    return Ack(now, acked, rtt, min_rtt, rtt or 0.0, 0, round_start)


def reno(segments=10, ssthresh=UNLIMITED):
    control = congestion.make("reno", MSS, segments * MSS)
    control.ssthresh = ssthresh
    return control


def test_names_are_those_of_linux():
    assert {"cubic", "reno"} <= set(congestion.names())
    for name in ("cubic", "reno"):
        assert congestion.make(name, MSS, 10 * MSS).name == name
    with pytest.raises(KeyError):
        congestion.make("vegas", MSS, 10 * MSS)


def test_a_new_algorithm_is_one_class():
    class Still(CongestionControl):
        name = "still"

        def avoid(self, acked, ack):
            pass

    congestion.register(Still)
    assert "still" in congestion.names()
    control = congestion.make("still", MSS, 4 * MSS)
    control.on_ack(ack(MSS))
    assert control.cwnd == 5 * MSS
    control.ssthresh = 5 * MSS
    control.on_ack(ack(MSS))
    assert control.cwnd == 5 * MSS


def test_slow_start_doubles_in_a_round_trip_however_few_acks_there_are():
    """RFC 5681 §3.1, RFC 3465 §2.2."""
    for acks in (1, 2, 10):
        control = reno(10)
        for _ in range(acks):
            control.on_ack(ack(10 * MSS // acks))
        assert control.cwnd == 20 * MSS
        assert control.in_slow_start


def test_slow_start_ends_at_ssthresh_and_the_rest_counts_for_avoidance():
    control = reno(10, ssthresh=12 * MSS)
    control.on_ack(ack(10 * MSS))
    assert control.cwnd == 12 * MSS and not control.in_slow_start
    control.on_ack(ack(4 * MSS))  # 8 of the first ACK, with these a window's worth
    assert control.cwnd == 13 * MSS


def test_reno_grows_by_one_segment_per_round_trip():
    """RFC 5681 §3.1: at most one SMSS per RTT."""
    control = reno(20, ssthresh=20 * MSS)
    for _ in range(19):
        control.on_ack(ack(MSS))
    assert control.cwnd == 20 * MSS
    control.on_ack(ack(MSS))
    assert control.cwnd == 21 * MSS


def test_reno_halves_and_leaves_cwnd_to_the_repair():
    """RFC 5681 §3.1, equation 4."""
    control = reno(20)
    control.on_congestion(1.0, 20 * MSS)
    assert control.ssthresh == 10 * MSS
    assert control.cwnd == 20 * MSS


def test_ssthresh_is_never_below_two_segments():
    """RFC 5681 §3.1, equation 4."""
    control = reno(1)
    control.on_congestion(1.0, MSS)
    assert control.ssthresh == 2 * MSS


def test_a_timeout_leaves_one_segment():
    """RFC 5681 §3.1: the loss window."""
    control = reno(20)
    control.on_timeout(1.0, 20 * MSS)
    assert (control.cwnd, control.ssthresh) == (MSS, 10 * MSS)
    assert control.in_slow_start


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_undo_puts_the_windows_back_once(name):
    """RFC 4015 §3.2."""
    control = congestion.make(name, MSS, 20 * MSS)
    control.undo()
    assert (control.cwnd, control.ssthresh) == (20 * MSS, UNLIMITED)
    control.on_timeout(1.0, 20 * MSS)
    control.undo()
    assert (control.cwnd, control.ssthresh) == (20 * MSS, UNLIMITED)
    control.cwnd, control.ssthresh = 5 * MSS, 5 * MSS
    control.undo()
    assert (control.cwnd, control.ssthresh) == (5 * MSS, 5 * MSS)


def test_undo_never_lowers():
    control = reno(20, ssthresh=20 * MSS)
    control.on_congestion(1.0, 20 * MSS)
    control.cwnd, control.ssthresh = 30 * MSS, 40 * MSS
    control.undo()
    assert (control.cwnd, control.ssthresh) == (30 * MSS, 40 * MSS)


@pytest.mark.parametrize(
    ("idle", "cwnd"), [(0.0, 100), (0.2, 100), (0.3, 50), (0.4, 50), (0.5, 25), (0.7, 12.5), (0.9, 10), (1e9, 10)]
)
def test_an_idle_window_halves_with_each_rto_down_to_the_restart_window(idle, cwnd):
    """RFC 5681 §4.1, RFC 2861 §3.1; Linux's tcp_cwnd_restart."""
    control = reno(10)
    control.cwnd = 100 * MSS
    control.on_idle(10.0, idle, 0.2)
    assert control.cwnd == cwnd * MSS
    assert control.ssthresh == UNLIMITED


def test_idleness_keeps_three_quarters_in_ssthresh_and_raises_no_window():
    """RFC 2861 §3.1."""
    control = reno(10, ssthresh=20 * MSS)
    control.cwnd = 40 * MSS
    control.on_idle(10.0, 100.0, 0.2)
    assert (control.cwnd, control.ssthresh) == (10 * MSS, 30 * MSS)
    control.cwnd = 3 * MSS
    control.on_idle(200.0, 100.0, 0.2)
    assert control.cwnd == 3 * MSS


def test_a_larger_segment_still_fits():
    control = reno(1)
    control.set_mss(1400)
    assert (control.mss, control.cwnd) == (1400, 1400)
    control.set_mss(500)
    assert (control.mss, control.cwnd) == (500, 1400)


def test_savings_are_worth_one_segment_when_growth_becomes_cheap():
    """Linux's tcp_cong_avoid_ai."""
    control = reno(10, ssthresh=10 * MSS)
    control.grow(99 * MSS, 100 * MSS)
    assert control.cwnd == 10 * MSS
    control.grow(MSS, 2 * MSS)
    assert control.cwnd == 11 * MSS
    control.grow(MSS, 2 * MSS)
    assert control.cwnd == 12 * MSS


events = st.one_of(
    st.tuples(
        st.just("ack"),
        st.integers(1, 65_535),
        st.one_of(st.none(), st.just(0.0), st.floats(0, 10)),
        st.one_of(st.just(inf), st.floats(0, 10)),
        st.booleans(),
    ),
    st.tuples(st.sampled_from(["congestion", "timeout", "undo", "repair"])),
    st.tuples(st.just("idle"), st.floats(0, 1e6), st.one_of(st.just(inf), st.floats(0.2, 120))),
    st.tuples(st.just("mss"), st.integers(48, 65_483)),
)


@given(st.sampled_from(["reno", "cubic"]), st.lists(st.tuples(st.floats(0, 1e5), events), max_size=60))
def test_whatever_happens_windows_are_whole_numbers_of_at_least_one_segment(name, history):
    control = congestion.make(name, 536, 5360)
    now = 0.0
    for pause, (what, *args) in history:
        now += pause
        before = control.cwnd
        if what == "ack":
            acked, rtt, min_rtt, round_start = args
            control.on_ack(Ack(now, acked, rtt, min_rtt, rtt or 0.0, before, round_start))
            # One more than slow start would: what has been saved up.
            assert before <= control.cwnd <= before + acked + control.mss
        elif what == "congestion":
            control.on_congestion(now, before)
            assert control.cwnd == before
            assert control.ssthresh <= max(before, 2 * control.mss)
        elif what == "timeout":
            control.on_timeout(now, before)
        elif what == "undo":
            control.undo()
            assert control.cwnd >= before
        elif what == "repair":
            control.cwnd = max(min(control.cwnd, control.ssthresh), control.mss)
        elif what == "idle":
            control.on_idle(now, *args)
            assert control.cwnd <= before
        else:
            control.set_mss(*args)
        assert type(control.cwnd) is int and type(control.ssthresh) is int
        assert control.cwnd >= control.mss
        assert control.ssthresh > 0
