"""RFC 9293 §3.2, §3.7.1: TCP options and the size of segments. See docs/rfc9293.md."""

import dpkt
import pytest

from pystack.config import TcpConfig
from pystack.tcp.settings import Settings
from pystack.tcp.terms import Terms
from pystack.wire import tcp, tcp_options
from tests.support.segments import answers, options_of, segment
from tests.support.tcp import SYN_OPTIONS, Sent, established, half_open, opening, options
from tests.tcp.test_layer import Server

MSS = 1460
UNKNOWN = b"\xfd\x04ab"  # an experiment's (RFC 4727)


def largest(made, sent):
    """Bytes of the largest segment on the wire of what was just sent."""
    return max(packet.gso_size or each.length for packet, each in zip(made.packets, sent, strict=True))


# -- every option, in every segment -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "mss"),
    [
        (b"\x02\x04\x05\xb4", 1460),
        (b"\x01\x02\x04\x05\xb4\x01\x01\x00", 1460),  # not aligned
        (b"\x01\x01\x01\x02\x04\x05\xb4\x00", 1460),
        (UNKNOWN + b"\x02\x04\x05\xb4", 1460),  # an unknown one before it
        (b"\x02\x00\x05\xb4", 0),  # illegal lengths
        (b"\x02\x01\x05\xb4", 0),
        (b"\x02\x03\x05\xb4", 0),
        (b"\x02\x28\x05\xb4", 0),
        (b"\xfd\x00\x02\x04\x05\xb4\x01\x01", 0),
        (b"\x01\x01\x01\x02", 0),
        (b"\x00\x02\x04\x05\xb4\x01\x01\x01", 0),  # behind the end of the list
    ],
)
def test_a_syn_with_any_options_is_answered(raw, mss):
    """MUST-4, MUST-6, MUST-7, MUST-64, MUST-68: an unknown option is passed over by its length, wherever the known one
    begins; an illegal length ends the list, as on Linux, and resets nothing."""
    server = Server()
    (answer,) = server.says("S", 100, options=raw)
    assert (answer.flags, answer.ack) == ("SA", 101)
    (connection,) = server.core.flows.values()
    assert connection.terms.peer_mss == (mss or 536)


@pytest.mark.parametrize("raw", [UNKNOWN, b"\x01\x01\x01\x01", b"\x02\x04\x00\x10", b"\xfd\x00ab", b"\x00\xff\xff\xff"])
def test_options_are_taken_in_any_segment(raw):
    """MUST-5: text, ACK, FIN and RST count whatever options they have; an MSS that is on no SYN means nothing."""
    server = Server()
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    assert server.says("PA", nxt, ack, b"text", options=raw)[0].ack == nxt + 4
    assert server.program.received[socket] == b"text"
    server.program.send(socket, bytes(500), end=False)
    server.network.settle()
    assert [each.length for each in answers(server.sees())] == [500]
    server.says("A", nxt + 4, ack + 500, options=raw)
    (connection,) = server.core.flows.values()
    assert connection.sender.snd_una == connection.sender.snd_nxt
    assert server.says("FA", nxt + 4, ack + 500, options=raw)[0].ack == nxt + 5
    server.says("R", nxt + 5, options=raw)
    assert server.core.held()["connections"] == 0


def test_what_is_sent_has_options_that_anybody_can_read():
    """MUST-68, MUST-69: each but NOP has a length; the header is a multiple of four bytes by NOPs before the options,
    as Linux's, so there is no padding that would have to be zero."""
    for made in (
        tcp_options.syn(1460, 7, True, (1, 2)),
        tcp_options.syn(1460, 7, True, None),
        tcp_options.syn(1460, 7, False, (1, 2)),
        tcp_options.syn(1460, None, True, None),
        tcp_options.syn(1460, 7, False, None),
        tcp_options.syn(1460, None, False, None),
        tcp_options.timestamp(1, 2),
        *(tcp_options.sack([(1, 2)] * count) for count in range(1, 5)),
        tcp_options.timestamp(1, 2) + tcp_options.sack([(1, 2)] * 3),
    ):
        assert len(made) % 4 == 0 and len(made) <= 40
        header = tcp.build(1, 2, 3, 4, tcp.ACK, 0, 0, made)
        assert header[12] >> 4 == 5 + len(made) // 4
        read = dpkt.tcp.parse_opts(made)
        assert dpkt.tcp.TCP_OPT_EOL not in [kind for kind, _ in read] and None not in read
        assert sum(2 + len(data) if kind != dpkt.tcp.TCP_OPT_NOP else 1 for kind, data in read) == len(made)


# -- MSS --------------------------------------------------------------------------------------------------------------


def test_the_mss_option_is_on_every_syn():
    """MUST-14, SHLD-5, MAY-3: of an active and a passive open, whatever its value."""
    for mss in (1400, 536):
        for made in (opening(mss=mss), half_open(mss=mss)):
            assert made.options_sent().mss == mss


def test_the_mss_option_is_on_the_syn_ack_of_a_cookie():
    """MUST-14."""
    server = Server(tcp_syncookies=2)
    packets = server.sends(segment("S", 100, options=tcp_options.syn(1460)))
    assert options_of(packets[0]).mss == 1460


def test_the_mss_option_is_on_no_other_segment():
    """MUST-65: text, and again, ACK, FIN, RST, keepalive."""
    made = established(settings=Settings(keepalive=True, keepalive_idle=50.0, keepalive_interval=1.0))
    seen = set()
    for happens in (
        lambda: made.write(b"x"),
        lambda: [sent for _, sent in made.after(0.3)],
        lambda: made.arrives("PA", 1, 2, b"y"),
        lambda: [sent for _, sent in made.after(50.5)],
        lambda: made.does("shutdown"),
        lambda: made.does("abort"),
    ):
        seen.update(each.flags for each in happens())
        assert made.options_sent().mss == 0
    assert seen == {"PA", "A", "FA", "RA"}


def test_the_mss_that_is_said_is_what_can_be_received():
    """MUST-67: the interface's MTU less the fixed headers, whatever options segments have (RFC 6691)."""
    for timestamps in (False, True):
        made = opening(mss=8960, tcp_timestamps=timestamps)
        assert made.options_sent().mss == 8960
    server = Server(listen=False)
    server.program.connect(bytes((10, 0, 0, 1)), 99)
    server.network.settle()
    assert options_of(server.sees()[0]).mss == 1500 - 40


@pytest.mark.parametrize(("address_length", "mss"), [(4, 536), (16, 1220)])
def test_without_an_mss_option_the_default_is_taken(address_length, mss):
    """MUST-15."""
    terms = Terms(TcpConfig(tcp_timestamps=False), Settings(), 1460, 0)
    terms.settle(tcp_options.NONE, address_length)
    assert terms.mss() == mss


def test_segments_are_no_larger_than_the_default_without_an_mss_option():
    """MUST-15, MUST-16."""
    made = established(options())
    assert largest(made, made.write(bytes(2000))) == 536


@pytest.mark.parametrize(
    ("path", "peer", "own", "size"),
    [
        (1460, 1000, 0, 1000),  # the peer's
        (1000, 1460, 0, 1000),  # the path's
        (1460, 1460, 900, 900),  # the program's (TCP_MAXSEG)
        (8960, 65_535, 0, 8960),
        (1460, 10, 0, 48),  # not less than tcp_min_snd_mss, as Linux since CVE-2019-11479
    ],
)
def test_a_segment_is_no_larger_than_path_peer_and_program_allow(path, peer, own, size):
    """MUST-16: Eff.snd.MSS."""
    made = established(options(mss=peer), mss=path, settings=Settings(maximum_segment_size=own))
    assert largest(made, made.write(bytes(20_000))) == size


def test_the_options_of_a_segment_are_room_that_its_text_has_not():
    """MUST-16: less the timestamp option on every segment; a SACK option goes by itself."""
    made = established(options(**SYN_OPTIONS, timestamp=(1, 0)), tcp_timestamps=True)
    assert largest(made, made.write(bytes(5 * MSS))) == MSS - 12
    made = established()
    made.arrives("PA", 100, 1, b"beyond a hole")
    made.arrives("PA", 200, 1, b"beyond a hole")
    for packet in made.packets:
        assert len(packet.header) + sum(map(len, packet.payload)) <= 20 + MSS


def test_the_size_of_segments_follows_the_path():
    """SHLD-6: less when the path's MTU falls (RFC 1191); what is in flight is cut anew and sent again."""
    made = established(options(**SYN_OPTIONS, timestamp=(1, 0)), tcp_timestamps=True)
    assert largest(made, made.write(bytes(5 * MSS))) == MSS - 12
    sent = made.does("unreachable", "packet_too_big", 1280)
    assert sum(each.length for each in sent) == 5 * MSS and largest(made, sent) == 1240 - 12
    made = opening()
    assert made.does("unreachable", "packet_too_big", 1280) == []
    assert [sent for _, sent in made.after(1.5)] == [Sent("S", 0, 0, 0)]
    made.arrives("SA", 0, 1, opts=options(**SYN_OPTIONS))
    assert largest(made, made.write(bytes(5000))) == 1240


def test_a_smaller_path_is_no_sign_of_congestion():
    """RFC 1191 §6.4, Linux's tcp_simple_retransmit."""
    made = established()
    made.write(bytes(5 * MSS))
    before = made.connection.sender.congestion.cwnd
    made.does("unreachable", "packet_too_big", 1000)
    assert made.connection.sender.congestion.cwnd >= before - MSS
    assert "PmtuChanged" in [type(each).__name__ for each in made.connection.controls]
