"""The library's face, with its greenlets, in virtual time."""

import gc
import io

import gevent
import pytest
from greenlet import greenlet

from pystack import Interface, Stack, StackConfig, StackError, StackStopped
from pystack.config import Ipv6Config
from pystack.device import memory
from pystack.device.impair import Delay, Impaired, Loss
from pystack.device.pcap import Capture
from pystack.runtime import lifetime
from pystack.runtime.clock import VirtualClock


@pytest.fixture
def clock():
    return VirtualClock()


def pair(clock, wrap=lambda device: device, config=None):
    """10.0.0.1 and 10.0.0.2, not yet started."""
    left, right = memory.pair()
    return (
        Stack([Interface(device=wrap(left), addresses=["10.0.0.1/24"])], config, clock=clock, seed=1),
        Stack([Interface(device=right, addresses=["10.0.0.2/24"])], config, clock=clock, seed=2),
    )


def run(clock, function, *args, seconds=60, **kwargs):
    """What *function* returns, called in a greenlet while virtual time passes."""
    job = gevent.spawn(function, *args, **kwargs)
    clock.advance(seconds)
    assert job.dead
    return job.get()


@pytest.mark.parametrize("queue", ["mailbox", "gevent"])
def test_two_stacks_in_one_process_ping_each_other(clock, queue):
    a, b = pair(clock, config=StackConfig(queue=queue))
    with a, b:
        for stack, address in ((a, "10.0.0.2"), (b, "10.0.0.1"), (a, "127.0.0.1"), (a, "10.0.0.1")):
            replies = run(clock, stack.ping, address, count=3, size=5000)
            assert [(reply.sequence, reply.source, reply.error, reply.ttl) for reply in replies] == [
                (1, address, None, 64),
                (2, address, None, 64),
                (3, address, None, 64),
            ]
        assert [stack.counters()["stack"]["bugs"] for stack in (a, b)] == [0, 0]
        assert a.neighbors()[0][:2] == ("eth0", "10.0.0.2")
        assert ("eth0", "10.0.0.1/24") in a.addresses() and ("10.0.0.0/24", None, "eth0") in a.routes()


def test_the_rtt_is_that_of_the_link(clock):
    a, b = pair(clock, lambda device: Impaired(device, transmit=[Delay(0.03)], receive=[Delay(0.02)]))
    with a, b:
        clock.advance(10)  # the announcements are over
        replies = run(clock, a.ping, "10.0.0.2", count=2, timeout=2)
        assert [reply.rtt for reply in replies] == [pytest.approx(0.1), pytest.approx(0.05)]  # the first resolves, too


def test_a_lost_packet_is_a_reply_without_rtt(clock):
    a, b = pair(clock, lambda device: Impaired(device, receive=[Loss(1.0)]))
    with a, b:
        (reply,) = run(clock, a.ping, "10.0.0.2", count=1, timeout=1)
        assert (reply.rtt, reply.error, reply.source) == (None, None, None)
        (reply,) = run(clock, a.ping, "10.0.0.2", count=1, timeout=10)
        assert reply.error == "host_unreachable"


def test_the_same_seed_gives_the_same_counters():
    def once():
        clock = VirtualClock()
        a, b = pair(clock, lambda device: Impaired(device, transmit=[Loss(0.3)], receive=[Loss(0.3)], seed=5))
        with a, b:
            replies = run(clock, a.ping, "10.0.0.2", count=30, seconds=120)
            return [reply.rtt for reply in replies], a.counters(), b.counters()

    assert once() == once()


def test_an_idle_stack_wakes_for_nothing(clock):
    a, b = pair(clock, config=StackConfig(ipv6=Ipv6Config(accept_ra=False)))  # else it asks for routers for ever
    with a, b:
        clock.advance(600)
        before = a.counters()
        clock.advance(3600)
        assert a.counters() == before


def test_a_bug_in_a_core_stops_the_stack_loudly(clock, caplog):
    a, b = pair(clock)
    with a, b:
        waiting = gevent.spawn(a.ping, "10.0.0.77", count=1, timeout=1000)
        clock.advance(0.1)
        broken = a._layers.cores["inet"]  # there is no polite way to break a core
        broken.transports = None
        job = gevent.spawn(b.ping, "10.0.0.1", count=1)
        clock.advance(5)
        assert job.get()[0].rtt is None
        assert isinstance(a.failure, AttributeError)
        for failed in (waiting, gevent.spawn(a.ping, "10.0.0.2")):
            with pytest.raises(StackStopped) as stopped:
                failed.get()
            assert stopped.value.__cause__ is a.failure
        assert a.counters()["stack"]["bugs"] == 1
        assert "pystack stops: inet failed" in caplog.text


def test_an_interrupt_in_a_layer_stops_the_stack_and_reaches_the_program(clock, caplog):
    """Ctrl-C is raised in whatever runs just then."""

    class Interrupting(Delay):
        def apply(self, at, frame, rng):
            raise KeyboardInterrupt

    a, b = pair(clock, lambda device: Impaired(device, transmit=[Interrupting(0)]))
    with a, b:
        with pytest.raises(KeyboardInterrupt):
            clock.advance(1)
        clock.advance(1)
        with pytest.raises(StackStopped):
            a.ping("10.0.0.2")


def test_counters_of_every_wrapper_are_seen(clock):
    def wrap(device):
        return Capture(Impaired(device, transmit=[Loss(1.0)]), io.BytesIO())

    a, b = pair(clock, wrap)
    with a, b:
        clock.advance(10)
        row = a.counters()["eth0"]
        assert row["transmit_loss"] == row["drop.impaired"] > 0 and row["captured"] > 0


def test_closing_wakes_those_who_wait_and_may_be_repeated(clock):
    a, b = (stack.start() for stack in pair(clock))
    waiting = gevent.spawn(a.ping, "10.0.0.77", count=1, timeout=1000)
    clock.advance(0.1)
    a.close()
    a.close()
    b.close()
    with pytest.raises(StackStopped, match="closed"):
        waiting.get(timeout=1)
    with pytest.raises(StackStopped, match="make a new one"):
        a.start()


def test_nothing_is_left_of_many_stacks(clock):
    def living():
        gevent.idle()
        gc.collect()
        return sum(isinstance(thing, greenlet) and not thing.dead for thing in gc.get_objects())

    for _ in range(2):
        for stack in pair(clock):
            stack.start().close()
    before = living()
    for _ in range(20):
        a, b = pair(clock)
        with a, b:
            run(clock, a.ping, "10.0.0.2", count=1)
    assert living() <= before


def test_groups_are_joined_and_left(clock):
    a, b = pair(clock)
    with a, b:
        a.join_group("239.1.2.3")
        a.leave_group("239.1.2.3")
        for wrong in (
            lambda: a.leave_group("239.1.2.3"),
            lambda: a.join_group("10.0.0.1"),
            lambda: a.join_group("239.1.2.3", "lo"),
            lambda: a.join_group("239.1.2.3", "eth7"),
            lambda: a.join_group("nonsense"),
        ):
            clock.advance(1)
            with pytest.raises(StackError):
                wrong()


UNASSIGNABLE = (
    "10.0.0.1/33",
    "10.0.0.255/24",
    "10.0.0.0/24",
    "224.0.0.5/24",
    "0.0.0.0/0",
    "255.255.255.255/32",
    "127.0.0.9/8",
)


def on(cidr):
    return Stack([Interface(device=memory.pair()[0], addresses=[cidr])]).start()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: StackConfig(default_ttl=0), "default_ttl"),
        (lambda: StackConfig(queue="pipe"), "queue"),
        (lambda: Stack([Interface(device=memory.pair()[0], name="lo")]), "'lo' is taken"),
        (lambda: Stack([Interface(device=memory.pair()[0], name="inet")]), "cannot be named"),
        (lambda: StackConfig(default_ttl=64.5), "default_ttl must be int"),
        *((lambda cidr=cidr: on(cidr), "address") for cidr in UNASSIGNABLE),
        (lambda: Stack([Interface(device=memory.pair(mtu=67)[0])]).start(), "MTU"),
        (lambda: Stack([Interface(device=memory.pair()[0], addresses=["10.0.0.1/8"] * 2)]).start(), "given twice"),
        (lambda: Stack().ping("10.0.0.1"), "has not been started"),
    ],
)
def test_mistakes_are_told_at_once(make, words):
    with pytest.raises(StackError, match=words):
        make()


@pytest.mark.parametrize(
    "wrong", [{"size": 65508}, {"count": 0}, {"timeout": 0}, {"ttl": 256}, {"ttl": 64.0}, {"interval": -1}]
)
def test_ping_refuses_what_cannot_be(clock, wrong):
    a, b = pair(clock)
    with a, b, pytest.raises(StackError):
        a.ping("10.0.0.2", **wrong)


def test_an_abandoned_stack_neither_runs_nor_lets_anybody_wait(clock):
    """What becomes of it in a forked child."""
    a, b = (stack.start() for stack in pair(clock))
    waiting = gevent.spawn(a.ping, "10.0.0.77", count=1, timeout=1000)
    clock.advance(0.1)
    turns = a.counters()["eth0"]["turns"]
    a.abandon()
    with pytest.raises(StackStopped):
        waiting.get(timeout=1)
    clock.advance(100)
    assert a.counters()["eth0"]["turns"] == turns
    lifetime.forget(a)
    b.close()
