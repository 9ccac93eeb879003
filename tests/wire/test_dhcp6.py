"""DHCPv6 messages: round trips, bytes written by hand, and what must be ignored."""

import struct
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import dhcp6
from pystack.wire.dhcp6 import Address, Ia, Message, Status

MAC = bytes.fromhex("020000000001")
CLIENT = b"\0\x03\0\x01" + MAC
SERVER = b"\0\x02\0\0\0\x09abc"
ONE = bytes.fromhex("20010db8000000000000000000000001")
TWO = bytes.fromhex("20010db8000000000000000000000002")

U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
DUIDS = st.binary(min_size=3, max_size=130)
STATUS = st.builds(Status, U16, st.text(max_size=30))
ADDRESSES = st.builds(Address, st.binary(min_size=16, max_size=16), U32, U32, st.none() | STATUS)
IAS = st.builds(Ia, U32, U32, U32, st.lists(ADDRESSES, max_size=16).map(tuple), st.none() | STATUS)
LABELS = st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,20}[A-Za-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(".".join)
MESSAGES = st.builds(
    Message,
    kind=st.integers(1, 11),
    transaction=st.integers(0, 2**24 - 1),
    client=st.none() | DUIDS,
    server=st.none() | DUIDS,
    elapsed=st.none() | U16,
    rapid_commit=st.sampled_from([None, True]),
    requested=st.lists(U16, max_size=10).map(tuple),
    ias=st.lists(IAS, max_size=4).map(tuple),
    preference=st.none() | U8,
    status=st.none() | STATUS,
    dns=st.lists(st.binary(min_size=16, max_size=16), max_size=8).map(tuple),
    search=st.lists(NAMES, max_size=5).map(tuple),
    refresh=st.none() | U32,
    sol_max_rt=st.none() | U32,
    inf_max_rt=st.none() | U32,
)


def option(code, body):
    return struct.pack("!HH", code, len(body)) + body


def reply(*options):
    return b"\x07\x12\x34\x56" + b"".join(options)


@given(MESSAGES)
def test_round_trip(message):
    data = dhcp6.build(message)
    assert dhcp6.parse(data) == message
    assert dhcp6.parse(memoryview(data)) == message


def test_solicit_as_bytes():
    message = Message(
        dhcp6.SOLICIT,
        0x123456,
        client=CLIENT,
        elapsed=0,
        rapid_commit=True,
        requested=(23, 24, 82),
        ias=(Ia(0x00000001),),
    )
    expected = bytes.fromhex(
        "01 123456"
        "0001 000a 0003 0001 020000000001"
        "0008 0002 0000"
        "000e 0000"
        "0006 0006 0017 0018 0052"
        "0003 000c 00000001 00000000 00000000"
    )
    assert dhcp6.build(message) == expected
    assert dhcp6.parse(expected) == message


def test_reply_as_bytes():
    data = bytes.fromhex(
        "07 abcdef"
        "0002 0009 0002 00000009 616263"
        "0001 000a 0003 0001 020000000001"
        "0003 0034 00000001 00000e10 00001c20"
        "0005 0018 20010db8000000000000000000000001 00001c20 ffffffff"
        "000d 0008 0000 68656c6c6f21"
        "0007 0001 ff"
        "0017 0010 20010db8000000000000000000000002"
        "0018 000d 07 6578616d706c65 03 636f6d 00"
        "0020 0004 00000258"
        "0052 0004 0000003c"
        "0053 0004 00015180"
        "1234 0002 beef"
    )
    ia = Ia(1, 3600, 7200, (Address(ONE, 7200, dhcp6.INFINITY),), Status(0, "hello!"))
    assert dhcp6.parse(data) == Message(
        dhcp6.REPLY,
        0xABCDEF,
        client=CLIENT,
        server=SERVER,
        ias=(ia,),
        preference=255,
        dns=(TWO,),
        search=("example.com",),
        refresh=600,
        sol_max_rt=60,
        inf_max_rt=86400,
    )


def test_numbers():
    """RFC 8415 §7.2, §7.3, §21.13."""
    assert (dhcp6.CLIENT_PORT, dhcp6.SERVER_PORT) == (546, 547)
    kinds = "SOLICIT ADVERTISE REQUEST CONFIRM RENEW REBIND REPLY RELEASE DECLINE RECONFIGURE INFORMATION_REQUEST"
    assert [getattr(dhcp6, name) for name in kinds.split()] == list(range(1, 12))
    statuses = "SUCCESS UNSPEC_FAIL NO_ADDRS_AVAIL NO_BINDING NOT_ON_LINK USE_MULTICAST"
    assert [getattr(dhcp6, name) for name in statuses.split()] == list(range(6))


def test_of_a_repeated_option_the_first_counts():
    """RFC 8415 §21.1: instances are not joined."""
    twice = option(13, b"\0\1") + option(13, b"\0\2")
    ia = option(3, bytes(12) + option(5, ONE + bytes(8) + twice) + twice)
    read = Ia(0, addresses=(Address(ONE, 0, 0, Status(1)),), status=Status(1))
    assert dhcp6.parse(reply(ia, twice)) == Message(7, 0x123456, ias=(read,), status=Status(1))
    data = reply(option(23, ONE), option(23, TWO), option(7, b"\x01"), option(7, b"\x02"))
    assert dhcp6.parse(data) == Message(7, 0x123456, dns=(ONE,), preference=1)


def test_tables_are_bounded():
    address = option(5, ONE + bytes(8))
    ia = option(3, bytes(12) + address * 100)
    others = option(23, ONE * 100) + option(24, b"\x01a\0" * 100) + option(13, b"\0\1" + b"x" * 999)
    read = dhcp6.parse(reply(ia * 20, others))
    assert len(read.ias) == 16 and {len(each.addresses) for each in read.ias} == {16}
    assert len(read.dns) == 8 and len(read.search) == 16 and len(read.status.text) == 128
    most = option(99, b"") * 16000
    assert dhcp6.parse(reply(most)) == Message(7, 0x123456)


@pytest.mark.parametrize(
    "names, expected",
    [
        (b"\0", ()),
        (b"\x03com\0", ("com",)),
        (b"\0\x03com\0", ("com",)),
        (b"\x03c m\0\x02ok\0", ("ok",)),
        (b"\x04a\nb\n\0\x02ok\0", ("ok",)),
        (b"\x02a.\0\x02ok\0", ("ok",)),
        (b"\x02\xc3\xa4\0", ()),
        (b"\x02-a\0\x02a-\0", ()),
        (b"\x04_tcp\0", ("_tcp",)),
        ((b"\x3f" + b"a" * 63) * 3 + b"\0", (".".join(["a" * 63] * 3),)),
        ((b"\x3f" + b"a" * 63) * 4 + b"\0", ()),
    ],
)
def test_only_host_names_become_search_domains(names, expected):
    """They may be written to a resolv.conf."""
    assert dhcp6.parse(reply(option(24, names))).search == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x07\0\0",
        b"\x00\0\0\0",
        b"\x0c\0\0\0" + bytes(34),  # relays
        b"\x0d\0\0\0" + bytes(34),
        b"\xff\0\0\0",
        reply(b"\0"),
        reply(b"\0\1\0"),
        reply(b"\0\1\0\x05abcd"),
        reply(option(1, b"\0\1")),
        reply(option(2, bytes(131))),
        reply(option(3, bytes(11))),
        reply(option(3, bytes(12) + b"\0\5")),
        reply(option(3, bytes(12) + option(5, bytes(23)))),
        reply(option(3, bytes(12) + option(5, bytes(24) + b"\0\x0d\0\1"))),
        reply(option(3, bytes(12) + option(5, bytes(24) + option(13, b"\0")))),
        reply(option(3, bytes(12) + option(13, b"\0"))),
        reply(option(6, b"\0")),
        reply(option(7, b"")),
        reply(option(8, b"\0")),
        reply(option(13, b"\0")),
        reply(option(14, b"\0")),
        reply(option(23, b"")),
        reply(option(23, bytes(17))),
        reply(option(24, b"\x03com")),
        reply(option(24, b"\x03co")),
        reply(option(24, b"\xc0\x04")),  # a compressed name (RFC 8415 §10)
        reply(option(24, b"\x40" + b"a" * 64 + b"\0")),
        reply(option(32, bytes(3))),
        reply(option(82, bytes(5))),
        reply(option(83, b"")),
    ],
)
def test_garbage_is_none(data):
    assert dhcp6.parse(data) is None


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_raise(junk, typed):
    dhcp6.parse(b"\x07\0\0\0" + junk if typed else junk)


@given(MESSAGES, st.randoms(use_true_random=False))
def test_no_damage_raises(message, random):
    data = bytearray(dhcp6.build(message))
    for _ in range(3):
        data[random.randrange(len(data))] = random.randrange(256)
    dhcp6.parse(data[: random.randrange(len(data) + 1)])


def test_every_truncation_is_none_or_shorter():
    whole = Message(7, 1, CLIENT, SERVER, ias=(Ia(1, 2, 3, (Address(ONE, 4, 5),)),), dns=(TWO,), search=("a.b",))
    data = dhcp6.build(whole)
    read = {dhcp6.parse(data[:end]) for end in range(len(data))}
    assert whole not in read and len(read - {None}) == 5  # the bounds between options


def test_the_greatest_payloads_of_random_bytes():
    random = Random(1)
    for _ in range(20):
        dhcp6.parse(b"\x07" + random.randbytes(65000))
