"""Mutated segments within live connections: nothing raises, nothing grows, and connections are made and served still.

``PYSTACK_FUZZ_FRAMES`` sets how many; the default is the short form for every run.
"""

import os
from random import Random

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from pystack.device.base import Wrapper
from tests.support.mutate import mutated
from tests.support.programs import playground

FRAMES = int(os.environ.get("PYSTACK_FUZZ_FRAMES", "30000"))
MEMORY = 4 << 20


class Mutator(Wrapper):
    """With each frame that the client gets or sends go some mutants of it, and of those before it."""

    def __init__(self, inner, random):
        super().__init__(inner)
        self.made = 0
        self._random = random
        self._seen = []

    def receive(self, now):
        frames = self.inner.receive(now)
        return frames + self._mutants(frames, own=False)

    def transmit(self, frames, now):
        whole = [b"".join(frame) for frame in frames]
        self.inner.transmit(frames, now)
        # What is mutated towards the server must be addressed to it still: `mutated` would address the client's MAC.
        for frame in self._mutants(whole, own=True):
            self.inner.transmit([(frame[:10] + whole[0][10:22] + frame[22:],)], now)

    def _mutants(self, frames, own):
        if not frames:
            return []
        self._seen = (self._seen + frames)[-200:]
        corpus = [frame for frame in self._seen if (frame[16:22] == self.mac) == own] or frames
        made = [mutated(corpus, self._random) for _ in range(self._random.randrange(4 * len(frames) + 1))]
        self.made += len(made)
        if own:
            return made
        return [frame[:10] + self.mac + frame[16:] for frame in made]


def test_mutated_segments_do_no_harm():
    random = Random(5)
    config = StackConfig(tcp=TcpConfig(tcp_mem=MEMORY, tcp_wmem=(4096, 16_384, 65_536), time_wait=0.5))
    mutators = []

    def wrap(device):
        mutators.append(Mutator(device, random))
        return mutators[0]

    network, client, server = playground(wrap=wrap, config=config)
    listener = server.listen()
    rounds = 0
    while mutators[0].made < FRAMES:
        rounds += 1
        socket = client.connect()
        client.send(socket, random.randbytes(random.choice((10, 1000, 20_000))), end=random.random() < 0.7)
        network.run_for(random.choice((0.01, 0.3, 1.0)))
        for other in server.accepted():
            server.send(other, random.randbytes(random.choice((10, 20_000))))
        network.run_for(random.choice((0.01, 0.5)))
        for program in (client, server):
            for each in list(program.events):
                if program is server and each == listener:
                    continue
                if random.random() < 0.5:
                    program.ask(random.choice((t.Close, t.Abort, t.Shutdown))(each))
                if random.random() < 0.5:
                    del program.events[each]
        for program in (client, server):
            assert program.core.counts["bugs"] == 0
            assert program.core.memory.used <= MEMORY + 65_536
    assert rounds > 5
    for program in (client, server):
        for state in list(program.core.flows.values()):
            program.ask(t.Abort(state.socket))
    network.run_for(300)
    assert client.core.held()["connections"] == client.core.held()["memory"] == 0
    fresh = client.connect()
    network.run_for(10)
    assert client.has(fresh, t.Connected) or client.has(fresh, t.Failed)
