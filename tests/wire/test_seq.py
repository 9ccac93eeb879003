from hypothesis import given
from hypothesis import strategies as st

from pystack.wire.seq import MASK, extend

NEAR = st.integers(0, 1 << 70)


@given(NEAR, st.integers(-(2**31), 2**31 - 1))
def test_what_is_within_half_the_space_is_found_again(near, distance):
    """RFC 9293 §3.4, across 2^32."""
    assert extend((near + distance) & MASK, near) == near + distance


@given(NEAR, st.integers(0, MASK))
def test_the_number_is_the_nearest_that_the_wire_allows(near, wire):
    found = extend(wire, near)
    assert found & MASK == wire and -(2**31) <= found - near < 2**31


def test_around_zero_and_2_to_the_32():
    assert extend(1, MASK) == MASK + 2
    assert extend(MASK, MASK + 1) == MASK
    assert extend(MASK, 0) == -1
