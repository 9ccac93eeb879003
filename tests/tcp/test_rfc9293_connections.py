"""RFC 9293: options, opening, closing, failures, keepalive, ICMP. docs/rfc9293.md names these tests."""

import pytest

from pystack import transport
from pystack.tcp.settings import Settings
from pystack.wire import tcp, tcp_options
from tests.support.tcp import SYN_OPTIONS, Conversation, Sent, established, half_open, in_state, opening, options

MSS = 1460


# -- options ----------------------------------------------------------------------------------------------------------


def test_the_mss_option_is_sent_on_syns_alone():
    """MUST-14, SHLD-5, MAY-3, MUST-65, MUST-67."""
    made = opening(mss=1400)
    assert made.options_sent().mss == 1400
    made = established()
    made.write(b"x")
    assert made.options_sent().mss == 0


def test_without_an_mss_option_segments_are_of_536():
    """MUST-15, MUST-16."""
    made = established(options())
    sent = made.write(bytes(2000))
    assert max(packet.gso_size or each.length for packet, each in zip(made.packets, sent, strict=True)) == 536


def test_the_segment_size_follows_the_path_and_the_options():
    """MUST-16, SHLD-6: less the timestamp option; less again when the path's MTU falls."""
    made = established(options(**SYN_OPTIONS, timestamp=(1, 0)), tcp_timestamps=True)
    assert made.connection.sender.mss == MSS - 12
    made.does("unreachable", "packet_too_big", 1280)
    assert made.connection.sender.mss == 1240 - 12


@pytest.mark.parametrize(
    ("raw", "mss"),
    [
        (b"\x02\x04\x05\xb4", 1460),
        (b"\x01\x02\x04\x05\xb4\x01\x01\x00", 1460),  # not aligned
        (b"\xfd\x04ab\x02\x04\x05\xb4", 1460),  # an unknown one before it
        (b"\x02\x00\x05\xb4", 0),  # illegal lengths
        (b"\x02\x28\x05\xb4", 0),
        (b"\x02\x01\x05\xb4", 0),
        (b"\x02", 0),
        (b"\x00\x02\x04\x05\xb4", 0),  # behind the end of the list
    ],
)
def test_options_of_every_kind_do_no_harm(raw, mss):
    """MUST-4, MUST-5, MUST-6, MUST-7, MUST-64, MUST-68."""
    assert tcp_options.parse(raw, 0, len(raw)).mss == mss


def test_options_are_padded_to_words():
    """MUST-69: with NOPs, which stand before the options."""
    for made in (
        tcp_options.syn(1460, 7, True, (1, 2)),
        tcp_options.syn(1460, None, True, None),
        tcp_options.timestamp(1, 2),
        tcp_options.sack([(1, 2)]),
    ):
        assert len(made) % 4 == 0 and len(tcp.build(1, 2, 3, 4, 0, 0, 0, made)) == 20 + len(made)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_both_open_at_once():
    """MUST-10: SYN and SYN cross; figure 8 of RFC 9293."""
    made = opening()
    assert made.arrives("S", 0, opts=options(**SYN_OPTIONS)) == [Sent("SA", 0, 1, 0)]
    assert made.state == "SYN-RECEIVED"
    assert made.arrives("SA", 0, 1, opts=options(**SYN_OPTIONS)) == [Sent("A", 1, 1, 0)]
    assert made.state == "ESTABLISHED" and type(made.events()[0]) is transport.Connected


def test_a_half_open_connection_remembers_how_it_came_to_be():
    """MUST-11: a reset in SYN-RECEIVED is refused to who opened actively; who listens hears nothing (test_layer.py)."""
    made = opening()
    made.arrives("S", 0, opts=options(**SYN_OPTIONS))
    made.arrives("R", 1, 0)
    assert made.events() == [transport.Failed(1, "refused")]


def test_a_syn_ack_that_was_lost_is_sent_again():
    made = half_open()
    assert made.arrives("S", 0, opts=options(**SYN_OPTIONS)) == [Sent("SA", 0, 1, 0)]
    assert [sent.flags for _, sent in made.after(1.5)] == ["SA"]


def test_a_syn_is_tried_as_often_as_linux_does_or_as_the_program_says():
    """MUST-22; MUST-23 as Linux: 6 tries, which take 127 s and not 180; MUST-21: more if the program says so."""
    made = opening()
    sent = made.after(200)
    assert [each.flags for _, each in sent] == ["S"] * 6
    assert made.events() == [transport.Failed(1, "timed_out")]
    patient = opening(settings=Settings(syn_retries=7))
    assert len(patient.after(300)) == 7


def test_ecn_is_not_asked_for_again_when_the_syn_is_lost():
    """RFC 3168 §6.1.1.1."""
    made = Conversation(tcp_ecn=1)
    assert [sent.flags for sent in made.does("connect")] == ["SEC"]
    assert [sent.flags for _, sent in made.after(1.5)] == ["S"]


# -- closing ----------------------------------------------------------------------------------------------------------


def test_the_program_hears_of_a_reset():
    """MUST-12; SHLD-2: a reset may have data."""
    made = established()
    made.arrives("RA", 1, 1, b"because")
    assert made.events() == [transport.Failed(1, "reset")]


def test_closing_with_unread_data_is_a_reset():
    """MAY-1, SHLD-3."""
    made = established()
    made.arrives("PA", 1, 1, b"unread")
    assert [sent.flags for sent in made.does("close", None)] == ["RA"]


def test_data_after_the_program_has_closed_is_a_reset():
    """MAY-1, SHLD-3: RFC 1122 §4.2.2.13."""
    made = established()
    made.does("close", None)
    assert [sent.flags for sent in made.arrives("PA", 1, 2, b"late")][-1] == "RA"
    assert made.state == "CLOSED"


def test_half_close_lets_the_peer_go_on():
    made = established()
    assert made.does("shutdown") == [Sent("FA", 1, 1, 0)]
    made.arrives("PA", 1, 2, b"still here")
    assert made.received() == b"still here"
    assert made.arrives("FA", 11, 2)[-1].flags == "A" and made.state == "TIME-WAIT"


def test_both_close_at_once():
    made = established()
    made.does("shutdown")
    made.arrives("FA", 1, 1)
    assert made.state == "CLOSING"
    made.arrives("A", 2, 2)
    assert made.state == "TIME-WAIT"


def test_nobody_waits_in_fin_wait_2_for_ever():
    """Linux's tcp_fin_timeout; with a program there is no limit."""
    made = in_state("FIN-WAIT-2")
    made.after(1000)
    assert made.state == "FIN-WAIT-2"
    made.does("close", None)
    made.after(61)
    assert made.state == "CLOSED"


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_connection_ends_after_r2():
    """MUST-20, SHLD-10, SHLD-11: by Linux's tcp_retries2, some 15 minutes."""
    made = established()
    made.write(b"x")
    made.after(800)
    assert made.state == "ESTABLISHED"
    made.after(1200)
    assert made.state == "CLOSED" and made.events()[-1] == transport.Failed(1, "timed_out")


def test_the_program_can_set_r2():
    """MUST-21: TCP_USER_TIMEOUT (RFC 5482)."""
    made = established(settings=Settings(user_timeout=5.0))
    made.write(b"x")
    made.after(20)
    assert made.state == "CLOSED"


def test_keepalive_is_off_unless_asked_for():
    """MUST-24, MUST-25."""
    made = established()
    assert made.deadline() is None and made.after(100_000) == []


def test_keepalive_probes_an_idle_peer_and_stands_lost_answers():
    """MAY-5, MUST-26, MUST-27, MUST-28, MUST-29, SHLD-12."""
    assert Settings().keepalive_idle == 7200.0
    made = established()
    made.does("set_option", "keepalive_idle", 100.0)
    made.does("set_option", "keepalive", True)
    sent = made.after(250)
    assert sent[:2] == [(100.0, Sent("A", 0, 1, 0)), (175.0, Sent("A", 0, 1, 0))]
    made.arrives("A", 1, 1)
    assert made.after(99) == []
    sent = made.after(5000)
    assert len([each for _, each in sent if each.flags == "A"]) == 9 and sent[-1][1].flags == "RA"
    assert made.events()[-1] == transport.Failed(1, "timed_out")


# -- ICMP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "seen"),
    [
        ("net_unreachable", "net_unreachable"),
        ("host_unreachable", "host_unreachable"),
        ("port_unreachable", "refused"),
        ("protocol_unreachable", "no_protocol"),
        ("ttl_exceeded", "host_unreachable"),
        ("parameter_problem", "protocol_error"),
        ("source_route_failed", "not_supported"),
    ],
)
def test_icmp_errors_while_opening_and_after(cause, seen):
    """MUST-54, MUST-56, SHLD-25; SHLD-26 as Linux: an error ends an open, and never a connection that stands."""
    made = opening()
    made.does("unreachable", cause, 0)
    assert made.events() == [transport.Failed(1, seen)]
    made = established()
    made.write(b"x")
    made.does("unreachable", cause, 0)
    assert made.state == "ESTABLISHED"
    made.after(2000)
    assert made.events()[-1] == transport.Failed(1, seen)  # what a timeout is then called


def test_a_smaller_path_mtu_resends_what_is_too_large_without_a_congestion_signal():
    """RFC 1191 §6.4, Linux's tcp_simple_retransmit."""
    made = established()
    made.write(bytes(5 * MSS))
    before = made.connection.sender.congestion.cwnd
    sent = made.does("unreachable", "packet_too_big", 1000)
    assert sum(each.length for each in sent) == 5 * MSS
    assert all(packet.gso_size <= 960 for packet in made.packets)
    assert made.connection.sender.congestion.cwnd >= before - MSS
    assert "PmtuChanged" in [type(each).__name__ for each in made.connection.controls]


# -- RFC 5961 ---------------------------------------------------------------------------------------------------------


def test_data_cannot_be_injected_with_an_ack_that_is_too_old_or_of_the_future():
    """MAY-12: RFC 5961 §5."""
    for ack in (-100_000, 100_000):
        made = established()
        assert made.arrives("PA", 1, ack, b"injected") == [Sent("A", 1, 1, 0)]
        assert made.received() == b""
