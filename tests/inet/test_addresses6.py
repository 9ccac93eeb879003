"""Which IPv6 address is sent from (RFC 6724), and which way a destination lies: routes, redirects, routers."""

import pytest

from pystack import messages
from pystack.device import memory
from pystack.inet.addresses6 import Addresses6
from pystack.inet.interfaces import InterfaceState
from pystack.layers import Interface
from pystack.messages import LOCAL, MULTICAST, UNICAST, PathFacts
from pystack.routes import Route
from pystack.scope import is_link_local, on_wire, scope_of, scoped
from pystack.wire import ipv6
from tests.support.frames6 import A6, B6, FAR6, LINK_A, LINK_B, address
from tests.support.netsim import Host
from tests.support.peer6 import ETH0, NEAR_A, NEAR_B, Peer6

LO, ETH1 = 1, 3


def addresses(*held, others=(), prefer_temporary=False):
    """An `Addresses6` of a host with *held* on eth0 and *others* on eth1: texts with prefix lengths, each perhaps
    followed by "deprecated" or "temporary". All destinations are routed by eth0."""
    interfaces = {
        LO: InterfaceState(LO, "lo", 65536, loopback=True),
        ETH0: InterfaceState(ETH0, "eth0", 1500),
        ETH1: InterfaceState(ETH1, "eth1", 1500),
    }
    made = Addresses6(interfaces, prefer_temporary)
    made.add(LO, ipv6.LOOPBACK, 128)
    for index, texts in ((ETH0, held), (ETH1, others)):
        for text in texts:
            cidr, *marks = text.split()
            value, length = cidr.split("/")
            each = scoped(address(value), index)
            made.add(index, each, int(length), on_link=False)
            made.set_deprecated(each, "deprecated" in marks)
            if "temporary" in marks:
                made.set_temporary(each)
    made.add_route(Route(ipv6.UNSPECIFIED, 0, ETH0))
    return made


def source(made, destination):
    """The source towards *destination*, a text, by eth0."""
    chosen = made.select_source(scoped(address(destination), ETH0), made._interfaces[ETH0])
    return None if chosen is None else on_wire(chosen)


# RFC 6724 §10.1, and for each rule of §5 an example in which all rules before it leave a choice:
# (destination, candidates, whether temporary addresses are preferred, the one that is chosen)
EXAMPLES = {
    "§10.1 prefer appropriate scope": ("2001:db8:1::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    "§10.1 prefer appropriate scope, of a group": ("ff05::1", ["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:3::1"),
    "§10.1 prefer same address": (
        "2001:db8:1::1",
        ["2001:db8:1::1/64 deprecated", "2001:db8:2::1/64"],
        "2001:db8:1::1",
    ),
    "§10.1 prefer appropriate scope, deprecated": (
        "fe80::1",
        ["fe80::2/64 deprecated", "2001:db8:1::1/64"],
        "fe80::2",
    ),
    "§10.1 prefer matching prefix": (
        "2001:db8:1::1",
        ["2001:db8:1::2/64", "2001:db8:3::2/64"],
        "2001:db8:1::2",
    ),
    "§10.1 prefer matching label": (
        "2002:c633:6401::1",
        ["2002:c633:6401::d5e3:7953:13eb:22e8/64 temporary", "2001:db8:1::2/64"],
        "2002:c633:6401::d5e3:7953:13eb:22e8",
    ),
    "rule 2: the smallest scope that is enough": (
        "ff02::5",
        ["fe80::2/64", "2001:db8::2/64", "fec0::2/64"],
        "fe80::2",
    ),
    "rule 2: else the largest": ("2001:db8::9", ["fe80::2/64", "fec0::2/64"], "fec0::2"),
    "rule 2 before rule 3": ("2001:db8::9", ["fe80::2/64", "fd00::2/64 deprecated"], "fd00::2"),
    "rule 3: not deprecated": ("2001:db8::9", ["2001:db8::2/64 deprecated", "fd00::2/64"], "fd00::2"),
    "rule 6: the label of 6to4": ("2002::9", ["2001:db8::2/64", "2002:1::2/64"], "2002:1::2"),
    "rule 6: the label of unique local ones": ("fd99::9", ["2001:db8::2/64", "fd00::2/64"], "fd00::2"),
    "rule 6: the label of all others": ("2620::9", ["fd00::2/64", "2001:db8::2/64"], "2001:db8::2"),
    "rule 6: the label of Teredo": ("2001::9", ["2001:db8::2/64", "2001:0:1::2/64"], "2001:0:1::2"),
    "rule 7: not temporary": ("2001:db8::9", ["2001:db8::3/64 temporary", "2001:db8:1::2/64"], "2001:db8:1::2"),
    "rule 8: the longest prefix": ("2001:db8:ff::9", ["2001:db8::2/64", "2001:db8:f0::2/64"], "2001:db8:f0::2"),
    "rule 8: no longer than the prefix": ("2001:db8::9", ["2001:db8::2/64", "2001:db8::8/64"], "2001:db8::2"),
    "a link-local destination": ("fe80::9", ["2001:db8::2/64", "fe80::2/64"], "fe80::2"),
    "nothing else": ("2001:db8::9", ["fe80::2/64"], "fe80::2"),
    "nothing": ("2001:db8::9", [], None),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_source_is_chosen_by_the_rules(name):
    destination, held, chosen = EXAMPLES[name]
    want = chosen and address(chosen)
    assert source(addresses(*held), destination) == want
    if name != "rule 8: no longer than the prefix":  # then it is the first that stays
        assert source(addresses(*reversed(held)), destination) == want


def test_temporary_addresses_are_preferred_if_so_configured():
    """RFC 6724 §5 rule 7, use_tempaddr=2; §10.1's last example."""
    held = ["2001:db8:1::2/64", "2001:db8:1::d5e3:0:0:1/64 temporary"]
    assert source(addresses(*held, prefer_temporary=True), "2001:db8:1::d5e3") == address("2001:db8:1::d5e3:0:0:1")
    assert source(addresses(*held), "2001:db8:1::d5e3") == address("2001:db8:1::2")


def test_the_outgoing_interfaces_addresses_are_preferred():
    """Rule 5, before rules 6 to 8 and after rules 2 and 3."""
    other = ["2001:db8:9::2/64"]
    assert source(addresses("fd00::2/64", others=other), "2001:db8:9::9") == address("fd00::2")
    assert source(addresses("fd00::2/64 deprecated", others=other), "2001:db8:9::9") == address("2001:db8:9::2")
    assert source(addresses("fe80::2/64", others=other), "2001:db8:9::9") == address("2001:db8:9::2")
    assert source(addresses(others=other), "2001:db8:9::9") == address("2001:db8:9::2")


@pytest.mark.parametrize("destination", ["fe80::9", "ff02::9", "ff05::9", "ff0e::9"])
def test_towards_the_link_and_groups_only_the_outgoing_interfaces_count(destination):
    """RFC 6724 §4."""
    made = addresses(others=["2001:db8:9::2/64", "fe80::2/64"])
    assert source(made, destination) is None
    assert source(addresses("fd00::2/64", others=["2001:db8:9::2/64"]), destination) == address("fd00::2")


def test_a_link_local_address_of_another_link_is_no_source():
    """RFC 4007 §9."""
    assert source(addresses(others=["fe80::2/64"]), "2001:db8::9") is None


def test_an_address_that_is_not_usable_yet_is_no_source():
    made = addresses("fe80::2/64")
    made.add(ETH0, B6, 64, usable=False)
    assert source(made, "fd77::1") == LINK_B and B6 not in made.local
    made.set_usable(ETH0, B6)
    assert source(made, "fd77::1") == B6


def test_deprecation_ends_when_a_router_says_so():
    made = addresses("2001:db8::2/64", "fd00::2/64")
    path = made.path(address("2001:db8::9"))
    made.set_deprecated(address("2001:db8::2"), True)
    assert made.path(address("2001:db8::9")).source == address("fd00::2")
    made.set_deprecated(address("2001:db8::2"), False)
    assert made.path(address("2001:db8::9")).source == path.source == address("2001:db8::2")


# -- scopes in addresses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "local"),
    [("fe80::1", True), ("febf::1", True), ("fec0::1", False), ("fe00::1", False), ("ff02::1", False), ("::1", False)],
)
def test_a_link_local_address_carries_its_link_and_sheds_it(text, local):
    plain = address(text)
    inside = scoped(plain, 7)
    assert is_link_local(plain) == is_link_local(inside) == local
    assert (inside != plain) == local
    assert scope_of(inside) == (7 if local else 0)
    assert on_wire(inside) == plain
    assert scoped(inside, 9) == scoped(plain, 9)


# -- routes ------------------------------------------------------------------------------------------------------------


def two_networks(gateway="fe80::1%eth0"):
    """A host that is fd77::2 on eth0 (MTU 1,500) and fd88::2 on eth1 (MTU 9,000)."""
    near, far = memory.pair()[1], memory.pair(mtu=9000)[1]
    interfaces = [
        Interface(device=near, addresses=["fe80::2/64", "fd77::2/64"], gateway=gateway),
        Interface(device=far, addresses=["fe80::3/64", "fd88::2/64"], name="eth1"),
    ]
    host = Host(interfaces)
    for index, each in ((ETH0, NEAR_B), (ETH0, B6), (ETH1, scoped(address("fe80::3"), ETH1)), (ETH1, SECOND)):
        host.inet.v6.addresses.set_usable(index, each)
    return host.inet


SECOND = address("fd88::2")
OTHER_NET = address("fd88::77")
GROUP = address("ff0e::5")
LINK_GROUP = address("ff02::5")


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        ((A6,), (B6, 1500, ETH0, UNICAST, False)),
        ((OTHER_NET,), (SECOND, 9000, ETH1, UNICAST, False)),
        ((FAR6,), (B6, 1500, ETH0, UNICAST, False)),
        ((B6,), (B6, 65536, LO, LOCAL, True)),
        ((SECOND,), (SECOND, 65536, LO, LOCAL, True)),
        ((ipv6.LOOPBACK,), (ipv6.LOOPBACK, 65536, LO, LOCAL, True)),
        ((NEAR_A,), (NEAR_B, 1500, ETH0, UNICAST, False)),
        ((NEAR_B,), (NEAR_B, 65536, LO, LOCAL, True)),
        ((scoped(LINK_A, ETH1),), (scoped(address("fe80::3"), ETH1), 9000, ETH1, UNICAST, False)),
        ((GROUP,), (B6, 1500, ETH0, MULTICAST, False)),
        ((GROUP, ETH1), (SECOND, 9000, ETH1, MULTICAST, False)),
        ((LINK_GROUP, ETH1), (scoped(address("fe80::3"), ETH1), 9000, ETH1, MULTICAST, False)),
        ((address("ff01::5"),), (ipv6.LOOPBACK, 65536, LO, MULTICAST, True)),
        # A source that is chosen already stays; unlike IPv4's it leads nothing to its interface.
        ((A6, 0, SECOND), (SECOND, 1500, ETH0, UNICAST, False)),
        ((GROUP, ETH0, SECOND), (SECOND, 1500, ETH0, MULTICAST, False)),
    ],
)
def test_a_path_tells_source_mtu_interface_and_kind(asked, facts):
    assert two_networks().path(*asked) == PathFacts(*facts)


@pytest.mark.parametrize(
    "asked",
    [
        (FAR6,),
        (OTHER_NET, ETH0),
        (OTHER_NET, 99),
        (NEAR_A, ETH1),
        (LINK_A,),
        (scoped(LINK_A, 99),),
        (GROUP, 99),
        (ipv6.UNSPECIFIED,),
    ],
)
def test_there_is_no_path_without_a_route(asked):
    assert two_networks(gateway=None).path(*asked) is None


def test_there_is_no_path_to_the_unspecified_address():
    """RFC 4291 §2.5.2: no destination, whatever route there is."""
    assert two_networks().path(ipv6.UNSPECIFIED) is None


def test_a_gateway_is_on_its_link():
    made = addresses("fd77::2/64")
    made.add_route(Route(address("2001:db8::"), 32, ETH0, NEAR_A))
    made.add_route(Route(address("2001:db8:1::"), 48, ETH0, A6))
    for index, gateway in ((ETH1, NEAR_A), (ETH1, A6)):
        with pytest.raises(ValueError, match="not on the link"):
            made.add_route(Route(address("2001:db8:2::"), 48, index, gateway))
    assert made.path(address("2001:db8:1::5")).next_hop == A6
    assert made.path(address("2001:db8:5::5")).next_hop == NEAR_A


def test_an_address_is_given_once():
    made = addresses("fd77::2/64")
    with pytest.raises(ValueError, match="already assigned"):
        made.add(ETH1, B6, 64)
    made.add(ETH1, scoped(LINK_B, ETH1), 64)
    made.add(ETH0, scoped(LINK_B, ETH0), 64)  # another one on each link


def test_a_better_metric_wins_among_routes_of_a_length():
    """RFC 4191 §3.2: preferences of routers are told so."""
    made = addresses("fd77::2/64")
    net = address("2001:db8::")
    near, other = NEAR_A, scoped(address("fe80::9"), ETH0)
    made.learn(ETH0, "one", [Route(net, 32, ETH0, near, metric=1024)])
    made.learn(ETH0, "two", [Route(net, 32, ETH0, other, metric=960)])
    assert made.path(FAR6).next_hop == other
    made.learn(ETH0, "two", [])
    assert made.path(FAR6).next_hop == near
    made.learn(ETH0, "one", [])
    assert made.path(FAR6).next_hop == FAR6


def test_only_our_own_addresses_are_local():
    inet = two_networks()
    assert all(map(inet.is_local, (B6, SECOND, ipv6.LOOPBACK, NEAR_B)))
    others = (A6, FAR6, GROUP, ipv6.UNSPECIFIED, LINK_B, scoped(LINK_B, ETH1))
    assert not any(map(inet.is_local, others))


def test_an_interface_that_takes_any_address_takes_no_group_nor_the_loopback():
    """Linux: ip -6 route add local default dev lo."""
    made = addresses("fd77::2/64")
    state = InterfaceState(9, "any", 1500, accepts_any=True)
    assert made.is_local(FAR6, state)
    for each in (GROUP, LINK_GROUP, ipv6.UNSPECIFIED, ipv6.LOOPBACK):
        assert not made.is_local(each, state)


# -- redirects ---------------------------------------------------------------------------------------------------------


OTHER_ROUTER = scoped(address("fe80::9"), ETH0)


@pytest.mark.parametrize(
    ("by", "gateway", "index", "believed"),
    [
        (NEAR_A, OTHER_ROUTER, ETH0, True),
        (NEAR_A, FAR6, ETH0, True),  # it is on the link
        (OTHER_ROUTER, OTHER_ROUTER, ETH0, False),  # not by the router in use
        (OTHER_ROUTER, NEAR_A, ETH0, False),
        (NEAR_A, NEAR_A, ETH0, False),  # to the router in use
        (NEAR_A, NEAR_B, ETH0, False),  # to ourselves
        (NEAR_A, A6, ETH0, False),  # to a router's other address (RFC 4861 §8.1)
        (NEAR_A, OTHER_ROUTER, ETH1, False),  # by another link
        (NEAR_A, GROUP, ETH0, False),
        (NEAR_A, ipv6.UNSPECIFIED, ETH0, False),
    ],
)
def test_a_redirect_is_believed_of_the_router_in_use_to_another_neighbour(by, gateway, index, believed):
    """RFC 4861 §8.1."""
    made = Peer6().host.inet.v6.addresses
    assert made.redirect(FAR6, by, gateway, index) == believed
    assert made.path(FAR6).next_hop == (gateway if believed else NEAR_A)
    assert made.path(address("2001:db8::2")).next_hop == NEAR_A


@pytest.mark.parametrize("destination", [B6, A6, NEAR_A, NEAR_B, ipv6.LOOPBACK, GROUP, ipv6.UNSPECIFIED])
def test_what_needs_no_router_is_not_redirected(destination):
    made = Peer6().host.inet.v6.addresses
    assert not made.redirect(destination, NEAR_A, OTHER_ROUTER, ETH0)


def test_redirects_are_bounded_and_end_with_their_gateway():
    made = Peer6().host.inet.v6.addresses
    many = [FAR6[:12] + n.to_bytes(4, "big") for n in range(3000)]
    for each in many:
        assert made.redirect(each, NEAR_A, OTHER_ROUTER, ETH0)
    assert sum(made.path(each).next_hop == OTHER_ROUTER for each in many) == 1024
    made.forget_redirects_to(scoped(address("fe80::8"), ETH0))
    assert made.path(many[-1]).next_hop == OTHER_ROUTER
    made.forget_redirects_to(OTHER_ROUTER)
    assert all(made.path(each).next_hop == NEAR_A for each in many)


def test_progress_confirms_the_next_hop():
    """RFC 4861 §7.3.1."""
    inet = two_networks()
    for destination, name, next_hop in ((A6, "eth0", A6), (FAR6, "eth0", NEAR_A), (OTHER_NET, "eth1", OTHER_NET)):
        for box in inet.outboxes.values():
            box.clear()
        inet.control([messages.NeighborConfirmed(destination)], 0.0)
        told = {key: box for key, box in inet.outboxes.items() if box}
        assert [message.address for message in told.pop(f"{name}.control")] == [next_hop] and not told
