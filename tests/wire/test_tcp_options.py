"""TCP options that are not as they should be: every kind at every length, against two independent readers."""

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import tcp_options

# kind -> the lengths that Linux's tcp_parse_options takes
GOOD_LENGTHS = {
    tcp_options.MSS: {4},
    tcp_options.WINDOW_SCALE: {3},
    tcp_options.SACK_PERMITTED: {2},
    tcp_options.SACK: {10, 18, 26, 34},
    tcp_options.TIMESTAMP: {10},
}
NO_OPTIONS = (0, None, False, None, ())


def parsed(raw):
    """What the options in *raw*, with other bytes around them, say: (mss, scale, sack permitted, timestamp, sacks)."""
    options = tcp_options.parse(b"\x08\x0a" + raw + b"\x02\x04\x05\xb4", 2, 2 + len(raw))
    return options.mss, options.window_scale, options.sack_permitted, options.timestamp, options.sacks


def expected(options):
    """The same of (kind, data) pairs, each of which is there in full."""
    mss, scale, permitted, stamps, sacks = NO_OPTIONS
    for kind, data in options:
        if len(data) + 2 not in GOOD_LENGTHS.get(kind, ()):
            continue
        if kind == tcp_options.MSS:
            (mss,) = struct.unpack("!H", data)
        elif kind == tcp_options.WINDOW_SCALE:
            scale = min(data[0], 14)
        elif kind == tcp_options.SACK_PERMITTED:
            permitted = True
        elif kind == tcp_options.TIMESTAMP:
            stamps = struct.unpack("!II", data)
        else:
            sacks = tuple(struct.iter_unpack("!II", data))
    return mss, scale, permitted, stamps, sacks


@pytest.mark.parametrize("kind", sorted(GOOD_LENGTHS))
def test_an_option_counts_only_at_its_own_length_and_those_behind_it_count_still(kind):
    """RFC 9293 MUST-7: whatever the length says, the walk goes on behind it."""
    for length in range(2, 36):
        raw = bytes((kind, length)) + bytes(range(1, length - 1)) + b"\x01\xfd\x02"
        assert (parsed(raw) != NO_OPTIONS) == (length in GOOD_LENGTHS[kind]), length
        other = b"\x03\x03\x07" if kind != tcp_options.WINDOW_SCALE else b"\x02\x04\x05\xb4"
        assert parsed(raw + other) == expected([(kind, raw[2:length]), (other[0], other[2:])]), length


@pytest.mark.parametrize("kind", sorted(GOOD_LENGTHS) + [253])
def test_a_length_below_two_or_beyond_the_header_ends_the_list(kind):
    """What came before counts; what is behind, and the option itself, does not."""
    before, behind = b"\x03\x03\x07", b"\x04\x02"
    for length in (0, 1):
        assert parsed(before + bytes((kind, length)) + bytes(8) + behind) == (0, 7, False, None, ())
    for there in range(1, max(GOOD_LENGTHS.get(kind, {12}))):
        cut = bytes((kind, max(GOOD_LENGTHS.get(kind, {12})))) + bytes(40)
        assert parsed(before + cut[:there]) == (0, 7, False, None, ())


def test_nothing_behind_the_end_of_the_list_is_read():
    """RFC 9293 §3.1."""
    assert parsed(b"\x01\x00\x04\x02") == NO_OPTIONS


def test_the_last_of_two_options_of_a_kind_counts():
    """As on Linux, which simply goes on."""
    assert parsed(b"\x02\x04\x00\x01\x02\x04\x00\x02")[0] == 2
    assert parsed(b"\x03\x03\x01\x03\x03\x02")[1] == 2


def test_a_segment_without_options_costs_no_object_and_nobody_changes_the_shared_one():
    assert tcp_options.parse(b"", 0, 0) is tcp_options.NONE
    assert parsed(b"") == NO_OPTIONS
    for raw in (b"\x01", b"\x00", b"\x04\x02", tcp_options.timestamp(1, 2)):
        assert tcp_options.parse(raw, 0, len(raw)) is not tcp_options.NONE
    assert parsed(b"") == NO_OPTIONS


@pytest.mark.parametrize("head", [b"\x01\x01\x08\x0b", b"\x01\x01\x08\x09", b"\x01\x01\x05\x0a", b"\x01\x00\x08\x0a"])
def test_what_only_looks_like_the_aligned_timestamp_is_none(head):
    assert parsed(head + bytes(8))[3] is None


def test_the_short_way_needs_nothing_else_in_the_header():
    aligned = tcp_options.timestamp(7, 8)
    assert parsed(aligned + b"\x01\x01\x04\x02") == (0, None, True, (7, 8), ())
    assert parsed(aligned + tcp_options.sack([(1, 2)])) == (0, None, False, (7, 8), ((1, 2),))
    assert parsed(aligned[:-1]) == NO_OPTIONS


@pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
def test_any_buffer_will_do(buffer):
    raw = buffer(tcp_options.timestamp(7, 8) + tcp_options.sack([(1, 2), (3, 4), (5, 6)]))
    assert tcp_options.parse(raw, 0, 12).timestamp == (7, 8)
    assert tcp_options.parse(raw, 0, 40).sacks == ((1, 2), (3, 4), (5, 6))


@given(st.lists(st.tuples(st.sampled_from([2, 3, 4, 5, 8, 9, 30, 253, 255]), st.binary(max_size=34)), max_size=8))
def test_well_formed_lists_are_read_as_dpkt_reads_them(options):
    raw = b"".join(bytes((kind, len(data) + 2)) + data for kind, data in options)
    assert dpkt.tcp.parse_opts(raw) == options
    assert parsed(raw) == expected(options)


@given(st.lists(st.sampled_from([0, 1, 1, 2, 3, 4, 5, 6, 8, 10, 18, 255]), max_size=40).map(bytes))
def test_any_bytes_are_read_as_dpkt_reads_them_as_far_as_they_go(raw):
    """dpkt forgives a length that is too small or too large, and reads on behind the end: that is cut off for it."""
    taken, at = [], 0
    for kind, data in filter(None, dpkt.tcp.parse_opts(raw)):
        if kind == tcp_options.END:
            break
        if kind != tcp_options.NOP:
            if raw[at + 1] < 2 or at + raw[at + 1] > len(raw):
                break
            taken.append((kind, data))
            at += len(data) + 2
        else:
            at += 1
    assert parsed(raw) == expected(taken)


@pytest.mark.parametrize(
    ("fields", "raw"),
    [
        ((1460,), "020405b4"),
        ((1460, 7), "020405b401030307"),
        ((1460, None, True), "020405b401010402"),
        ((1460, 7, True), "020405b40101040201030307"),
        ((1460, 7, True, (1, 2)), "020405b40402080a000000010000000201030307"),
        ((1460, 7, False, (1, 2)), "020405b40101080a000000010000000201030307"),
    ],
)
def test_a_syn_looks_like_linuxs(fields, raw):
    """tcp_options_write: MSS, SACK-permitted in the timestamp's padding, timestamp, NOP, window scale."""
    assert tcp_options.syn(*fields).hex() == raw
