"""RFC 9293 §3.8.4: keepalive. See docs/rfc9293.md."""

import pytest

from pystack import transport
from pystack.config import TcpConfig
from pystack.tcp.settings import Settings
from tests.support.tcp import Sent, established, half_open, in_state

PROBE = Sent("A", 0, 1, 0)
HOURS = 3600.0


def kept(**settings):
    """A connection with keepalive: probes after 100 s, then every 10 s, nine of them."""
    return established(
        settings=Settings(**{"keepalive": True, "keepalive_idle": 100.0, "keepalive_interval": 10.0, **settings})
    )


def test_it_is_off_unless_the_program_asks_for_it():
    """MUST-24, MUST-25: SO_KEEPALIVE; before the connection stands, or at any time after."""
    made = established()
    assert made.deadline() is None and made.after(100 * HOURS) == []
    made.does("set_option", "keepalive", True)
    assert made.deadline() is not None
    made.does("set_option", "keepalive", False)
    assert made.deadline() is None


def test_it_is_after_two_hours_by_default():
    """MUST-28; MAY-5."""
    assert Settings.from_config(TcpConfig()).keepalive_idle == Settings().keepalive_idle == 2 * HOURS
    made = established(settings=Settings(keepalive=True))
    assert made.after(2 * HOURS - 1) == []
    assert made.after(2) == [(1.0, PROBE)]


@pytest.mark.parametrize("idle", [1.0, 100.0, 30_000.0])
def test_the_interval_can_be_set(idle):
    """MUST-27: TCP_KEEPIDLE; tcp_keepalive_time for all."""
    made = kept(keepalive_idle=idle)
    assert made.after(idle) == [(idle, PROBE)]
    made = established(settings=Settings.from_config(TcpConfig(tcp_keepalive_time=int(idle))))
    made.does("set_option", "keepalive", True)
    assert made.deadline() == idle


def test_a_probe_has_an_old_number_and_no_text():
    """SHLD-12; not MAY-6: no garbage octet, as Linux."""
    made = kept()
    assert made.after(100) == [(100.0, PROBE)]


def test_whatever_comes_from_the_peer_puts_it_off():
    """MUST-26: text or ACK within the interval."""
    made = kept()
    for each in range(5):
        assert made.after(99) == []
        made.arrives("PA", 1 + each, 1, b"x")
    for _ in range(5):
        made.after(99)
        assert made.arrives("A", 6, 1) == []
    assert [at for at, _ in made.after(101)] == [100.0]


def test_what_we_send_and_the_peer_acknowledges_puts_it_off():
    """MUST-26."""
    made = kept()
    made.after(90)
    made.write(b"x")
    made.arrives("A", 1, 2)
    assert made.after(99) == []


def test_there_is_none_while_data_is_outstanding():
    """MUST-26: the retransmissions ask the peer well enough."""
    made = kept()
    made.write(b"x")
    assert {sent.flags for _, sent in made.after(500)} == {"PA"}


def test_there_is_none_while_a_closed_window_is_probed():
    """MUST-26: the same for window probes, which look alike, and come sooner."""
    made = established(window=0, settings=Settings(keepalive=True, keepalive_idle=100.0, keepalive_count=1))
    made.write(b"x")
    for _ in range(100):
        made.after(made.deadline())
        made.arrives("A", 1, 1, window=0)
    assert made.counts["KeepAlive"] == 0 and made.state == "ESTABLISHED"


def test_a_lost_answer_is_no_reason_to_give_up():
    """MUST-29: any answer, also to the last probe, is enough."""
    made = kept()
    for _ in range(3):
        assert len(made.after(100 + 8 * 10)) == 9
        made.arrives("A", 1, 1)
    assert made.state == "ESTABLISHED" and made.events() == []


def test_a_peer_that_never_answers_is_given_up():
    """As Linux: after nine probes (TCP_KEEPCNT), with a reset in case that it hears nothing but us."""
    made = kept()
    sent = made.after(1000)
    assert [at for at, each in sent if each == PROBE] == [100.0 + 10 * each for each in range(9)]
    assert sent[-1] == (190.0, Sent("RA", 1, 1, 0)) and len(sent) == 10
    assert made.state == "CLOSED" and made.events() == [transport.Failed(1, "timed_out")]


def test_a_peer_that_has_forgotten_ends_it_by_its_reset():
    """RFC 9293 §3.8.4: that is what the probe is for."""
    made = kept()
    made.after(100)
    made.arrives("R", 1)
    assert made.events() == [transport.Failed(1, "reset")]


@pytest.mark.parametrize("state", ["CLOSE-WAIT", "FIN-WAIT-2"])
def test_a_half_closed_connection_is_kept_too(state):
    made = in_state(state, settings=Settings(keepalive=True, keepalive_idle=100.0))
    assert [sent.flags for _, sent in made.after(101)] == ["A"]


def test_a_connection_that_does_not_stand_yet_has_none():
    made = half_open(settings=Settings(keepalive=True, keepalive_idle=0.5))
    assert {sent.flags for _, sent in made.after(5)} == {"SA"}
    made.arrives("A", 1, 1)
    assert made.after(0.6) == [(0.5, PROBE)]
