"""SYN cookies by themselves; with a listener in test_layer.py and test_listener.py."""

from random import Random

import pytest

from pystack.tcp import cookies
from pystack.tcp.segment import Segment
from pystack.wire import tcp, tcp_options
from pystack.wire.seq import MASK
from tests.support.tcp import options

KEY4, KEY6 = bytes(range(12)), bytes(range(36))
IRS = 0xFFFFFFF0


def ack_of(number, irs=IRS, stamp=None):
    """The ACK that ends the handshake."""
    return Segment((irs + 1) & MASK, (number + 1) & MASK, tcp.ACK, 0, 0, b"", options(timestamp=stamp), None)


def returned(jar, number, now, key=KEY4, irs=IRS, **how):
    return jar.check(key, ack_of(number, irs, **how), 0, now)


@pytest.mark.parametrize(
    ("key", "said", "kept"),
    [
        (KEY4, 100, 536),
        (KEY4, 536, 536),
        (KEY4, 1299, 536),
        (KEY4, 1400, 1300),
        (KEY4, 1460, 1460),
        (KEY4, 65_535, 1460),
        (KEY6, 1440, 1440),
        (KEY6, 9000, 8940),
    ],
)
def test_the_mss_is_rounded_down(key, said, kept):
    jar = cookies.Cookies(Random(1))
    number = jar.make(key, IRS, options(mss=said), 1000.0)
    cookie = returned(jar, number, 1000.0, key)
    assert cookie.iss == number and cookie.options.mss == kept
    assert cookie.options.window_scale is None and not cookie.options.sack_permitted and not cookie.ecn


@pytest.mark.parametrize("start", [0.0, 63.9, 64.0, 255 * 64.0, 256 * 64.0, 2**31 + 0.5])
def test_it_is_good_for_64_to_128_seconds(start):
    jar = cookies.Cookies(Random(1))
    number = jar.make(KEY4, IRS, options(mss=1460), start)
    for age in (0, 1, 63):
        assert returned(jar, number, start + age) is not None
    for age in (128, 200, 1000, 255 * 64):
        assert returned(jar, number, start + age) is None


def test_each_bit_of_the_number_and_each_part_of_the_key_counts():
    jar = cookies.Cookies(Random(1))
    number = jar.make(KEY4, IRS, options(mss=536), 1000.0)
    mss = (20, 21, 22)  # the bits that hold it
    assert not [bit for bit in range(32) if bit not in mss and returned(jar, number ^ 1 << bit, 1000.0)]
    for at in range(12):
        other = KEY4[:at] + bytes((KEY4[at] ^ 1,)) + KEY4[at + 1 :]
        assert returned(jar, number, 1000.0, other) is None
    assert returned(jar, number, 1000.0, irs=IRS + 1000) is None
    assert returned(jar, number, 1000.0, irs=IRS + 1) is None  # a segment that has overtaken the first ACK
    assert cookies.Cookies(Random(2)).check(KEY4, ack_of(number), 0, 1000.0) is None


@pytest.mark.parametrize("now", [0.0, 1.0, 63.0, 64.0, 1e6])
def test_guesses_fail_and_none_raises(now):
    """Also in the first period of the clock, which has none before it."""
    jar, random = cookies.Cookies(Random(1)), Random(3)
    assert sum(returned(jar, random.getrandbits(32), now) is not None for _ in range(20_000)) == 0


@pytest.mark.parametrize("scale", [None, 0, 7, 14])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("ecn", [False, True])
@pytest.mark.parametrize("now", [0.0, 0.01, 1000.0])
def test_a_timestamp_carries_the_other_options(scale, sack, ecn, now):
    jar = cookies.Cookies(Random(1))
    said = options(mss=1460, window_scale=scale, sack_permitted=sack)
    number = jar.make(KEY4, IRS, said, now)
    value = cookies.timestamp(int(now * 1000), said, ecn)
    assert int(now * 1000) - 64 <= value <= int(now * 1000)  # never of the future: RFC 7323 §5.4
    offset = 0xFFFFFFFF
    cookie = jar.check(KEY4, ack_of(number, stamp=(5, (value + offset) & MASK)), offset, now)
    assert (cookie.options.window_scale, cookie.options.sack_permitted, cookie.ecn) == (scale, sack, ecn)
    assert cookie.options.timestamp[0] == 5


def test_options_of_a_forger_are_within_bounds():
    """A right cookie with any timestamp: the scale is never more than RFC 7323 allows."""
    jar = cookies.Cookies(Random(1))
    number = jar.make(KEY4, IRS, options(mss=1460), 1000.0)
    for bits in range(64):
        scale = returned(jar, number, 1000.0, stamp=(1, bits)).options.window_scale
        assert scale is None or scale <= tcp_options.MAX_WINDOW_SCALE
