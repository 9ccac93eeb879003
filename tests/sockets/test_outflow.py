"""What is on its way to the program: nothing lost, nothing out of order, and consumed only what the pair has taken."""

import socket

import pytest

from pystack.sockets import kernel
from pystack.sockets.outflow import Outflow


@pytest.fixture
def pair():
    ours, theirs = kernel.pair(socket.SOCK_STREAM)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def read(sock):
    got = b""
    try:
        while data := sock.recv(1 << 20):
            got += data
    except BlockingIOError:
        pass
    return got


def test_what_does_not_fit_waits_and_comes_in_order(pair):
    ours, theirs = pair
    outflow = Outflow(ours)
    whole = bytes(range(256)) * 8192  # 2 MB
    parts = [whole[at : at + 10_000] for at in range(0, len(whole), 10_000)]
    consumed = outflow.put(parts)
    assert 0 < consumed < len(whole)
    assert outflow.waiting == len(whole) - consumed
    got = b""
    while outflow.waiting:
        got += read(theirs)
        consumed += outflow.flush()
    assert got + read(theirs) == whole
    assert consumed == len(whole)


def test_a_thousand_small_buffers_are_no_error(pair):
    """sendmsg takes 1,024 at most (UIO_MAXIOV)."""
    ours, theirs = pair
    outflow = Outflow(ours)
    assert outflow.put([b"x"] * 3000) == 3000
    assert not outflow.deaf
    assert len(read(theirs)) == 3000


def test_without_a_pair_all_waits(pair):
    ours, theirs = pair
    outflow = Outflow(None)
    assert outflow.put([b"early"]) == 0
    assert outflow.flush() == 0
    outflow.sock = ours
    assert outflow.flush() == 5
    assert read(theirs) == b"early"


def test_a_program_that_reads_no_more(pair):
    ours, theirs = pair
    outflow = Outflow(ours)
    theirs.shutdown(socket.SHUT_RD)
    assert outflow.put([b"lost"]) == 4
    assert outflow.deaf
    assert outflow.put([b"more"]) == 4


def test_the_urgent_byte_has_its_place(pair):
    ours, theirs = pair
    outflow = Outflow(ours)
    outflow.urgent = ord("!"), 3
    assert outflow.put([b"abcd", b"ef"]) == 6
    assert theirs.recv(100) == b"abc"
    assert theirs.recv(1, socket.MSG_OOB) == b"!"
    assert theirs.recv(100) == b"def"
