"""RFC 9406."""

from itertools import pairwise
from math import inf

from pystack.tcp import congestion
from pystack.tcp.congestion import UNLIMITED, Ack
from pystack.tcp.hystart import HyStart

MSS = 1000


def feed(hystart, rtts):
    """One round trip with these samples; whether slow start is over."""
    over = False
    for number, rtt in enumerate(rtts):
        over = hystart.on_ack(Ack(1.0, MSS, rtt, inf, 0.1, 0, number == 0), MSS) or over
    return over


def conservative(base=0.1, longer=0.15):
    hystart = HyStart()
    feed(hystart, [base] * 8)
    assert not feed(hystart, [longer] * 8)
    assert hystart.conservative
    return hystart


def test_the_threshold_is_an_eighth_of_the_last_rounds_least():
    """§4.2: RttThresh = max(4 ms, min(lastRoundMinRTT / 8, 16 ms))."""
    for base, threshold in ((0.008, 0.004), (0.064, 0.008), (0.5, 0.016)):
        for change, found in ((threshold - 0.0001, False), (threshold + 0.0001, True)):
            hystart = HyStart()
            feed(hystart, [base] * 8)
            feed(hystart, [base + change] * 8)
            assert hystart.conservative is found, (base, change)


def test_it_takes_eight_samples_of_a_round():
    """§4.3: N_RTT_SAMPLE."""
    hystart = HyStart()
    feed(hystart, [0.1] * 8)
    feed(hystart, [0.2] * 7 + [None] * 5)  # None: Karn
    assert not hystart.conservative
    feed(hystart, [0.3] * 8)
    assert hystart.conservative


def test_an_ack_of_many_segments_is_as_many_samples_as_there_might_have_been_acks():
    hystart = HyStart()
    for rtt in (0.1, 0.2):
        assert not hystart.on_ack(Ack(1.0, 15 * MSS, rtt, inf, 0.1, 0, True), MSS)
        assert not hystart.conservative
        hystart.on_ack(Ack(1.0, 2 * MSS, rtt, inf, 0.1, 0, False), MSS)
    assert hystart.conservative


def test_it_is_the_least_of_a_round_that_counts():
    hystart = HyStart()
    feed(hystart, [0.1] * 8)
    feed(hystart, [0.2] * 7 + [0.101] + [0.2] * 20)
    assert not hystart.conservative


def test_the_first_round_has_nothing_to_be_compared_with():
    hystart = HyStart()
    feed(hystart, [0.1] * 8 + [5.0] * 8)
    assert not hystart.conservative


def test_slow_start_is_over_after_five_conservative_rounds():
    """§4.2: the round in which it began counts."""
    hystart = conservative()
    for _ in range(4):
        assert not feed(hystart, [0.15] * 8)
    assert feed(hystart, [0.15])


def test_shorter_round_trips_resume_slow_start():
    """§4.2: currentRoundMinRTT < cssBaselineMinRtt; it can begin again."""
    hystart = conservative()
    feed(hystart, [0.149] * 7)
    assert hystart.conservative
    feed(hystart, [0.149] * 8)
    assert not hystart.conservative
    feed(hystart, [0.2] * 8)
    assert hystart.conservative
    for _ in range(4):
        assert not feed(hystart, [0.2] * 8)
    assert feed(hystart, [0.2])


def test_a_round_trip_of_nothing_is_a_sample():
    hystart = HyStart()
    feed(hystart, [0.0] * 8)
    feed(hystart, [0.003] * 8)
    assert not hystart.conservative
    feed(hystart, [0.0] * 8)
    feed(hystart, [0.004] * 8)
    assert hystart.conservative


def one_round(control, rtt):
    """As many ACKs as there are segments in the window."""
    for number in range(control.cwnd // MSS):
        control.on_ack(Ack(1.0, MSS, rtt, 0.1, rtt, 0, number == 0))


def test_cubic_grows_by_a_quarter_in_css_and_then_stops():
    """§4.2: CSS_GROWTH_DIVISOR, ssthresh = cwnd."""
    control = congestion.make("cubic", MSS, 10 * MSS)
    one_round(control, 0.1)
    assert control.cwnd == 20 * MSS
    one_round(control, 0.15)
    # Seven ACKs before it is known, 13 from then on.
    assert control.cwnd == 27 * MSS + 13 * 250
    windows = [control.cwnd]
    while control.in_slow_start:
        one_round(control, 0.15)
        windows.append(control.cwnd)
    assert len(windows) == 6
    assert all(1.2 < after / before < 1.3 for before, after in pairwise(windows[:5]))
    assert windows[4] <= control.ssthresh <= windows[5] < 1.1 * windows[4]


def test_only_the_first_slow_start_is_watched():
    """§4.3: the others have an ssthresh."""
    control = congestion.make("cubic", MSS, 10 * MSS)
    one_round(control, 0.1)
    control.ssthresh = 1000 * MSS
    one_round(control, 0.2)
    one_round(control, 0.4)
    assert control.cwnd == 80 * MSS


def test_reno_does_without():
    control = congestion.make("reno", MSS, 10 * MSS)
    for rtt in (0.1, 0.2, 0.4, 0.8):
        one_round(control, rtt)
    assert (control.cwnd, control.ssthresh) == (160 * MSS, UNLIMITED)
