"""What a listener takes, how many may wait, and what becomes of those that no longer fit."""

from pystack import transport as t
from pystack.tcp.listener import Listener, Listeners
from pystack.tcp.settings import Settings
from pystack.wire import tcp_options
from tests.support.frames import A, B
from tests.support.segments import answers, segment
from tests.tcp.test_layer import ANY, NOTHING, SYN_OPTIONS, Server

OTHER = bytes((10, 0, 0, 3))


def listener(socket, address=ANY, port=80, interface=0, reuse_port=False):
    return Listener(socket, address, port, interface, 8, Settings(), reuse_port)


def found(there, address, interface=1, key=b"key"):
    table = Listeners(1)
    for each in there:
        table.add(each)
    best = table.find(address, 80, interface, key)
    return best and best.socket


def half_open(server, ports):
    """SYNs from these ports; returns {port: our number + 1} of those answered."""
    taken = {}
    for port in ports:
        for answer in answers(server.sends(segment("S", 100, options=SYN_OPTIONS, source_port=port))):
            taken[port] = (answer.seq + 1) & 0xFFFFFFFF
    return taken


def passive(backlog, **config):
    """A host with a listener, socket 9, whose program takes nothing by itself."""
    server = Server(listen=False, **config)
    server.program.turn = lambda: False
    server.core.requests([t.Bind(9, ANY, 80), t.Listen(9, backlog)], 0.0)
    return server


def accepted(server):
    return sum(type(event) is t.Accepted for event in server.core.outboxes["sockets"])


# -- who is asked -----------------------------------------------------------------------------------------------------


def test_the_most_exact_listener_is_found():
    """An interface of its own, then an address, then any; among equals the newest."""
    any_, exact, bound = listener(1), listener(2, B), listener(3, interface=1)
    assert found([any_, exact], B) == found([exact, any_], B) == 2
    assert found([any_, exact], OTHER) == 1
    assert found([any_, exact, bound], B) == 3
    assert found([any_, exact, bound], B, interface=2) == 2
    assert found([exact], OTHER) is None and found([], B) is None
    assert found([listener(1), listener(4)], B) == 4


def test_a_listener_for_every_port_hears_what_nobody_else_does():
    """Its connections have the port that was meant."""
    server = passive(8)
    server.core.requests([t.Listen(10, 8, every_port=True)], 0.0)
    assert t.Bound(10, bytes(16), 0) in server.core.outboxes["sockets"]
    for port, listener in ((80, 9), (81, 10), (65_535, 10)):
        syn = segment("S", 100, options=SYN_OPTIONS, source_port=1000, port=port)
        (syn_ack,) = answers(server.sends(syn))
        server.sends(segment("A", 101, (syn_ack.seq + 1) & 0xFFFFFFFF, source_port=1000, port=port))
        accepted = server.core.outboxes["sockets"][-2:]
        assert next(event for event in accepted if type(event) is t.Accepted).listener == listener
    assert {local[1] for local, remote, *_ in server.core.connections() if remote} == {80, 81, 65_535}
    server.core.requests([t.Close(10)], 0.0)
    assert server.says("S", 100, source_port=1001, port=82)[0][1] == "RA"


def test_a_listener_on_any_ipv6_address_hears_ipv4_and_not_the_reverse():
    assert found([listener(1, bytes(16))], B) == 1
    assert found([listener(1, ANY)], bytes(15) + b"\x01") is None


def test_listeners_that_share_are_chosen_by_the_flow():
    there = [listener(1, reuse_port=True), listener(2, reuse_port=True)]
    chosen = [found(there, B, key=bytes((number,))) for number in range(100)]
    assert chosen == [found(there, B, key=bytes((number,))) for number in range(100)]
    assert 25 < chosen.count(1) < 75


def test_a_removed_listener_is_found_no_more():
    table, one = Listeners(1), listener(1)
    table.add(one)
    assert len(table) == 1
    table.remove(one)
    assert len(table) == 0 and table.find(B, 80, 1, b"") is None


def test_two_listeners_on_one_port_with_different_addresses():
    server = Server(listen=False)
    own = bytes((127, 0, 0, 1))
    server.core.requests([t.Bind(1, own, 80), t.Listen(1, 5), t.Bind(2, B, 80), t.Listen(2, 5)], 0.0)
    server.opens()
    server.core.requests([t.Connect(3, own, 80)], server.network.now)
    server.network.settle()
    server.program.turn()
    by = [events[0].listener for events in server.program.events.values() if type(events[0]) is t.Accepted]
    assert by == [2, 1]
    server.program.ask(t.Close(2))
    assert server.says("S", 100, source_port=40_009)[0].flags == "RA"


# -- LISTEN (RFC 9293 §3.10.7.2) ---------------------------------------------------------------------------------------


def test_rst_first_then_ack_then_syn():
    server = Server()
    assert server.says("R", 7) == server.says("RA", 7, 9) == server.says("SR", 7) == []
    assert server.says("A", 7, 9) == server.says("SA", 7, 9) == server.says("FA", 7, 9) == [(A, "R", 9, 0, 0)]
    assert server.says("", 7) == server.says("P", 7, 0, b"text") == server.says("SF", 7) == []
    assert server.core.held()["connections"] == 0 and server.core.counts["bugs"] == 0


def test_the_syn_ack_acknowledges_the_syn_alone_and_text_on_a_syn_is_not_lost_for_good():
    """MAY: text on a SYN may be left to be sent again."""
    server = Server()
    (syn_ack,) = server.says("S", 100, 0, b"early", options=SYN_OPTIONS)
    assert (syn_ack.flags, syn_ack.ack) == ("SA", 101)
    server.says("PA", 101, syn_ack.seq + 1, b"early")
    (socket,) = server.program.accepted()
    assert server.program.received[socket] == b"early"


def test_a_syn_that_comes_again_is_answered_with_the_same_number():
    """At once, but not more often than bad segments are answered."""
    server = Server()
    (first,) = server.says("S", 100, options=SYN_OPTIONS)
    again = server.says("S", 100, options=SYN_OPTIONS)
    assert again == [first]
    assert server.says("S", 100, options=SYN_OPTIONS) == []
    assert server.core.held()["connections"] == 1


def test_a_wrong_ack_in_syn_received_is_reset_and_the_connection_lives():
    """RFC 9293 §3.10.7.4, fifth step."""
    server = Server()
    (syn_ack,) = server.says("S", 100, options=SYN_OPTIONS)
    wrong = (syn_ack.seq + 99) & 0xFFFFFFFF
    assert server.says("A", 101, wrong) == [(A, "R", wrong, 0, 0)]
    assert server.core.held()["connections"] == 1
    assert server.says("A", 101, syn_ack.seq + 1) == []
    assert len(server.program.accepted()) == 1


# -- the queues -------------------------------------------------------------------------------------------------------


def test_the_accept_queue_is_bounded_within_one_batch_too():
    """As many handshakes as the SYN queue holds may end in one batch: no more than backlog + 1 are announced."""
    server = passive(4)
    taken = half_open(server, range(40_000, 40_002))
    server.sends(*(segment("A", 101, ack, source_port=port) for port, ack in taken.items()))
    assert accepted(server) == 2
    taken = half_open(server, range(40_100, 40_104))
    assert len(taken) == 4
    server.sends(*(segment("A", 101, ack, source_port=port) for port, ack in taken.items()))
    assert accepted(server) == 5
    assert server.core.counts["ListenOverflows"] == 1


def test_the_accept_queue_is_bounded_for_cookies_within_one_batch():
    server = passive(4, tcp_syncookies=2)
    taken = half_open(server, range(40_000, 40_050))
    server.sends(*(segment("A", 101, ack, source_port=port) for port, ack in taken.items()))
    assert len(taken) == 50 and accepted(server) == 5
    assert server.core.held()["connections"] == 5


def test_what_was_taken_makes_room_and_more_than_waited_is_not_counted():
    server = passive(0)
    server.opens(40_000)
    assert half_open(server, [40_001]) == {}
    server.core.requests([t.Taken(9, 7)], 0.0)
    server.opens(40_002)
    assert half_open(server, [40_003]) == {}


def test_a_connection_that_ends_before_it_is_taken_still_waits():
    """The program gets it from accept all the same, as on Linux, and Taken is for it too."""
    server = passive(0)
    nxt, ack = server.opens(40_000)
    server.says("RA", nxt, ack)
    assert server.core.held()["connections"] == 0
    assert half_open(server, [40_001]) == {}
    server.core.requests([t.Taken(9, 1)], 0.0)
    assert len(half_open(server, [40_001])) == 1


def test_the_ack_of_a_handshake_that_finds_no_room_is_dropped_and_heard_later():
    server = passive(1)
    server.opens(40_000)
    ack = half_open(server, [40_001])[40_001]
    server.core.requests([t.Listen(9, 0)], 0.0)  # less room than before
    assert server.sends(segment("A", 101, ack, source_port=40_001)) == [] and accepted(server) == 1
    server.core.requests([t.Taken(9, 1)], 0.0)
    server.sends(segment("A", 101, ack, source_port=40_001))
    assert accepted(server) == 2


def test_abort_on_overflow_resets():
    server = passive(1, tcp_abort_on_overflow=True)
    server.opens(40_000)
    ack = half_open(server, [40_001])[40_001]
    server.core.requests([t.Listen(9, 0)], 0.0)
    assert answers(server.sends(segment("A", 101, ack, source_port=40_001)))[0].flags[0] == "R"
    assert server.core.held()["connections"] == 1 and accepted(server) == 1


def test_without_cookies_syns_beyond_the_queue_are_dropped():
    server = passive(4, tcp_syncookies=0)
    assert len(half_open(server, range(40_000, 40_010))) == 4
    assert server.core.counts["ListenDrops"] == 6 and server.core.held()["connections"] == 4
    assert server.drops["syn_overflow"] == 6


def test_with_cookies_every_syn_is_answered_and_nothing_more_is_kept():
    server = passive(4)
    assert len(half_open(server, range(40_000, 40_010))) == 10
    assert server.core.held()["connections"] == 4 and server.core.counts["SyncookiesSent"] == 6


def test_without_cookies_the_backlog_of_the_stack_counts_as_well():
    server = passive(100, tcp_syncookies=0, tcp_max_syn_backlog=8)
    assert len(half_open(server, range(40_000, 40_020))) == 7


def test_the_backlog_is_cut_to_somaxconn_and_may_be_changed():
    server = passive(1000, somaxconn=2, tcp_syncookies=0)
    assert len(half_open(server, range(40_000, 40_010))) == 2
    server.core.requests([t.Listen(9, 1)], 0.0)
    assert half_open(server, [40_020]) == {}
    server.core.requests([t.Listen(9, -5)], 0.0)
    assert server.core.counts["bugs"] == 0


# -- the end ----------------------------------------------------------------------------------------------------------


def test_segments_for_half_open_connections_whose_listener_has_closed():
    """They find a closed port: RST for the ACK, silence for a RST, nothing raised, nothing left."""
    server = passive(8)
    taken = half_open(server, range(40_000, 40_003))
    server.core.requests([t.Close(9)], 0.0)
    assert server.core.held()["connections"] == 0
    assert answers(server.sends(segment("A", 101, taken[40_000]))) == [(A, "R", taken[40_000], 0, 0)]
    assert answers(server.sends(segment("R", 101, source_port=40_001))) == []
    assert answers(server.sends(segment("S", 100, source_port=40_002)))[0].flags == "RA"
    server.network.run_for(200)
    assert server.core.held() == NOTHING


def test_two_resets_in_one_batch_are_one_failure():
    server = Server()
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.sends(*(segment("RA", nxt, ack) for _ in range(3)))
    server.program.turn()
    assert [type(event) for event in server.program.events[socket]].count(t.Failed) == 1


def test_handshake_text_and_fin_in_one_batch():
    """The events are in order: Accepted first."""
    server = passive(8)
    taken = half_open(server, [40_000])
    ack = taken[40_000]
    server.sends(segment("A", 101, ack), segment("PA", 101, ack, b"all"), segment("FA", 104, ack))
    kinds = [type(event) for event in server.core.outboxes["sockets"]][1:]
    assert [kind for kind in kinds if kind is not t.Room][-3:] == [t.Accepted, t.Received, t.EndOfStream]


def test_a_handshake_and_its_reset_in_one_batch_leave_nothing():
    server = passive(8)
    taken = half_open(server, [40_000])
    server.sends(segment("A", 101, taken[40_000]), segment("RA", 101, taken[40_000]))
    assert server.core.held()["connections"] == 0 and server.core.counts["bugs"] == 0


def test_connections_inherit_what_the_listener_has_set():
    server = Server(listen=False)
    server.core.requests(
        [t.SetOption(9, "nodelay", True), t.Bind(9, ANY, 80), t.Listen(9, 5), t.SetOption(9, "ttl", 7)], 0.0
    )
    packets = server.sends(segment("S", 100, options=tcp_options.syn(1460, 0, True)))
    assert packets[0][8] == 7
    ((key, connection),) = server.core.flows.items()
    assert key and connection.settings.nodelay
    server.core.requests([t.SetOption(9, "nodelay", False)], 0.0)
    assert connection.settings.nodelay  # its own since then
