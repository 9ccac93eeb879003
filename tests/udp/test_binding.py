"""bind, connect and close, and what they leave behind."""

import pytest

from pystack import errors, transport
from pystack.config import StackConfig
from tests.support.udp import ANY, EVERYBODY, GROUP, HERE, HERE_TOO, LOOPBACK, NOWHERE, OTHER, PEER, Udp


def failed(socket, cause):
    return [transport.Failed(socket, cause)]


def test_port_zero_is_a_free_port_of_the_range():
    udp = Udp(StackConfig(ip_local_port_range=(4000, 4001)))
    assert {udp.bind(1), udp.bind(2)} == {4000, 4001}
    assert udp.asks(transport.Bind(3, ANY, 0)) == failed(3, errors.ADDRESS_IN_USE)


def test_a_socket_that_could_not_be_bound_is_unbound_still():
    udp = Udp()
    udp.bind(1, port=53)
    assert udp.asks(transport.Bind(2, HERE, 53)) == failed(2, errors.ADDRESS_IN_USE)
    assert udp.bind(2, HERE, 54) == 54
    assert udp.asks(transport.Bind(2, HERE, 55)) == failed(2, errors.BAD_ADDRESS)


def test_a_closed_socket_leaves_its_port_and_its_number_free():
    udp = Udp()
    udp.bind(1, port=53)
    assert udp.asks(transport.Close(1), transport.Close(1), transport.Read(1, 10)) == []
    assert udp.arrives(to=(HERE, 53)) == []
    assert udp.bind(1, port=53) == 53


def test_the_flags_of_a_bind_count_as_those_set_before():
    """SO_REUSEADDR by bind's own fields, and by SetOption."""
    udp = Udp()
    udp.bind(1, port=53, reuse_address=True)
    udp.sets(2, reuse_address=True)
    udp.bind(2, port=53)
    udp.sets(1, reuse_address=False)
    assert udp.asks(transport.Bind(3, ANY, 53, True)) == failed(3, errors.ADDRESS_IN_USE)


@pytest.mark.parametrize(
    "address", [HERE, HERE_TOO, LOOPBACK, bytes((127, 1, 2, 3)), ANY, GROUP, EVERYBODY, b"\xff" * 4]
)
def test_an_address_of_ours_a_group_and_a_broadcast_can_be_bound(address):
    assert Udp().bind(1, address, 53) == 53


@pytest.mark.parametrize("address", [PEER, NOWHERE])
def test_an_address_of_somebody_else_cannot(address):
    assert Udp().asks(transport.Bind(1, address, 53)) == failed(1, errors.ADDRESS_NOT_OURS)


def test_connect_binds_and_settles_the_address():
    udp = Udp()
    bound, connected = udp.asks(transport.Connect(1, PEER, 53))
    assert bound == transport.Bound(1, ANY, bound.port)
    assert connected == transport.Connected(1, (HERE, bound.port), (PEER, 53))
    udp.bind(2, HERE_TOO, bound.port)  # no more a wildcard


def test_a_bound_address_stays_when_the_socket_connects():
    udp = Udp()
    udp.bind(1, HERE_TOO, 1000)
    assert udp.connect(1) == (HERE_TOO, 1000)


def test_the_peer_can_be_changed():
    udp = Udp()
    udp.bind(1, port=1000)
    udp.connect(1)
    udp.connect(1, OTHER, 99)
    assert udp.arrives() == []
    assert udp.arrives(source=(OTHER, 99)) == [1]


def test_disconnect_gives_back_what_the_program_did_not_choose():
    """Linux's __udp_disconnect: port and address of a bind stay."""
    udp = Udp()
    udp.connect(1)
    assert udp.asks(transport.Connect(1, None, 0)) == [transport.Bound(1, ANY, 0)]
    udp.bind(2, port=1000)
    udp.connect(2)
    assert udp.asks(transport.Connect(2, None, 0)) == [transport.Bound(2, ANY, 1000)]
    assert udp.arrives(source=(OTHER, 7), to=(HERE_TOO, 1000)) == [2]
    udp.bind(3, HERE, 0)
    (_, port) = udp.connect(3)
    assert udp.asks(transport.Connect(3, None, 0)) == [transport.Bound(3, HERE, 0)]
    assert udp.bind(4, HERE, port) == port


def test_disconnect_of_an_unconnected_socket_changes_nothing():
    udp = Udp()
    assert udp.asks(transport.Connect(1, None, 0)) == [transport.Bound(1, ANY, 0)]
    udp.bind(1, port=1000)
    assert udp.asks(transport.Connect(1, None, 0)) == [transport.Bound(1, ANY, 1000)]
    assert udp.arrives() == [1]


def test_connect_without_a_route_or_to_a_broadcast_without_so_broadcast_fails():
    udp = Udp()
    bound, refused = udp.asks(transport.Connect(1, NOWHERE, 53))
    assert [refused] == failed(1, errors.NET_UNREACHABLE) and bound.port  # the port stays, as on Linux
    assert udp.asks(transport.Connect(1, EVERYBODY, 53)) == failed(1, errors.BROADCAST_FORBIDDEN)
    udp.sets(1, broadcast=True)
    udp.connect(1, EVERYBODY, 53)


def test_connect_to_the_unspecified_address_is_to_this_host():
    *_, connected = Udp().asks(transport.Connect(1, ANY, 53))
    assert connected.remote == (LOOPBACK, 53) and connected.local[0] == LOOPBACK


def test_no_port_left_for_connect():
    udp = Udp(StackConfig(ip_local_port_range=(4000, 4000)))
    udp.bind(1)
    assert udp.asks(transport.Connect(2, PEER, 53)) == failed(2, errors.NO_FREE_PORT)
    assert udp.refuses(3) == errors.NO_FREE_PORT
