"""RFC 9293 MAY-12: what RFC 5961 has against who guesses; test_hostile.py tries it at length. See docs/rfc9293.md."""

import pytest

from pystack import transport
from tests.support.tcp import SYN_OPTIONS, Sent, established, options

NOW = Sent("A", 1, 1, 0)


@pytest.mark.parametrize("seq", [2, 1000, 60_000])
def test_a_reset_within_the_window_is_challenged(seq):
    """RFC 5961 §3.2."""
    made = established()
    assert made.arrives("R", seq) == [NOW] and made.state == "ESTABLISHED"


@pytest.mark.parametrize("seq", [-1000, 0, 70_000])
def test_a_reset_outside_the_window_is_dropped_in_silence(seq):
    """RFC 5961 §3.2."""
    made = established()
    assert made.arrives("R", seq) == [] and made.state == "ESTABLISHED"


def test_a_reset_with_the_very_next_number_counts():
    """RFC 5961 §3.2."""
    made = established()
    assert made.arrives("R", 1) == [] and made.events() == [transport.Failed(1, "reset")]


@pytest.mark.parametrize("seq", [-1000, 0, 1, 1000, 70_000])
@pytest.mark.parametrize("flags", ["S", "SA"])
def test_a_syn_is_challenged_whatever_its_number(flags, seq):
    """RFC 5961 §4.2: a peer that has begun anew answers the challenge with a reset of the very next number."""
    made = established()
    assert made.arrives(flags, seq, 1, opts=options(**SYN_OPTIONS)) == [NOW] and made.state == "ESTABLISHED"
    made.arrives("R", 1)
    assert made.state == "CLOSED"


@pytest.mark.parametrize(("ack", "taken"), [(-65_534, True), (-65_535, False), (1, True), (2, False), (100_000, False)])
def test_text_counts_only_with_an_ack_that_can_be(ack, taken):
    """RFC 5961 §5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT."""
    made = established(window=65_535)
    assert made.arrives("PA", 1, ack, b"injected?") == ([Sent("A", 1, 10, 0)] if taken else [NOW])
    assert made.received() == (b"injected?" if taken else b"")


def test_challenges_are_limited():
    """RFC 5961 §7: on a connection, and for all of them."""
    made = established()
    assert made.arrives("R", 100) == [NOW]
    assert made.arrives("R", 100) == [] and made.state == "ESTABLISHED"
    assert made.arrives("R", 100, at=made.now + 1) == [NOW]
    made = established(tcp_challenge_ack_limit=0)
    assert made.arrives("R", 100) == [] and made.state == "ESTABLISHED"
