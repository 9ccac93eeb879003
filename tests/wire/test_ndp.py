"""Neighbour Discovery's messages: round trips, known bytes, and what must be ignored (RFC 4861 §4 to §8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import ndp

MAC = st.none() | st.binary(min_size=6, max_size=6)
ADDRESS = st.binary(min_size=15, max_size=15).map(lambda rest: b"\x20" + rest)
U32 = st.integers(0, 0xFFFFFFFF)
LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,60}[a-z0-9_])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PREFERENCE = st.sampled_from((ndp.HIGH, ndp.MEDIUM, ndp.LOW))


def masked(prefix, length):
    shift = 128 - length
    return (int.from_bytes(prefix, "big") >> shift << shift).to_bytes(16, "big")


PREFIX = st.builds(
    lambda address, length, *rest: ndp.Prefix(masked(address, length), length, *rest),
    ADDRESS,
    st.integers(0, 128),
    st.booleans(),
    st.booleans(),
    U32,
    U32,
)
ROUTE = st.builds(
    lambda address, length, *rest: ndp.RouteInformation(masked(address, length), length, *rest),
    ADDRESS,
    st.integers(0, 128),
    PREFERENCE,
    U32,
)
MESSAGE = st.one_of(
    st.builds(ndp.RouterSolicitation, MAC),
    st.builds(
        ndp.RouterAdvertisement,
        hop_limit=st.integers(0, 255),
        managed=st.booleans(),
        other=st.booleans(),
        preference=PREFERENCE,
        lifetime=st.integers(0, 65535),
        reachable=st.integers(0, 100).map(float),
        retransmit=st.integers(0, 100).map(float),
        link_address=MAC,
        mtu=st.none() | U32,
        prefixes=st.lists(PREFIX, max_size=3).map(tuple),
        routes=st.lists(ROUTE, max_size=3).map(tuple),
        resolvers=st.lists(st.tuples(U32, st.lists(ADDRESS, min_size=1, max_size=3).map(tuple)), max_size=2).map(tuple),
        search=st.lists(st.tuples(U32, st.lists(NAME, min_size=1, max_size=3).map(tuple)), max_size=2).map(tuple),
    ),
    st.builds(ndp.NeighborSolicitation, ADDRESS, MAC, st.none() | st.binary(min_size=6, max_size=6)),
    st.builds(ndp.NeighborAdvertisement, ADDRESS, st.booleans(), st.booleans(), st.booleans(), MAC),
    st.builds(ndp.Redirect, ADDRESS, ADDRESS, MAC),
)


@given(MESSAGE, st.binary(max_size=3))
def test_what_is_built_is_read(message, before):
    data = before + bytes(ndp.build(message))
    assert ndp.parse(data, len(before), len(data)) == message


@given(MESSAGE, st.data())
def test_a_message_that_is_cut_is_none_or_has_fewer_options(message, data):
    built = bytes(ndp.build(message))
    end = data.draw(st.integers(0, len(built) - 1))
    read = ndp.parse(built, 0, end)
    assert read is None or type(read) is type(message)


@given(st.binary(max_size=200), st.integers(133, 137))
def test_garbage_is_none_or_a_message(data, kind):
    ndp.parse(bytes((kind, 0)) + data, 0, len(data) + 2)


def test_a_solicitation_as_the_rfc_draws_it():
    """RFC 4861 §4.3, §4.6.1."""
    target, mac = bytes.fromhex("fd7700000000000000000000000000 02".replace(" ", "")), bytes.fromhex("020000000001")
    built = ndp.build(ndp.NeighborSolicitation(target, mac))
    assert built.hex() == "8700" + "0000" + "00000000" + target.hex() + "0101" + mac.hex()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("87000000 00000000" + "ff" * 16, id="a multicast target"),
        pytest.param("87010000 00000000" + "20" * 16, id="a code"),
        pytest.param("87000000 00000000" + "20" * 15, id="too short"),
        pytest.param("87000000 00000000" + "20" * 16 + "0100 000000000000", id="an option of length 0"),
        pytest.param("87000000 00000000" + "20" * 16 + "0102 000000000000", id="an option beyond the end"),
        pytest.param("87000000 00000000" + "20" * 16 + "01", id="half an option"),
        pytest.param("89000000 00000000" + "20" * 16 + "ff" * 16, id="a redirect of a group"),
        pytest.param("88000000 e0000000" + "ff" * 16, id="an advertisement of a group"),
    ],
)
def test_what_must_be_ignored(message):
    data = bytes.fromhex(message)
    assert ndp.parse(data, 0, len(data)) is None


def test_an_unknown_option_is_skipped():
    """RFC 4861 §4.6."""
    data = bytes(ndp.build(ndp.RouterSolicitation())) + bytes((200, 1)) + bytes(6)
    assert ndp.parse(data, 0, len(data)) == ndp.RouterSolicitation()


def test_a_reserved_preference_is_medium_of_a_router_and_ends_a_route():
    """RFC 4191 §2.2, §2.3."""
    route = ndp.RouteInformation(bytes(16), 0, -2, 10)  # bits 10
    data = ndp.build(ndp.RouterAdvertisement(preference=-2, routes=(route,)))
    read = ndp.parse(data, 0, len(data))
    assert read.preference == ndp.MEDIUM and read.routes == ()
