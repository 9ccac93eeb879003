"""The TCP core in a whole host: closed ports, listeners, opens, TIME-WAIT, ICMP, and that nothing is left."""

import pytest

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from pystack.wire import icmp, tcp_options
from tests.support.frames import A, B, ethernet, ip
from tests.support.peer import Peer
from tests.support.programs import Program, playground, transfer
from tests.support.segments import answers, options_of, segment

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


def test_every_request_on_every_kind_of_socket_does_no_harm():
    server = Server()
    server.opens()
    (accepted,) = server.program.accepted()
    server.program.ask(t.Bind(50, ANY, 5000))
    connecting = server.program.connect(A, 99)
    requests = [
        lambda socket: t.Bind(socket, ANY, 0),
        lambda socket: t.Connect(socket, A, 1),
        lambda socket: t.Listen(socket, 5),
        lambda socket: t.Taken(socket, 1),
        lambda socket: t.Write(socket, [b"x"]),
        lambda socket: t.Shutdown(socket),
        lambda socket: t.Consumed(socket, 0),
        lambda socket: t.SetOption(socket, "nodelay", True),
        lambda socket: t.GetInfo(socket, None),
        lambda socket: t.Abort(socket),
        lambda socket: t.Close(socket),
        lambda socket: t.Close(socket),
    ]
    for socket in (777, 50, server.listener, connecting, accepted):
        for request in requests:
            server.program.ask(request(socket))
            server.network.settle()
            server.program.turn()
    server.network.run_for(1000)
    for socket in (777, 50, server.listener, connecting, accepted):
        server.program.ask(t.Close(socket))
    server.network.run_for(1000)
    assert server.core.counts["bugs"] == 0 and server.core.held() == NOTHING


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


# -- nothing is left --------------------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_transfer():
    network, client, server = playground()
    transfer(network, client, server, bytes(300_000), bytes(300_000))
    network.run_for(100)
    assert client.core.held() == NOTHING
    assert server.core.held()["connections"] == server.core.held()["memory"] == 0
