"""Super-segments that come together are one packet, and mean what they mean one by one, in any state."""

import pytest

from pystack import transport as t
from pystack.wire import vnet
from tests.support.segments import segment
from tests.tcp.test_layer import SYN_OPTIONS, Server

SIZES = (2000, 3000, 1000, 500)


def run(seq, ack):
    """Frames of `SIZES` bytes of text, each byte by its frame, as a device with offload gives them."""
    made = []
    for number, size in enumerate(SIZES):
        plain = segment("A", seq, ack, bytes([number]) * size)
        made.append(vnet.build(vnet.F_DATA_VALID, vnet.GSO_TCPV4, 54, 500) + bytes(plain)[vnet.SIZE :])
        seq += size
    return made


def established(server):
    return run(*server.opens())


def half_open(server):
    (answer,) = server.says("S", 100, options=SYN_OPTIONS)
    return run(101, answer.seq + 1)


def beyond_a_hole(server):
    seq, ack = server.opens()
    return [*run(seq + sum(SIZES), ack), *run(seq, ack)]


def partly_old(server):
    seq, ack = server.opens()
    server.says("A", seq, ack, bytes(3500))
    return run(seq, ack)


def orphaned(server):
    made = run(*server.opens())
    close(server)
    return made


def time_wait(server):
    seq, ack = server.opens()
    close(server)
    server.says("FA", seq, ack + 1)
    return run(seq + 1, ack + 1)


def last_ack(server):
    seq, ack = server.opens()
    server.says("FA", seq, ack)
    close(server)
    return run(seq + 1, ack + 1)


def close(server):
    (socket,) = server.program.accepted()
    server.program.ask(t.Close(socket))
    server.network.settle()
    server.sees()


@pytest.mark.parametrize("begin", [established, half_open, beyond_a_hole, partly_old, orphaned, time_wait, last_ack])
def test_a_run_means_what_its_segments_mean(begin):
    compare(begin)


def test_a_run_may_end_the_handshake_of_a_cookie():
    compare(half_open, tcp_syncookies=2)


def compare(begin, **config):
    outcomes = []
    for together in (False, True):
        server = Server(**config)
        frames = begin(server)
        joined = server.host.link().counts["Joined"]
        for batch in [frames] if together else [[frame] for frame in frames]:
            server.sends(*batch)
        assert (server.host.link().counts["Joined"] > joined) == together
        server.program.turn()
        server.network.settle()
        program, core = server.program, server.core
        lost = sum(server.drops.values())  # for one reason or another
        outcomes.append((program.received, program.events, core.held(), core.counts["InSegs"], lost))
    assert outcomes[0] == outcomes[1]
