from hypothesis import given
from hypothesis import strategies as st

from pystack.tcp.memory import Memory
from pystack.tcp.sendbuffer import SMALL, SendBuffer

PIECE = st.one_of(st.binary(min_size=0, max_size=40), st.integers(SMALL, 3 * SMALL).map(lambda size: bytes(size)))


@given(st.lists(PIECE, max_size=30), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=10))
def test_views_are_what_was_written_and_memory_is_given_back(pieces, looks):
    memory = Memory(1 << 30)
    buffer, written, start = SendBuffer(5000, memory), b"", 0
    for piece in pieces:
        buffer.append(piece)
        written += piece
        for left, part in looks:
            at = start + int((len(written) - start) * left)
            length = int((len(written) - at) * part)
            assert b"".join(buffer.view(5000 + at, length)) == written[at : at + length]
        if looks:
            start += int((len(written) - start) * looks[0][0])
            buffer.release(5000 + start)
        assert memory.used == len(buffer) == len(written) - start
    buffer.drop()
    assert memory.used == 0


def test_what_was_viewed_stays_when_more_is_written_behind_it():
    """Short writes share a chunk; views of it are out while it grows."""
    buffer = SendBuffer(0, Memory(1 << 30))
    buffer.append(b"abc")
    (view,) = buffer.view(0, 3)
    for _ in range(1000):
        buffer.append(b"xyz")
    assert bytes(view) == b"abc" and len(buffer.view(0, 3000)) < 10


def test_long_writes_are_not_copied():
    data = bytes(SMALL)
    buffer = SendBuffer(0, Memory(1 << 30))
    buffer.append(data)
    assert buffer.view(0, 10)[0].obj is data
