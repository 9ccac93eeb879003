import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.inet.pmtu import LIMIT, PathMtu
from pystack.inet.ratelimit import DESTINATIONS, ErrorLimit, TokenBucket
from pystack.routes import Route, RouteTable

prefixes = st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 32)).map(
    lambda pair: ipaddress.ip_network(pair, strict=False)
)


@given(st.lists(st.tuples(prefixes, st.integers(1, 3), st.integers(0, 2)), max_size=12), st.integers(0, 0xFFFFFFFF))
def test_lookup_is_the_longest_prefix_then_the_lowest_metric(entries, value):
    routes = [
        Route(net.network_address.packed, net.prefixlen, interface, None, None, metric)
        for net, interface, metric in entries
    ]
    table = RouteTable(routes)
    address = ipaddress.ip_address(value)
    for interface in (0, 1):
        matching = [
            route
            for route, (net, _, _) in zip(routes, entries, strict=True)
            if address in net and (not interface or route.interface == interface)
        ]
        best = max(matching, key=lambda route: (route.prefix_length, -route.metric), default=None)
        assert table.lookup(address.packed, interface) == best


def test_a_route_with_host_bits_is_refused():
    with pytest.raises(ValueError, match="host bits"):
        RouteTable([Route(bytes((10, 0, 0, 1)), 24, 1)])


def test_path_mtus_are_bounded_and_the_oldest_goes():
    pmtu = PathMtu(600, 552)
    for n in range(LIMIT + 10):
        pmtu.learn(n.to_bytes(4, "big"), 1400, 0.0)
    assert len(pmtu) == LIMIT
    assert pmtu.of((0).to_bytes(4, "big"), 1500) == 1500
    assert pmtu.of((LIMIT).to_bytes(4, "big"), 1500) == 1400
    pmtu.expire(600.0)
    assert len(pmtu) == 0


def test_a_path_mtu_only_goes_down_until_it_expires():
    pmtu = PathMtu(600, 552)
    pmtu.learn(b"abcd", 1000, 0.0)
    pmtu.learn(b"abcd", 1400, 1.0)
    assert pmtu.of(b"abcd", 1500) == 1000
    assert pmtu.of(b"abcd", 900) == 900


def test_a_token_bucket_holds_its_rate_and_its_burst():
    bucket = TokenBucket(16, 5)
    assert sum(bucket.take(0.0) for _ in range(20)) == 5
    assert sum(bucket.take(step / 128) for step in range(1, 1281)) == 160


def test_the_limit_forgets_the_destination_limited_longest_ago():
    limit = ErrorLimit(1.0, 1e9, 1 << 20)
    for n in range(DESTINATIONS * 3):
        assert limit.allows(n.to_bytes(4, "big"), 0.0)
