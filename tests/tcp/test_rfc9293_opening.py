"""RFC 9293 §3.5, §3.9.1.1, §3.9.2.3: opening a connection, and whose SYN counts. See docs/rfc9293.md."""

import pytest

from pystack import transport as t
from pystack.config import StackConfig
from pystack.wire.seq import MASK
from tests.support.frames import A, B
from tests.support.peer import Peer
from tests.support.programs import Program
from tests.support.segments import answers, segment
from tests.support.tcp import SYN_OPTIONS, Conversation, Sent, half_open, opening, options
from tests.tcp.test_layer import SYN_OPTIONS as RAW_SYN_OPTIONS
from tests.tcp.test_layer import Server

OTHER = bytes((10, 0, 0, 7))


# -- simultaneous open ------------------------------------------------------------------------------------------------


def test_both_open_at_once():
    """MUST-10: SYN and SYN cross; figure 8 of RFC 9293."""
    made = opening()
    assert made.arrives("S", 0, opts=options(**SYN_OPTIONS)) == [Sent("SA", 0, 1, 0)]
    assert made.state == "SYN-RECEIVED" and made.events() == []
    assert made.arrives("SA", 0, 1, opts=options(**SYN_OPTIONS)) == [Sent("A", 1, 1, 0)]
    assert made.state == "ESTABLISHED" and type(made.events()[0]) is t.Connected


def test_both_open_at_once_and_a_bare_ack_ends_it():
    """MUST-10: the peer's SYN, ACK may be lost, and what follows it have the ACK alone."""
    made = opening()
    made.arrives("S", 0, opts=options(**SYN_OPTIONS))
    made.arrives("PA", 1, 1, b"hello")
    assert made.state == "ESTABLISHED"
    assert [type(event) for event in made.events()] == [t.Connected, t.Received, t.Room]


def test_two_stacks_that_open_at_once_are_connected():
    """MUST-10, over a whole host: the socket that connected gets the connection."""
    server = Server(listen=False)
    server.core.requests([t.Bind(1, B, 5000), t.Connect(1, A, 40_000)], server.network.now)
    server.network.settle()
    (syn,) = answers(server.sees())
    (syn_ack,) = server.says("S", 100, options=RAW_SYN_OPTIONS, port=5000)
    assert (syn_ack.flags, syn_ack.seq, syn_ack.ack) == ("SA", syn.seq, 101)
    server.says("SA", 100, syn.seq + 1, options=RAW_SYN_OPTIONS, port=5000)
    assert server.program.has(1, t.Connected)


# -- SYN-RECEIVED remembers -------------------------------------------------------------------------------------------


def test_a_reset_of_a_simultaneous_open_refuses_it():
    """MUST-11: an active open that has become half open by the peer's SYN is told (RFC 9293 §3.10.7.4, second)."""
    made = opening()
    made.arrives("S", 0, opts=options(**SYN_OPTIONS))
    made.arrives("R", 1, 0)
    assert made.state == "CLOSED" and made.events() == [t.Failed(1, "refused")]


def test_a_reset_of_a_passive_open_returns_to_listen():
    """MUST-11: nobody hears of it, and the listener goes on."""
    server = Server()
    server.says("S", 100, options=RAW_SYN_OPTIONS)
    assert server.says("R", 101) == []
    assert server.program.accepted() == [] and server.core.held()["connections"] == 0
    assert [each[2] for each in server.core.connections()] == ["LISTEN"]
    server.opens(40_001)
    assert len(server.program.accepted()) == 1


def test_a_syn_ack_that_was_lost_is_sent_again():
    made = half_open()
    assert made.arrives("S", 0, opts=options(**SYN_OPTIONS)) == [Sent("SA", 0, 1, 0)]
    assert [sent for _, sent in made.after(1.5)] == [Sent("SA", 0, 1, 0)]


# -- passive opens ----------------------------------------------------------------------------------------------------


def test_a_passive_open_disturbs_no_connection():
    """MUST-41: neither those that there are at its port, nor those of other ports."""
    server = Server()
    nxt, ack = server.opens(40_001)
    server.core.requests([t.Bind(50, bytes(4), 81), t.Listen(50, 5)], server.network.now)
    server.core.requests([t.Listen(server.listener, 1)], server.network.now)
    assert server.says("PA", nxt, ack, b"still here", source_port=40_001)[0].flags == "A"
    server.core.requests([t.Close(server.listener)], server.network.now)
    assert server.says("PA", nxt + 10, ack, b" and now", source_port=40_001)[0].flags == "A"
    assert server.program.received[server.program.accepted()[0]] == b"still here and now"


def test_two_listen_at_one_port_on_two_addresses():
    """MUST-42: each gets the connections to its address."""
    peer = Peer(addresses=("10.0.0.2/24", "10.0.0.7/24"))
    program = Program(peer.network, peer.host)
    for socket, address in ((1, B), (2, OTHER)):
        program.core.requests([t.Bind(socket, address, 80), t.Listen(socket, 5)], 0.0)
    for port, address, listener in ((40_001, OTHER, 2), (40_002, B, 1)):
        syn = segment("S", 100, options=RAW_SYN_OPTIONS, source_port=port, destination=address)
        (syn_ack,) = answers(peer.sends(syn))
        peer.sends(segment("A", 101, (syn_ack.seq + 1) & MASK, source_port=port, destination=address))
        program.turn()
        (event, *_) = program.events[program.accepted()[-1]]
        assert (event.listener, event.local) == (listener, (address, 80))


# -- active opens -----------------------------------------------------------------------------------------------------


def test_a_syn_that_an_old_connection_answers_is_sent_again_at_once():
    """§3.5.2, figure 9: the peer, in TIME-WAIT say, acknowledges what is over, and forgets it by our reset. As on Linux
    the next SYN does not wait for the timeout, once: who answers so again and again is not asked all the time."""
    made = opening()
    assert made.arrives("A", 300, 77) == [Sent("R", 77, 0, 0)]
    assert made.after(0.5) == [(0.002, Sent("S", 0, 0, 0))]
    assert made.arrives("A", 300, 77) == [Sent("R", 77, 0, 0)]
    assert made.after(0.5) == []
    assert made.arrives("SA", 0, 1, opts=options(**SYN_OPTIONS)) == [Sent("A", 1, 1, 0)]
    assert made.state == "ESTABLISHED"


def connecting(server, *requests):
    """Connect to 10.0.0.1:99; the packet that leaves."""
    server.core.requests([*requests, t.Connect(1, A, 99)], server.network.now)
    server.network.settle()
    (packet,) = server.sees()
    return packet


def test_the_source_of_a_syn_is_that_of_the_path():
    """MUST-44."""
    assert connecting(Server(listen=False))[12:16] == B


def test_the_source_of_a_syn_may_be_chosen():
    """MUST-43, MUST-45: the local address and port that the program has bound, on every segment."""
    server = Peer(addresses=("10.0.0.2/24", "10.0.0.7/24"))
    program = Program(server.network, server.host)
    program.core.requests([t.Bind(1, OTHER, 1234), t.Connect(1, A, 99)], 0.0)
    server.network.settle()
    (packet,) = server.sees()
    assert packet[12:16] == OTHER and packet[20:22] == (1234).to_bytes(2, "big")
    (syn,) = answers([packet])
    reply = {"destination": OTHER, "port": 1234, "source_port": 99, "options": RAW_SYN_OPTIONS}
    (packet,) = server.sends(segment("SA", 0, (syn.seq + 1) & MASK, **reply))
    assert packet[12:16] == OTHER


@pytest.mark.parametrize("address", [(224, 0, 0, 1), (239, 1, 2, 3), (255, 255, 255, 255), (10, 0, 0, 255)])
def test_an_open_to_a_broadcast_or_multicast_address_is_refused(address):
    """MUST-46: at once; nothing is sent."""
    server = Server(listen=False)
    socket = server.program.connect(bytes(address), 99)
    server.network.settle()
    server.program.turn()
    assert server.program.events[socket] == [t.Failed(socket, "net_unreachable")] and server.sees() == []


@pytest.mark.parametrize("how", [{"destination": bytes((10, 0, 0, 255)), "mac": b"\xff" * 6}, {"mac": b"\xff" * 6}])
@pytest.mark.parametrize("flags", ["S", "A", "PA", "FA", "R", ""])
@pytest.mark.parametrize("port", [80, 81])
def test_a_segment_to_a_broadcast_address_is_dropped_in_silence(how, flags, port):
    """MUST-57: of IP or of the link, at an open port and at a closed one; no RST, no ICMP error."""
    server = Server()
    assert server.says(flags, 7, port=port, **how) == []
    assert server.core.held()["connections"] == 0 and server.core.counts["OutSegs"] == 0


def test_a_syn_to_a_multicast_address_is_dropped_in_silence():
    """MUST-57."""
    server = Server()
    group, mac = bytes((224, 0, 0, 1)), b"\x01\0\x5e\0\0\x01"
    assert server.says("S", 7, destination=group, mac=mac) == []
    assert server.core.held()["connections"] == 0


# -- initial sequence numbers -----------------------------------------------------------------------------------------


def test_two_opens_between_the_same_ends_differ_by_the_clock():
    """MUST-8: by one for every 4 us."""
    numbers = []
    for start in (0.0, 1.0):
        peer = Peer(StackConfig())
        peer.network.run_for(start)
        program = Program(peer.network, peer.host)
        program.core.requests([t.Bind(1, B, 1234), t.Connect(1, A, 99)], peer.network.now)
        peer.introduce()
        numbers.append(next(iter(program.core.flows.values())).sender.iss)
    assert (numbers[1] - numbers[0]) & MASK == 250_000


def test_a_syn_retransmitted_has_the_same_number():
    made = Conversation()
    made.does("connect")
    assert {sent for _, sent in made.after(10)} == {Sent("S", 0, 0, 0)}
