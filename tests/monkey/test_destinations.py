"""The order of destinations: RFC 6724 §6, with its own table and with glibc's."""

import os
from _socket import AF_INET, AF_INET6

import pytest

from monkey import destinations, hostfiles

RFC_6724 = destinations.parse_policy(  # §2.1
    [
        *(("precedence", *row.split()) for row in ("::1/128 50", "::/0 40", "::ffff:0:0/96 35", "2002::/16 30")),
        *(("precedence", *row.split()) for row in ("2001::/32 5", "fc00::/7 3", "::/96 1", "fec0::/10 1")),
        *(("label", *row.split()) for row in ("::1/128 0", "::/0 1", "::ffff:0:0/96 4", "2002::/16 2")),
        *(("label", *row.split()) for row in ("2001::/32 5", "fc00::/7 13", "::/96 3", "fec0::/10 11")),
    ]
)
GLIBC = destinations.DEFAULT_POLICY


def ordered(sources, policy=GLIBC, deprecated=()):
    """The addresses of ``{destination: source or None}`` in their order; what is asked for is one of them."""
    candidates = [(AF_INET6 if ":" in address else AF_INET, address, 0) for address in sources]
    found = destinations.order(candidates, lambda address, _: sources[address], policy, deprecated.__contains__)
    return [address for _, address, _ in found]


@pytest.mark.parametrize("policy", [RFC_6724, GLIBC], ids=["RFC", "glibc"])
@pytest.mark.parametrize("as_found", [1, -1], ids=["in order", "reversed"])
@pytest.mark.parametrize(
    ("best", "source", "other", "other_source", "deprecated"),
    [
        ("2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", "169.254.13.78", ()),  # rule 2, matching scope
        ("198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fe80::1", ()),  # rule 2
        ("2001:db8:1::1", "2001:db8:1::2", "10.1.2.3", "10.1.2.4", ()),  # rule 6, higher precedence
        ("fe80::1", "fe80::2", "2001:db8:1::1", "2001:db8:1::2", ()),  # rule 8, smaller scope
        ("2001:db8:1::1", "2001:db8:1::2", "fe80::1", "fe80::2", ("fe80::2",)),  # rule 3, deprecated
        ("2001:db8:1::1", "2001:db8:1::2", "2001:db8:3ffe::1", "2001:db8:3f44::2", ()),  # rule 9, longest prefix
        ("2002:c633:6401::1", "2002:c633:6401::2", "2001:db8:1::1", "2002:c633:6401::2", ()),  # rule 5, label
        ("2001:db8:1::1", "2001:db8:1::2", "2002:c633:6401::1", "2002:c633:6401::2", ()),  # rule 6
    ],
)
def test_the_examples_of_the_rfc(best, source, other, other_source, deprecated, as_found, policy):
    """RFC 6724 §10.2, but for that of mobile IPv6: nobody here is away from home."""
    sources = dict([(best, source), (other, other_source)][::as_found])
    assert ordered(sources, policy, deprecated) == [best, other]


def test_what_cannot_be_reached_comes_last():
    """Rule 1; among those that cannot, precedence and scope still count."""
    sources = {"2001:db8::1": None, "fe80::1": None, "192.0.2.1": "192.0.2.2", "198.51.100.1": None}
    assert ordered(sources) == ["192.0.2.1", "fe80::1", "2001:db8::1", "198.51.100.1"]


def test_unique_local_addresses_have_a_label_of_their_own():
    """From a network with such IPv6 addresses alone, IPv4 is tried first for what is outside (glibc's gai.conf)."""
    assert ordered({"2001:db8::1": "fd00::2", "192.0.2.1": "10.0.0.2"}) == ["192.0.2.1", "2001:db8::1"]
    assert ordered({"192.0.2.1": "10.0.0.2", "fd00::1": "fd00::2"}) == ["fd00::1", "192.0.2.1"]
    assert ordered({"fd00::1": "fd00::2", "192.0.2.1": "10.0.0.2"}, RFC_6724) == ["192.0.2.1", "fd00::1"]


def test_a_prefix_of_ipv4_counts_within_the_subnet_alone():
    """Rule 9, as glibc reads it."""
    near = {"192.0.2.200": "192.0.2.2/24", "192.0.2.9": "192.0.2.2/24"}
    assert ordered(near) == ["192.0.2.9", "192.0.2.200"]
    assert ordered({address: source.partition("/")[0] for address, source in near.items()}) == list(near)
    assert ordered({"198.51.100.1": "192.0.2.2/24", "192.0.3.1": "192.0.2.2/24"}) == ["198.51.100.1", "192.0.3.1"]


def test_a_prefix_of_ipv6_counts_to_its_last_bit():
    """Rule 9 by glibc, without the limit of RFC 6724 §2.2."""
    sources = {"2001:db8::8000:0:0:1": "2001:db8::2/64", "2001:db8::3": "2001:db8::2/64"}
    assert ordered(sources) == ["2001:db8::3", "2001:db8::8000:0:0:1"]


def test_what_is_alike_keeps_its_order():
    """Rule 10."""
    sources = {f"192.0.2.{last}": "198.51.100.1/24" for last in (9, 1, 5, 200, 3)}
    assert ordered(sources) == list(sources)


def test_one_destination_is_asked_nothing_about():
    alone = [(AF_INET6, "2001:db8::1", 0)]
    assert destinations.order(alone, None, GLIBC) == alone
    assert destinations.order([], None, GLIBC) == []


def test_a_mapped_address_has_the_source_of_its_ipv4_address():
    asked = []

    def source_of(address, scope):
        asked.append((address, scope))
        return None if address == "192.0.2.1" else "192.0.2.7/24" if "." in address else "fe80::2"

    candidates = [(AF_INET6, "::ffff:192.0.2.1", 0), (AF_INET6, "::ffff:192.0.2.9", 0), (AF_INET6, "fe80::1", 4)]
    assert destinations.order(candidates, source_of, GLIBC) == [candidates[2], candidates[1], candidates[0]]
    assert asked == [("192.0.2.1", 0), ("192.0.2.9", 0), ("fe80::1", 4)]


def test_gai_conf_replaces_the_tables_that_it_names(tmp_path):
    """gai.conf(5); the labels and scopes stay glibc's."""
    path = tmp_path / "gai.conf"
    policy = hostfiles.File(path, destinations.parse_policy)
    sources = {"2001:db8::1": "2001:db8::2", "192.0.2.1": "192.0.2.2"}
    assert policy.read() == GLIBC
    assert ordered(sources, policy.read()) == ["2001:db8::1", "192.0.2.1"]
    path.write_text("# comment\nprecedence ::ffff:0:0/96  100 # IPv4 first\n")
    assert ordered(sources, policy.read()) == ["192.0.2.1", "2001:db8::1"]
    assert policy.read().labels == GLIBC.labels and policy.read().scopes == GLIBC.scopes
    path.write_text("scopev4 ::ffff:192.0.2.0/120 5\n")
    os.utime(path, ns=(1, 1))
    assert ordered({"198.51.100.1": "198.51.100.2", "192.0.2.1": "192.0.2.2"}, policy.read())[0] == "192.0.2.1"


@pytest.mark.parametrize(
    "line",
    ["label", "label ::/0", "label ::/129 1", "label nonsense 1", "label ::/x 1", "label ::/0 2147483648", "reload yes"]
    + ["scopev4 2001:db8::/32 1", "scopev4 ::ffff:0:0/95 1", "scopev4 192.0.2.0/33 1", "precedence 192.0.2.0/24 -1"],
)
def test_what_gai_conf_says_wrongly_is_ignored(line):
    assert destinations.parse_policy([line.split()]) == GLIBC


def test_the_most_specific_entry_holds_and_the_rest_has_a_default():
    policy = destinations.parse_policy([("label", "2001:db8::/32", "7"), ("label", "2001:db8:1::/48", "8")])
    assert [value for *_, value in policy.labels] == [8, 7, 1]
