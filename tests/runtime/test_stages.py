"""The greenlet around a core, in virtual time, with both kinds of queue."""

import gc
import logging
from collections import Counter

import gevent
import pytest
from gevent.queue import SimpleQueue

from pystack.errors import QUEUE_FULL
from pystack.runtime.clock import VirtualClock
from pystack.runtime.mailbox import Mailbox
from pystack.runtime.stage import Stage
from pystack.runtime.supervisor import Supervisor

QUEUES = pytest.mark.parametrize("make", [Mailbox, SimpleQueue])


class Core:
    """Passes on what it receives, and wants `expire` when the test says so."""

    def __init__(self, *outboxes):
        self.outboxes = {key: [] for key in outboxes or ("out",)}
        self.drops = Counter()
        self.calls = []
        self.due = None
        self.period = None

    def receive(self, batch, now):
        self.calls.append(("receive", now, list(batch)))
        for item in batch:
            if isinstance(item, Exception):
                raise item
        for outbox in self.outboxes.values():
            outbox.extend(batch)

    def transmit(self, batch, now):
        self.calls.append(("transmit", now, list(batch)))

    def expire(self, now):
        self.calls.append(("expire", now))
        self.due = None if self.period is None else now + self.period

    def next_deadline(self):
        return self.due


def alive():
    """How many greenlets there are that have not ended."""
    gc.collect()
    return sum(isinstance(each, gevent.Greenlet) and not each.dead for each in gc.get_objects())


class Sink:
    def __init__(self):
        self.batches = []

    def put(self, batch):
        self.batches.append(batch)


class Bench:
    """Stages a, b, ... in a row that ends in ``sink``; all have had their first turn."""

    def __init__(self, make=Mailbox, names="a", start=True):
        self.clock = VirtualClock(100.0)
        self.failures = []
        self.supervisor = Supervisor(self.failures.append)
        self.sink = Sink()
        self.stages = [Stage(name, Core(), self.clock, self.supervisor, make) for name in names]
        for stage, following in zip(self.stages, self.stages[1:], strict=False):
            stage.connect("out", following.port(following.core.receive))
        self.stages[-1].connect("out", self.sink)
        self.stage = self.stages[0]
        self.core = self.stage.core
        self.port = self.stage.port(self.core.receive)
        if start:
            for stage in self.stages:
                stage.start()
            gevent.idle()

    def close(self):
        for stage in self.stages:
            stage.stop()
        gevent.idle()


@pytest.fixture
def bench():
    made = []

    def build(*args, **kwargs):
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield build
    for each in made:
        each.close()


@QUEUES
def test_batches_go_through_a_pipeline_in_order(bench, make):
    b = bench(make, "abc")
    for item in range(4):
        b.port.put([item, -item])
    gevent.idle()
    assert [item for batch in b.sink.batches for item in batch] == [0, 0, 1, -1, 2, -2, 3, -3]
    assert b.supervisor.failures == 0
    assert all(stage.core.outboxes == {"out": []} for stage in b.stages)


def test_an_idle_pipeline_is_run_through_before_put_returns(bench):
    b = bench(Mailbox, "abc")
    b.port.put([1])
    assert b.sink.batches == [[1]]


@QUEUES
def test_one_turn_takes_all_that_waits_and_passes_it_on_as_one_batch(bench, make):
    b = bench(make, "a", start=False)
    up, down = b.port, b.stage.port(b.core.transmit)
    up.put([1])
    down.put([2])
    up.put([3, 4])
    b.stage.start()
    gevent.idle()
    assert b.core.calls == [("receive", 100.0, [1]), ("transmit", 100.0, [2]), ("receive", 100.0, [3, 4])]
    assert b.sink.batches == [[1, 3, 4]]
    assert b.stage.counts["batches"] == 3 and b.stage.counts["max_batch"] == 2
    assert b.stage.counts["turns"] <= 2 and b.stage.counts["wakes"] == 0


@QUEUES
def test_ownership_of_an_outbox_list_passes(bench, make):
    b = bench(make)
    b.port.put([1])
    gevent.idle()
    b.port.put([2])
    gevent.idle()
    assert b.sink.batches == [[1], [2]]


@QUEUES
def test_a_full_queue_drops_and_counts_packets_not_batches(bench, make):
    b = bench(lambda: make(2), start=False)
    for batch in ([1], [2], [3, 4, 5]):
        b.port.put(batch)
    assert b.stage.drops == {QUEUE_FULL: 3}
    b.stage.start()
    gevent.idle()
    assert b.sink.batches == [[1, 2]]


def test_what_comes_to_a_busy_stage_waits_for_its_next_turn(bench):
    b = bench()
    log = []

    class Back:
        def put(self, batch):
            if batch == ["ask"]:
                b.port.put(["answer"])
                log.append(len(b.core.calls))  # not entered again
            log.append(batch)

    b.close()
    stage = Stage("loop", b.core, b.clock, b.supervisor)
    stage.connect("out", Back())
    b.stages.append(stage)
    b.port = stage.port(b.core.receive)
    stage.start()
    gevent.idle()
    b.port.put(["ask"])
    assert log == [1, ["ask"], ["answer"]]


@QUEUES
def test_a_deadline_is_kept_and_moves(bench, make):
    b = bench(make)
    b.core.due = 110.0
    b.port.put([1])
    b.clock.run_until(105.0)
    b.core.due = 107.0  # earlier
    b.port.put([2])
    b.clock.run_until(109.0)
    assert b.core.calls == [("receive", 100.0, [1]), ("receive", 105.0, [2]), ("expire", 107.0)]
    b.clock.run_until(1000.0)
    assert len(b.core.calls) == 3


@QUEUES
def test_a_deadline_moved_later_wakes_once_early_and_expires_on_time(bench, make):
    b = bench(make)
    b.core.due = 110.0
    b.port.put([1])
    gevent.idle()
    b.core.due = 120.0
    b.port.put([2])
    b.clock.run_until(200.0)
    assert [call for call in b.core.calls if call[0] == "expire"] == [("expire", 120.0)]
    assert b.stage.counts["wakes"] == 2


@QUEUES
def test_a_deadline_set_before_the_start_is_kept(bench, make):
    b = bench(make, start=False)
    b.core.due = 101.0
    b.core.outboxes["out"].append("made early")
    b.stage.start()
    b.clock.run_until(102.0)
    assert b.core.calls == [("expire", 101.0)] and b.sink.batches == [["made early"]]


@QUEUES
def test_a_busy_turn_expires_what_is_due_too(bench, make):
    b = bench(make)
    b.core.due = 99.0
    b.port.put([1])
    gevent.idle()
    assert b.core.calls == [("receive", 100.0, [1]), ("expire", 100.0)]
    assert b.stage.counts["wakes"] == 0


@QUEUES
def test_an_idle_pipeline_wakes_for_nothing(bench, make):
    b = bench(make, "abc")
    b.port.put([1])
    gevent.idle()
    before = [stage.counts for stage in b.stages]
    assert b.clock.run_while_pending(3600.0) == 100.0
    b.clock.advance(3600.0)
    assert [stage.counts for stage in b.stages] == before


@QUEUES
def test_an_hour_of_periodic_deadlines_takes_one_turn_each(bench, make):
    b = bench(make)
    b.core.period = 0.5
    b.core.due = 100.5
    b.port.put([1])
    b.clock.run_until(3700.0)
    assert b.stage.counts["wakes"] == 7200
    assert b.stage.counts["turns"] == 7202  # and the first, and the put
    assert b.core.calls[-1] == ("expire", 3700.0)


@QUEUES
def test_an_exception_in_a_core_stops_loudly_and_once(bench, make, caplog):
    b = bench(make, "ab")
    error = RuntimeError("broken core")
    with caplog.at_level(logging.CRITICAL, "pystack"):
        b.port.put([error])
        gevent.idle()
        b.port.put([error])
        gevent.idle()
    assert b.failures == [error] and b.supervisor.failure is error
    assert [record.exc_info[1] for record in caplog.records] == [error]
    assert "a failed: broken core" in caplog.text and "Traceback" in caplog.text
    assert len(b.core.calls) == 1 and b.sink.batches == []
    b.clock.advance(10.0)


def test_the_producer_survives_the_core_that_it_put_to(bench):
    b = bench(Mailbox, "ab")
    b.stages[1].core.due = "no time"  # with which its turn goes wrong
    b.port.put([1])
    b.port.put([2])
    gevent.idle()
    assert [type(failure) for failure in b.failures] == [TypeError]
    assert [call[2] for call in b.core.calls] == [[1], [2]]


def test_a_failure_is_acted_on_from_outside_the_failing_greenlet(bench):
    b = bench()
    seen = []
    b.supervisor = Supervisor(lambda failure: seen.append(gevent.getcurrent()))
    b.supervisor.failed("first", KeyError())
    b.supervisor.failed("second", ValueError())
    assert seen == [] and b.supervisor.failures == 2 and isinstance(b.supervisor.failure, KeyError)
    gevent.idle()
    assert len(seen) == 1 and seen[0] is not gevent.getcurrent()


def test_every_outbox_must_lead_somewhere(bench):
    b = bench()
    loose = Stage("loose", Core("out", "control"), b.clock, b.supervisor)
    loose.connect("out", b.sink)
    with pytest.raises(ValueError, match=r"loose.*control"):
        loose.start()
    with pytest.raises(ValueError, match="connected already"):
        loose.connect("out", b.sink)
    loose.connect("control", b.sink)
    loose.connect("contrl", b.sink)
    with pytest.raises(ValueError, match="contrl"):
        loose.start()
    loose.stop()


@QUEUES
def test_stop_may_be_called_twice_and_silences_the_alarm(bench, make):
    b = bench(make)
    b.core.due = 110.0
    b.port.put([1])
    gevent.idle()
    b.stage.stop()
    b.stage.stop()
    b.port.put([2])
    gevent.idle()
    b.clock.advance(100.0)
    assert b.core.calls == [("receive", 100.0, [1])] and b.failures == []


@QUEUES
def test_a_stage_that_stops_itself_finishes_its_turn(bench, make):
    b = bench(make)

    def stop(batch, now):
        b.stage.stop()
        b.core.due = 110.0
        b.core.outboxes["out"].append("last")

    before = alive()
    b.stage.port(stop).put([0])
    gevent.idle()
    assert alive() == before - 1
    b.port.put([1])
    gevent.idle()
    b.clock.advance(100.0)
    assert b.core.calls == [] and b.sink.batches == [["last"]] and b.failures == []
    assert b.stage.counts["wakes"] == 0


def test_a_stage_stopped_by_the_one_it_puts_to_finishes_its_turn(bench):
    b = bench(start=False)
    stopper = Stage("stopper", Core(), b.clock, b.supervisor)
    b.core.outboxes["first"] = []
    b.stage = Stage("a", b.core, b.clock, b.supervisor)
    stop = stopper.port(lambda batch, now: b.stage.stop())
    stopper.connect("out", b.sink)
    b.stage.connect("first", stop)
    b.stage.connect("out", b.sink)
    b.stages[:] = [b.stage, stopper]
    for stage in b.stages:
        stage.start()
    gevent.idle()
    port = b.stage.port(b.core.receive)
    port.put([1])
    port.put([2])
    gevent.idle()
    assert b.sink.batches == [[1]] and b.failures == []


@QUEUES
def test_greenlets_do_not_leak(make):
    gevent.idle()
    before = alive()
    for _ in range(10):
        b = Bench(make, "abc")
        b.core.due = 1000.0
        b.port.put([1])
        gevent.idle()
        assert alive() == before + 3
        b.close()
    assert alive() == before
