"""How fast a transfer is, in virtual time, over links good and bad: a table that is stored, and compared.

``PYSTACK_UPDATE_THROUGHPUT=1`` writes it anew; look at the difference before you commit it.
"""

import hashlib
import json
import os
from itertools import product
from pathlib import Path
from random import Random

import pytest

from pystack.config import StackConfig, TcpConfig
from pystack.device.impair import Delay, Duplicate, Impaired, Loss, Reorder
from tests.support.programs import playground, transfer

TABLE = Path(__file__).parent / "throughput.json"
SIZE = 500_000
BUFFERS = {"16k": 16_384, "256k": 262_144, "auto": 0}
LOSSES = (0.0, 0.01, 0.05)
DELAYS = (0.001, 0.02, 0.1)  # one way, seconds
REORDERS = (0.0, 0.1)
CONTROLS = ("cubic", "reno")


def rules(loss, delay, reorder):
    found = [Delay(delay)]
    if loss:
        found.append(Loss(loss))
    if reorder:
        found.append(Reorder(reorder, delay / 2))
    return found


def goodput(buffer, loss, delay, reorder, control):
    """Mbit/s of one transfer."""
    both = rules(loss, delay, reorder)
    network, client, server = playground(
        wrap=lambda device: Impaired(device, transmit=both, receive=both, seed=11, limit=100_000)
    )
    size = {"send_buffer": BUFFERS[buffer], "receive_buffer": BUFFERS[buffer]} if BUFFERS[buffer] else {}
    data = Random(1).randbytes(SIZE)
    return SIZE * 8e-6 / transfer(network, client, server, data, congestion=control, **size)


def measure():
    table = {}
    for buffer, loss, delay, reorder, control in product(BUFFERS, LOSSES, DELAYS, REORDERS, CONTROLS):
        key = f"buffer {buffer}, loss {loss}, delay {delay}, reorder {reorder}, {control}"
        table[key] = float(f"{goodput(buffer, loss, delay, reorder, control):.3g}")
    return table


def test_the_throughput_table():
    table = measure()
    if os.environ.get("PYSTACK_UPDATE_THROUGHPUT"):
        TABLE.write_text(json.dumps(table, indent=1) + "\n")
    assert table == json.loads(TABLE.read_text())


def test_a_path_of_100_ms_fills_1_gbit_per_second():
    """Without an option set: the buffers grow by themselves to 12.5 MB and more."""
    network, client, server = playground(
        wrap=lambda device: Impaired(device, transmit=[Delay(0.05)], receive=[Delay(0.05)], limit=100_000),
        limit=100_000,
    )
    data = bytes(200_000_000)
    seconds = transfer(network, client, server, data)
    in_the_end = len(data) * 8e-9 / seconds
    assert in_the_end > 0.5  # slow start included
    assert server.core.memory.used == 0


@pytest.mark.parametrize("control", CONTROLS)
def test_10_mb_each_way_at_10_percent_loss_with_reordering_and_duplicates(control):
    network, client, server = bad_link()
    data, back = Random(1).randbytes(10_000_000), Random(2).randbytes(10_000_000)
    transfer(network, client, server, data, back, congestion=control)
    network.run_for(120)  # TIME-WAIT is over
    for program in (client, server):
        held = program.core.held()
        assert held["connections"] == held["time_waits"] == held["memory"] == 0
        assert not program.core.counts["bugs"]


def test_the_same_seed_gives_the_same_packets():
    digests = []
    for _ in range(2):
        digest = hashlib.sha256()
        network, client, server = bad_link(digest)
        transfer(network, client, server, Random(1).randbytes(200_000), Random(2).randbytes(200_000))
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def bad_link(digest=None):
    """10% loss both ways, a third of the packets reordered, some doubled; what passes goes into *digest*."""
    both = [Delay(0.005), Loss(0.1), Reorder(0.3, 0.004), Duplicate(0.02)]

    class Watched(Impaired):
        def transmit(self, frames, now):
            if digest is not None:
                for frame in frames:
                    digest.update(repr(now).encode() + b"".join(frame))
            super().transmit(frames, now)

    # Virtual time is free, but a timeout of 200 ms makes many steps of nothing.
    return playground(
        wrap=lambda device: Watched(device, transmit=both, receive=both, seed=3, limit=100_000),
        config=StackConfig(tcp=TcpConfig(tcp_rto_min=0.02)),
    )
