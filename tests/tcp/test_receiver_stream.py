"""Random peers: whatever they send, the stream is right, and the books balance."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pystack.tcp.memory import Memory
from pystack.tcp.settings import Settings
from tests.support.receiving import Ends

STREAM = bytes(i * 7 + i // 256 & 0xFF for i in range(60_000))

steps = st.lists(
    st.tuples(
        st.sampled_from(["next", "next", "next", "skip", "again", "anywhere", "fin", "read", "ack"]),
        st.one_of(st.integers(0, 40), st.integers(0, 5000)),
        st.integers(0, 60_000),
    ),
    max_size=120,
)


def is_within(part, whole):
    return whole[0] <= part[0] and part[1] <= whole[1]


class Peer:
    """Sends parts of STREAM, in whatever order, within the window or not; checks after each."""

    def __init__(self, ends, end, timestamps):
        self.ends = ends
        self.end = end  # bytes of the stream
        self.limit = 3 if timestamps else 4
        self.next = 0
        self.got = bytearray()
        self.now = 0.0

    def does(self, action, size, at):
        self.now += 0.001
        ends = self.ends
        if action == "read":
            self.got += ends.read(self.now) if size & 1 else self.read_part(size)
        elif action == "ack":
            self.acknowledge()
        elif action == "fin":
            ends.gets(1 + self.end, fin=True, now=self.now)
        else:
            nxt = ends.at(ends.receiver.rcv_nxt) - 1
            start = {"next": nxt, "skip": nxt + at % 3000, "again": max(nxt - size, 0), "anywhere": at}[action]
            data = STREAM[start : min(start + size, self.end)]
            if data and ends.receiver.acceptable(ends.irs + 1 + start, len(data)):
                ends.gets(1 + start, data, now=self.now, fin=start + size == self.end)
        self.check()

    def read_part(self, size):
        data = b"".join(map(bytes, self.ends.receiver.take_delivered()))
        half = len(data) // 2
        self.ends.receiver.consumed(half, self.now)
        self.ends.receiver.consumed(len(data) - half, self.now)
        return data

    def acknowledge(self):
        receiver = self.ends.receiver
        edge = receiver.rcv_adv
        blocks = receiver.sack_blocks(self.limit) if receiver.out_of_order else []
        assert len(blocks) <= self.limit
        if blocks and (blocks[0][0] < receiver.rcv_nxt or any(is_within(blocks[0], block) for block in blocks[1:])):
            left, right = blocks.pop(0)  # a D-SACK
            assert left < right <= receiver.rcv_adv
        for left, right in blocks:
            assert receiver.rcv_nxt < left < right <= receiver.rcv_adv
        ordered = sorted(blocks)
        assert all(a[1] < b[0] for a, b in pairwise(ordered))
        window = receiver.window()
        assert receiver.rcv_adv >= edge and receiver.rcv_nxt + window <= max(receiver.rcv_adv, receiver.rcv_nxt)
        receiver.acked(self.now)

    def check(self):
        ends = self.ends
        receiver = ends.receiver
        assert ends.memory.used >= receiver.unread >= 0
        assert receiver.rcv_nxt <= receiver.rcv_adv + receiver.fin_received
        assert bytes(self.got) == STREAM[: len(self.got)]

    def finish(self):
        """Send what is missing, in order; read all."""
        ends = self.ends
        receiver = ends.receiver
        for _ in range(500):
            self.acknowledge()
            start = ends.at(receiver.rcv_nxt) - 1
            if receiver.fin_received:
                break
            size = min(1460, receiver.rcv_wnd)
            data = STREAM[start : min(start + size, self.end)]
            ends.gets(1 + start, data, now=self.now, fin=start + len(data) == self.end)
            self.got += ends.read(self.now)
        self.got += ends.drain()
        assert bytes(self.got) == STREAM[: self.end]
        assert receiver.fin_received and receiver.unread == 0
        assert ends.memory.used == 0


@settings(max_examples=300, deadline=None)
@given(
    steps=steps,
    end=st.integers(0, 60_000),
    bits=st.sampled_from([0, 2, 10]),
    buffer=st.sampled_from([0, 0, 3000, 20_000, 131_072]),
    limit=st.sampled_from([1 << 30, 1 << 30, 20_000]),
    timestamps=st.booleans(),
    irs=st.sampled_from([0, (1 << 32) - 1, (1 << 32) - 20_000, 1 << 31]),
)
def test_the_stream_delivered_is_the_stream_sent(steps, end, bits, buffer, limit, timestamps, irs):
    ends = Ends(settings=Settings(receive_buffer=buffer), memory=Memory(limit), bits=bits, irs=irs)
    peer = Peer(ends, end, timestamps)
    for step in steps:
        peer.does(*step)
    peer.finish()


@settings(max_examples=100, deadline=None)
@given(steps=steps, end=st.integers(0, 60_000))
def test_a_connection_dropped_at_any_point_leaves_no_charge(steps, end):
    ends = Ends()
    peer = Peer(ends, end, False)
    for step in steps:
        peer.does(*step)
    ends.receiver.drop()
    assert ends.memory.used == 0


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=80),
    reads=st.lists(st.integers(0, 6000), min_size=1, max_size=20),
    buffer=st.sampled_from([3000, 20_000, 131_072, 0]),
    bits=st.sampled_from([0, 10]),
)
def test_a_peer_that_respects_the_window_loses_nothing(sizes, reads, buffer, bits):
    """No drop, whatever the program does; and a reader that reads all opens the window again by itself."""
    ends = Ends(settings=Settings(receive_buffer=buffer), bits=bits)
    receiver = ends.receiver
    at, told, waiting, turn = 0, receiver.rcv_wnd, 0, 0
    edge = ends.at(receiver.rcv_adv) - 1
    for size in sizes:
        while size:
            length = min(size, edge - at, len(STREAM) - at)
            if length > 0:
                assert ends.gets(1 + at, STREAM[at : at + length])
                at += length
                size -= length
            elif at == len(STREAM):
                break
            waiting += sum(map(len, receiver.take_delivered()))
            share = min(waiting, reads[turn % len(reads)] if length > 0 else waiting)
            turn += 1
            waiting -= share
            receiver.consumed(share, 0.0)
            assert length > 0 or receiver.ack_now
            if receiver.ack_now:
                told = ends.acks()[2]
                edge = max(edge, at + told)
    assert not ends.drops
