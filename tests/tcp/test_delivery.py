"""draft-cheng-iccrg-delivery-rate-estimation."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp.delivery import DeliveryRate
from pystack.tcp.scoreboard import Sent


class Flow:
    """A sender's bookkeeping: `send` at a time, `deliver` at another."""

    def __init__(self):
        self.rate = DeliveryRate()
        self.nxt = 1

    def send(self, now, size=1000):
        record = Sent(self.nxt, self.nxt + size, 1000, now)
        self.nxt += size
        self.rate.sent(record, now)
        return record

    def resend(self, record, now):
        record.transmissions += 1
        record.sent_at = now
        self.rate.sent(record, now)

    def deliver(self, now, *records, min_rtt=0.0):
        for record in records:
            self.rate.sample(record, now, min_rtt)


def test_one_window_and_its_ack():
    flow = Flow()
    records = [flow.send(1.0) for _ in range(10)]
    flow.deliver(1.1, *records)
    assert flow.rate.delivered == 10_000
    assert flow.rate.rate == pytest.approx(100_000)
    assert not flow.rate.rate_app_limited


def test_the_rate_is_the_bottlenecks_however_long_its_queue():
    """1,000 bytes each 10 ms, while the window is twice what the path holds."""
    flow = Flow()
    waiting = [flow.send(0.0) for _ in range(20)]
    for number in range(100):
        now = 0.1 + 0.01 * number
        flow.deliver(now, waiting.pop(0))
        waiting.append(flow.send(now))
        if number >= 40:  # the first window was sent at once
            assert flow.rate.rate == pytest.approx(100_000)


def test_compressed_acks_do_not_make_it_fast():
    """§2.2.3: the send rate is an upper bound."""
    flow = Flow()
    flow.deliver(0.1, flow.send(0.0))
    records = [flow.send(0.2 + 0.01 * number) for number in range(11)]
    for number, record in enumerate(records):
        flow.deliver(0.5 + 0.0001 * number, record)
    assert flow.rate.rate <= 110_001


def test_a_pause_does_not_count():
    """§3.2: with nothing in flight both clocks begin anew."""
    flow = Flow()
    flow.deliver(0.1, flow.send(0.0))
    records = [flow.send(100.0) for _ in range(10)]
    flow.deliver(100.1, *records)
    assert flow.rate.rate == pytest.approx(100_000)


def test_faster_than_the_least_round_trip_is_no_sample():
    """§3.3: an ACK of what was sent again may be for the original."""
    flow = Flow()
    flow.deliver(0.1, flow.send(0.0))
    before = flow.rate.rate
    flow.deliver(1.001, flow.send(1.0, 50_000), min_rtt=0.1)
    assert flow.rate.rate == before
    assert flow.rate.delivered == 51_000
    flow.deliver(2.1, flow.send(2.0, 50_000), min_rtt=inf)
    assert flow.rate.rate == pytest.approx(500_000)


def test_no_time_is_no_sample():
    flow = Flow()
    flow.deliver(1.0, flow.send(1.0))
    assert flow.rate.rate == 0.0
    assert flow.rate.delivered == 1000


def test_it_is_the_record_sent_last_that_is_measured():
    """§3.3: of those that one ACK reports; here the hole is filled and what was sent after it is older news."""
    flow = Flow()
    hole, later = flow.send(0.0), flow.send(0.0)
    flow.deliver(0.1, later)
    flow.resend(hole, 0.1)
    latest = flow.send(0.1)
    flow.deliver(0.2, latest, hole)
    assert flow.rate.rate == pytest.approx(20_000)  # both, in the 100 ms since `later`
    assert flow.rate.first_sent_at == 0.1


def test_app_limited_until_what_was_in_flight_is_delivered():
    """§3.4 and §3.3."""
    flow = Flow()
    first = flow.send(0.0)
    flow.rate.app_limited = True
    second = flow.send(0.01)
    assert flow.rate.app_limited and second.app_limited and not first.app_limited
    flow.deliver(0.1, first)
    assert flow.rate.app_limited
    flow.deliver(0.11, second)
    assert not flow.rate.app_limited
    assert not flow.send(0.12).app_limited


def test_a_lower_rate_for_want_of_data_is_not_believed():
    """As Linux's tcp_rate_gen."""
    flow = Flow()
    flow.deliver(0.1, flow.send(0.0, 10_000))
    assert flow.rate.rate == pytest.approx(100_000)
    flow.rate.app_limited = True
    flow.deliver(1.1, flow.send(1.0, 1000))
    assert flow.rate.rate == pytest.approx(100_000)
    assert not flow.rate.rate_app_limited
    flow.rate.app_limited = True
    flow.deliver(2.1, flow.send(2.0, 20_000))
    assert flow.rate.rate == pytest.approx(200_000)
    assert flow.rate.rate_app_limited
    flow.deliver(3.1, flow.send(3.0, 5000))
    assert flow.rate.rate == pytest.approx(50_000)
    assert not flow.rate.rate_app_limited


@given(
    st.lists(st.tuples(st.sampled_from(["send", "deliver", "resend", "limit"]), st.integers(0, 9), st.floats(0, 1))),
    st.floats(0, 1),
)
def test_each_byte_counts_once_and_no_rate_is_negative(history, min_rtt):
    flow = Flow()
    waiting = []
    now = 0.0
    delivered = 0
    for what, which, pause in history:
        now += pause
        if what == "send":
            waiting.append(flow.send(now, 100 * which + 1))
        elif what == "limit":
            flow.rate.app_limited = True
        elif waiting:
            record = waiting[which % len(waiting)]
            if what == "resend":
                flow.resend(record, now)
            else:
                waiting.remove(record)
                delivered += record.end - record.start
                flow.deliver(now, record, min_rtt=min_rtt)
        assert flow.rate.delivered == delivered
        assert 0 <= flow.rate.rate < inf
