"""The library's sockets: two stacks in one process, on a memory link."""

import errno

import gevent
import pytest

from pystack import Interface, Stack
from pystack.device import memory
from pystack.device.impair import Blackhole, Impaired
from pystack.errors import StackError, StackStopped

SERVER = "10.0.0.2"


@pytest.fixture
def stacks():
    """Client and server."""
    left, right = memory.pair()
    with Stack([Interface(device=left, addresses=["10.0.0.1/24"])]) as client:
        with Stack([Interface(device=right, addresses=["10.0.0.2/24"])]) as server:
            yield client, server
            for stack in (client, server):
                assert stack.counters()["stack"]["bugs"] == 0


@pytest.fixture
def streams(stacks):
    """A connection's two ends."""
    client, server = stacks
    with server.listen(80) as listener, client.connect(SERVER, 80) as one, listener.accept() as other:
        yield one, other


def test_bytes_go_both_ways_and_end(streams):
    one, other = streams
    one.sendall(b"question")
    assert other.recv(100) == b"question"
    other.sendall(b"answer")
    other.shutdown()
    assert one.recv(3) == b"ans" and one.recv(100) == b"wer" and one.recv(100) == b""
    one.shutdown()
    assert other.recv(1) == b""
    assert one.remote == other.local == (bytes((10, 0, 0, 2)), 80)


def test_a_large_write_waits_for_room_and_is_not_changed_by_its_owner(streams):
    one, other = streams
    data = bytearray(range(250)) * 8000
    expected = bytes(data)
    sending = gevent.spawn(one.sendall, data)
    received = bytearray()
    into = bytearray(70_000)
    while len(received) < len(expected):
        size = other.recv_into(into)
        received += into[:size]
    sending.get(timeout=5)
    assert received == expected


def test_timeouts(streams):
    one, _ = streams
    one.settimeout(0.01)
    with pytest.raises(TimeoutError):
        one.recv(1)
    with pytest.raises(TimeoutError):
        one.sendall(bytes(100 << 20))


def test_refused_and_silent(stacks):
    client, _ = stacks
    with pytest.raises(ConnectionRefusedError):
        client.connect(SERVER, 81)
    assert client.held()["sockets"] == client.held()["ports"] == 0


def test_a_connect_that_times_out_leaves_nothing():
    left, right = memory.pair()
    silent = Impaired(right, receive=[Blackhole(min_size=40)], transmit=[])
    with (
        Stack([Interface(device=left, addresses=["10.0.0.1/24"])]) as client,
        Stack([Interface(device=silent, addresses=["10.0.0.2/24"])]),
    ):
        with pytest.raises(TimeoutError):
            client.connect(SERVER, 80, timeout=0.05)
        assert client.held()["sockets"] == client.held()["ports"] == 0


def test_a_reset_is_an_error_after_what_had_come(streams):
    one, other = streams
    one.sendall(b"last words")
    gevent.sleep(0)
    one.abort()
    assert other.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        other.recv(100)
    with pytest.raises(OSError):
        other.sendall(b"x" * (1 << 20))


def test_writing_after_shutdown_is_a_broken_pipe(streams):
    one, _ = streams
    one.shutdown()
    with pytest.raises(BrokenPipeError):
        one.sendall(b"x")


def test_closing_wakes_who_waits(streams):
    one, _ = streams
    waiting = gevent.spawn(one.recv, 1)
    gevent.sleep(0)
    one.close()
    with pytest.raises(OSError) as closed:
        waiting.get(timeout=5)
    assert closed.value.errno == errno.EBADF
    with pytest.raises(OSError):
        one.sendall(b"x")


def test_a_listener_that_closes_resets_what_was_not_accepted(stacks):
    client, server = stacks
    listener = server.listen(80)
    stream = client.connect(SERVER, 80)
    gevent.sleep(0)
    listener.close()
    with pytest.raises(ConnectionResetError):
        stream.recv(1)
    assert server.held()["connections"] == 0


def test_the_same_port_twice_and_a_free_one(stacks):
    _, server = stacks
    with server.listen(80):
        with pytest.raises(OSError) as taken:
            server.listen(80)
        assert taken.value.errno == errno.EADDRINUSE
        with server.listen() as other:
            assert 32_768 <= other.local[1] <= 60_999
    with server.listen(80):
        pass


def test_stopping_the_stack_ends_all_that_waits():
    left, right = memory.pair()
    with Stack([Interface(device=right, addresses=["10.0.0.2/24"])]) as server:
        client = Stack([Interface(device=left, addresses=["10.0.0.1/24"])]).start()
        listener = server.listen(80)
        stream = client.connect(SERVER, 80)
        waiting = [gevent.spawn(stream.recv, 1), gevent.spawn(client.listen(81).accept)]
        gevent.sleep(0)
        client.close()
        for each in waiting:
            with pytest.raises(StackStopped):
                each.get(timeout=5)
        with pytest.raises(StackStopped):
            stream.sendall(b"x")
        with pytest.raises(StackStopped):
            client.connect(SERVER, 80)
        listener.close()


@pytest.mark.parametrize(
    "settings", [{"no_such": 1}, {"nodelay": 1}, {"congestion": "magic"}, {"receive_buffer": -1}, {"ttl": "x"}]
)
def test_a_wrong_setting_is_refused_at_once(stacks, settings):
    client, _ = stacks
    with pytest.raises(StackError):
        client.connect(SERVER, 80, **settings)
    assert client.held()["sockets"] == 0


def test_info_is_filled(streams):
    one, other = streams
    one.sendall(bytes(100_000))
    while other.unread < 100_000:
        gevent.sleep(0.001)
    info = one.info()
    assert (info.state, info.congestion, info.sack, info.timestamps) == (1, "cubic", True, True)
    assert info.bytes_sent == 100_000 and info.bytes_acked >= 100_000
    assert info.snd_mss == 1448 and info.snd_cwnd >= 14_480 and info.total_retrans == 0
    assert other.info().bytes_received == 100_000


def test_udp_both_ways_and_refused(stacks):
    client, server = stacks
    with server.udp(53) as there, client.udp() as here:
        here.send(b"question", bytes((10, 0, 0, 2)), 53)
        question = there.receive()
        assert bytes(question.payload) == b"question" and question.destination == (bytes((10, 0, 0, 2)), 53)
        there.send(b"a" * 65_507, *question.source)
        assert bytes(here.receive().payload) == b"a" * 65_507
        here.connect(bytes((10, 0, 0, 2)), 54)
        here.send(b"nobody")
        with pytest.raises(ConnectionRefusedError):
            here.receive()
        with pytest.raises(OSError) as large:
            here.send(bytes(65_508))
        assert large.value.errno == errno.EMSGSIZE
