from random import Random

from pystack.tcp.isn import TICKS, InitialSequence

KEY = bytes(range(12))


def test_it_grows_with_the_clock():
    """RFC 9293 MUST-8: every 4 us by one, around in 4.77 hours."""
    sequence = InitialSequence(Random(1))
    first = sequence.number(KEY, 100.0)
    assert sequence.number(KEY, 101.0) - first in (TICKS, TICKS - 2**32)
    assert abs(2**32 / TICKS / 3600 - 4.77) < 0.01


def test_it_differs_by_endpoints_and_by_secret():
    """RFC 6528 §3, MUST-9: who does not know the secret cannot tell one from another."""
    sequence = InitialSequence(Random(1))
    numbers = {sequence.number(KEY[:10] + port.to_bytes(2, "big"), 0.0) for port in range(1000)}
    assert len(numbers) == 1000
    assert InitialSequence(Random(2)).number(KEY, 0.0) != sequence.number(KEY, 0.0)


def test_timestamps_of_two_hosts_have_one_offset():
    """So that RFC 6191 can compare those of two connections."""
    sequence = InitialSequence(Random(1))
    assert sequence.timestamp_offset(b"aaaa", b"bbbb") == sequence.timestamp_offset(b"aaaa", b"bbbb")
    assert sequence.timestamp_offset(b"aaaa", b"bbbb") != sequence.timestamp_offset(b"aaaa", b"cccc")
