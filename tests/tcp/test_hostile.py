"""Peers that lie, and strangers that guess: the connection lives, memory is bounded, a good client is served."""

from random import Random

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from tests.support.programs import playground
from tests.support.segments import segment
from tests.support.tcp import established, options
from tests.tcp.test_layer import SYN_OPTIONS, Server


def test_blind_resets_syns_and_data_over_the_whole_window():
    """RFC 5961: each is challenged, within a limit, and nothing of it counts."""
    made = established(window=65_535)
    window = made.connection.receiver.rcv_wnd
    answers = 0
    for at in range(2, window, 500):
        answers += len(made.arrives("R", 1 + at))
        answers += len(made.arrives("S", 1 + at, opts=options(mss=1460)))
        answers += len(made.arrives("PA", 1 + at, -1_000_000, b"injected"))
    assert made.state == "ESTABLISHED" and answers <= 2
    assert made.received() == b"" and made.memory.used == 0
    made.arrives("PA", 1, 1, b"the true one")
    assert made.received() == b"the true one"


def test_an_ack_storm_is_not_answered_and_opens_no_window():
    """Duplicate ACKs, ACKs of the future, old ones: no output without bound, no growth, no retransmission storm."""
    made = established()
    made.write(bytes(20_000))
    before, sent = made.connection.sender.congestion.cwnd, 0
    for _ in range(2000):
        sent += len(made.arrives("A", 1, 1))
        sent += len(made.arrives("A", 1, 900_000))
        sent += len(made.arrives("A", 1, -5))
    assert sent < 30 and made.connection.sender.congestion.cwnd <= before + 1460
    assert made.state == "ESTABLISHED"


def test_an_optimistic_receiver_gains_nothing():
    """Many ACKs for parts of one segment grow the window no more than one for all of it (RFC 3465)."""
    grown = []
    for step in (1, 1460):
        made = established()
        made.write(bytes(14_600))
        for ack in range(step, 14_601, step):
            made.arrives("A", 1, 1 + ack)
        grown.append(made.connection.sender.congestion.cwnd)
    assert grown[0] <= grown[1]


def test_lies_in_sack_do_no_harm():
    """Blocks of what was never sent, reversed, or huge; and a peer that takes back what it had reported."""
    random = Random(1)
    made = established()
    made.write(bytes(30_000))
    for _ in range(300):
        edges = [random.choice((-5, 0, 1, 1461, 2921, 14_601, 30_001, 100_000, 2**31)) for _ in range(6)]
        made.arrives("A", 1, 1, opts=options(sacks=tuple(zip(edges[::2], edges[1::2], strict=True))))
        board = made.connection.sender.board
        assert 0 <= board.in_flight and board.sacked + board.lost <= board.size
    made.arrives("A", 1, 1, opts=options(sacks=((1461, 14_601),)))
    made.after(3)
    resent = made.connection.sender.total_retransmissions
    assert resent > 0
    made.arrives("A", 1, 14_601)
    assert made.state == "ESTABLISHED"


def test_a_tiny_window_for_ever_is_cheap():
    made = established(window=1)
    made.write(bytes(10_000))
    sent = 0
    for at in range(200):
        sent += len(made.after(0.01))
        made.arrives("A", 1, 1 + made.connection.sender.snd_nxt - made.connection.sender.iss - 1, window=1)
        assert made.connection.sender.board.in_flight <= 2, at
    assert sent < 400 and made.state == "ESTABLISHED"


def test_single_bytes_do_not_swell_memory():
    made = established()
    for at in range(1, 60_000, 2):
        made.arrives("A", 1 + at, 1, b"x", frame=60)
    assert made.memory.used <= 2 * made.connection.receiver.buffer.capacity


def test_overlapping_segments_with_other_content():
    """The first that came counts, whatever is said later of the same numbers."""
    made = established()
    made.arrives("A", 4, 1, b"DEF")
    made.arrives("A", 3, 1, b"xxxxx")
    made.arrives("A", 1, 1, b"ABCyyyyyyy")
    assert made.received()[:6] == b"ABxDEF"


def test_100_000_syns_from_forged_sources_while_a_good_client_is_served():
    server = Server(backlog=64, tcp_timestamps=True)
    random = Random(2)
    highest = 0
    for batch in range(200):
        frames = [
            segment(
                "S",
                random.getrandbits(32),
                source=bytes((10, 0, 0, 3 + random.randrange(200))),
                source_port=random.randrange(1024, 65_536),
                options=SYN_OPTIONS,
            )
            for _ in range(500)
        ]
        server.sends(*frames)
        server.frames()
        highest = max(highest, server.core.held()["connections"])
        if batch == 150:
            nxt, ack = server.opens(33_333)
            server.says("PA", nxt, ack, b"good", source_port=33_333)
    assert highest <= 65 + 1
    assert b"good" in [bytes(each) for each in server.program.received.values()]
    assert server.core.counts["SyncookiesSent"] > 90_000
    server.network.run_for(200)
    assert server.core.held()["connections"] <= 1


def test_sockets_that_are_never_read_stay_within_the_limit_of_the_stack():
    """tcp_mem: windows shrink before anything is dropped, and a connection that is read goes on."""
    limit = 2 << 20
    network, client, server = playground(config=StackConfig(tcp=TcpConfig(tcp_mem=limit)))
    server.listen()
    server.reads = False
    lazy = [client.connect() for _ in range(60)]
    for socket in lazy:
        client.send(socket, bytes(200_000), end=False)
    network.run_for(30)
    assert server.core.memory.highest <= limit + 61 * 4096 + 70_000
    server.reads = True
    good = client.connect()
    client.send(good, bytes(100_000))
    network.run_for(60)
    accepted = server.accepted()[-1]
    assert len(server.received[accepted]) == 100_000
    for program in (client, server):
        assert program.core.counts["bugs"] == 0
    for socket in lazy:
        client.ask(t.Abort(socket))
    network.run_for(100)
    assert client.core.held()["memory"] == 0
