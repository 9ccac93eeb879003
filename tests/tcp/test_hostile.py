"""Peers that lie, and strangers that guess: the connection lives, memory is bounded, a good client is served."""

from random import Random

import pytest

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from pystack.tcp.timewait import TimeWait
from tests.support.programs import playground
from tests.support.segments import segment
from tests.support.tcp import established, options
from tests.tcp.test_layer import NOTHING, SYN_OPTIONS, Server


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


def test_all_connections_together_send_no_more_challenges_than_the_limit():
    """RFC 5961 §7: blind SYNs into many connections at once."""
    server = Server(backlog=100, tcp_challenge_ack_limit=10)
    ends = {port: server.opens(port) for port in range(40_000, 40_040)}
    sent = server.sends(*(segment("S", nxt + 9, source_port=port) for port, (nxt, _) in ends.items()))
    assert len(sent) == server.core.counts["ChallengeACK"] == 10
    assert server.drops["challenge_limited"] == 30 and server.core.held()["connections"] == 40


def test_text_that_was_sacked_and_then_taken_back_is_sent_again():
    """RFC 2018 §8: reneging."""
    made = established()
    made.write(bytes(14_600))
    made.arrives("A", 1, 1, opts=options(sacks=((1461, 14_601),)))
    seen = bytearray(14_601)
    for _ in range(30):
        for _, each in made.after(2):
            seen[each.seq : each.seq + each.length] = b"\1" * each.length
        upto = seen.index(0, 1) if 0 in seen[1:] else 14_601
        made.arrives("A", 1, upto)
    assert made.connection.sender.snd_una - made.connection.sender.iss == 14_601


@pytest.mark.parametrize("seed", range(12))
def test_a_stranger_who_knows_the_numbers_breaks_nothing(seed):
    """Segments with flags and numbers that are nearly right, in every state, while the program does what it likes:
    no bug is met, no connection ends twice, and nothing is left."""
    random = Random(seed)
    server = Server(
        backlog=random.choice((0, 1, 4)),
        tcp_syncookies=random.choice((0, 1, 2)),
        tcp_max_tw_buckets=random.choice((0, 2, 100)),
        tcp_max_orphans=random.choice((0, 2, 100)),
    )
    program, core, closed = server.program, server.core, set()
    for _ in range(200):
        server.sends(*(_nearly_right(random, core) for _ in range(random.randrange(1, 5))))
        program.turn()
        alive = [socket for socket in program.accepted() if socket not in closed]
        if alive and random.random() < 0.2:
            socket = random.choice(alive)
            request = random.choice((t.Close(socket), t.Close(socket, 0), t.Shutdown(socket), t.Abort(socket)))
            if type(request) is not t.Shutdown:
                closed.add(socket)
            program.ask(request)
        if random.random() < 0.1:
            server.after(random.choice((0.01, 0.3, 2, 30)))
            server.introduce()
    program.ask(t.Close(server.listener))
    for _ in range(2):
        server.network.run_for(2000)
        program.turn()
        for socket in program.accepted():
            program.ask(t.Close(socket))
    server.network.run_for(2000)
    assert core.counts["bugs"] == core.counts["CurrEstab"] == 0 and core.held() == NOTHING
    for events in program.events.values():
        assert sum(type(event) in (t.Finished, t.Failed) for event in events) <= 1


def _nearly_right(random, core):
    """A segment for one of the core's flows, or for none."""
    seq, ack, source_port = random.getrandbits(32), random.getrandbits(32), random.randrange(40_000, 40_008)
    flows = list(core.flows.values())
    if flows and random.random() < 0.85:
        flow = random.choice(flows)
        ours = flow if type(flow) is TimeWait else flow.sender
        theirs = flow if type(flow) is TimeWait else flow.receiver
        seq = (theirs.rcv_nxt + random.choice((0, 0, 0, 0, -1, 1, 1460, -1460, 70_000))) & 0xFFFFFFFF
        ack = (ours.snd_nxt + random.choice((0, 0, 0, 0, -1, 1, -70_000))) & 0xFFFFFFFF
        source_port = flow.remote[1]
    flags = random.choice(("S", "A", "A", "A", "SA", "FA", "PA", "PA", "RA", "R", "F", "", "SF", "FPA"))
    edges = ((ack + random.choice((0, 1, 1000, -5))) & 0xFFFFFFFF, (ack + random.choice((1, 1460, 5000))) & 0xFFFFFFFF)
    sack = b"\1\1\5\x0a" + b"".join(edge.to_bytes(4, "big") for edge in edges)
    opts = random.choice((b"", b"", SYN_OPTIONS, sack, random.randbytes(8)))
    payload = random.choice((b"", b"x", bytes(random.randrange(1, 1400))))
    window = random.choice((0, 1, 100, 65_535))
    return segment(flags, seq, ack, payload, source_port=source_port, window=window, options=opts)


def test_clients_that_do_not_read_leave_the_limit_of_the_stack_alone():
    """Each has the room that it was told of at first, two initial windows; then tcp_wmem[0] and no more."""
    limit = 256 << 10
    network, client, server = playground(config=StackConfig(tcp=TcpConfig(tcp_mem=limit)))
    server.listen()
    client.reads = False
    for _ in range(40):
        client.connect()
    network.run_for(5)
    for socket in server.accepted():
        server.send(socket, bytes(1 << 20))
    network.run_for(30)
    assert server.core.memory.highest <= limit + 40 * 2 * 14_600
