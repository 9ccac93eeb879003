"""Loss: found, repaired, and undone. Segments are of 1,000 bytes; the peer's ACKs are the test's."""

import pytest

from tests.support.tcp import Conversation, Sent, established, half_open, options

MSS = 1000
SACK = {"mss": MSS, "sack_permitted": True, "window_scale": 7}


def sender(sack=True, stamps=False, segments=10, rtt=0.1, **how):
    """Established, and *segments* in flight in one go; one round trip of *rtt* was measured before."""
    opts = options(mss=MSS + 12 * stamps, sack_permitted=sack, window_scale=7, timestamp=(1, 0) if stamps else None)
    window = how.pop("window", 60_000)
    made = half_open(opts, tcp_timestamps=stamps, **how)
    made.arrives("A", 1, 1, at=made.now + rtt, window=window)
    made.does("set_option", "nodelay", True)
    made.write(bytes(MSS))
    ack(made, 1, at=made.now + rtt)
    made.write(bytes(MSS * segments))
    return made


def ack(made, segments, *blocks, at=None, stamp=None, **how):
    """The peer acknowledges so many segments, and reports blocks, in segments too; what is sent then."""
    sacks = tuple((1 + left * MSS, 1 + right * MSS) for left, right in blocks)
    return made.arrives("A", 1, 1 + segments * MSS, at=at, opts=options(sacks=sacks, timestamp=stamp), **how)


def resent(sent):
    """(first segment, how many) of each retransmission below segment 11."""
    return [((each.seq - 1) // MSS, each.length // MSS) for each in sent if each.seq <= 10 * MSS]


def test_the_third_segment_beyond_a_hole_has_the_hole_sent_again_and_the_fourth_nothing():
    """RFC 8985: three segments delivered beyond it, so no reordering window is granted."""
    made = sender()
    now = made.now + 0.1
    assert resent(ack(made, 1, (2, 3), at=now)) == []
    assert resent(ack(made, 1, (2, 4))) == []
    assert resent(ack(made, 1, (2, 5))) == [(1, 1)]
    assert resent(ack(made, 1, (2, 6))) == []


def test_a_quarter_of_the_round_trip_is_granted_to_reordering():
    """RFC 8985 §6.2 step 4: with fewer, the timer decides."""
    made = sender()
    ack(made, 1, (2, 3), at=made.now + 0.1)
    later = made.after(0.05)
    assert [(at, resent([sent])) for at, sent in later] == [(pytest.approx(0.025, abs=0.001), [(1, 1)])]


def test_a_lost_retransmission_is_found_without_a_timeout():
    """RACK: it was sent before others that arrived."""
    made = sender(segments=10)
    now = made.now + 0.1
    assert resent(ack(made, 1, (2, 6), at=now)) == [(1, 1)]
    new = ack(made, 1, (2, 9), at=now + 0.001)
    new += ack(made, 1, (2, 11), at=now + 0.002)
    assert any(each.seq > 10 * MSS for each in new) is False
    made.write(bytes(5 * MSS))
    again = ack(made, 1, (2, 13), at=now + 0.12)
    assert (1, 1) in resent(again)
    assert made.connection.sender.timers.timeouts == 0


def test_the_window_is_reduced_once_in_proportion():
    """PRR (RFC 6937): during recovery about 0.7 of what was in flight leaves; afterwards cwnd is ssthresh."""
    made = sender(segments=10, window=60_000)
    made.write(bytes(40 * MSS))
    now = made.now + 0.1
    before = made.connection.sender.congestion.cwnd
    for right in range(3, 12):
        ack(made, 1, (2, right), at=now)
    sending = made.connection.sender
    assert sending.congestion.ssthresh == pytest.approx(0.7 * before, rel=0.15)
    ack(made, (sending.snd_nxt - sending.iss - 1) // MSS, at=now + 0.1)
    assert sending.congestion.cwnd == pytest.approx(sending.congestion.ssthresh, rel=0.3)
    assert sending.repair.state == 0


def test_a_tail_loss_is_probed_for_before_the_timeout():
    """RFC 8985 §7: the last segment again after two round trips, and no reduction until that is known to be needed."""
    made = sender(segments=3)
    before = made.connection.sender.congestion.cwnd
    sent = made.after(0.25)
    assert [(at, resent([each])) for at, each in sent] == [(pytest.approx(0.2, abs=0.01), [(3, 1)])]
    assert made.connection.sender.congestion.cwnd == before
    assert made.connection.sender.timers.timeouts == 0


def test_a_timeout_sends_the_first_segment_and_begins_slow_start_anew():
    """RFC 6298 §5.4, RFC 5681 §3.1."""
    made = sender(sack=False, segments=10)
    sent = made.after(0.5)
    assert resent([sent[0][1]]) == [(1, 1)] and len(sent) == 1
    assert made.connection.sender.congestion.cwnd == MSS
    sent = ack(made, 2)
    assert [each.length for each in sent if each.seq < 9 * MSS] and sum(each.length for each in sent) == 2 * MSS


def test_a_spurious_timeout_is_undone_by_f_rto():
    """RFC 5682: the ACK after it is of what was never sent again."""
    made = sender(segments=10)
    before = made.connection.sender.congestion.cwnd
    while made.connection.sender.timers.timeouts == 0:
        made.after(made.deadline())
    assert made.connection.sender.congestion.cwnd == MSS
    ack(made, 8)
    assert made.connection.sender.congestion.cwnd >= before
    assert made.connection.sender.repair.spurious == 1


def test_a_spurious_timeout_is_undone_by_timestamps():
    """Eifel (RFC 3522): the ACK echoes what was sent before the retransmission."""
    made = sender(segments=4, stamps=True, tcp_frto=False)
    before = made.connection.sender.congestion.cwnd
    sent_at = int(made.now * 1000)
    while made.connection.sender.timers.timeouts == 0:
        made.after(made.deadline())
    made.now += 0.01
    ack(made, 2, stamp=(2, sent_at))
    assert made.connection.sender.congestion.cwnd >= before
    assert made.connection.sender.repair.spurious == 1


def test_a_needless_recovery_is_undone_by_d_sack():
    """RFC 2883: all that was sent again is reported as a duplicate; reordering is granted more from now on."""
    made = sender(segments=10)
    before = made.connection.sender.congestion.cwnd
    now = made.now + 0.1
    ack(made, 1, (2, 6), at=now)
    assert made.connection.sender.congestion.ssthresh < before
    ack(made, 6, at=now + 0.01)
    ack(made, 11, (1, 2), at=now + 0.1)
    assert made.connection.sender.congestion.ssthresh >= before
    assert made.connection.sender.repair.rack.reo_wnd_mult > 1


def test_without_sack_three_duplicate_acks_and_partial_acks():
    """RFC 5681 §3.2, RFC 6582."""
    made = sender(sack=False, segments=10)
    now = made.now + 0.1
    assert [resent(ack(made, 1, at=now)) for _ in range(3)] == [[], [], [(1, 1)]]
    assert resent(ack(made, 1)) == []
    assert (3, 1) in resent(ack(made, 3, at=now + 0.1))  # a partial ACK: the next hole
    ack(made, 11, at=now + 0.2)
    assert made.connection.sender.repair.state == 0


def test_an_ecn_echo_reduces_once_a_window_and_is_answered_with_cwr():
    """RFC 3168 §6.1.2."""
    opts = options(**SACK)
    made = Conversation(tcp_ecn=2, tcp_timestamps=False)
    made.connection.accept_syn(made.segment("SEC", 0, opts=opts), made.now)
    assert made.sent() == [Sent("SAE", 0, 1, 0)]
    made.arrives("A", 1, 1)
    made.write(bytes(10 * MSS))
    assert made.packets[-1].tos & 3 == 2
    before = made.connection.sender.congestion.cwnd
    made.write(bytes(10 * MSS))
    sent = made.arrives("AE", 1, 1 + MSS, at=made.now + 0.1)
    sent += made.arrives("AE", 1, 1 + 5 * MSS, at=made.now + 0.01)
    assert sum("C" in each.flags for each in sent) == 1
    assert made.connection.sender.congestion.ssthresh == pytest.approx(0.7 * before, rel=0.1)
    assert made.connection.sender.total_retransmissions == 0


def test_a_black_hole_is_found_by_timeouts_of_full_segments():
    """RFC 4821 §7.7: the same data again in segments of 1,220 bytes."""
    made = established(options(mss=1460, sack_permitted=True))
    made.write(bytes(5000))
    sent = []
    while made.connection.sender.mtu_reductions == 0:
        sent = made.after(made.deadline())
    assert made.connection.sender.mss == 1220 and made.connection.sender.timers.timeouts == 3
    assert [each.length for _, each in sent] == [1220]


def test_a_peer_that_takes_back_what_it_has_reported():
    """RFC 2018 §8: after a timeout reported data is sent again, too."""
    made = sender(segments=4)
    ack(made, 1, (2, 5), at=made.now + 0.1)
    made.after(3)
    assert made.connection.sender.snd_una - made.connection.sender.iss - 1 == MSS
    ack(made, 2)
    made.after(30)
    ack(made, 5)
    assert made.connection.sender.board.size == 0


def test_the_round_trip_time_is_not_measured_from_what_was_sent_twice():
    """Karn, RFC 6298 §3."""
    made = sender(segments=1, rtt=0.1)
    before = made.connection.sender.rtt.srtt
    made.after(1.0)
    ack(made, 2)
    assert made.connection.sender.rtt.srtt == before


def test_a_tail_loss_probe_by_itself_is_no_loss():
    """RFC 8985 §7.3: an ACK that comes late, and not of the tail, begins no recovery."""
    made = sender(segments=4)
    made.after(0.25)
    assert made.connection.sender.total_retransmissions == 1
    before = made.connection.sender.congestion.cwnd
    ack(made, 2)
    ack(made, 5)
    assert made.connection.sender.congestion.ssthresh > 1 << 60
    assert made.connection.sender.congestion.cwnd >= before


def test_sack_blocks_of_part_of_a_segment_count_for_nothing():
    """Linux's tcp_match_skb_to_sack: else a peer would cut what is in flight into single bytes."""
    made = sender(segments=10)
    board = made.connection.sender.board
    for at in range(1500, 9500, 7):
        made.arrives("A", 1, 1 + MSS, opts=options(sacks=((at, at + 3), (at + 100, at + 900))))
    assert len(board.records) <= 11 and made.connection.sender.bytes_retransmitted == 0
    ack(made, 1, (3, 5))
    assert board.sacked == 2 * MSS


def test_a_tail_loss_probe_does_not_wait_for_the_pacer():
    """As Linux's tcp_send_loss_probe; and what is acknowledged meanwhile is not counted as on its way again."""
    made = sender(segments=3)
    made.does("set_option", "max_pacing_rate", 500.0)
    ack(made, 4)
    assert [each.length for each in made.write(bytes(2 * MSS))] == [2 * MSS]
    assert made.connection.sender.pacer.ready_at > made.now + 1
    assert [(each.seq, each.length) for _, each in made.after(0.25)] == [(1 + 5 * MSS, MSS)]
    ack(made, 6)
    made.after(10)
    assert made.connection.sender.board.again == 0 and made.connection.sender.board.in_flight == 0
