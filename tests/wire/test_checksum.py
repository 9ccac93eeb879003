"""The Internet checksum against RFC 1071's own definition, and dpkt."""

import dpkt
from hypothesis import example, given
from hypothesis import strategies as st

from pystack.wire import checksum

ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


def reference(data):
    """RFC 1071 §4.1, word by word."""
    data += bytes(len(data) & 1)
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_example_of_rfc_1071():
    """§3: the words 0001 f203 f4f5 f6f7 sum to ddf2."""
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert checksum.partial(data) == 0xDDF2
    assert checksum.checksum(data) == 0x220D


@given(st.binary(max_size=3000))
@example(b"")
@example(bytes(20))
@example(b"\xff\xff")
@example(b"\xff\xff\x00\x00\xff\xff")
@example(b"\xff\xfe\x00\x01")
@example(b"\x01")
def test_agrees_with_the_definition_and_dpkt(data):
    assert checksum.checksum(data) == reference(data) == dpkt.dpkt.in_cksum(data)
    assert checksum.checksum(memoryview(data)) == checksum.checksum(bytearray(data)) == reference(data)
    assert checksum.partial(data) == (reference(data) ^ 0xFFFF) % 0xFFFF


@given(st.binary(min_size=2, max_size=200), st.integers(0, 15))
def test_what_is_stored_is_valid_and_any_flipped_bit_is_not(data, bit):
    data = bytearray(data)
    data[0:2] = bytes(2)
    data[0:2] = checksum.checksum(data).to_bytes(2, "big")
    assert checksum.valid(data)
    data[0 if bit < 8 else len(data) - 1] ^= 1 << bit % 8
    # One flip changes the sum by less than 0xffff, so it cannot hide.
    assert not checksum.valid(data)


@given(st.integers(0, 40))
def test_zeros_throughout_are_not_valid(size):
    """Their sum is 0, not 0xffff: a cleared packet must not pass (Linux: csum_fold(0) is 0xffff)."""
    assert not checksum.valid(bytes(size))
    assert checksum.valid(b"\xff\xff" + bytes(size))


@given(ADDRESS, st.data(), st.integers(0, 255), st.binary(min_size=8, max_size=300))
def test_pseudo_header(source, data, protocol, segment):
    """RFC 9293 §3.1, RFC 8200 §8.1."""
    destination = data.draw(st.binary(min_size=len(source), max_size=len(source)))
    covered = source + destination + len(segment).to_bytes(4, "big") + bytes(3) + bytes([protocol]) + segment
    start = checksum.pseudo_header(source, destination, protocol, len(segment))
    if any(segment):
        assert checksum.checksum(segment, start) == reference(covered)
    assert 0 <= start < 0xFFFF


@given(
    st.lists(st.binary(max_size=50).map(lambda part: part + bytes(len(part) & 1)), max_size=6), st.binary(max_size=9)
)
def test_partial_sums_add(parts, last):
    whole = b"".join(parts) + last
    start = sum(map(checksum.partial, parts))
    assert (start + checksum.partial(last)) % 0xFFFF == checksum.partial(whole)
    if any(last):
        assert checksum.checksum(last, start) == reference(whole)
