"""The TCP core in a whole host: closed ports, listeners, opens, TIME-WAIT, ICMP, and that nothing is left."""

import pytest

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from pystack.device.impair import Delay, Impaired
from pystack.wire import icmp, tcp_options
from tests.support.frames import A, B, ethernet, ip
from tests.support.peer import Peer
from tests.support.programs import Program, playground, transfer
from tests.support.segments import answers, options_of, segment
from tests.support.tcp import established

ANY = bytes(4)
NOTHING = {"connections": 0, "time_waits": 0, "sockets": 0, "ports": 0, "deadlines": 0, "memory": 0}
SYN_OPTIONS = tcp_options.syn(1460, 0, True)


class Server(Peer):
    """A host with a listener at port 80; ``program`` is what runs on it."""

    def __init__(self, listen=True, backlog=8, **config):
        super().__init__(StackConfig(tcp=TcpConfig(**{"tcp_timestamps": False, **config})))
        self.program = Program(self.network, self.host)
        self.core = self.program.core
        if listen:
            self.listener = self.program.listen(backlog=backlog)
            self.program.turn()

    def says(self, *how, **more):
        """One segment; what is answered."""
        found = answers(self.sends(segment(*how, **more)))
        self.program.turn()
        self.network.settle()
        return found + answers(self.sees())

    def opens(self, source_port=40_000, options=SYN_OPTIONS):
        """Open a connection; returns (our next number, what we expect next)."""
        (syn_ack,) = self.says("S", 100, options=options, source_port=source_port)
        assert (syn_ack.flags, syn_ack.ack) == ("SA", 101)
        assert self.says("A", 101, syn_ack.seq + 1, source_port=source_port) == []
        return 101, syn_ack.seq + 1


# -- closed ports (RFC 9293 §3.10.7.1) ---------------------------------------------------------------------------------


def test_a_closed_port_answers_with_a_reset():
    server = Server(listen=False)
    assert server.says("S", 7, options=SYN_OPTIONS) == [(A, "RA", 0, 8, 0)]
    assert server.says("A", 7, 99) == [(A, "R", 99, 0, 0)]
    assert server.says("FA", 7, 99, b"text") == [(A, "R", 99, 0, 0)]
    assert server.says("F", 7, 0, b"text") == [(A, "RA", 0, 12, 0)]
    assert server.says("RA", 7, 99) == server.says("R", 7) == []
    assert server.core.held() == NOTHING


def test_a_bad_checksum_is_dropped_in_silence():
    server = Server()
    assert server.says("S", 7, corrupt=True) == []
    assert server.drops == {"bad_checksum": 1}


def test_a_segment_to_many_is_dropped_in_silence():
    """MUST-57: neither a SYN nor anything else that went to a broadcast address or a link-layer broadcast."""
    for more in ({"destination": bytes((10, 0, 0, 255)), "mac": b"\xff" * 6}, {"mac": b"\xff" * 6}):
        server = Server()
        assert server.says("S", 7, **more) == server.says("A", 7, 9, **more) == []
        assert server.core.held()["connections"] == 0


@pytest.mark.parametrize("source", [bytes((10, 0, 0, 255)), bytes((224, 0, 0, 1)), bytes(4), bytes((127, 0, 0, 1)), B])
def test_a_syn_from_an_invalid_address_is_dropped(source):
    """MUST-63."""
    server = Server()
    assert server.says("S", 7, source=source) == []
    assert server.core.held()["connections"] == 0


def test_short_and_lying_headers_are_dropped():
    server = Server()
    for cut in range(20):
        frame = segment("S", 7)
        packet = frame[24:44] + frame[44 : 44 + cut]
        server.sends(ethernet(ip(packet[20:], protocol=6)))
    assert server.drops == {"truncated_header": 20}


# -- listeners --------------------------------------------------------------------------------------------------------


def test_a_listener_takes_syns_alone():
    """RFC 9293 §3.10.7.2."""
    server = Server()
    assert server.says("R", 7) == []
    assert server.says("A", 7, 9) == [(A, "R", 9, 0, 0)]
    assert server.says("F", 7) == server.says("SF", 7) == []
    assert server.core.held()["connections"] == 0


def test_a_listener_and_its_connections_live_side_by_side():
    """MUST-41."""
    server = Server()
    nxt, ack = server.opens(40_001)
    server.opens(40_002)
    assert len(server.program.accepted()) == 2
    server.says("PA", nxt, ack, b"first", source_port=40_001)
    assert server.program.received[server.program.accepted()[0]] == b"first"


def test_the_accept_queue_is_bounded():
    """Linux: one more than the backlog; then SYNs are dropped, until the program takes one."""
    server = Server(listen=False)
    server.core.requests([t.Bind(9, ANY, 80), t.Listen(9, 1)], 0.0)
    for port in (40_001, 40_002):
        (syn_ack,) = answers(server.sends(segment("S", 100, options=SYN_OPTIONS, source_port=port)))
        server.sends(segment("A", 101, (syn_ack.seq + 1) & 0xFFFFFFFF, source_port=port))
    assert server.sends(segment("S", 100, options=SYN_OPTIONS, source_port=40_003)) == []
    assert server.core.counts["ListenOverflows"] == 1
    server.core.requests([t.Taken(9, 1)], 0.0)
    assert len(server.sends(segment("S", 100, options=SYN_OPTIONS, source_port=40_003))) == 1


def test_a_half_open_connection_that_is_reset_is_forgotten():
    server = Server()
    server.says("S", 100, options=SYN_OPTIONS)
    server.says("R", 101)
    assert server.core.held()["connections"] == 0 and not server.program.accepted()


def test_a_syn_ack_that_nobody_answers_is_given_up():
    server = Server()
    server.says("S", 100, options=SYN_OPTIONS)
    sent = []
    for _ in range(7):
        sent += answers(server.after(10))
        server.introduce()  # or the neighbour would be given up first
    assert [each.flags for each in sent] == ["SA"] * 5
    assert server.core.held()["connections"] == 0


def test_closing_a_listener_ends_what_is_half_open_and_keeps_what_was_accepted():
    server = Server()
    nxt, ack = server.opens(40_001)
    server.says("S", 100, options=SYN_OPTIONS, source_port=40_002)
    server.program.ask(t.Close(server.listener))
    assert server.core.held()["connections"] == 1
    assert server.says("PA", nxt, ack, b"x", source_port=40_001)[0].flags == "A"
    assert server.says("S", 100, source_port=40_003)[0].flags == "RA"


def test_listeners_that_share_a_port_share_the_connections():
    """SO_REUSEPORT."""
    server = Server(listen=False)
    for number in (1, 2):
        server.core.requests([t.Bind(number, ANY, 80, reuse_port=True), t.Listen(number, 100)], 0.0)
    for port in range(41_000, 41_064):
        server.opens(port)
    of = [event[0].listener for event in server.program.events.values() if type(event[0]) is t.Accepted]
    assert 10 < of.count(1) < 54 and of.count(1) + of.count(2) == 64


# -- SYN cookies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_cookie_brings_the_connection_back(timestamps):
    """RFC 4987 §3.6: with timestamps the options come back too."""
    server = Server(tcp_syncookies=2, tcp_timestamps=True)
    options = tcp_options.syn(1460, 7, True, (1000, 0) if timestamps else None)
    packets = server.sends(segment("S", 100, options=options))
    (syn_ack,) = answers(packets)
    assert server.core.held()["connections"] == 0
    stamp = options_of(packets[0]).timestamp
    echo = tcp_options.timestamp(1001, stamp[0]) if timestamps else b""
    server.says("PA", 101, (syn_ack.seq + 1) & 0xFFFFFFFF, b"hello", options=echo)
    (socket,) = server.program.accepted()
    assert server.program.received[socket] == b"hello"
    (connection,) = server.core.flows.values()
    assert (connection.terms.sack, connection.terms.peer_window_scale) == ((True, 7) if timestamps else (False, 0))
    assert connection.terms.peer_mss == 1460


def test_forged_and_old_cookies_are_refused():
    server = Server(tcp_syncookies=2)
    (syn_ack,) = server.says("S", 100, options=SYN_OPTIONS)
    right = (syn_ack.seq + 1) & 0xFFFFFFFF
    assert server.says("A", 101, right ^ 0x10)[0].flags == "R"
    assert server.says("A", 1101, right)[0].flags == "R"
    assert server.says("A", 101, right, source_port=40_001)[0].flags == "R"
    server.network.run_for(300)
    server.introduce()
    assert server.says("A", 101, right)[0].flags == "R"
    assert server.core.held()["connections"] == 0


# -- active opens -----------------------------------------------------------------------------------------------------


def test_an_active_open_takes_the_source_of_the_path():
    """MUST-44."""
    server = Server(listen=False)
    server.program.connect(A, 99)
    server.network.settle()
    (syn,) = answers(server.sees())
    assert syn.flags == "S"
    ((local, remote, state, _),) = server.core.connections()
    assert local[0] == B and remote == (A, 99) and state == "SYN-SENT"


def test_an_active_open_takes_the_source_that_it_is_bound_to():
    """MUST-43, MUST-45."""
    server = Server(listen=False)
    server.core.requests([t.Bind(1, bytes((127, 0, 0, 5)), 1234), t.Connect(1, bytes((127, 0, 0, 1)), 99)], 0.0)
    assert [each[0] for each in server.core.connections()] == [(bytes((127, 0, 0, 5)), 1234)]


@pytest.mark.parametrize("address", [(224, 0, 0, 1), (255, 255, 255, 255), (10, 0, 0, 255)])
def test_an_open_to_many_is_refused(address):
    """MUST-46."""
    server = Server(listen=False)
    socket = server.program.connect(bytes(address), 99)
    server.program.turn()
    assert server.program.events[socket] == [t.Failed(socket, "net_unreachable")]
    assert server.core.held() == NOTHING


def test_a_connection_to_oneself():
    """A socket that is bound and connects to its own endpoint: simultaneous open, as on Linux."""
    server = Server(listen=False)
    own = bytes((127, 0, 0, 1))
    server.core.requests([t.Bind(1, own, 5555), t.Connect(1, own, 5555)], server.network.now)
    server.network.settle()
    server.program.turn()
    assert server.program.has(1, t.Connected)
    server.program.send(1, b"myself", end=False)
    server.network.settle()
    server.program.turn()
    assert server.program.received[1] == b"myself"


def test_a_bind_to_an_address_that_is_not_ours_is_refused():
    server = Server(listen=False)
    server.core.requests([t.Bind(1, bytes((10, 0, 0, 77)), 80)], 0.0)
    server.program.turn()
    assert server.program.events[1] == [t.Failed(1, "address_not_ours")]


REQUESTS = (
    lambda socket: t.Bind(socket, ANY, 0),
    lambda socket: t.Bind(socket, ANY, 80),
    lambda socket: t.Connect(socket, A, 1),
    lambda socket: t.Connect(socket, ANY, 80),
    lambda socket: t.Listen(socket, 5),
    lambda socket: t.Taken(socket, 1),
    lambda socket: t.Write(socket, [b"x"]),
    lambda socket: t.Write(socket, [b"x"], urgent=True),
    lambda socket: t.Write(socket, []),
    lambda socket: t.Shutdown(socket),
    lambda socket: t.Consumed(socket, 0),
    lambda socket: t.SetOption(socket, "nodelay", True),
    lambda socket: t.SetOption(socket, "keepalive", True),
    lambda socket: t.SetOption(socket, "fin_timeout", 1),
    lambda socket: t.SetOption(socket, "maximum_segment_size", 500),
    lambda socket: t.GetInfo(socket, None),
    lambda socket: t.Abort(socket),
    lambda socket: t.Close(socket),
    lambda socket: t.Close(socket, 0),
)
KINDS = ("unknown", "bound", "listening", "connecting", "connected", "shut down", "half closed", "closed", "finished")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", range(len(REQUESTS)))
def test_every_request_on_every_kind_of_socket_does_no_harm(kind, at):
    """One request, then all of them in turn; nothing raises, and nothing is left when all is closed."""
    server = Server()
    socket, nxt, ack = 50, 0, 0
    if kind == "bound":
        server.program.ask(t.Bind(socket, ANY, 5000))
    elif kind == "listening":
        socket = server.listener
    elif kind == "connecting":
        socket = server.program.connect(A, 99)
    elif kind != "unknown":
        nxt, ack = server.opens()
        (socket,) = server.program.accepted()
    if kind in ("half closed", "finished"):
        server.says("FA", nxt, ack)
    if kind in ("shut down", "finished"):
        server.program.ask(t.Shutdown(socket))
        server.network.settle()
    if kind == "finished":
        server.says("A", nxt + 1, ack + 1)
    if kind == "closed":
        server.program.ask(t.Close(socket))
    for request in (REQUESTS[at], *REQUESTS):
        server.program.ask(request(socket))
        server.network.settle()
        server.program.turn()
    assert server.core.counts["bugs"] == 0
    server.network.run_for(1000)
    for each in (socket, server.listener):
        server.program.ask(t.Close(each))
    server.program.turn()
    server.network.run_for(1000)
    for events in server.program.events.values():
        assert sum(type(event) is t.Finished for event in events) <= 1
    for other in server.program.accepted():
        server.program.ask(t.Close(other))
    server.network.run_for(2000)
    assert server.core.counts["bugs"] == 0 and server.core.held() == NOTHING


def test_an_open_without_a_route_is_refused():
    peer = Peer(gateway=None)
    program = Program(peer.network, peer.host)
    socket = program.connect(bytes((192, 0, 2, 1)), 99)
    program.turn()
    assert program.events[socket] == [t.Failed(socket, "net_unreachable")]
    assert program.core.held() == NOTHING


def test_an_open_that_is_refused():
    """Only by a RST that acknowledges the SYN (RFC 9293 §3.10.7.3)."""
    server = Server(listen=False)
    socket = server.program.connect(A, 99)
    server.network.settle()
    (packet,) = server.sees()
    port, seq = int.from_bytes(packet[20:22], "big"), answers([packet])[0].seq
    server.says("RA", 0, seq + 2, port=port, source_port=99)
    server.says("R", 0, port=port, source_port=99)
    assert socket not in server.program.events
    server.says("RA", 0, seq + 1, port=port, source_port=99)
    assert server.program.events[socket] == [t.Failed(socket, "refused")]
    assert server.core.held()["connections"] == server.core.held()["ports"] == 0


def test_an_open_to_any_address_is_to_this_host():
    """As on Linux: 0.0.0.0 is the loopback."""
    server = Server(listen=False)
    server.core.requests([t.Bind(1, ANY, 80), t.Listen(1, 5), t.Connect(2, ANY, 80)], 0.0)
    server.network.settle()
    server.program.turn()
    (connected,) = [event for event in server.program.events[2] if type(event) is t.Connected]
    assert connected.remote == (bytes((127, 0, 0, 1)), 80) and len(server.program.accepted()) == 1
    assert server.sees() == []


def test_one_port_serves_opens_to_different_peers_and_not_twice_the_same():
    server = Server(listen=False)
    core = server.core
    core.requests([t.Bind(1, B, 7000, reuse_address=True), t.Bind(2, B, 7000, reuse_address=True)], 0.0)
    core.requests([t.Bind(3, B, 7000, reuse_address=True)], 0.0)
    core.requests([t.Connect(1, A, 90), t.Connect(2, A, 91), t.Connect(3, A, 90)], 0.0)
    server.program.turn()
    assert server.program.events[3][-1] == t.Failed(3, "no_free_port")
    assert core.held()["connections"] == 2


def test_all_ports_to_one_peer_may_be_taken_and_then_no_more():
    peer = Peer(StackConfig(ip_local_port_range=(40_000, 40_009)))
    program = Program(peer.network, peer.host)
    sockets = [program.connect(A, 99) for _ in range(11)]
    other = program.connect(A, 98)
    program.turn()
    assert [program.events.get(socket) for socket in sockets] == [None] * 10 + [[t.Failed(sockets[10], "no_free_port")]]
    assert other not in program.events and program.core.held()["connections"] == 11


def test_an_open_that_nobody_answers_times_out():
    server = Server(listen=False, tcp_syn_retries=2)
    socket = server.program.connect(A, 99)
    sent = []
    for _ in range(8):
        sent += answers(server.after(1))
        server.introduce()
    server.program.turn()
    assert [each.flags for each in sent] == ["S"] * 3 and len({each.seq for each in sent}) == 1
    assert server.program.events[socket] == [t.Failed(socket, "timed_out")]
    server.network.run_for(100)
    assert server.core.held() == NOTHING


# -- TIME-WAIT --------------------------------------------------------------------------------------------------------


def in_time_wait():
    server = Server()
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.program.ask(t.Close(socket))
    server.network.settle()
    server.sees()
    assert server.says("FA", nxt, ack + 1)[-1].flags == "A"
    assert server.core.held()["time_waits"] == 1 and server.core.held()["connections"] == 0
    return server, nxt + 1, ack + 1


def test_time_wait_lasts_2_msl():
    """MUST-13: 60 s, as Linux."""
    server, _, _ = in_time_wait()
    server.network.run_for(59)
    assert server.core.held()["time_waits"] == 1
    server.network.run_for(2)
    server.program.ask(t.Close(server.listener))
    assert server.core.held() == NOTHING


def test_a_fin_that_comes_again_is_acknowledged_again_and_2_msl_begin_anew():
    server, nxt, ack = in_time_wait()
    server.network.run_for(50)
    server.introduce()
    assert server.says("FA", nxt - 1, ack) == [(A, "A", ack, nxt, 0)]
    server.network.run_for(50)
    assert server.core.held()["time_waits"] == 1


def test_a_new_syn_ends_a_time_wait():
    """MAY-2, RFC 6191: only one with a higher number, or a later timestamp."""
    server, nxt, ack = in_time_wait()
    assert server.says("S", nxt - 50, options=SYN_OPTIONS) == [(A, "A", ack, nxt, 0)]
    (syn_ack,) = server.says("S", nxt + 5000, options=SYN_OPTIONS)
    assert syn_ack.flags == "SA" and syn_ack.ack == nxt + 5001
    assert (syn_ack.seq - ack) & 0xFFFFFFFF > 65_535


def test_a_reset_ends_a_time_wait_unless_rfc_1337_is_wanted():
    server, nxt, _ = in_time_wait()
    server.says("R", nxt)
    assert server.core.held()["time_waits"] == 0


# -- ICMP -------------------------------------------------------------------------------------------------------------


def test_an_icmp_error_counts_only_with_a_number_in_flight():
    """RFC 5927 §4."""
    server = Server(listen=False)
    socket = server.program.connect(A, 99)
    server.network.settle()
    (packet,) = server.sees()
    for change, fails in ((1000, False), (0, True)):
        seq = (int.from_bytes(packet[24:28], "big") + change) & 0xFFFFFFFF
        quoted = packet[:24] + seq.to_bytes(4, "big") + packet[28:]
        server.sends(ethernet(ip(icmp.build(3, 1, bytes(4), quoted[:28]))))
        server.program.turn()
        assert bool(server.program.events.get(socket)) == fails
    assert server.program.events[socket] == [t.Failed(socket, "host_unreachable")]


def icmp_error(server, packet, kind, code, rest=bytes(4), seq_change=0):
    """Send an ICMP error that quotes a packet of the host, its number changed."""
    seq = (int.from_bytes(packet[24:28], "big") + seq_change) & 0xFFFFFFFF
    quoted = packet[:24] + seq.to_bytes(4, "big") + packet[28:]
    server.sends(ethernet(ip(icmp.build(kind, code, rest, quoted[:28]))))
    server.program.turn()


def test_an_icmp_error_about_a_time_wait_is_ignored():
    server, nxt, ack = in_time_wait()
    server.introduce()
    (packet,) = server.sends(segment("FA", nxt - 1, ack))
    icmp_error(server, packet, 3, 1)
    assert server.drops["icmp_unmatched"] == 1 and server.core.held()["time_waits"] == 1


@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 2), (3, 3), (3, 13), (11, 0), (12, 0)])
def test_no_icmp_error_ends_a_connection_that_stands(kind, code):
    """RFC 9293 MUST-54, RFC 5461: it is only what a later timeout is called."""
    server = Server()
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.program.send(socket, b"x" * 100, end=False)
    server.network.settle()
    (packet,) = server.sees()
    icmp_error(server, packet, kind, code)
    assert len(server.core.flows) == 1
    assert server.says("PA", nxt, ack + 100, b"still here")[0].flags == "A"
    assert server.program.received[socket] == b"still here"


@pytest.mark.parametrize(("change", "cut"), [(-1, False), (0, True), (2919, True), (2921, False), (2**31, False)])
def test_fragmentation_needed_is_believed_with_a_number_in_flight(change, cut):
    """RFC 5927 §4.1, RFC 1191: then segments shrink, and inet is told."""
    server = Server()
    server.opens()
    (socket,) = server.program.accepted()
    server.program.send(socket, bytes(2920), end=False)
    server.network.settle()
    packet = server.sees()[0]
    icmp_error(server, packet, 3, 4, bytes((0, 0, 1000 >> 8, 1000 & 255)), change)
    (connection,) = server.core.flows.values()
    assert connection.terms.path_mss == (960 if cut else 1460)
    assert server.host.inet.path(A).mtu == (1000 if cut else 1500)
    sizes = [each.length for each in answers(server.after(1))]
    assert max(sizes) == (960 if cut else 1460)


def test_an_icmp_error_about_another_connection_is_ignored():
    server = Server()
    server.opens()
    (socket,) = server.program.accepted()
    server.program.send(socket, b"x", end=False)
    server.network.settle()
    (packet,) = server.sees()
    icmp_error(server, packet[:22] + b"\x11\x11" + packet[24:], 3, 4, bytes((0, 0, 3, 232)))
    icmp_error(server, packet[:20] + b"\x11\x11" + packet[22:], 3, 4, bytes((0, 0, 3, 232)))
    (connection,) = server.core.flows.values()
    assert connection.terms.path_mss == 1460 and server.drops["icmp_unmatched"] == 2


# -- after the program has gone ---------------------------------------------------------------------------------------


def closing(**config):
    """A host whose program has closed a connection; the peer's next number, the host's, and what was sent."""
    server = Server(**config)
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.program.ask(t.Close(socket))
    server.network.settle()
    return server, nxt, ack + 1, answers(server.sees())


def test_fin_wait_2_without_a_program_lasts_fin_timeout():
    server, nxt, ack, sent = closing(tcp_fin_timeout=5)
    assert [each.flags for each in sent] == ["FA"]
    server.says("A", nxt, ack)
    server.network.run_for(4.9)
    assert server.core.held()["connections"] == 1
    assert answers(server.after(0.2)) == []
    assert server.core.held()["connections"] == 0
    server.introduce()
    assert server.says("FA", nxt, ack)[0].flags == "R"  # nobody is there any more


def test_text_for_a_program_that_has_gone_is_reset():
    """RFC 1122 §4.2.2.13."""
    server, nxt, ack, _ = closing()
    assert [each.flags[0] for each in server.says("PA", nxt, ack, b"anyone?")] == ["R"]
    assert server.core.held()["connections"] == 0 and server.core.counts["AbortOnData"] == 1


def test_a_close_with_unread_data_resets():
    """RFC 2525 §2.17."""
    server = Server()
    server.program.reads = False
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.says("PA", nxt, ack, b"unread")
    server.program.ask(t.Close(socket))
    server.network.settle()
    assert answers(server.sees()) == [(A, "RA", ack, nxt + 6, 0)]
    assert server.core.held()["connections"] == server.core.held()["memory"] == 0


def test_linger_of_0_resets_and_drops_what_is_written():
    server = Server()
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.program.send(socket, bytes(50_000), end=False)
    server.network.settle()
    sent = server.sees()
    server.program.ask(t.Close(socket, 0))
    server.network.settle()
    (reset,) = answers(server.sees())
    assert reset.flags == "RA" and reset.ack == nxt
    assert reset.seq == (ack + sum(each.length for each in answers(sent))) & 0xFFFFFFFF
    assert server.core.held()["connections"] == server.core.held()["memory"] == 0


def test_there_are_no_more_orphans_than_the_limit():
    server = Server(tcp_max_orphans=2)
    for port in range(40_000, 40_005):
        server.opens(port)
    for socket in server.program.accepted():
        server.program.ask(t.Close(socket))
    server.network.settle()
    assert [each.flags for each in answers(server.sees())] == ["FA"] * 2 + ["RA"] * 3
    assert server.core.held()["connections"] == 2 and server.core.counts["AbortOnMemory"] == 3


def test_an_orphan_that_nobody_acknowledges_is_given_up():
    server, _, _, _ = closing(tcp_orphan_retries=3)
    for _ in range(60):
        server.after(1)
        server.introduce()
    server.program.ask(t.Close(server.listener))
    server.network.run_for(200)
    assert server.core.held() == NOTHING


# -- nothing is left --------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_transfer():
    network, client, server = playground()
    transfer(network, client, server, bytes(300_000), bytes(300_000))
    network.run_for(100)
    assert client.core.held() == NOTHING
    assert server.core.held()["connections"] == server.core.held()["memory"] == 0


def test_an_abort_gives_up_what_is_only_bound():
    server = Server(listen=False)
    server.core.requests([t.Bind(1, ANY, 80), t.SetOption(2, "nodelay", True), t.Abort(1), t.Abort(2)], 0.0)
    assert server.core.held() == NOTHING


def test_an_option_of_a_socket_in_time_wait_frees_no_port():
    server, _, _ = in_time_wait()
    (socket,) = server.program.accepted()
    for request in (t.SetOption(socket, "nodelay", True), t.Close(socket), t.Close(server.listener)):
        server.program.ask(request)
    held = server.core.held()
    assert (held["time_waits"], held["sockets"], held["ports"]) == (1, 0, 1)


def test_a_low_water_mark_does_not_stop_and_wait():
    """TCP_NOTSENT_LOWAT: about as fast as without it."""
    times = []
    for settings in ({}, {"notsent_lowat": 16_384}):
        network, client, server = playground(
            wrap=lambda device: Impaired(device, transmit=[Delay(0.02)], receive=[Delay(0.02)])
        )
        times.append(transfer(network, client, server, bytes(500_000), **settings))
    assert times[1] < 2 * times[0]


def test_unread_data_in_the_end_is_told_of():
    """Linux: close with unread data is a reset also in LAST-ACK."""
    made = established()
    made.arrives("PA", 1, 1, b"unread")
    made.arrives("FA", 7, 1)
    made.does("shutdown")
    assert made.state == "LAST-ACK"
    assert [sent.flags for sent in made.does("close", None)] == ["RA"]
