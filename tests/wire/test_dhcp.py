"""DHCP messages: round trips, a second opinion, and what is broken (RFC 2131, 2132, 3396, 3397, 3442)."""

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import dhcp, ndp

MAC = bytes.fromhex("020000000001")
ADDRESS = st.binary(min_size=4, max_size=4)
NUMBERS = st.integers(1, 254).filter(lambda number: number not in (dhcp.OVERLOAD, dhcp.MESSAGE_TYPE))
MESSAGES = st.builds(
    dhcp.Message,
    st.integers(1, 8),
    st.integers(0, 0xFFFFFFFF),
    st.binary(min_size=6, max_size=6),
    st.integers(0, 0xFFFF),
    st.booleans(),
    ADDRESS,
    ADDRESS,
    st.dictionaries(NUMBERS, st.binary(max_size=600), max_size=5),
)


def message(**options):
    """A DHCPACK with these options by their names."""
    return dhcp.Message(dhcp.ACK, 7, MAC, options={getattr(dhcp, name): data for name, data in options.items()})


@given(MESSAGES, st.sampled_from((dhcp.BOOTREQUEST, dhcp.BOOTREPLY)))
def test_what_is_built_is_read(sent, operation):
    data = dhcp.build(sent, operation)
    read = dhcp.parse(data)
    assert len(data) >= 300 and dhcp.operation(data) == operation
    assert read._replace(options=sent.options) == sent
    assert {**sent.options, dhcp.MESSAGE_TYPE: bytes((sent.kind,))} == read.options


@given(MESSAGES)
def test_dpkt_reads_the_same(sent):
    theirs = dpkt.dhcp.DHCP(dhcp.build(sent))
    assert (theirs.xid, theirs.secs, theirs.flags >> 15) == (sent.transaction, sent.seconds, sent.broadcast)
    assert (theirs.ciaddr, theirs.yiaddr) == tuple(int.from_bytes(each, "big") for each in (sent.client, sent.yours))
    assert theirs.chaddr[:6] == sent.mac
    pieces = {}
    for number, data in theirs.opts:
        pieces[number] = pieces.get(number, b"") + data
    assert pieces == {**sent.options, dhcp.MESSAGE_TYPE: bytes((sent.kind,))}


@given(st.binary(max_size=700))
def test_garbage_is_none_or_a_message(data):
    dhcp.parse(data)
    read = dhcp.parse(dhcp.build(message())[:240] + data)
    if read is not None:
        read.routes, read.search, read.addresses(dhcp.ROUTERS)


@pytest.mark.parametrize("end", [0, 100, 239])
def test_a_short_message_is_none(end):
    assert dhcp.parse(dhcp.build(message())[:end]) is None


def test_options_in_file_and_sname_count_too():
    """RFC 2132 §9.3; pieces are put together in the order options, file, sname (RFC 3396 §7)."""
    data = bytearray(dhcp.build(message(DOMAIN=b"one")))
    end = data.index(b"\xff", 240)
    data[end : end + 4] = bytes((dhcp.OVERLOAD, 1, 3, dhcp.END))
    data[108:115] = bytes((dhcp.DOMAIN, 4)) + b".two" + bytes((dhcp.END,))
    data[44:52] = bytes((dhcp.DOMAIN, 5)) + b".tree" + bytes((dhcp.END,))
    assert dhcp.parse(bytes(data)).options[dhcp.DOMAIN] == b"one.two.tree"


def test_classless_routes():
    """RFC 3442's own example, with bits beyond the prefix set."""
    data = bytes.fromhex("00 0a110001" + "08 0a 0a110002" + "19 0a1b8183 0a110003".replace(" ", ""))
    assert message(ROUTES=data).routes == (
        (bytes(4), 0, bytes((10, 17, 0, 1))),
        (bytes((10, 0, 0, 0)), 8, bytes((10, 17, 0, 2))),
        (bytes((10, 27, 129, 128)), 25, bytes((10, 17, 0, 3))),
    )


@pytest.mark.parametrize("data", ["210a0a0a0a0a00000001", "18 0a1b", "00 0a1100"])
def test_broken_routes_are_none_at_all(data):
    assert message(ROUTES=bytes.fromhex(data)).routes == ()


def test_search_domains_are_compressed():
    """RFC 3397 §2."""
    data = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"
    assert message(SEARCH=data).search == ("eng.apple.com", "marketing.apple.com")
    assert message(DOMAIN=b"example.org\0").search == ("example.org",)
    assert message().search == ()


@pytest.mark.parametrize("label", [b"a b", b"a\nnameserver", b"a.b", b"-a", b"a\0", b"\xe4", b"a\\"])
def test_what_is_no_host_name_is_not_searched(label):
    """A server's word may end in a resolv.conf, or in every question of a program's."""
    good = b"\x07example\x00"
    bad = bytes([len(label)]) + label + good
    assert message(SEARCH=bad + good).search == ("example",)
    if b"." not in label and not label.endswith(b"\0"):
        assert message(DOMAIN=label + b".example").search == ()
    option = bytes((31, -(-(len(bad + good) + 8) // 8))) + bytes(6) + bad + good
    padded = option.ljust(8 * option[1], b"\0")
    advertisement = bytes((134,)) + bytes(15) + padded
    assert ndp.parse(advertisement, 0, len(advertisement)).search == ((0, ("example",)),)


@pytest.mark.parametrize("data", [b"\xc0\x00", b"\x03ab", b"\x40a", b"\x01\xff\x00", b"\xc0", b"\x01a\xc0\x00"])
def test_broken_names_are_none_at_all(data):
    """A pointer that leads to itself among them."""
    assert message(SEARCH=data).search == ()


def test_numbers_and_addresses_of_a_wrong_size_are_absent():
    odd = message(MTU=b"\x05", LEASE_TIME=b"\0\0\1", ROUTERS=b"\x0a\0\0", SERVER=bytes(8))
    assert (odd.number(dhcp.MTU, 2), odd.number(dhcp.LEASE_TIME, 4)) == (None, None)
    assert (odd.addresses(dhcp.ROUTERS), odd.address(dhcp.SERVER)) == ((), None)
