"""How requests go down to a transport: at once, with the next round, or with the next other request."""

import gevent
import pytest

from pystack import transport
from pystack.runtime.clock import VirtualClock
from pystack.sockets.endpoints import LATEST, Endpoints
from pystack.sockets.way import Way


class Below:
    """A transport by its `Way`: ``batches`` are what it was asked."""

    def __init__(self, most_later=4):
        self.batches = []
        self.room = True
        self.way = Way(lambda batch, now: self.batches.append(batch), most_later)
        self.way.connect(lambda batch: self.way.take(batch, 0.0), lambda: self.room)


@pytest.fixture
def below():
    return Below()


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def endpoints(below, clock):
    return Endpoints(clock, {"tcp": below.way}, {})


def read(endpoints, size, socket=1):
    endpoints.post_later("tcp", transport.Consumed, socket, size)


def consumed(size, socket=1):
    return transport.Consumed(socket, size)


def test_what_can_wait_goes_before_the_next_request(endpoints, below):
    read(endpoints, 1)
    endpoints.flush()
    assert below.batches == []
    endpoints.post("tcp", transport.Close(1))
    endpoints.flush()
    assert below.batches == [[consumed(1), transport.Close(1)]]


def test_what_can_wait_goes_before_a_request_that_is_given(endpoints, below):
    read(endpoints, 1)
    endpoints.request("tcp", transport.Shutdown(1))
    assert below.batches == [[consumed(1), transport.Shutdown(1)]]


def test_what_can_wait_does_not_go_with_data(endpoints, below):
    """Or a round trip would do for a byte what can be done for many."""
    read(endpoints, 1)
    read(endpoints, 2, socket=2)
    endpoints.post_data("tcp", transport.Write(1, [b"x"]))
    endpoints.flush()
    assert below.batches.pop() == [transport.Write(1, [b"x"])]
    read(endpoints, 1)
    endpoints.post_data("tcp", transport.Write(1, [b"x"]))
    endpoints.post("tcp", transport.Shutdown(1))
    endpoints.flush()
    batch = [consumed(1 + 1), consumed(2, 2), transport.Write(1, [b"x"]), transport.Shutdown(1)]
    assert below.batches == [batch]


def test_many_that_can_wait_need_no_other(endpoints, below):
    for size in range(1, 6):
        read(endpoints, size)
    assert below.batches == [[consumed(1 + 2 + 3 + 4)]]


def test_what_can_wait_goes_by_itself_when_nothing_follows(endpoints, below, clock):
    read(endpoints, 1)
    clock.advance(LATEST / 2)
    read(endpoints, 2)
    assert below.batches == []
    clock.advance(LATEST / 2)
    assert below.batches == [[consumed(1 + 2)]]
    assert clock.run_while_pending(100) == clock.now()  # no alarm is left


def test_what_can_wait_does_not_where_little_is_much(clock):
    below = Below(most_later=0)
    endpoints = Endpoints(clock, {"tcp": below.way}, {})
    read(endpoints, 1)
    assert below.batches == [[consumed(1)]]


def test_nothing_that_waits_is_lost_while_the_stage_has_no_room(endpoints, below):
    below.room = False
    for size in range(1, 7):
        read(endpoints, size)
    endpoints.post("tcp", transport.Shutdown(1))
    endpoints.flush()
    gevent.sleep(0)
    assert below.batches == []
    below.room = True
    gevent.idle()
    assert below.batches == [[consumed(5 + 6), consumed(1 + 2 + 3 + 4), transport.Shutdown(1)]]
