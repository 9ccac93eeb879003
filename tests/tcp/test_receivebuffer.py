"""What is held until it is read: charges, copies, short pieces, room."""

import random

from pystack.config import TcpConfig
from pystack.tcp.memory import Memory
from pystack.tcp.receivebuffer import OVERHEAD, ReceiveBuffer
from pystack.tcp.settings import Settings


def make(limit=1 << 30, **settings):
    memory = Memory(limit)
    return ReceiveBuffer(Settings(**settings), TcpConfig(), memory), memory


def content(buffers):
    return b"".join(map(bytes, buffers))


def test_long_text_is_handed_over_without_a_copy_and_charged_with_its_frame():
    buffer, memory = make()
    view = memoryview(bytes(60_000))
    buffer.append(view, 60_054)
    assert buffer.take(False)[0] is view
    assert memory.used == buffer.charged == 60_054 + OVERHEAD
    assert buffer.unread == 60_000


def test_a_frame_is_charged_until_its_last_byte_is_read():
    buffer, memory = make()
    buffer.append(memoryview(bytes(2000)), 2054)
    buffer.append(memoryview(bytes(2000)), 2054)
    buffer.take(False)
    buffer.consume(1999)
    assert memory.used == 2 * (2054 + OVERHEAD) and buffer.unread == 2001
    buffer.consume(2)
    assert memory.used == 2054 + OVERHEAD and buffer.unread == 1999
    buffer.consume(1999)
    assert memory.used == 0 and buffer.unread == 0 and buffer.read == 4000


def test_a_program_that_claims_more_than_there_was_breaks_nothing():
    buffer, memory = make()
    buffer.append(memoryview(bytes(10)), 64)
    buffer.consume(100)
    buffer.append(memoryview(bytes(10)), 64)
    assert buffer.unread == 10 and memory.used == buffer.charged == 10 + OVERHEAD
    assert content(buffer.take(True)) == bytes(20)


def test_short_text_in_a_large_frame_is_copied():
    buffer, memory = make()
    buffer.append(memoryview(bytes(20_000)), 60_000)
    assert memory.used == 20_000 + OVERHEAD


def test_single_bytes_of_one_batch_are_joined():
    buffer, memory = make()
    for _ in range(4096):
        buffer.append(memoryview(b"x"), 60)
    assert memory.used == 4096 + OVERHEAD
    assert [len(piece) for piece in buffer.take(False)] == [4096]


def test_single_bytes_in_batches_of_their_own_cost_little_more_than_they_are():
    """A program that does not read gets a few, then only longer pieces; none is lost, and their order stays."""
    buffer, memory = make()
    stream = random.Random(1).randbytes(100_000)
    got = []
    for at in range(len(stream)):
        buffer.append(memoryview(stream)[at : at + 1], 60)
        got += buffer.take(False)
    assert memory.used < 115_000
    assert len(got) < 70
    buffer.consume(sum(map(len, got)))
    got += buffer.take(False)
    assert content(got) == stream
    buffer.consume(len(stream))
    assert memory.used == 0


def test_everything_is_handed_over_when_asked_for():
    buffer, _ = make()
    for _ in range(40):
        buffer.append(memoryview(b"x"), 60)
        buffer.take(False)
    assert buffer.take(False) == []
    assert len(content(buffer.take(True))) == 8


def test_room_is_half_of_what_is_free_until_the_ratio_is_known():
    """Linux's tcp_win_from_space."""
    buffer, _ = make(receive_buffer=100_000)
    assert buffer.room() == 50_000
    for _ in range(100):
        buffer.append(memoryview(bytes(9000)), 9054)
        buffer.consume(9000)
    assert 90_000 < buffer.room() < 94_000


def test_room_is_never_negative_and_never_beyond_the_clamp():
    buffer, _ = make(receive_buffer=10_000, window_clamp=2000)
    assert buffer.room() == 2000
    buffer.append(memoryview(bytes(20_000)), 20_054)
    assert buffer.room() == 0


def test_growth_needs_memory_and_no_size_set_by_the_program():
    buffer, memory = make(limit=1_000_000)
    buffer.grow(200_000)
    assert buffer.capacity == 400_000
    memory.charge(800_000)
    buffer.grow(400_000)
    assert buffer.capacity == 400_000
    assert buffer.room() == 65_536  # under pressure all are as at first
    memory.charge(200_000)
    assert buffer.room() == 2048  # of tcp_rmem[0], which each has
    memory.release(1_000_000)
    buffer.grow(1 << 40)
    assert buffer.capacity == 32 << 20
    fixed, _ = make(receive_buffer=50_000)
    fixed.grow(1 << 20)
    assert fixed.capacity == 50_000


def test_drop_gives_back_every_charge():
    buffer, memory = make()
    for size in (1, 5000, 3, 70_000):
        buffer.append(memoryview(bytes(size)), size + 54)
    buffer.consume(10)
    buffer.drop()
    assert memory.used == 0 and buffer.unread == 0 and buffer.take(True) == []
