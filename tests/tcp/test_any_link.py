"""Transfers with random options over random links: what arrives is what was sent, nothing stalls, nothing is left."""

from random import Random

import pytest

from pystack import transport as t
from pystack.config import StackConfig, TcpConfig
from pystack.device.impair import Delay, Duplicate, Impaired, Loss, Rate, Reorder
from tests.support.programs import playground


def link(random):
    rules = [Delay(random.choice((0.0001, 0.01, 0.3)))]
    if random.random() < 0.6:
        rules.append(Loss(random.choice((0.01, 0.05))))
    if random.random() < 0.5:
        rules.append(Reorder(random.choice((0.1, 0.5)), random.choice((0.0005, 0.02))))
    if random.random() < 0.3:
        rules.append(Duplicate(0.2))
    if random.random() < 0.2:
        rules.append(Rate(random.choice((100_000, 5_000_000)), random.choice((5000, 100_000))))
    return rules


def config(random):
    return StackConfig(
        tcp=TcpConfig(
            tcp_sack=random.random() < 0.7,
            tcp_timestamps=random.random() < 0.7,
            tcp_window_scaling=random.random() < 0.7,
            tcp_ecn=random.choice((0, 1, 2)),
            tcp_pacing=random.random() < 0.3,
            tcp_frto=random.random() < 0.7,
        )
    )


def settings(random):
    chosen = {"nodelay": random.random() < 0.3, "congestion": random.choice(("cubic", "reno"))}
    if random.random() < 0.4:
        chosen["receive_buffer"] = random.choice((2304, 4096, 20_000))
    if random.random() < 0.4:
        chosen["send_buffer"] = random.choice((4608, 20_000))
    if random.random() < 0.2:
        chosen["maximum_segment_size"] = random.choice((100, 536))
    return chosen


@pytest.mark.parametrize("seed", range(80))
def test_a_transfer(seed):
    random = Random(seed)
    rules, chosen = link(random), settings(random)
    network, client, server = playground(
        mtu=random.choice((576, 1500, 9000)),
        wrap=lambda device: Impaired(device, transmit=rules, receive=rules, seed=seed, limit=100_000),
        config=config(random),
        limit=100_000,
    )
    data, back = random.randbytes(random.choice((1, 1000, 100_000))), random.randbytes(random.choice((0, 1, 20_000)))
    server.listen(**chosen)
    socket = client.connect(**chosen)
    client.send(socket, data)
    network.run_while(lambda: not server.accepted())
    (other,) = server.accepted()
    server.send(other, back)
    network.run_while(lambda: not (client.has(socket, t.Finished) and server.has(other, t.Finished)), limit=20_000)
    assert bytes(server.received[other]) == data
    assert bytes(client.received.get(socket, b"")) == back
    network.run_for(200)
    for program in (client, server):
        held = program.core.held()
        assert held["connections"] == held["time_waits"] == held["memory"] == 0
        assert program.core.counts["bugs"] == 0
