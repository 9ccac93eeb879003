"""TIME-WAIT: RFC 9293 §3.10.7.4, RFC 6191 and RFC 1337, as Linux's tcp_timewait_state_process has them."""

from types import SimpleNamespace

import pytest

from pystack import transport as t
from pystack.tcp.segment import Segment
from pystack.tcp.timewait import ACK, CHALLENGE, END, NOTHING, REOPEN, TimeWait
from pystack.wire import tcp_options
from pystack.wire.seq import MASK
from tests.support.frames import A, B
from tests.support.segments import answers, options_of, segment
from tests.support.tcp import flags_of, options
from tests.tcp.test_layer import ANY, SYN_OPTIONS, Server
from tests.tcp.test_layer import NOTHING as EMPTY

RCV_NXT, SND_NXT, TS_RECENT = 2**32 - 5, 5000, 100  # so that numbers beyond it cross 2^32


def record(timestamps=True, now=0.0):
    owner = SimpleNamespace(key=b"key", socket=1, local=(B, 80), remote=(A, 40_000))
    return TimeWait(owner, (SND_NXT, RCV_NXT, 1000, timestamps, TS_RECENT), 0, now)


def verdict(made, flags, seq=0, stamp=None, payload=b"", rfc1337=False):
    opts = options(timestamp=None if stamp is None else ((TS_RECENT + stamp) & MASK, 0))
    return made.receive(Segment((RCV_NXT + seq) & MASK, 0, flags_of(flags), 0, 0, payload, opts, None), rfc1337, 1.0)


@pytest.mark.parametrize(
    ("flags", "seq", "stamp", "payload", "expected"),
    [
        ("A", 0, None, b"", NOTHING),  # what ends the peer's handshake of FINs
        ("A", 0, 5, b"", NOTHING),
        ("A", 0, -5, b"", ACK),  # PAWS
        ("A", 7, None, b"", ACK),
        ("A", -7, None, b"", ACK),
        ("FA", -1, 0, b"", ACK),  # the FIN again
        ("PA", 0, 1, b"text", ACK),
        ("PA", -1, -1, b"text", ACK),
        ("SA", -1, None, b"", ACK),
        ("", 7, None, b"", CHALLENGE),
        ("S", 1, None, b"", REOPEN),  # RFC 6191: a higher number
        ("S", 100_000, 0, b"", REOPEN),
        ("S", -7, 1, b"", REOPEN),  # or a later timestamp
        ("S", 0, None, b"", CHALLENGE),
        ("S", -7, None, b"", CHALLENGE),
        ("S", -7, 0, b"", CHALLENGE),
        ("S", 7, -1, b"", ACK),  # PAWS
        ("R", 0, None, b"", END),
        ("RA", 0, 0, b"", END),
        ("R", 0, -5, b"", NOTHING),
        ("R", 1, None, b"", NOTHING),  # RFC 5961 §3: the very number alone
        ("R", -1, None, b"", NOTHING),
        ("SR", 1, None, b"", NOTHING),
    ],
)
def test_verdicts(flags, seq, stamp, payload, expected):
    assert verdict(record(), flags, seq, stamp, payload) == expected


def test_rfc_1337():
    assert verdict(record(), "R", rfc1337=True) == NOTHING


def test_timestamps_count_only_if_they_were_agreed_on():
    assert verdict(record(timestamps=False), "S", -7, 1) == CHALLENGE
    assert verdict(record(timestamps=False), "A", 0, -5) == NOTHING


def test_the_last_timestamp_is_remembered():
    made = record()
    verdict(made, "A", 0, 50)
    assert made.ts_recent == TS_RECENT + 50 and verdict(made, "A", 0, 40) == ACK


def test_answers_without_cause_are_limited_and_those_to_text_or_fin_are_not():
    made, interval = record(), 0.5

    def may(flags, now, payload=b""):
        return made.may_answer(Segment(0, 0, flags_of(flags), 0, 0, payload, None, None), interval, now)

    assert [may("A", now) for now in (1.0, 1.1, 1.49, 1.6, 1.7)] == [True, False, False, True, False]
    assert may("FA", 1.7) and may("PA", 1.7, b"x") and not may("S", 1.7) and not may("SF", 1.7)


def test_the_next_connection_begins_beyond_all_that_was_sent():
    assert record().next_iss() == SND_NXT + 65_537


def test_our_own_connect_may_replace_it_a_second_later_if_there_are_timestamps():
    """RFC 6191 §2, Linux's tcp_tw_reuse."""
    made = record(now=10.0)
    assert not made.may_be_replaced(10.9) and made.may_be_replaced(11.0)
    assert not record(timestamps=False).may_be_replaced(1000.0)


# -- in a host --------------------------------------------------------------------------------------------------------


def closed(timestamps=False, reuse_address=False, **config):
    """A host with a TIME-WAIT; returns it, the peer's next number and the host's."""
    server = Server(listen=False, tcp_timestamps=timestamps, **config)
    server.listener = 60
    server.core.requests([t.Bind(60, ANY, 80, reuse_address=reuse_address), t.Listen(60, 8)], 0.0)
    stamp = (500, 0) if timestamps else None
    packets = server.sends(segment("S", 100, options=tcp_options.syn(1460, 0, True, stamp)))
    (syn_ack,) = answers(packets)
    echo = tcp_options.timestamp(500, options_of(packets[0]).timestamp[0]) if timestamps else b""
    nxt, ack = 101, (syn_ack.seq + 1) & MASK
    server.says("A", nxt, ack, options=echo)
    (socket,) = server.program.accepted()
    server.program.ask(t.Close(socket))
    server.network.settle()
    server.sees()
    ack = (ack + 1) & MASK
    assert server.says("FA", nxt, ack, options=echo) == [(A, "A", ack, nxt + 1, 0)]
    assert server.core.held()["time_waits"] == 1
    return server, nxt + 1, ack


def test_two_ends_that_disagree_do_not_answer_each_other_for_ever():
    server, nxt, ack = closed()
    sent = [each for at in range(500) for each in server.says("A", nxt + 9, ack + 9)]
    assert sent == [(A, "A", ack, nxt, 0)]


def test_every_fin_again_is_answered():
    server, nxt, ack = closed()
    for _ in range(3):
        assert server.says("FA", nxt - 1, ack) == [(A, "A", ack, nxt, 0)]


def test_text_after_all_is_over_is_acknowledged_and_not_taken():
    server, nxt, ack = closed()
    assert server.says("PA", nxt, ack, b"late") == [(A, "A", ack, nxt, 0)]
    assert not any(server.program.received.values())


def test_a_later_timestamp_reopens_with_a_lower_number():
    server, nxt, ack = closed(timestamps=True)
    options_ = tcp_options.syn(1460, 0, True, (600, 0))
    (syn_ack,) = server.says("S", nxt - 50, options=options_)
    assert (syn_ack.flags, syn_ack.ack) == ("SA", nxt - 49)
    assert 65_535 < (syn_ack.seq - ack) & MASK < 70_000
    assert server.core.held()["time_waits"] == 0


def test_a_syn_for_which_nobody_listens_does_not_end_it():
    server, nxt, _ = closed()
    server.program.ask(t.Close(server.listener))
    assert server.says("S", nxt + 5000, options=SYN_OPTIONS) == []
    assert server.core.held()["time_waits"] == 1


def test_a_syn_that_no_listener_takes_does_not_end_it():
    """With FIN, or to a link-layer broadcast."""
    server, nxt, _ = closed()
    server.says("SF", nxt + 5000)
    server.says("S", nxt + 5000, mac=b"\xff" * 6)
    assert server.core.held()["time_waits"] == 1


def test_beyond_the_limit_of_records_a_connection_is_forgotten_at_once():
    """tcp_max_tw_buckets."""
    server = Server(tcp_max_tw_buckets=2)
    for port in range(40_000, 40_004):
        nxt, ack = server.opens(port)
        server.program.ask(t.Close(server.program.accepted()[-1]))
        server.network.settle()
        server.sees()
        assert server.says("FA", nxt, ack + 1, source_port=port)[-1].flags == "A"
    assert server.core.held()["time_waits"] == 2 and server.core.held()["connections"] == 0
    assert server.core.counts["TCPTimeWaitOverflow"] == 2
    server.network.run_for(61)
    server.program.ask(t.Close(server.listener))
    assert server.core.held() == EMPTY


def test_its_port_cannot_be_listened_at_without_reuse_address():
    """EADDRINUSE after a restart, as on Linux, until 2 MSL have passed."""
    server, _, _ = closed()
    server.program.ask(t.Close(server.listener))
    server.core.requests([t.Bind(70, ANY, 80)], server.network.now)
    server.program.turn()
    assert server.program.events[70] == [t.Failed(70, "address_in_use")]
    server.network.run_for(61)
    server.core.requests([t.Bind(71, ANY, 80)], server.network.now)
    server.program.turn()
    assert type(server.program.events[71][0]) is t.Bound


@pytest.mark.parametrize(("reuse", "taken"), [(0, False), (1, True), (2, False)])
def test_a_connect_takes_over_a_time_wait_if_it_may(reuse, taken):
    """tcp_tw_reuse; 2 is for the loopback alone."""
    server, _, ack = closed(timestamps=True, reuse_address=True, tcp_tw_reuse=reuse)
    server.program.ask(t.Close(server.listener))
    server.network.run_for(2)
    server.core.requests([t.Bind(70, B, 80, reuse_address=True), t.Connect(70, A, 40_000)], server.network.now)
    server.network.settle()
    server.introduce()
    sent = [each for each in answers(server.sees()) if each.flags == "S"]
    held = server.core.held()
    assert (held["connections"], held["time_waits"]) == ((1, 0) if taken else (0, 1))
    assert all(65_535 < (each.seq - ack) & MASK for each in sent)
