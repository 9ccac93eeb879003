"""Multicast membership of sockets (RFC 1112 §7.1, ip(7))."""

from pystack import errors, messages, transport
from pystack.packet import MULTICAST
from pystack.udp.layer import MAX_MEMBERSHIPS
from tests.support.udp import ANY, ETH, ETH_TOO, GROUP, GROUP_2, HERE, HERE_TOO, LO, OTHER, PEER, Udp


def refused(cause):
    return [transport.Failed(1, cause)]


def test_join_and_leave_are_passed_on_to_the_interface():
    udp = Udp()
    assert udp.asks(transport.Join(1, GROUP)) == [transport.Joined(1, GROUP, ETH)]
    assert udp.asks(transport.Join(1, GROUP, ETH_TOO)) == [transport.Joined(1, GROUP, ETH_TOO)]
    assert udp.told == [messages.JoinGroup(ETH, GROUP), messages.JoinGroup(ETH_TOO, GROUP)]
    udp.told.clear()
    assert udp.asks(transport.Leave(1, GROUP, ETH_TOO)) == [transport.Left(1, GROUP, ETH_TOO)]
    assert udp.asks(transport.Leave(1, GROUP)) == [transport.Left(1, GROUP, ETH)]
    assert udp.told == [messages.LeaveGroup(ETH_TOO, GROUP), messages.LeaveGroup(ETH, GROUP)]
    assert udp.asks(transport.Leave(1, GROUP)) == refused(errors.ADDRESS_NOT_OURS)


def test_the_interface_may_be_named_by_its_address():
    """struct ip_mreq."""
    udp = Udp()
    assert udp.asks(transport.Join(1, GROUP, source=HERE_TOO)) == [transport.Joined(1, GROUP, ETH_TOO)]
    assert udp.asks(transport.Join(1, GROUP_2, source=ANY)) == [transport.Joined(1, GROUP_2, ETH)]
    assert udp.asks(transport.Leave(1, GROUP, source=HERE)) == refused(errors.ADDRESS_NOT_OURS)
    assert udp.asks(transport.Leave(1, GROUP, source=HERE_TOO)) == [transport.Left(1, GROUP, ETH_TOO)]


def test_what_cannot_be_joined():
    udp = Udp()
    udp.asks(transport.Join(1, GROUP))
    assert udp.asks(transport.Join(1, GROUP)) == refused(errors.ADDRESS_IN_USE)
    assert udp.asks(transport.Join(1, PEER)) == refused(errors.BAD_ADDRESS)
    assert udp.asks(transport.Join(1, GROUP_2, 77)) == refused(errors.NO_DEVICE)
    assert udp.asks(transport.Join(1, GROUP_2, source=OTHER)) == refused(errors.NO_DEVICE)
    for number in range(MAX_MEMBERSHIPS - 1):
        udp.asks(transport.Join(1, bytes((239, 9, 9, number))))
    assert udp.asks(transport.Join(1, GROUP_2)) == refused(errors.NO_BUFFERS)
    assert len(udp.told) == MAX_MEMBERSHIPS


def test_close_leaves_all_groups():
    udp = Udp()
    udp.asks(transport.Join(1, GROUP), transport.Join(1, GROUP_2), transport.Join(2, GROUP))
    udp.told.clear()
    assert udp.asks(transport.Close(1)) == []
    assert udp.told == [messages.LeaveGroup(ETH, GROUP), messages.LeaveGroup(ETH, GROUP_2)]


def test_a_multicast_is_heard_by_all_bound_sockets_or_by_members_alone():
    """IP_MULTICAST_ALL is on by default: who has joined nothing hears what others have joined."""
    udp = Udp()
    for number in (1, 2, 3, 4):
        udp.bind(number, port=1000, reuse_address=True)
    udp.asks(transport.Join(1, GROUP), transport.Join(2, GROUP))
    udp.sets(2, multicast_all=False)
    udp.sets(3, multicast_all=False)
    heard = udp.arrives(to=(GROUP, 1000), cast=MULTICAST)
    assert sorted(heard) == [1, 2, 4]
    assert sorted(udp.arrives(to=(GROUP_2, 1000), cast=MULTICAST)) == [1, 4]
    assert sorted(udp.arrives(to=(GROUP, 1000), cast=MULTICAST, interface=ETH_TOO)) == [1, 4]
    assert udp.drops == {}


def test_a_socket_bound_to_a_group_hears_that_group_alone():
    udp = Udp()
    udp.bind(1, GROUP, 1000)
    assert udp.arrives(to=(GROUP, 1000), cast=MULTICAST) == [1]
    assert udp.arrives(to=(GROUP_2, 1000), cast=MULTICAST) == []
    assert udp.arrives() == []


def test_a_connected_socket_hears_its_peers_multicast_alone():
    udp = Udp()
    udp.bind(1, GROUP, 1000)
    udp.connect(1)
    assert udp.arrives(to=(GROUP, 1000), cast=MULTICAST) == [1]
    assert udp.arrives(to=(GROUP, 1000), source=(OTHER, 53), cast=MULTICAST) == []


def test_a_group_on_the_loopback_is_known_here_alone():
    """inet keeps memberships of interfaces that speak IGMP."""
    udp = Udp()
    udp.bind(1, port=1000)
    assert udp.arrives(to=(GROUP, 1000), interface=LO) == []
    assert udp.drops == {errors.NO_PORT: 1}
    assert udp.asks(transport.Join(1, GROUP, LO)) == [transport.Joined(1, GROUP, LO)]
    assert udp.arrives(to=(GROUP, 1000), interface=LO) == [1]
    assert udp.asks(transport.Leave(1, GROUP, LO)) == [transport.Left(1, GROUP, LO)]
    assert udp.arrives(to=(GROUP, 1000), interface=LO) == []
    assert udp.told == []
