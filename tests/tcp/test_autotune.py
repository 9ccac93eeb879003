"""Dynamic right-sizing of the receive window."""

from math import inf

from pystack.tcp.autotune import Autotune


def make(mss=1000, window=65_536):
    return Autotune(1, mss, window, 0.0)


def test_the_first_text_gives_the_first_guess_of_the_round_trip():
    tune = make()
    assert tune.rtt == inf
    tune.received(1001, 64_536, 0.1)
    assert tune.rtt == 0.1


def test_a_windows_worth_gives_a_better_one_and_never_a_worse():
    tune = make()
    tune.received(1001, 10_000, 5.0)  # the peer had nothing to say for long
    tune.received(6001, 5000, 5.05)
    assert tune.rtt == 5.0
    tune.received(11_001, 10_000, 5.05)  # a window's worth may have been on its way already
    assert tune.rtt == 5.0
    tune.received(11_002, 10_000, 5.1)
    assert abs(tune.rtt - 0.1) < 1e-9
    tune.received(21_003, 10_000, 9.0)
    assert abs(tune.rtt - 0.1) < 1e-9


def test_text_with_the_handshake_says_nothing_of_the_round_trip():
    """As behind a SYN cookie; else all would be measured by a round trip of nothing."""
    tune = make()
    tune.received(1001, 64_536, 0.0)
    assert tune.rtt == inf
    tune.received(66_000, 60_000, 0.1)
    assert tune.rtt == 0.1


def test_a_measured_round_trip_is_followed_both_ways():
    tune = make()
    tune.measured(0.1)
    assert tune.rtt == 0.1
    for _ in range(50):
        tune.measured(0.2)
    assert 0.19 < tune.rtt <= 0.2


def test_the_window_grows_with_what_is_read_in_a_round_trip():
    tune = make()
    tune.measured(0.1)
    assert tune.consumed(20_000, 0.05) == 0
    wanted = tune.consumed(20_000, 0.11)
    assert wanted >= 2 * 40_000 + 16_000
    assert tune.space == 40_000


def test_a_slow_reader_gets_no_larger_window():
    tune = make()
    tune.measured(0.1)
    for step in range(1, 100):
        assert tune.consumed(500, step * 0.1) == 0


def test_nothing_grows_while_the_round_trip_is_unknown():
    tune = make()
    assert tune.consumed(1 << 20, 10.0) == 0
