"""The TCP header and its options: round trips, and agreement with dpkt."""

import dpkt
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import tcp, tcp_options

PORT = st.integers(0, 0xFFFF)
NUMBER = st.integers(0, 0xFFFFFFFF)


@given(PORT, PORT, NUMBER, NUMBER, st.integers(0, 0xFF), PORT, PORT, st.binary(max_size=40), st.binary(max_size=50))
def test_round_trip_and_dpkt(source, destination, seq, ack, flags, window, urgent, options, payload):
    options = options[: len(options) & ~3]
    header = tcp.build(source, destination, seq, ack, flags, window, urgent, options)
    whole = b"??" + bytes(header) + payload
    parsed = tcp.parse(whole, 2, len(whole))
    assert parsed == (source, destination, seq, ack, flags, window, urgent, 2 + 20 + len(options))
    other = dpkt.tcp.TCP(whole[2:])
    assert (other.sport, other.dport, other.seq, other.ack, other.flags) == (source, destination, seq, ack, flags)
    assert (other.win, other.urp, other.opts, other.data) == (window, urgent, options, payload)


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_not(data):
    parsed = tcp.parse(data, 0, len(data))
    assert parsed is None or 20 <= parsed[-1] <= len(data)
    tcp_options.parse(data, 0, len(data))


def test_an_offset_below_the_header_or_beyond_the_segment_is_refused():
    header = tcp.build(1, 2, 3, 4, tcp.ACK, 5)
    for words, good in ((0, False), (4, False), (5, True), (6, False), (15, False)):
        header[12] = words << 4
        assert (tcp.parse(header, 0, 20) is not None) == good


@given(
    st.integers(1, 0xFFFF),
    st.none() | st.integers(0, 14),
    st.booleans(),
    st.none() | st.tuples(NUMBER, NUMBER),
)
def test_the_options_of_a_syn_round_trip_and_dpkt_reads_them(mss, scale, sack, stamps):
    raw = tcp_options.syn(mss, scale, sack, stamps)
    options = tcp_options.parse(raw, 0, len(raw))
    assert (options.mss, options.window_scale, options.sack_permitted) == (mss, scale, sack)
    assert options.timestamp == stamps and len(raw) % 4 == 0 and len(raw) <= 40
    kinds = {kind for kind, _ in dpkt.tcp.parse_opts(raw) if kind not in (None, 0, 1)}
    assert kinds == {2} | ({3} if scale is not None else set()) | ({4} if sack else set()) | ({8} if stamps else set())


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=4))
def test_sack_blocks_round_trip(blocks):
    raw = tcp_options.sack(blocks)
    assert tcp_options.parse(raw, 0, len(raw)).sacks == tuple(blocks)


@given(NUMBER, NUMBER)
def test_timestamps_round_trip_in_both_forms(value, echo):
    raw = tcp_options.timestamp(value, echo)
    assert tcp_options.parse(raw, 0, 12).timestamp == (value, echo)
    assert tcp_options.parse(raw[2:] + b"\x00\x00", 0, 12).timestamp == (value, echo)


def test_what_linux_does_with_odd_options():
    """Unknown ones are skipped; a wrong length ends the list or makes the option void; a scale above 14 is 14."""
    for raw, attribute, value in (
        (b"\x03\x03\x0f\x00", "window_scale", 14),
        (b"\x03\x04\x07\x00", "window_scale", None),
        (b"\x04\x02", "sack_permitted", True),
        (b"\x08\x0a\x00\x00", "timestamp", None),
        (b"\x05\x0b" + bytes(9), "sacks", ()),
        (b"\x05\x02", "sacks", ()),
        (b"\xfe\x04xx\x04\x02", "sack_permitted", True),
    ):
        assert getattr(tcp_options.parse(raw, 0, len(raw)), attribute) == value, raw
