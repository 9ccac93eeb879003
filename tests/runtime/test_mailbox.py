"""The two kinds of queue between the stages, with real gevent."""

import gc
import weakref

import gevent
import gevent.event
import pytest
from gevent.queue import Empty, Full, SimpleQueue

from pystack.runtime.mailbox import Mailbox

BOTH = pytest.mark.parametrize("make", [Mailbox, SimpleQueue])


def consumer(queue, log):
    """A greenlet, parked, that appends to *log* what it gets."""

    def run():
        while True:
            log.append(queue.get())

    greenlet = gevent.spawn(run)
    gevent.idle()
    return greenlet


@BOTH
def test_items_arrive_in_the_order_in_which_they_were_put(make):
    queue, log = make(), []
    greenlet = consumer(queue, log)
    for item in range(5):
        queue.put(item)
    gevent.idle()
    assert log == [0, 1, 2, 3, 4]
    greenlet.kill()


@BOTH
def test_a_full_queue_raises_and_keeps_what_it_has(make):
    queue = make(2)
    queue.put_nowait("a")
    assert not queue.full()
    queue.put_nowait("b")
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait("c")
    assert queue.qsize() == len(queue) == 2
    assert [queue.get_nowait(), queue.get()] == ["a", "b"]
    assert queue.empty() and queue
    for get in (queue.get_nowait, lambda: queue.get(block=False)):
        with pytest.raises(Empty):
            get()


@BOTH
def test_get_gives_up_after_its_timeout(make):
    queue = make()
    with pytest.raises(Empty):
        queue.get(timeout=0)
    with pytest.raises(ValueError):
        queue.get(timeout=-1)
    queue.put(1)
    assert queue.get(timeout=0) == 1


@BOTH
def test_the_hub_may_put_and_cannot_wait(make):
    queue, log, hub_got = make(), [], []
    greenlet = consumer(queue, log)

    def in_hub():
        queue.put_nowait(1)
        queue.put_nowait(2)
        empty = make()
        try:
            empty.get()
        except Empty:
            hub_got.append("empty")

    gevent.get_hub().loop.run_callback(in_hub)
    gevent.idle()
    assert log == [1, 2] and hub_got == ["empty"]
    greenlet.kill()


def test_a_put_to_the_parked_consumer_runs_it_before_it_returns():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)
    mailbox.put_nowait("first")
    log.append("returned")
    mailbox.put_nowait("second")
    assert log == ["first", "returned", "second"]
    greenlet.kill()


def test_a_put_to_a_parked_consumer_cannot_be_refused():
    mailbox, log = Mailbox(1), []
    greenlet = consumer(mailbox, log)
    for item in range(100):
        mailbox.put_nowait(item)
    assert log == list(range(100))
    greenlet.kill()


def test_a_put_from_the_hub_comes_back_to_the_hub():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)

    def in_hub():
        mailbox.put_nowait("item")
        log.append("hub goes on")

    gevent.get_hub().loop.run_callback(in_hub)
    gevent.idle()
    assert log == ["item", "hub goes on"]
    greenlet.kill()


def test_a_put_back_to_the_busy_producer_waits():
    """A puts to B, which puts to A: A is not entered a second time."""
    a, b, log = Mailbox(), Mailbox(), []

    def run_a():
        while True:
            item = a.get()
            log.append(("a takes", item))
            if item == "question":
                b.put_nowait("question")
                log.append(("a has put",))

    def run_b():
        while True:
            log.append(("b takes", b.get()))
            a.put_nowait("answer")
            log.append(("b has put",))

    greenlets = [gevent.spawn(run_a), gevent.spawn(run_b)]
    gevent.idle()
    a.put_nowait("question")
    assert log == [
        ("a takes", "question"),
        ("b takes", "question"),
        ("b has put",),
        ("a has put",),
        ("a takes", "answer"),
    ]
    gevent.killall(greenlets)


def test_when_the_consumer_ends_the_producer_goes_on_and_later_items_wait():
    mailbox, log = Mailbox(), []
    greenlet = gevent.spawn(lambda: log.append(mailbox.get()))
    gevent.idle()
    mailbox.put_nowait("last")
    log.append("producer")
    mailbox.put_nowait("nobody is there")
    assert log == ["last", "producer"] and greenlet.dead
    assert mailbox.get() == "nobody is there"


def test_when_the_consumer_raises_the_producer_does_not():
    mailbox = Mailbox()

    def run():
        mailbox.get()
        raise LookupError

    greenlet = gevent.spawn(run)  # gevent prints the traceback, and keeps the exception
    gevent.idle()
    mailbox.put_nowait(1)
    assert isinstance(greenlet.exception, LookupError)


def test_another_consumer_takes_over_and_the_end_of_the_first_is_no_matter():
    mailbox, log = Mailbox(), []
    first = consumer(mailbox, log)
    first.kill()
    second = consumer(mailbox, log)
    mailbox.put_nowait(1)
    assert log == [1]
    second.kill()


def test_a_producer_killed_during_the_rendezvous_loses_nothing_and_is_not_resumed():
    mailbox, log = Mailbox(), []
    busy = gevent.event.Event()

    def consume():
        while True:
            item = mailbox.get()
            busy.wait()
            log.append(item)

    def produce():
        try:
            mailbox.put_nowait("item")
        finally:
            log.append("producer ends")

    greenlet = gevent.spawn(consume)
    gevent.idle()
    producer = gevent.spawn(produce)
    gevent.idle()
    producer.kill()
    mailbox.put_nowait("waits")
    assert log == ["producer ends"]
    busy.set()
    gevent.idle()
    assert log == ["producer ends", "item", "waits"]
    mailbox.put_nowait("next")
    assert log[-1] == "next"
    greenlet.kill()


def test_a_producer_torn_out_of_the_rendezvous_is_left_alone_where_it_waits_next():
    mailbox, log = Mailbox(), []
    busy, other = gevent.event.Event(), gevent.event.Event()

    def consume():
        while True:
            log.append(mailbox.get())
            busy.wait()

    def produce():
        try:
            mailbox.put_nowait("item")
        except LookupError:
            log.append("torn out")
        other.wait()
        log.append("other")

    greenlet = gevent.spawn(consume)
    gevent.idle()
    producer = gevent.spawn(produce)
    gevent.idle()
    producer.kill(LookupError, block=False)
    gevent.idle()
    busy.set()  # the consumer parks
    gevent.idle()
    assert log == ["item", "torn out"] and not producer.dead
    other.set()
    gevent.idle()
    assert log[2:] == ["other"] and producer.exception is None
    greenlet.kill()


def test_the_end_of_a_former_consumer_does_not_end_a_rendezvous_with_the_present_one():
    mailbox, log = Mailbox(), []
    leave, busy = gevent.event.Event(), gevent.event.Event()

    def produce():
        mailbox.put_nowait("item")
        log.append("producer")

    def present():
        while True:
            log.append(mailbox.get())
            busy.wait()

    former = gevent.spawn(lambda: (mailbox.get(), leave.wait()))
    gevent.idle()
    gevent.get_hub().loop.run_callback(mailbox.put_nowait, "first")
    gevent.idle()
    greenlet = gevent.spawn(present)
    gevent.idle()
    producer = gevent.spawn(produce)
    gevent.idle()
    leave.set()
    gevent.idle()
    assert former.dead and log == ["item"]
    busy.set()
    gevent.idle()
    assert log == ["item", "producer"] and producer.dead
    greenlet.kill()


def test_the_hub_goes_on_when_the_consumer_blocks_elsewhere():
    mailbox, log = Mailbox(), []
    release = gevent.event.Event()

    def consume():
        while True:
            log.append(mailbox.get())
            release.wait()

    greenlet = gevent.spawn(consume)
    gevent.idle()
    loop = gevent.get_hub().loop
    loop.run_callback(mailbox.put_nowait, 1)
    loop.run_callback(mailbox.put_nowait, 2)
    gevent.idle()
    assert log == [1] and mailbox.qsize() == 1
    release.set()
    gevent.idle()
    assert log == [1, 2]
    greenlet.kill()


def test_killing_the_parked_consumer_keeps_what_comes_afterwards():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)
    greenlet.kill()
    mailbox.put_nowait(1)
    assert mailbox.qsize() == 1 and log == []


def test_a_put_before_the_scheduled_kill_is_still_consumed():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)
    greenlet.kill(block=False)
    mailbox.put_nowait(1)
    assert log == [1]
    gevent.idle()
    assert greenlet.dead


def test_a_stray_switch_does_not_make_get_return():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)
    gevent.get_hub().loop.run_callback(greenlet.switch, "stray")
    gevent.idle()
    assert log == []
    mailbox.put_nowait(1)
    assert log == [1]
    greenlet.kill()


def test_an_ended_consumer_is_not_kept_alive():
    mailbox, log = Mailbox(), []
    greenlet = consumer(mailbox, log)
    greenlet.kill()
    gevent.idle()
    reference = weakref.ref(greenlet)
    del greenlet
    gc.collect()
    assert reference() is None
