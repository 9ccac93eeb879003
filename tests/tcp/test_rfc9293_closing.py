"""RFC 9293 §3.6, §3.10.4, §3.10.5: closing and resetting a connection. See docs/rfc9293.md."""

import pytest

from pystack import transport
from pystack.wire import tcp_options
from pystack.wire.seq import MASK
from tests.support.segments import answers
from tests.support.tcp import Sent, established, half_open, in_state
from tests.tcp.test_layer import SYN_OPTIONS, Server

# -- resets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"because"])
def test_the_program_hears_of_a_reset(text):
    """MUST-12; SHLD-2: a reset may have data, which is no part of the stream."""
    made = established()
    assert made.arrives("RA", 1, 1, text) == []
    assert made.events() == [transport.Failed(1, "reset")]


def test_what_came_before_a_reset_is_not_lost():
    """MUST-12: the program hears of it after what has come in order."""
    made = established()
    made.batch([made.segment("PA", 1, 1, b"text"), made.segment("R", 5)])
    first, second = made.events()
    assert b"".join(first.buffers) == b"text" and second == transport.Failed(1, "reset")


def test_the_program_can_tell_an_orderly_end_from_a_reset():
    """MUST-12: EndOfStream and Finished, or Failed; never both."""
    made = established()
    made.arrives("FA", 1, 1)
    assert made.events() == [transport.EndOfStream(1)]
    made.does("shutdown")
    made.arrives("A", 2, 2)
    assert made.state == "CLOSED" and made.events() == [transport.Finished(1)]
    made = established()
    made.arrives("FA", 1, 1)
    made.arrives("R", 2)
    assert made.events() == [transport.EndOfStream(1), transport.Failed(1, "broken_pipe")]


def test_abort_sends_a_reset_and_nothing_after_it():
    """RFC 9293 §3.10.5: <SEQ=SND.NXT><CTL=RST>, and what is written is lost."""
    made = established(window=5000)
    assert made.write(bytes(50_000)) == [Sent("A", 1, 1, 3 * 1460)]
    assert made.does("abort") == [Sent("RA", 1 + 3 * 1460, 1, 0)]
    assert made.after(1000) == [] and made.memory.used == 0


# -- half-duplex close ------------------------------------------------------------------------------------------------


def test_closing_with_unread_data_is_a_reset():
    """MAY-1, SHLD-3 (RFC 2525 §2.17): the peer must learn that its data was lost."""
    made = established()
    made.arrives("PA", 1, 1, b"unread")
    assert made.does("close", None) == [Sent("RA", 1, 7, 0)]
    assert made.state == "CLOSED" and made.events() == []


def test_closing_with_everything_read_is_orderly():
    """RFC 9293 §3.6: what is written is sent, and then FIN."""
    made = established()
    made.arrives("PA", 1, 1, b"read")
    made.does("consumed", 4)
    made.write(b"a")
    made.write(b"b")
    assert made.does("close", None) == [Sent("FPA", 2, 5, 1)]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_data_after_the_program_has_closed_is_a_reset(acknowledged):
    """MAY-1, SHLD-3: in FIN-WAIT-1 and FIN-WAIT-2, nobody will ever read it."""
    made = established()
    made.does("close", None)
    if acknowledged:
        made.arrives("A", 1, 2)
    assert made.arrives("PA", 1, 2, b"late") == [Sent("RA", 2, 1, 0)]
    assert made.state == "CLOSED"


def test_old_data_after_the_program_has_closed_is_no_reset():
    """SHLD-3 is about data that is lost; this had been read."""
    made = established()
    made.arrives("PA", 1, 1, b"read")
    made.does("consumed", 4)
    made.does("close", None)
    assert made.arrives("PA", 1, 2, b"read") == [Sent("A", 2, 5, 0)]
    assert made.state == "FIN-WAIT-2"


def test_half_close_lets_the_peer_go_on():
    """RFC 9293 §3.6: CLOSE means "I have no more data to send"; `shutdown` is this, `close` both directions."""
    made = established()
    assert made.does("shutdown") == [Sent("FA", 1, 1, 0)]
    made.arrives("PA", 1, 2, b"still here")
    assert made.received() == b"still here"
    assert made.arrives("FA", 11, 2)[-1] == Sent("A", 2, 12, 0) and made.state == "TIME-WAIT"


def test_the_other_half_may_go_on():
    made = established()
    made.arrives("FA", 1, 1)
    assert made.write(b"more") == [Sent("PA", 1, 2, 4)]
    made.arrives("A", 2, 5)
    assert made.after(10_000) == [] and made.state == "CLOSE-WAIT"
    assert made.does("shutdown") == [Sent("FA", 5, 2, 0)]


def test_both_close_at_once():
    """Figure 13 of RFC 9293."""
    made = established()
    assert made.does("shutdown") == [Sent("FA", 1, 1, 0)]
    assert made.arrives("FA", 1, 1) == [Sent("A", 2, 2, 0)] and made.state == "CLOSING"
    assert made.arrives("A", 2, 2) == [] and made.state == "TIME-WAIT"


def test_a_close_before_the_connection_stands_waits_for_that():
    """RFC 9293 §3.10.4, SYN-RECEIVED: FIN comes after the ACK of the SYN."""
    made = half_open()
    assert made.does("close", None) == []
    assert made.arrives("A", 1, 1) == [Sent("FA", 1, 1, 0)] and made.state == "FIN-WAIT-1"


def test_nobody_waits_in_fin_wait_2_for_ever():
    """As Linux (tcp_fin_timeout), once the program has closed; while it has not there is no limit."""
    made = in_state("FIN-WAIT-2")
    assert made.after(10_000) == [] and made.state == "FIN-WAIT-2"
    made.does("close", None)
    assert made.after(59) == [] and made.state == "FIN-WAIT-2"
    assert made.after(2) == [] and made.state == "CLOSED"


# -- TIME-WAIT --------------------------------------------------------------------------------------------------------


def closed(timestamps=False):
    """A host that has closed first and is in TIME-WAIT: (server, the peer's next number, the host's)."""
    server = Server(tcp_timestamps=timestamps)
    options = tcp_options.syn(1460, 0, True, (500, 0)) if timestamps else SYN_OPTIONS
    nxt, ack = server.opens(options=options)
    server.program.ask(transport.Close(server.program.accepted()[0]))
    server.network.settle()
    assert [each.flags for each in answers(server.sees())] == ["FA"]
    server.says("FA", nxt, ack + 1)
    assert [each[2] for each in server.core.connections()] == ["LISTEN", "TIME-WAIT"]
    return server, nxt + 1, (ack + 1) & MASK


def test_who_closes_first_stays_in_time_wait_for_2_msl():
    """MUST-13: 60 s, as Linux (RFC 9293 says 4 minutes, and that this is an engineering choice)."""
    server, _, _ = closed()
    server.network.run_for(59.9)
    assert server.core.held()["time_waits"] == 1
    server.network.run_for(0.2)
    assert server.core.held()["time_waits"] == 0


def test_who_closes_last_does_not():
    """MUST-13 is about an active close."""
    server = Server()
    nxt, ack = server.opens()
    server.says("FA", nxt, ack)
    server.program.ask(transport.Close(server.program.accepted()[0]))
    server.network.settle()
    server.says("A", nxt + 1, ack + 1)
    assert server.core.held()["time_waits"] == server.core.held()["connections"] == 0


def test_a_new_syn_may_open_from_time_wait():
    """MAY-2: with a higher number than the last; and our new number is beyond all of the old connection's."""
    server, nxt, ack = closed()
    (syn_ack,) = server.says("S", nxt + 1, options=SYN_OPTIONS)
    assert (syn_ack.flags, syn_ack.ack) == ("SA", nxt + 2)
    assert (syn_ack.seq - ack) & MASK == 65_537
    server.says("A", nxt + 2, (syn_ack.seq + 1) & MASK)
    assert len(server.program.accepted()) == 2


def test_timestamps_let_a_new_syn_open_sooner():
    """SHLD-4, RFC 6191: a later timestamp will do whatever its number, and an earlier one never."""
    server, nxt, _ = closed(timestamps=True)
    for stamp, flags in ((500, "A"), (499, "A"), (501, "SA")):
        (answer,) = server.says("S", nxt - 50, options=tcp_options.syn(1460, 0, True, (stamp, 0)))
        assert answer.flags == flags
        server.network.run_for(1)
        server.introduce()
