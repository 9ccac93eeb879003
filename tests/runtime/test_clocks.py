"""Both clocks; what is said of alarms holds for both, of the monotonic one without waiting."""

import time

import gevent
import gevent.event
import pytest

from pystack.deadlines import NEVER
from pystack.runtime.clock import MonotonicClock, VirtualClock


def recorder(clock):
    """(log, alarm): the alarm logs the times at which it fires."""
    log = []
    return log, clock.alarm(lambda: log.append(clock.now()))


def test_alarms_fire_in_order_and_at_their_time():
    clock, log = VirtualClock(10.0), []
    for name, at in (("b", 12.0), ("a", 11.0), ("c", 12.0)):
        clock.alarm(lambda name=name: log.append((name, clock.now()))).set(at)
    clock.run_until(11.5)
    assert log == [("a", 11.0)] and clock.now() == 11.5
    clock.advance(1.0)
    assert log == [("a", 11.0), ("b", 12.0), ("c", 12.0)] and clock.now() == 12.5


def test_an_alarm_moves_earlier_and_later_and_fires_once():
    clock = VirtualClock()
    log, alarm = recorder(clock)
    alarm.set(5.0)
    alarm.set(2.0)
    alarm.set(3.0)
    assert alarm.at == 3.0
    clock.run_until(10.0)
    assert log == [3.0] and alarm.at == NEVER


def test_a_cancelled_alarm_is_silent_and_can_be_set_again():
    clock = VirtualClock()
    log, alarm = recorder(clock)
    alarm.set(5.0)
    alarm.cancel()
    alarm.cancel()
    clock.run_until(4.0)
    alarm.set(5.0)
    clock.run_until(10.0)
    assert log == [5.0]


def test_an_alarm_in_the_past_fires_now():
    clock = VirtualClock(7.0)
    log, alarm = recorder(clock)
    alarm.set(1.0)
    clock.advance(0.0)
    assert log == [7.0]


def test_a_callback_runs_in_the_hub_and_its_exception_is_the_tests():
    clock, where = VirtualClock(), []
    clock.alarm(lambda: where.append(gevent.getcurrent())).set(1.0)
    clock.alarm(lambda: 1 // 0).set(2.0)
    clock.advance(1.0)
    assert where == [gevent.get_hub()]
    with pytest.raises(ZeroDivisionError):
        clock.advance(1.0)


def test_greenlets_settle_between_two_alarms():
    clock, log = VirtualClock(), []

    def long_work():
        for _ in range(1000):
            gevent.sleep(0)
        log.append(("worked", clock.now()))

    clock.alarm(lambda: gevent.spawn(long_work)).set(1.0)
    clock.alarm(lambda: log.append(("second", clock.now()))).set(1.5)
    clock.run_until(2.0)
    assert log == [("worked", 1.0), ("second", 1.5)]


def test_run_while_pending_stops_when_nothing_is_set_or_at_the_limit():
    clock = VirtualClock()
    log, alarm = recorder(clock)
    assert clock.run_while_pending(100.0) == 0.0
    alarm.set(3.0)
    assert clock.run_while_pending(100.0) == 3.0 and log == [3.0]
    alarm.set(500.0)
    assert clock.run_while_pending(100.0) == 103.0 and log == [3.0]
    alarm.cancel()
    assert clock.run_while_pending(100.0) == 103.0


def test_time_that_stands_still_is_reported():
    clock = VirtualClock()
    alarm = clock.alarm(lambda: alarm.set(1.0))
    alarm.set(1.0)
    with pytest.raises(RuntimeError, match="always another alarm"):
        clock.run_until(2.0)


def test_an_hour_of_periodic_alarms_passes():
    clock, fired = VirtualClock(), []

    def tick():
        fired.append(clock.now())
        alarm.set(clock.now() + 1.0)

    alarm = clock.alarm(tick)
    alarm.set(1.0)
    clock.run_until(3600.0)
    assert fired == [float(second) for second in range(1, 3601)]


def test_the_monotonic_clock_is_the_system_s():
    clock = MonotonicClock()
    before = time.monotonic()
    assert before <= clock.now() <= time.monotonic()


def test_a_monotonic_alarm_in_the_past_fires_in_the_next_turn_of_the_hub():
    clock, log = MonotonicClock(), []
    fired = gevent.event.Event()

    def callback():
        log.append(gevent.getcurrent())
        fired.set()

    alarm = clock.alarm(callback)
    alarm.set(clock.now() + 3600.0)
    assert NEVER > alarm.at > clock.now()
    alarm.set(clock.now() - 1.0)
    fired.wait()
    assert log == [gevent.get_hub()] and alarm.at == NEVER
    gevent.idle()
    assert len(log) == 1


def test_a_cancelled_monotonic_alarm_is_silent():
    clock = MonotonicClock()
    log, alarm = recorder(clock)
    alarm.cancel()
    alarm.set(clock.now())
    alarm.cancel()
    gevent.idle()
    assert log == [] and alarm.at == NEVER


def test_a_monotonic_alarm_can_be_set_from_its_own_callback():
    clock, times = MonotonicClock(), []
    done = gevent.event.Event()

    def callback():
        times.append(clock.now())
        if len(times) < 3:
            alarm.set(clock.now())
        else:
            done.set()

    alarm = clock.alarm(callback)
    alarm.set(clock.now())
    done.wait()
    assert len(times) == 3 and times == sorted(times)
