"""RFC 9293 SHLD-8: ECN as RFC 3168 has it. See docs/rfc9293.md."""

import pytest

from pystack.wire import tcp
from tests.support.tcp import SYN_OPTIONS, Conversation, letters, options

MSS = 1460
NOT_ECT, ECT_0, CE = 0, 2, 3
LARGE = options(mss=MSS, window_scale=7, sack_permitted=True)


def passive(flags="SEC", **how):
    """Half open by a SYN with these flags; the flags of the SYN, ACK."""
    made = Conversation(**how)
    made.connection.accept_syn(made.segment(flags, 0, opts=LARGE), made.now)
    return made, [each.flags for each in made.sent()]


def agreed(**how):
    """A connection that has agreed on ECN."""
    made, flags = passive(**how)
    assert flags == ["SAE"]
    made.arrives("A", 1, 1)
    return made


def fields(made):
    """(flags, ECN field of IP) of each packet of the last `sent`."""
    found = []
    for packet in made.packets:
        header = bytes(packet.header)
        found.append((letters(tcp.parse(header, 0, len(header))[4]), packet.tos & 3))
    return found


# -- agreement (RFC 3168 §6.1.1) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setting", "asks"), [(0, "S"), (1, "SEC"), (2, "S")])
def test_an_active_open_asks_if_it_is_told_to(setting, asks):
    """As Linux: tcp_ecn is 2, not to ask, but to agree."""
    made = Conversation(tcp_ecn=setting)
    assert [each.flags for each in made.does("connect")] == [asks]
    assert fields(made) == [(asks, NOT_ECT)]


@pytest.mark.parametrize(("answer", "agrees"), [("SAE", True), ("SA", False), ("SAEC", False)])
def test_an_active_open_takes_ece_alone_for_agreement(answer, agrees):
    made = Conversation(tcp_ecn=1)
    made.does("connect")
    made.arrives(answer, 0, 1, opts=options(**SYN_OPTIONS))
    made.write(b"x")
    assert fields(made) == [("PA", ECT_0 if agrees else NOT_ECT)]


@pytest.mark.parametrize(
    ("setting", "asked", "answer"),
    [(0, "SEC", "SA"), (1, "SEC", "SAE"), (2, "SEC", "SAE"), (2, "S", "SA"), (2, "SE", "SA"), (2, "SC", "SA")],
)
def test_a_passive_open_agrees_when_asked(setting, asked, answer):
    made, flags = passive(asked, tcp_ecn=setting)
    assert flags == [answer]
    assert fields(made) == [(answer, NOT_ECT)]  # RFC 3168 §6.1.1: no SYN, ACK is ECT
    made.arrives("A", 1, 1)
    made.write(b"x")
    assert fields(made) == [("PA", ECT_0 if answer == "SAE" else NOT_ECT)]


def test_it_is_not_asked_for_again_when_the_syn_is_lost():
    """RFC 3168 §6.1.1.1: something on the path may dislike it."""
    made = Conversation(tcp_ecn=1)
    made.does("connect")
    assert [sent.flags for _, sent in made.after(1.5)] == ["S"]
    made.arrives("SAE", 0, 1, opts=options(**SYN_OPTIONS))
    made.write(b"x")
    assert fields(made) == [("PA", NOT_ECT)]


def test_agreement_is_no_echo_of_congestion():
    """The ECE of a SYN, ACK reduces nothing, nor when both open at once."""
    for first in (None, "SEC"):
        made = Conversation(tcp_ecn=1)
        made.does("connect")
        if first is not None:
            made.arrives(first, 0, opts=options(**SYN_OPTIONS))
        made.arrives("SAE", 0, 1, opts=options(**SYN_OPTIONS))
        assert made.state == "ESTABLISHED" and made.connection.sender.congestion.ssthresh > 1 << 40
        made.write(b"x")
        assert fields(made) == [("PA", ECT_0)]


# -- the receiver (RFC 3168 §6.1.3) -----------------------------------------------------------------------------------


def test_ce_is_echoed_until_cwr():
    made = agreed()
    made.arrives("PA", 1, 1, b"x", ecn=ECT_0)
    assert fields(made) == [("A", NOT_ECT)]
    for number in range(2, 6):
        made.arrives("PA", number, 1, b"x", ecn=CE if number == 2 else ECT_0)
        assert fields(made) == [("AE", NOT_ECT)]
    made.write(b"answer")
    assert fields(made) == [("PAE", ECT_0)]
    made.arrives("PAC", 6, 7, b"x", ecn=ECT_0)
    assert fields(made) == [("A", NOT_ECT)]


def test_ce_with_cwr_is_a_new_mark():
    """RFC 3168 §6.1.3: the packet with CWR was marked itself."""
    made = agreed()
    made.arrives("PA", 1, 1, b"x", ecn=CE)
    made.arrives("PAC", 2, 1, b"x", ecn=CE)
    assert fields(made) == [("AE", NOT_ECT)]


def test_ce_means_nothing_without_agreement():
    made, _ = passive("S")
    made.arrives("A", 1, 1)
    made.arrives("PA", 1, 1, b"x", ecn=CE)
    assert fields(made) == [("A", NOT_ECT)]


# -- the sender (RFC 3168 §6.1.2) -------------------------------------------------------------------------------------


def test_an_echo_reduces_the_window_once_per_round_trip_and_is_answered_with_cwr():
    made = agreed()
    made.write(bytes(60 * MSS))
    control = made.connection.sender.congestion
    made.now += 0.1
    before, cwr = control.cwnd, 0
    for number in range(1, 11):  # all of the first flight is acknowledged with ECE
        made.arrives("AE", 1, 1 + number * MSS, window=0xFFFF)
        cwr += sum("C" in flags for flags, _ in fields(made))
    assert 0.65 * before < control.cwnd <= 0.75 * before  # beta of CUBIC, once
    assert cwr == 1 and made.connection.sender.total_retransmissions == 0
    made.arrives("AE", 1, made.connection.sender.snd_nxt - made.connection.sender.iss)
    assert control.ssthresh < 0.6 * before


def test_an_echo_means_nothing_without_agreement():
    made, _ = passive("S")
    made.arrives("A", 1, 1)
    made.write(bytes(10 * MSS))
    made.arrives("AE", 1, 1 + MSS, at=made.now + 0.1)
    assert made.connection.sender.congestion.ssthresh > 1 << 40


def test_only_new_text_is_ect():
    """RFC 3168 §6.1.4, §6.1.5, §6.1.6: no ACK, FIN, RST, retransmission or window probe is."""
    made = agreed()
    made.arrives("PA", 1, 1, b"x")
    assert fields(made) == [("A", NOT_ECT)]
    made.write(b"x")
    assert fields(made) == [("PA", ECT_0)]
    again = made.after(1.5)
    assert again and {ecn for _, ecn in fields(made)} == {NOT_ECT}
    made.arrives("A", 2, 2, window=0)
    made.write(b"y")
    assert [sent.length for _, sent in made.after(made.deadline())] == [0] and fields(made)[0][1] == NOT_ECT
    made.arrives("A", 2, 2, window=100)
    made.arrives("A", 2, 3, window=100)
    made.does("shutdown")
    assert fields(made) == [("FA", NOT_ECT)]
    made.does("abort")
    assert fields(made) == [("RA", NOT_ECT)]
