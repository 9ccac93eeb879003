"""What inet answers to a transport that asks for a path, and what it passes on to the link for one."""

import pytest

from pystack import messages
from pystack.device import memory
from pystack.layers import Interface
from pystack.messages import BROADCAST, LOCAL, MULTICAST, UNICAST, PathFacts
from pystack.routes import Route
from tests.support.frames import A, B
from tests.support.netsim import Host

LO, ETH0, ETH1 = 1, 2, 3
SECOND = bytes((10, 5, 0, 1))
GROUP = bytes((239, 1, 2, 3))
FAR = bytes((192, 0, 2, 1))
OTHER_NET = bytes((10, 5, 0, 77))
LOOPBACK = bytes((127, 0, 0, 1))


def two_networks(gateway="10.0.0.1"):
    """A host that is 10.0.0.2 on eth0 (MTU 1,500) and 10.5.0.1 on eth1 (MTU 9,000)."""
    near, far = memory.pair()[1], memory.pair(mtu=9000)[1]
    interfaces = [
        Interface(device=near, addresses=["10.0.0.2/24"], gateway=gateway),
        Interface(device=far, addresses=["10.5.0.1/16"], name="eth1"),
    ]
    return Host(interfaces).inet


@pytest.mark.parametrize(
    ("asked", "facts"),
    [
        ((A,), (B, 1500, ETH0, UNICAST, False)),
        ((OTHER_NET,), (SECOND, 9000, ETH1, UNICAST, False)),
        ((FAR,), (B, 1500, ETH0, UNICAST, False)),
        ((B,), (B, 65535, LO, LOCAL, True)),
        ((SECOND,), (SECOND, 65535, LO, LOCAL, True)),
        ((LOOPBACK,), (LOOPBACK, 65535, LO, LOCAL, True)),
        ((bytes((127, 9, 9, 9)),), (bytes((127, 9, 9, 9)), 65535, LO, LOCAL, True)),
        ((bytes((10, 0, 0, 255)),), (B, 1500, ETH0, BROADCAST, False)),
        ((b"\xff" * 4,), (B, 1500, ETH0, BROADCAST, False)),
        ((GROUP,), (B, 1500, ETH0, MULTICAST, False)),
        ((GROUP, ETH1), (SECOND, 9000, ETH1, MULTICAST, False)),
        # A source that is chosen already stays; it leads a multicast, and nothing else, to its interface.
        ((A, 0, SECOND), (SECOND, 1500, ETH0, UNICAST, False)),
        ((GROUP, 0, SECOND), (SECOND, 9000, ETH1, MULTICAST, False)),
        ((b"\xff" * 4, 0, SECOND), (SECOND, 9000, ETH1, BROADCAST, False)),
        ((GROUP, ETH0, SECOND), (SECOND, 1500, ETH0, MULTICAST, False)),
    ],
)
def test_a_path_tells_source_mtu_interface_and_kind(asked, facts):
    assert two_networks().path(*asked) == PathFacts(*facts)


def test_there_is_no_path_without_a_route():
    inet = two_networks(gateway=None)
    assert inet.path(FAR) is None
    assert inet.path(OTHER_NET, ETH0) is None
    assert inet.path(OTHER_NET, 99) is None


def test_an_answer_is_a_snapshot():
    """The next one tells what has changed since; the first does not change."""
    inet = two_networks(gateway=None)
    first = inet.path(A)
    inet.control([messages.PmtuChanged(A, 1000)], 0.0)
    assert (first.mtu, inet.path(A).mtu) == (1500, 1000)
    inet.remove_address(ETH0, B)
    assert (first.source, inet.path(A)) == (B, None)


def test_a_path_mtu_that_has_expired_is_the_links_again():
    """RFC 1191 §6.3."""
    inet = two_networks()
    inet.control([messages.PmtuChanged(A, 1000)], 0.0)
    inet.expire(inet.next_deadline())
    assert inet.path(A).mtu == 1500


@pytest.mark.parametrize(
    ("address", "local"),
    [
        (B, True),
        (SECOND, True),
        (LOOPBACK, True),
        (bytes((127, 9, 9, 9)), True),
        (A, False),
        (FAR, False),
        (GROUP, False),
        (bytes((10, 0, 0, 255)), False),
        (b"\xff" * 4, False),
        (bytes(16), False),
    ],
)
def test_only_our_own_addresses_are_local(address, local):
    assert two_networks().is_local(address) == local


def test_an_address_that_is_still_probed_for_is_not_local():
    """RFC 5227 §2.1: it is not used before no other host has objected."""
    inet = two_networks()
    fresh = bytes((10, 0, 0, 9))
    inet.add_address(ETH0, fresh, 24, probe=True)
    assert not inet.is_local(fresh)
    inet.control([messages.AddressClaimed(ETH0, fresh)], 0.0)
    assert inet.is_local(fresh)


def confirms(inet, address):
    """The (interface, neighbour) pairs that the links are told of when *address* has been heard from."""
    names = ("lo", "eth0", "eth1")
    for name in names:
        inet.outboxes[f"{name}.control"].clear()
    inet.control([messages.NeighborConfirmed(address)], 0.0)
    return [(name, message.address) for name in names for message in inet.outboxes[f"{name}.control"]]


def test_progress_confirms_the_next_hop():
    """RFC 4861 §7.3.1: the neighbour itself, or the gateway to the peer; a loopback has none."""
    inet = two_networks()
    assert confirms(inet, A) == [("eth0", A)]
    assert confirms(inet, OTHER_NET) == [("eth1", OTHER_NET)]
    assert confirms(inet, FAR) == [("eth0", A)]
    assert confirms(inet, LOOPBACK) == confirms(inet, B) == []


def test_progress_with_a_peer_that_no_route_leads_to_confirms_nobody():
    assert confirms(two_networks(gateway=None), FAR) == []


def test_progress_confirms_the_gateway_of_the_longest_prefix():
    inet = two_networks()
    inet.add_route(Route(bytes((192, 0, 2, 0)), 24, ETH1, bytes((10, 5, 0, 5))))
    assert confirms(inet, FAR) == [("eth1", bytes((10, 5, 0, 5)))]
