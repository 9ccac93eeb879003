"""What a megabyte and a request cost, in counts that do not depend on the machine: units, hops, wakes, calls, memory.

Real stages on a memory link, in virtual time. A figure that grows is a regression; one that falls is to be
entered here.
"""

import socket
import sys
import tracemalloc
from collections import Counter
from contextlib import contextmanager

import gevent
import greenlet
import pytest

from pystack import Interface, Stack, StackConfig
from pystack.config import Ipv6Config
from pystack.device import memory
from pystack.runtime.clock import VirtualClock

MB = 1_000_000
HERE, THERE = "10.0.0.1", "10.0.0.2"
CHATTER = "drop.not_a_member"  # the other host's MLD reports, whenever they come, are for routers


class Clock(VirtualClock):
    """Each look at it takes 5 µs: so time passes by what is done, alike on any machine. Alarms ring that are due when
    they are set; the others are not waited for."""

    def now(self):
        self._now += 5e-6
        return self._now

    def _push(self, at, alarm):
        if at <= self._now:
            gevent.get_hub().loop.run_callback(alarm.fire)
        else:
            super()._push(at, alarm)


@pytest.fixture(params=[True, False], ids=["offload", "MTU 1500"])
def connected(request):
    """``(client's stack, server's stack, client, server, whether units are large)``."""
    config = StackConfig(ipv6=Ipv6Config(dad_transmits=0))
    clock = Clock()
    left, right = memory.pair(offload=request.param)
    with (
        Stack([Interface(device=left, addresses=[f"{HERE}/24"])], config, seed=1, clock=clock) as here,
        Stack([Interface(device=right, addresses=[f"{THERE}/24"])], config, seed=2, clock=clock) as there,
        there.listen(80, nodelay=True) as listener,
        here.connect(THERE, 80, nodelay=True) as client,
        listener.accept() as server,
    ):
        yield here, there, client, server, request.param


def counted(stack):
    """``{counter: value}`` of what a transfer costs."""
    rows = stack.counters()
    stages = {name: row for name, row in rows.items() if "turns" in row}
    return {
        "turns": sum(row["turns"] for row in stages.values()),
        "wakes": sum(row.get("wakes", 0) for row in stages.values()),
        "packets sent": rows["inet"].get("OutRequests", 0),
        "packets received": rows["inet"].get("InReceives", 0),
        "drops": sum(
            value
            for row in rows.values()
            for name, value in row.items()
            if name.startswith("drop.") and name != CHATTER
        ),
    }


def cost(stack, work):
    """What *work* has added."""
    before = counted(stack)
    work()
    return {name: value - before[name] for name, value in counted(stack).items()}


@contextmanager
def counting_calls(found):
    """Meanwhile ``found["calls"]`` counts the calls of Python functions, in all greenlets."""

    def count(frame, event, argument):
        found["calls"] += event == "call"

    greenlet.settrace(lambda event, which: sys.setprofile(count))  # each greenlet has its own
    sys.setprofile(count)
    try:
        yield
    finally:
        greenlet.settrace(None)
        sys.setprofile(None)


def test_a_request_and_its_answer_are_one_packet_each(connected):
    here, there, client, server, _ = connected

    def trips():
        for _ in range(100):
            client.sendall(b"x")
            assert server.recv(10) == b"x"
            server.sendall(b"y")
            assert client.recv(10) == b"y"

    trips()  # quick acknowledgements at the start
    for stack in (here, there):
        found = cost(stack, trips)
        assert found["packets sent"] <= 105 and found["packets received"] <= 105
        assert found["turns"] <= 100 * 8 + 50
        assert found["wakes"] == 0 and found["drops"] == 0


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_request_and_its_answer_of_programs_are_three_turns_each(connected, kind):
    """As above, by the sockets of a program: that it has read is told now and then."""
    here, there, *_ = connected
    if kind == socket.SOCK_STREAM:
        listener = there.create_server((THERE, 81))
        client = here.create_connection((THERE, 81))
        server, _ = listener.accept()
    else:
        listener = client = here.socket(socket.AF_INET, kind)
        server = there.socket(socket.AF_INET, kind)
        server.bind((THERE, 81))
        client.connect((THERE, 81))
        client.send(b"x")
        server.connect(server.recvfrom(10)[1])

    def trips():
        for _ in range(100):
            client.send(b"x")
            assert server.recv(10) == b"x"
            server.send(b"y")
            assert client.recv(10) == b"y"

    with listener, client, server:
        trips()
        for stack in (here, there):
            found = cost(stack, trips)
            assert found["packets sent"] <= 105 and found["packets received"] <= 105
            assert found["turns"] <= 100 * 6 + 50
            assert found["wakes"] == 0 and found["drops"] == 0


def test_bulk_data_costs_few_units_and_few_hops(connected):
    here, there, client, server, large = connected

    def transfer():
        writer = gevent.spawn(client.sendall, bytes(10 * MB))
        left = 10 * MB
        while left:
            left -= len(server.recv(MB))
        writer.get()

    transfer()
    for stack, way, most in ((here, "packets sent", 20), (there, "packets received", 2 if large else 30)):
        found = cost(stack, transfer)
        assert found[way] <= 10 * most, found
        assert found["turns"] <= 10 * (20 if large else 70), found
        assert found["drops"] == 0
    found = Counter()
    with counting_calls(found):
        transfer()
    assert found["calls"] <= 10 * (1_500 if large else 8_500)  # of both stacks


def echo(sock):
    while data := sock.recv(10):
        sock.sendall(data)


def test_a_round_trip_calls_few_functions_and_leaves_nothing_behind(connected):
    """What Python's time goes by, whatever the machine: two stacks, all their layers, there and back."""
    _, _, client, server, _ = connected
    echoing = gevent.spawn(echo, server)

    def trips(count):
        for _ in range(count):
            client.sendall(b"x")
            assert client.recv(10) == b"x"

    trips(200)
    found = Counter()
    with counting_calls(found):
        trips(100)
    assert found["calls"] <= 100 * 585
    blocks = sys.getallocatedblocks()
    trips(500)
    assert sys.getallocatedblocks() - blocks < 100
    echoing.kill()


def test_a_megabyte_is_held_once_on_its_way(connected):
    """From the program's write to the reader's hand: what is in flight, and not copies of it."""
    _, _, client, server, _ = connected
    tracemalloc.start()
    try:
        data = bytes(MB)
        before, _ = tracemalloc.get_traced_memory()
        writer = gevent.spawn(client.sendall, data)
        left = MB
        while left:
            left -= len(server.recv(MB))
        writer.get()
        _, peak = tracemalloc.get_traced_memory()
        del writer
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < 2 * MB
    assert after - before < MB // 10
