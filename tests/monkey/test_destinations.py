"""RFC 6724 §6: the examples of §10.2, as glibc's policy has them, and /etc/gai.conf."""

from socket import AF_INET, AF_INET6

import pytest

from monkey import destinations
from monkey.destinations import DEFAULT_POLICY, order, parse_policy


def packed(text):
    return destinations.packed(AF_INET6 if ":" in text else AF_INET, text)


def ordered(pairs, policy=DEFAULT_POLICY):
    """The destinations of ``[(destination, source or None)]``, texts, in the order to try them."""
    candidates = [(packed(destination), destination, source) for destination, source in pairs]
    found = order(candidates, lambda candidate: candidate[2] and packed(candidate[2]), policy)
    return [destination for _, destination, _ in found]


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([("2001:db8:1::1", "2001:db8:1::2"), ("198.51.100.121", "169.254.13.78")], id="matching scope"),
        pytest.param([("198.51.100.121", "198.51.100.117"), ("2001:db8:1::1", "fe80::1")], id="matching scope of IPv4"),
        pytest.param([("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")], id="precedence"),
        pytest.param([("2001:db8:1::1", "2001:db8:1::2"), ("fe80::1", "fe80::2")][::-1], id="smaller scope"),
        pytest.param([("2001:db8:1::1", "2001:db8:1::2"), ("2001:db8:3ffe::1", "2001:db8:3f44::2")], id="prefix"),
        pytest.param([("2002:c633:6401::1", "2002:c633:6401::2"), ("2001:db8:1::1", "fe80::2")], id="label and scope"),
        pytest.param([("2001:db8:1::1", "2001:db8:1::2"), ("2002:c633:6401::1", "2002:c633:6401::2")], id="6to4"),
        pytest.param([("10.1.2.3", "10.1.2.4"), ("2001:db8:1::1", None)], id="unreachable"),
        pytest.param([("::1", "::1"), ("127.0.0.1", "127.0.0.1")], id="loopbacks"),
        pytest.param([("10.1.2.3", "10.1.2.4"), ("2001:db8:1::1", "fd77::2")], id="a ULA is no match for the world"),
        pytest.param([("fd77::1", "fd77::2"), ("10.1.2.3", "10.1.2.4")], id="ULA to ULA"),
    ],
)
def test_the_better_one_comes_first_whatever_the_order(pairs):
    wanted = [destination for destination, _ in pairs]
    assert ordered(pairs) == ordered(pairs[::-1]) == wanted


def test_equals_stay_in_their_order():
    """Rule 10: a server's rotation of its records is kept."""
    pairs = [("192.0.2.1", "192.0.2.9"), ("192.0.2.3", "192.0.2.9"), ("192.0.2.2", "192.0.2.9")]
    assert ordered(pairs) == [destination for destination, _ in pairs]


def test_gai_conf_changes_the_precedence():
    """The line that Debian's file has as a comment: IPv4 first."""
    policy = parse_policy([["precedence", "::ffff:0:0/96", "100"], ["label", "rubbish", "1"], ["reload", "yes"]])
    assert policy[0] is DEFAULT_POLICY[0]
    pairs = [("2001:db8:1::1", "2001:db8:1::2"), ("10.1.2.3", "10.1.2.4")]
    assert ordered(pairs, policy) == ["10.1.2.3", "2001:db8:1::1"]
