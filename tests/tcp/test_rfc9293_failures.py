"""RFC 9293 §3.8.1 to §3.8.3: retransmission, its backoff, and when a connection is given up. See docs/rfc9293.md."""

from itertools import pairwise

import pytest

from pystack import transport
from pystack.config import TcpConfig
from pystack.tcp.settings import Settings
from tests.support.tcp import SYN_OPTIONS, Sent, established, half_open, opening, options

MSS = 1460
LARGE = {"opts": options(mss=MSS, window_scale=7, sack_permitted=True), "window": 0xFFFF}
GIVEN_UP = [transport.Failed(1, "timed_out")]


def pauses(times):
    return [later - sooner for sooner, later in pairwise(times)]


# -- retransmission ---------------------------------------------------------------------------------------------------


def test_each_timeout_doubles_the_next():
    """MUST-19: RFC 6298 §5.5, up to tcp_rto_max."""
    made = established()
    made.write(b"x")
    waits = pauses([at for at, _ in made.after(700)])
    assert waits[:9] == pytest.approx([waits[0] * 2**each for each in range(9)])
    assert waits[-1] == pytest.approx(120.0)


def test_the_first_flight_is_ten_segments_and_doubles():
    """MUST-19: slow start, from RFC 6928's window."""
    made = established(**LARGE)
    assert sum(each.length for each in made.write(bytes(60 * MSS))) == 10 * MSS
    sent = made.arrives("A", 1, 1 + 10 * MSS, at=made.now + 0.1)
    assert sum(each.length for each in sent) == 20 * MSS


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
def test_a_timeout_leaves_one_segment_and_slow_start_ends_at_ssthresh(congestion):
    """MUST-19: RFC 5681 §3.1; beyond ssthresh it is congestion avoidance, no more than a segment per round trip."""
    made = established(settings=Settings(congestion=congestion), **LARGE)
    made.write(bytes(10 * MSS))
    sent = [each for _, each in made.after(1.3)]
    assert sent[-1].seq == 1 and sent[-1].length == MSS
    control = made.connection.sender.congestion
    assert control.cwnd == MSS and control.ssthresh // MSS == {"reno": 5, "cubic": 7}[congestion]
    acked = 1
    while control.cwnd < control.ssthresh:
        before, acked = control.cwnd, min(acked + control.cwnd, 1 + 10 * MSS)
        made.arrives("A", 1, acked, at=made.now + 0.1)
        made.write(bytes(before * 2))
        assert control.cwnd <= 2 * before
    before = control.cwnd
    made.arrives("A", 1, acked + MSS, at=made.now + 0.1)
    assert control.cwnd <= before + MSS


def test_karns_algorithm():
    """MUST-18: a segment that was sent twice gives no sample without timestamps, and the backoff stays until one that
    was sent once is acknowledged."""
    made = established()
    made.write(b"x")
    made.after(3)
    before = made.connection.sender.rtt.srtt
    made.arrives("A", 1, 2, at=made.now + 5)
    assert made.connection.sender.rtt.srtt == before
    made.write(b"y")
    made.arrives("A", 1, 3, at=made.now + 0.05)
    assert made.connection.sender.rtt.srtt > before


# -- R1 and R2 --------------------------------------------------------------------------------------------------------


def test_a_connection_ends_after_r2_and_not_before():
    """MUST-20, SHLD-11: by Linux's tcp_retries2, the time that 15 timeouts from 0.2 s on take: 924.6 s."""
    made = established()
    made.write(b"x")
    made.after(900)
    assert made.state == "ESTABLISHED" and made.events() == []
    made.after(200)
    assert made.state == "CLOSED" and made.events() == GIVEN_UP


def test_nothing_happens_at_r1_but_the_next_retransmission():
    """SHLD-10: R1 (three, Linux's tcp_retries1) advises nobody. Only progress vouches for a neighbour, so that one that
    is dead is found by RFC 4861's probes meanwhile (tests/link/test_neighbors.py)."""
    made = established()
    made.arrives("A", 1, 1)
    made.write(b"x")
    made.connection.controls.clear()
    made.after(100)
    assert made.connection.controls == [] and made.events() == []
    made.arrives("A", 1, 2)
    assert [type(each).__name__ for each in made.connection.controls] == ["NeighborConfirmed"]


def test_progress_begins_the_count_anew():
    """MUST-20: R2 is about one segment."""
    made = established()
    for at in range(1, 5):
        made.write(b"x")
        made.after(800)
        made.arrives("A", 1, 1 + at)
    assert made.state == "ESTABLISHED"


def test_the_program_can_set_r2():
    """MUST-21: TCP_USER_TIMEOUT (RFC 5482), below and above the default; whoever made the stack has tcp_retries2."""
    made = established(settings=Settings(user_timeout=5.0))
    made.write(b"x")
    made.after(4.9)
    assert made.state == "ESTABLISHED"
    made.after(5)
    assert made.state == "CLOSED" and made.events() == GIVEN_UP
    made = established(settings=Settings(user_timeout=5000.0))
    made.write(b"x")
    made.after(4900)
    assert made.state == "ESTABLISHED"
    made = established(config=TcpConfig(tcp_timestamps=False, tcp_retries2=3))
    made.write(b"x")
    made.after(10)
    assert made.state == "CLOSED"


def test_the_program_may_set_r2_while_it_waits():
    """MUST-21."""
    made = established()
    made.write(b"x")
    made.after(60)
    made.does("set_option", "user_timeout", 30.0)
    made.after(60)
    assert made.state == "CLOSED"


# -- SYNs -------------------------------------------------------------------------------------------------------------


def test_a_syn_is_tried_seven_times():
    """MUST-22; MUST-23 as Linux: 6 retransmissions, given up after 127 s, where RFC 9293 wants 3 minutes."""
    made = opening()
    sent = made.after(126)
    assert sent == [(at, Sent("S", 0, 0, 0)) for at in (1.0, 3.0, 7.0, 15.0, 31.0, 63.0)]
    assert made.events() == [] and made.state == "SYN-SENT"
    assert made.after(2) == [] and made.events() == GIVEN_UP and made.state == "CLOSED"


def test_the_program_can_have_a_syn_tried_for_three_minutes():
    """MUST-21, MUST-23: TCP_SYNCNT, or tcp_syn_retries."""
    for how in ({"settings": Settings(syn_retries=7)}, {"tcp_syn_retries": 7}):
        made = opening(**how)
        assert len(made.after(180)) == 7 and made.state == "SYN-SENT"
        made.after(100)
        assert made.state == "CLOSED"


def test_a_syn_ack_is_tried_six_times():
    """MUST-22: as Linux, 5 retransmissions (tcp_synack_retries), given up after 63 s."""
    made = half_open()
    assert [at for at, _ in made.after(62)] == [1.0, 3.0, 7.0, 15.0, 31.0]
    assert made.state == "SYN-RECEIVED"
    assert made.after(2) == [] and made.state == "CLOSED"


def test_a_lost_syn_leaves_no_short_timeout():
    """RFC 6298 §5.7: the timeout is 3 s again; RFC 5681 §3.1: and cwnd one segment."""
    made = opening()
    made.after(1.5)
    made.arrives("SA", 0, 1, opts=options(**SYN_OPTIONS))
    assert [each.length for each in made.write(bytes(5 * MSS))] == [MSS]
    assert made.deadline() == pytest.approx(3.0)
