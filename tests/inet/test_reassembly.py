"""Reassembly of fragments: ranges, overlaps, bounds, timeouts, ECN. In virtual time."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystack import errors, packet
from pystack.inet.reassembly import FRAGMENT_OVERHEAD, Reassembly, rebuild_ipv4
from pystack.wire import checksum, ipv4

SOURCE, DESTINATION = b"\x0a\x00\x00\x02", b"\x0a\x00\x00\x01"
KEY = (SOURCE, DESTINATION, ipv4.UDP, 7)
LINK = b"link-header-14"  # what stands before the IP header


def fragment(offset, data, more=True, *, tos=0, options=b"", ttl=64, identification=7):
    flags = (ipv4.MORE_FRAGMENTS if more else 0) | offset >> 3
    length = 20 + len(options) + len(data)
    header = ipv4.build(
        SOURCE,
        DESTINATION,
        ipv4.UDP,
        length & 0xFFFF,
        identification=identification,
        flags_offset=flags & 0xFFFF,
        tos=tos,
        ttl=ttl,
        options=options,
    )
    buf = LINK + header + bytes(data)
    rx = packet.RxPacket(buf, len(LINK) + len(header), len(buf), interface=3, cast=packet.BROADCAST)
    rx.ip_at = len(LINK)
    rx.source, rx.destination, rx.protocol = SOURCE, DESTINATION, ipv4.UDP
    rx.ttl, rx.tos, rx.options = ttl, tos, options
    return rx


def make(**settings_):
    return Reassembly(drops=Counter(), counts=Counter(), **settings_)


def give(r, offset, data, more=True, *, now=0.0, key=KEY, tos=0, **fields):
    return r.add(key, offset, more, fragment(offset, data, more, tos=tos, **fields), tos & 3, now)


def content(datagram):
    return b"".join(datagram.payload)


def test_in_order_is_rebuilt_under_fragment_zeros_header():
    """RFC 791 §3.2: options, TTL and the rest are fragment 0's; length, flags and checksum are new."""
    r = make()
    options = b"\x94\x04\x00\x00"
    assert give(r, 0, b"a" * 16, tos=0xB8, options=options, ttl=9) is None
    assert give(r, 16, b"b" * 8, tos=0xB8, ttl=8) is None
    datagram = give(r, 24, b"c" * 3, False, tos=0xB8, ttl=7)
    rx = rebuild_ipv4(datagram)
    assert rx.ip_at == 0 and rx.at == 24 and rx.end == len(rx.buf) == 24 + 27
    assert rx.buf[rx.at : rx.end] == b"a" * 16 + b"b" * 8 + b"c" * 3
    _, tos, total, identification, flags, ttl, protocol, _, source, destination = ipv4.parse(rx.buf, 0)
    assert (tos, total, identification, flags, ttl, protocol) == (0xB8, 51, 7, 0, 9, ipv4.UDP)
    assert (source, destination) == (SOURCE, DESTINATION) == (rx.source, rx.destination)
    assert checksum.valid(rx.buf[:24])
    assert (rx.protocol, rx.ttl, rx.tos, rx.options) == (ipv4.UDP, 9, 0xB8, options)
    assert (rx.interface, rx.cast) == (3, packet.BROADCAST)
    assert not rx.checksum_trusted and type(rx.buf) is bytes
    assert len(r) == 0 and r.bytes == 0 and r.next_deadline() is None
    assert not r.drops and r.counts == {"ReasmReqds": 3, "ReasmOKs": 1}


def test_datagrams_do_not_mix():
    r = make()
    other = (SOURCE, DESTINATION, ipv4.UDP, 8)
    give(r, 0, b"a" * 8)
    give(r, 0, b"x" * 8, key=other)
    assert content(give(r, 8, b"y", False, key=other)) == b"x" * 8 + b"y"
    assert content(give(r, 8, b"b", False)) == b"a" * 8 + b"b"


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_random_splits_in_any_order_with_duplicates(data):
    """Whatever the order, the datagram comes once, whole, when the last hole is filled."""
    payload = random.Random(data.draw(st.integers(0, 99))).randbytes(data.draw(st.integers(9, 400)))
    cuts = data.draw(st.sets(st.integers(1, (len(payload) - 1) // 8), min_size=1))
    bounds = [0, *(8 * cut for cut in sorted(cuts)), len(payload)]
    pieces = list(itertools.pairwise(bounds))
    order = data.draw(st.permutations(pieces))
    repeats = data.draw(st.lists(st.integers(0, 2), min_size=len(order), max_size=len(order)))
    r = make()
    for index, (start, end) in enumerate(order):
        last = index == len(order) - 1
        more = end < len(payload)
        datagram = give(r, start, payload[start:end], more)
        assert (datagram is not None) == last
        if not last:
            for _ in range(repeats[index]):
                assert give(r, start, payload[start:end], more) is None
    assert content(datagram) == payload == rebuild_ipv4(datagram).buf[20:]
    assert r.drops == Counter({errors.FRAGMENT_DUPLICATE: sum(repeats[:-1])})
    assert r.bytes == len(r) == 0


class Naive:
    """The rules said as sets of byte positions."""

    def __init__(self):
        self.held, self.total, self.seen_end, self.condemned = {}, None, 0, False

    def add(self, offset, data, more):
        """The reason of the drop, the whole payload, or ``None``."""
        end = offset + len(data)
        if not data or (more and len(data) % 8) or end + 20 > 65535:
            return errors.BAD_FRAGMENT
        if self.condemned:
            return errors.FRAGMENT_DISCARDED
        if (not more and (end < self.seen_end or self.total not in (None, end))) or (
            more and self.total is not None and end > self.total
        ):
            self.condemned = True
            return errors.BAD_FRAGMENT
        self.seen_end = max(self.seen_end, end)
        if not more:
            self.total = end
        wanted = set(range(offset, end))
        if wanted <= self.held.keys():
            return errors.FRAGMENT_DUPLICATE
        if wanted & self.held.keys():
            self.condemned = True
            return errors.FRAGMENT_OVERLAP
        self.held.update(zip(range(offset, end), data, strict=True))
        if self.total is not None and len(self.held) == self.total:
            return bytes(self.held[at] for at in range(self.total))
        return None


units = st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 9), st.booleans())


@given(st.lists(units, max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_random_fragments_agree_with_a_naive_reference(fragments, rng):
    r, naive = make(), Naive()
    for unit, length, tail, more in fragments:
        data = rng.randbytes(8 * length + (0 if tail > 1 and more else tail % 8))
        before = Counter(r.drops)
        got = give(r, 8 * unit, data, more)
        expected = naive.add(8 * unit, data, more)
        if isinstance(expected, str):
            assert got is None and r.drops - before == Counter({expected: 1})
        else:
            assert r.drops == before
            assert (got and content(got)) == expected
        if got is not None:
            naive = Naive()
    if naive.condemned:
        assert r.bytes == 0
    assert len(r) <= 1


def test_overlap_condemns_the_datagram_until_its_timeout():
    """RFC 5722 §4: held data is released at once, later fragments are discarded, and no Time Exceeded is sent."""
    r = make()
    give(r, 0, b"a" * 16)
    assert r.bytes == len(LINK) + 20 + 16 + FRAGMENT_OVERHEAD
    assert give(r, 8, b"b" * 16, now=1.0) is None
    assert r.bytes == 0 and len(r) == 1
    for offset, more in ((0, True), (16, False)):
        assert give(r, offset, b"c" * 16, more, now=29.9) is None
    assert r.drops == {errors.FRAGMENT_OVERLAP: 1, errors.FRAGMENT_DISCARDED: 2}
    assert r.next_deadline() == 30.0 and r.expire(30.0) == []
    assert len(r) == 0 and r.drops[errors.REASSEMBLY_TIMEOUT] == 0
    give(r, 0, b"a" * 8, now=30.0)
    assert content(give(r, 8, b"b", False, now=30.0)) == b"a" * 8 + b"b"


@pytest.mark.parametrize(
    "start, length",
    [(8, 16), (24, 16), (24, 8 * 3), (32, 16), (8, 32), (0, 64)],
    ids=["into a run", "its tail", "its tail and the next", "into the next", "all of one run", "all of both"],
)
def test_each_kind_of_overlap(start, length):
    r = make()
    give(r, 16, b"a" * 16)
    give(r, 40, b"b" * 8)
    assert give(r, start, b"x" * length) is None
    assert r.drops == {errors.FRAGMENT_OVERLAP: 1} and r.bytes == 0


def test_contained_in_what_two_fragments_hold_is_a_duplicate():
    """Linux counts it as an overlap if the two did not arrive in order; here the order makes no difference."""
    r = make()
    give(r, 8, b"b" * 8)
    give(r, 0, b"a" * 8)
    give(r, 0, b"x" * 16)
    assert r.drops == {errors.FRAGMENT_DUPLICATE: 1}
    assert content(give(r, 16, b"c", False)) == b"a" * 8 + b"b" * 8 + b"c"


@pytest.mark.parametrize(
    "offset, length, more",
    [(0, 0, True), (8, 0, False), (0, 12, True), (65528, 8, False), (65504, 16, False), (65512, 8, True)],
)
def test_bad_fragment_harms_nothing_else(offset, length, more):
    """Zero length, not a multiple of 8, or more than 65,535 bytes with the header."""
    r = make()
    give(r, 0, b"a" * 8)
    assert give(r, offset, b"x" * length, more) is None
    assert r.drops == {errors.BAD_FRAGMENT: 1}
    assert content(give(r, 8, b"b", False)) == b"a" * 8 + b"b"
    assert give(r, offset, b"x" * length, more) is None
    assert len(r) == 0, "a bad fragment starts no datagram"


@pytest.mark.parametrize(
    "offset, more",
    [(24, False), (16, True), (0, False)],
    ids=["two ends", "data behind the end", "end before data"],
)
def test_contradictory_ends_condemn(offset, more):
    r = make()
    give(r, 8, b"z" * 8, False)
    give(r, offset, b"x" * 8, more)
    assert r.drops == {errors.BAD_FRAGMENT: 1} and r.bytes == 0
    give(r, 0, b"a" * 8)
    assert r.drops[errors.FRAGMENT_DISCARDED] == 1


def test_largest_datagram_and_options_that_make_it_too_large():
    for options, fits in ((b"", True), (bytes(8), False)):
        r = make()
        size = 65515
        for start in range(1480, size, 1480):
            give(r, start, b"x" * min(1480, size - start), start + 1480 < size)
        datagram = give(r, 0, b"x" * 1480, options=options)
        assert (datagram is not None) == fits
        assert r.drops[errors.BAD_FRAGMENT] == (not fits) and r.bytes == len(r) == 0
        if fits:
            assert ipv4.parse(rebuild_ipv4(datagram).buf, 0)[2] == 65535


def test_timeout_gives_back_fragment_zero_only():
    """RFC 792: no Time Exceeded if fragment 0 has not come. The time counts from the first that came."""
    r = make()
    other = (SOURCE, DESTINATION, ipv4.UDP, 8)
    give(r, 8, b"b" * 8, now=1.0)
    give(r, 8, b"b" * 8, now=2.0, key=other)
    first = fragment(0, b"a" * 8)
    r.add(KEY, 0, True, first, 0, 20.0)
    assert r.next_deadline() == 31.0
    assert r.expire(30.999) == [] and len(r) == 2
    assert r.expire(31.0) == [first]
    assert r.next_deadline() == 32.0
    assert r.expire(99.0) == []
    assert r.drops == {errors.REASSEMBLY_TIMEOUT: 2} and r.counts["ReasmFails"] == 2
    assert r.bytes == len(r) == 0 and r.next_deadline() is None


NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3


@pytest.mark.parametrize(
    "codepoints, merged",
    [
        ([NOT_ECT, NOT_ECT], NOT_ECT),
        ([ECT_0, ECT_0], ECT_0),
        ([ECT_1, ECT_1], ECT_1),
        ([CE, CE], CE),
        ([ECT_0, CE], CE),
        ([CE, ECT_1], CE),
        ([ECT_0, ECT_1, CE], CE),
        ([ECT_0, ECT_1], ECT_0),
        ([ECT_1, ECT_0], ECT_1),
        ([NOT_ECT, CE], None),
        ([NOT_ECT, ECT_0], None),
        ([ECT_1, NOT_ECT], None),
        ([ECT_0, CE, NOT_ECT], None),
    ],
)
def test_ecn_is_merged(codepoints, merged):
    """RFC 3168 §5.3; Linux's ip_frag_ecn_table."""
    r = make()
    for index, ecn in enumerate(codepoints):
        datagram = give(r, 8 * index, b"x" * 8, index < len(codepoints) - 1, tos=0x28 | ecn)
    if merged is None:
        assert datagram is None and r.drops == {errors.BAD_ECN: 1}
    else:
        assert datagram.ecn == merged and rebuild_ipv4(datagram).tos == 0x28 | merged
    assert r.bytes == len(r) == 0


def test_flood_of_forged_first_fragments_stays_in_bounds():
    r = make()
    forged = fragment(0, b"x" * 1480)
    for identification in range(200_000):
        assert r.add((SOURCE, DESTINATION, ipv4.UDP, identification), 0, True, forged, 0, 0.0) is None
        if not identification % 1000:
            assert len(r) <= 1024 and r.bytes <= 4 << 20
    assert r.drops == {errors.REASSEMBLY_EVICTED: 200_000 - len(r)}
    assert give(r, 0, b"a" * 8) is None
    assert content(give(r, 8, b"b", False)) == b"a" * 8 + b"b", "an honest datagram still gets through"
    r.expire(30.0)
    assert r.bytes == len(r) == 0


def test_bytes_evict_the_oldest_first_and_tombstones_count_in_number():
    big = fragment(0, b"x" * 1000)
    charge = len(big.buf) + FRAGMENT_OVERHEAD
    r = make(max_bytes=3 * charge, max_assemblies=4)
    for identification in range(4):
        r.add(identification, 0, True, big, 0, float(identification))
    assert len(r) == 3 and r.bytes == 3 * charge and r.next_deadline() == 31.0
    for identification in (1, 2, 3):
        r.add(identification, 8, True, fragment(8, b"y" * 1000), 0, 4.0)
    assert r.bytes == 0 and len(r) == 3
    for identification in range(4, 7):
        r.add(identification, 0, True, fragment(0, b"z" * 8), 0, 5.0)
    assert len(r) == 4
    assert r.drops == {errors.REASSEMBLY_EVICTED: 1, errors.FRAGMENT_OVERLAP: 3}, "a tombstone's end is no drop"


def test_one_datagram_in_tiny_fragments_is_bounded_too():
    r = make(max_bytes=100 * (FRAGMENT_OVERHEAD + len(LINK) + 28))
    for index in range(0, 8000, 2):  # each a run of its own
        give(r, 8 * index, b"x" * 8)
        assert r.bytes <= r.max_bytes
    assert r.drops[errors.REASSEMBLY_EVICTED] == 4000 // 101


def test_ipv6_leaves_its_fixed_header_out_of_the_length():
    """RFC 8200 §4.5: the limit of 65,535 is one on the payload length."""
    r = make(max_length=65535 + 28)
    assert give(r, 65528, b"x" * 7, False) is None
    assert not r.drops and len(r) == 1
