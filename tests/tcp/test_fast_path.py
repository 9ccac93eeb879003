"""Header prediction gives the same state as the steps of RFC 9293 §3.10.7.4, on random streams; and so does a run of
segments that came as one packet."""

from collections import Counter
from random import Random

import pytest

from pystack.tcp import arrival
from tests.support.tcp import SYN_OPTIONS, established, options

STREAM = bytes(range(251)) * 40


class Stream:
    """A peer that sends STREAM and acknowledges, in pieces, out of order, twice, or wrongly; the same for each seed."""

    def __init__(self, seed, timestamps):
        self._random = Random(seed)
        self._timestamps = timestamps
        self._sent = 0

    def next(self, conversation):
        """The next few segments, as arguments of `Conversation.segment`; what was refused comes again."""
        receiver = conversation.connection.receiver
        self._sent = receiver.rcv_nxt - receiver.irs - 1
        return [self._segment(conversation) for _ in range(self._random.choice((1, 1, 1, 2, 5)))]

    def _segment(self, conversation):
        random = self._random
        sender = conversation.connection.sender
        in_flight = sender.snd_nxt - sender.snd_una
        ack = sender.snd_una - sender.iss + random.randint(0, in_flight)
        at = self._sent
        flags, size, urgent = "A", random.choice((0, 0, 1, 100, 536, 1460)), 0
        kind = random.random()
        if kind < 0.08:
            at = max(0, at - random.randrange(3000))  # again
        elif kind < 0.16:
            at += random.randrange(3000)  # beyond a hole
        elif kind < 0.18:
            flags, urgent = "AU", random.randrange(5)
        elif kind < 0.20:
            ack += random.randint(-5000, 5000)
        elif kind < 0.21:
            flags = random.choice(("SA", "S", "P", "", "FSA"))
        elif kind < 0.23:
            flags, at = "R", at + random.choice((-1, 1, 90_000))
        if random.random() < 0.3 and flags == "A":
            flags = "PA"
        payload = STREAM[at : at + size]
        if at == self._sent:
            self._sent += len(payload)
        stamp = None
        if self._timestamps and random.random() < 0.97:
            age = random.choice((0, 0, 0, 0, 1, 2000))
            stamp = (int(conversation.now * 1000) - age, int(conversation.now * 1000) - random.randrange(300))
        sacks = ((ack + 1460, ack + 2920),) if random.random() < 0.05 else ()
        window = random.choice((65_535, 65_535, 65_535, 0, 1000))
        opts = options(timestamp=stamp, sacks=sacks)
        return (flags, at + 1, ack, payload), {"window": window, "urgent": urgent, "opts": opts}


def state_of(thing, depth=0):
    """All that *thing* and its parts hold, as something that compares."""
    if isinstance(thing, (int, float, str, bytes, type(None))):
        return thing
    if isinstance(thing, (memoryview, bytearray)):
        return bytes(thing)
    if isinstance(thing, (dict, Counter)):
        return {key: state_of(value, depth + 1) for key, value in thing.items() if value}
    if isinstance(thing, (list, tuple, set, frozenset)) or type(thing).__name__ == "deque":
        return [state_of(each, depth + 1) for each in thing]
    assert depth < 12, f"{thing!r} is in itself"
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names += list(getattr(thing, "__dict__", ()))
    return {name: state_of(getattr(thing, name, None), depth + 1) for name in names if name != "__weakref__"}


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_the_fast_path_equals_the_steps(seed, timestamps, monkeypatch):
    opts = options(**SYN_OPTIONS, timestamp=(1, 0) if timestamps else None)
    fast, slow = (established(opts, tcp_timestamps=timestamps) for _ in range(2))
    stream, random = Stream(seed, timestamps), Random(seed)
    predicted = 0
    predict = arrival.predict

    def counting(*arguments):
        nonlocal predicted
        taken = predict(*arguments)
        predicted += taken
        return taken

    for _ in range(300):
        segments = stream.next(fast)
        data = STREAM[: random.choice((0, 0, 10, 3000))]
        pause = random.choice((0, 0, 0.001, 0.05, 0.3))
        outcomes = []
        for conversation, predictor in ((fast, counting), (slow, lambda *_: False)):
            monkeypatch.setattr(arrival, "predict", predictor)
            sent = conversation.batch([conversation.segment(*each, **more) for each, more in segments])
            if data:
                sent += conversation.write(data)
            received = conversation.received()
            conversation.connection.consumed(len(received), conversation.now)
            later = conversation.after(pause)
            headers = [bytes(packet.header) for packet in conversation.packets]
            outcomes.append((sent, received, later, headers, state_of(conversation.connection)))
        assert outcomes[0] == outcomes[1]
        if fast.connection.over:
            break
    assert predicted > 20 or fast.connection.over


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_run_equals_its_segments(seed, timestamps):
    """The next ones, old ones, and ones beyond a hole or the window."""
    opts = options(**SYN_OPTIONS, timestamp=(1, 0) if timestamps else None)
    single, joined = (established(opts, tcp_timestamps=timestamps) for _ in range(2))
    random, at, stream = Random(seed), 0, STREAM * 400
    while at < 400_000:
        at = max(0, at + random.choice((0, 0, 0, 0, -3000, 3000, 60_000)))
        stamp = options(timestamp=(int(single.now * 1000), 0) if timestamps else None)
        sizes = [random.choice((1, 500, 1460, 20_000)) for _ in range(random.randint(2, 5))]
        outcomes = []
        for conversation in (single, joined):
            segments, start = [], at
            for size in sizes:
                frame = stream[start : start + size]
                segments.append(conversation.segment("A", start + 1, 1, frame, opts=stamp, frame=len(frame)))
                start += size
            if conversation is joined:
                segments[0].packet.following = [segment.payload for segment in segments[1:]]
                del segments[1:]
            sent = conversation.batch(segments)
            received = conversation.received()
            conversation.connection.consumed(len(received), conversation.now)
            outcomes.append((sent, received, conversation.after(0.001), state_of(conversation.connection)))
        assert outcomes[0] == outcomes[1]
        at = single.connection.receiver.rcv_nxt - single.connection.receiver.irs - 1
