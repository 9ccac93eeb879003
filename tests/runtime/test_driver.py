"""The runtime side of devices: with a descriptor, and without."""

import logging
import os

import gevent
import pytest

from pystack.device import memory
from pystack.device.base import Device
from pystack.device.loopback import Loopback
from pystack.errors import DeviceError
from pystack.runtime.clock import VirtualClock
from pystack.runtime.driver import ROUNDS, DeviceDriver
from pystack.runtime.supervisor import Supervisor


class Port:
    """Collects batches; *then* may do something with each."""

    def __init__(self, then=None):
        self.batches = []
        self.then = then

    def put(self, batch):
        self.batches.append(batch)
        if self.then:
            self.then(batch)


class Pipe(Device):
    """A device with a descriptor: what is written to the pipe is a frame."""

    def __init__(self):
        super().__init__()
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.receives = 0
        self.sent = []

    def fileno(self):
        return self.reader

    def receive(self, now):
        self.receives += 1
        try:
            frame = os.read(self.reader, 4)  # one of a time: the rest keeps the descriptor readable
        except BlockingIOError:
            return []
        if frame == b"gone":
            raise DeviceError("the device has gone away")
        return [frame]

    def transmit(self, frames, now):
        if frames == ["raise"]:
            raise RuntimeError("bug in a device")
        self.sent.append((now, frames))

    def close(self):
        os.close(self.reader)
        os.close(self.writer)


class Bench:
    def __init__(self, device, port=None, start=True):
        self.clock = VirtualClock(50.0)
        self.failures = []
        self.supervisor = Supervisor(self.failures.append)
        self.device = device
        device.open()
        self.port = port or Port()
        self.driver = DeviceDriver("eth0", device, self.clock, self.supervisor)
        self.driver.connect(self.port)
        if start:
            self.driver.start()
            gevent.idle()


@pytest.fixture
def bench():
    made = []

    def build(*args, **kwargs):
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield build
    for each in made:
        each.driver.stop()
        each.device.close()


def test_a_readable_descriptor_is_read_until_it_is_not(bench):
    b = bench(Pipe())
    os.write(b.device.writer, b"aaaabbbbcc")
    b.clock.advance(0.0)
    gevent.idle()
    assert b.port.batches == [[b"aaaa"], [b"bbbb"], [b"cc"]]
    receives = b.device.receives
    b.clock.advance(3600.0)
    assert b.device.receives == receives  # nobody polls


def test_what_came_before_the_start_is_read(bench):
    device, other = memory.pair()
    other.open()
    b = bench(device, start=False)
    other.transmit([[b"early"]], 0.0)
    assert b.port.batches == []
    b.driver.start()
    assert b.port.batches == [[b"early"]]


def test_a_device_without_descriptor_is_read_within_the_transmit_of_the_other_end(bench):
    device, other = memory.pair()
    a, b = bench(device), bench(other)
    a.driver.put([[b"he", b"llo"]])
    assert b.port.batches == [[b"hello"]] and a.port.batches == []
    b.driver.put([[b"x"], [b"y"]])
    assert a.port.batches == [[b"x", b"y"]]


def test_a_loop_that_answers_itself_is_a_loop_and_no_recursion(bench):
    depth, deepest, rounds = 0, 0, 5 * ROUNDS

    def answer(batch):
        nonlocal depth, deepest, rounds
        depth += 1
        deepest = max(depth, deepest)
        rounds -= 1
        if rounds:
            b.driver.put([[frame] for frame in batch])
        depth -= 1

    port = Port(answer)
    b = bench(Loopback(), port)
    b.driver.put([[b"ball"]])
    assert len(port.batches) == ROUNDS and deepest == 1  # then the hub has its turn
    b.clock.advance(0.0)
    assert len(port.batches) == 5 * ROUNDS and deepest == 1
    b.clock.advance(3600.0)
    assert len(port.batches) == 5 * ROUNDS


def test_a_wake_while_polling_is_not_lost_even_without_a_deadline(bench):
    class Waker(Device):
        left = ROUNDS + 3

        def receive(self, now):
            self.left -= 1
            if self.left > 0:
                self.wake()
            return [b"frame"]

    b = bench(Waker())
    b.clock.advance(0.0)
    assert len(b.port.batches) == ROUNDS + 3
    b.clock.advance(3600.0)
    assert len(b.port.batches) == ROUNDS + 3


def test_a_deadline_of_the_device_is_kept_and_moves_earlier_with_a_transmit(bench):
    class Slow(Device):
        due = None

        def __init__(self):
            super().__init__()
            self.at = []

        def receive(self, now):
            self.at.append(now)
            if self.due is not None and self.due <= now:
                self.due = None
                return [b"late"]
            return []

        def transmit(self, frames, now):
            self.due = frames[0]

        def next_deadline(self):
            return self.due

    b = bench(Slow())
    b.driver.put([90.0])
    b.driver.put([70.0])
    b.clock.run_until(1000.0)
    assert b.device.at == [50.0, 70.0] and b.port.batches == [[b"late"]]


def test_a_device_that_has_gone_away_is_the_supervisor_s_once(bench, caplog):
    b = bench(Pipe())
    with caplog.at_level(logging.CRITICAL, "pystack"):
        os.write(b.device.writer, b"gonegone")
        gevent.idle()
        gevent.idle()
    assert [type(failure) for failure in b.failures] == [DeviceError] and len(caplog.records) == 1
    b.driver.put([["late"]])
    assert b.device.sent == []


def test_a_bug_in_transmit_does_not_hurt_the_stage_that_puts(bench):
    b = bench(Pipe())
    b.driver.put(["raise"])
    gevent.idle()
    assert [type(failure) for failure in b.failures] == [RuntimeError]


def test_after_stop_nothing_is_read_or_sent(bench):
    b = bench(Pipe())
    b.driver.put(["sent"])
    b.driver.stop()
    b.driver.stop()
    os.write(b.device.writer, b"late")
    b.driver.put(["late"])
    gevent.idle()
    b.clock.advance(10.0)
    assert b.device.sent == [(50.0, ["sent"])] and b.port.batches == [] and b.device.wake is None


def test_a_driver_may_be_stopped_by_what_it_hands_on(bench):
    device, other = memory.pair()
    other.open()
    b = bench(device, Port(lambda batch: b.driver.stop()))
    other.transmit([[b"1"]], 0.0)
    other.transmit([[b"2"]], 0.0)
    b.clock.advance(1.0)
    assert b.port.batches == [[b"1"]] and b.failures == []


def test_a_driver_that_leads_nowhere_does_not_start(bench):
    b = bench(Pipe(), start=False)
    with pytest.raises(ValueError, match="eth1: nothing is connected"):
        DeviceDriver("eth1", b.device, b.clock, b.supervisor).start()
