"""What programs ask reaches the transports, whatever joins the stages; and the sockets fail as Linux's do."""

import errno
from contextlib import contextmanager

import gevent
import pytest

from pystack import Interface, Stack, StackConfig
from pystack.device import memory
from pystack.errors import StackStopped
from pystack.runtime.clock import VirtualClock

SERVER = "10.0.0.2"
EVERYBODY = bytes((10, 0, 0, 255))


@pytest.fixture(params=["mailbox", "gevent"])
def stacks(request):
    """Client and server whose stages hold few batches."""
    with two_stacks(StackConfig(queue=request.param, mailbox_limit=10)) as both:
        yield both


@contextmanager
def two_stacks(config=None, clock=None):
    """Running, on a memory link, at 10.0.0.1 and 10.0.0.2. They must have no bug."""
    both = [
        Stack([Interface(device=device, addresses=[f"10.0.0.{number}/24"])], config, clock=clock, seed=number)
        for number, device in enumerate(memory.pair(), 1)
    ]
    with both[0], both[1]:
        yield both
        assert [stack.counters()["stack"]["bugs"] for stack in both] == [0, 0]


@pytest.fixture
def streams(stacks):
    """A connection's two ends."""
    client, server = stacks
    with server.listen(80) as listener, client.connect(SERVER, 80) as one, listener.accept() as other:
        yield one, other


def errno_of(call, *arguments):
    """The name of the errno that a call raises."""
    with pytest.raises(OSError) as info:
        call(*arguments)
    return errno.errorcode[info.value.errno]


# -- nothing that a program asks is dropped ---------------------------------------------------------------------------


def test_more_writes_than_a_stage_can_hold_all_arrive(stacks, streams):
    """A full queue drops packets, which TCP sends again; a program's bytes nobody would."""
    one, other = streams
    for number in range(500):
        one.sendall(bytes([number & 255]))
    one.shutdown()
    received = bytearray()
    while piece := other.recv(100):
        received += piece
    assert received == bytes(number & 255 for number in range(500))
    assert "drop.queue_full" not in stacks[0].counters()["tcp"]


def test_more_sockets_closed_at_once_than_a_stage_can_hold(stacks):
    client, _ = stacks
    sockets = [client.udp(1000 + number) for number in range(50)]
    for each in sockets:
        each.close()
    for number in range(50):
        client.udp(1000 + number).close()


def test_a_refused_datagram_is_told_at_once_even_the_first(stacks):
    """Also before the stages have had their first turn."""
    client, _ = stacks
    with client.udp() as ours:
        assert [errno_of(ours.send, b"x", EVERYBODY, 9) for _ in range(3)] == ["EACCES"] * 3
        ours.set_option("broadcast", True)
        assert ours.send(b"x", EVERYBODY, 9) == 1


def test_who_waits_for_room_in_a_stage_learns_that_the_stack_has_stopped():
    with two_stacks(StackConfig(queue="gevent", mailbox_limit=1)) as (client, _):
        with client.udp(1000) as ours:
            sending = [gevent.spawn(ours.send, b"x", bytes((10, 0, 0, 2)), 9) for _ in range(5)]
            gevent.spawn(client.close)
            gevent.joinall(sending, timeout=5)
            assert all(each.dead for each in sending)
            assert {type(each.exception) for each in sending} <= {StackStopped, type(None)}


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_read_only_view_of_what_can_change_is_copied(streams):
    """What is sent again must be what was sent first."""
    one, other = streams
    data = bytearray(b"A" * 1_000_000)
    sending = gevent.spawn(one.sendall, memoryview(data).toreadonly())
    gevent.sleep(0)
    data[:] = b"B" * len(data)
    received = bytearray()
    while len(received) < len(data):
        received += other.recv(1 << 16)
    sending.get(timeout=5)
    assert received == b"A" * len(data)


def test_all_that_wait_on_one_stream_are_woken(streams):
    one, other = streams
    reading = [gevent.spawn(other.recv, 1) for _ in range(3)]
    gevent.sleep(0.01)
    one.sendall(b"abc")
    gevent.joinall(reading, timeout=5)
    assert sorted(each.value for each in reading) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("first", ["recv", "send"])
def test_a_reset_is_told_once(streams, first):
    """Then it is the end of the stream, and a broken pipe: as on Linux, whose SO_ERROR a call takes away."""
    one, other = streams
    one.abort()
    gevent.sleep(0.01)
    if first == "recv":
        assert errno_of(other.recv, 1) == "ECONNRESET"
        assert other.recv(1) == b""
    else:
        assert errno_of(other.sendall, b"x") == "ECONNRESET"
    assert errno_of(other.sendall, b"x") == errno_of(other.sendall, b"x") == "EPIPE"
    assert other.recv(1) == b""


def test_a_stream_connects_once(streams):
    one, other = streams
    assert errno_of(one.connect, bytes((10, 0, 0, 2)), 81) == "EISCONN"
    one.sendall(b"still there")
    assert other.recv(100) == b"still there"


def test_a_negative_size_takes_nothing(streams):
    one, other = streams
    one.sendall(b"abc")
    gevent.sleep(0.01)
    with pytest.raises(ValueError):
        other.recv(-1)
    assert other.recv(100) == b"abc"


def test_many_small_buffers_are_joined_and_given_back(streams):
    """The window opens again by what was read, or this would not end."""
    one, other = streams
    sending = gevent.spawn(lambda: [one.sendall(bytes([number]) * 999) for number in range(250)] * 4)
    size = 0
    while size < 250 * 999:
        piece = other.recv(5000)
        assert 0 < len(piece) <= 5000
        size += len(piece)
    sending.get(timeout=5)
    assert other.unread == 0


def test_letting_go_after_the_stack_has_stopped_is_quiet():
    with two_stacks() as (client, server):
        with server.listen(80), client.connect(SERVER, 80) as one:
            client.close()
            one.abort()
            one.close()


def test_a_timeout_is_by_the_stacks_clock():
    clock = VirtualClock()
    with two_stacks(clock=clock) as (_, server):
        with server.udp(53) as ours:
            ours.settimeout(1000)
            waiting = gevent.spawn(ours.receive)
            clock.advance(999)
            assert not waiting.dead
            clock.advance(2)
            with pytest.raises(TimeoutError):
                waiting.get(timeout=5)
