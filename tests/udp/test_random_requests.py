"""Requests, datagrams and errors in any order: nothing raises, and nothing is left when all sockets are closed."""

from random import Random

import pytest

from pystack import messages, transport
from pystack.config import StackConfig, UdpConfig
from tests.support.udp import (
    ANY,
    ETH,
    ETH_TOO,
    EVERYBODY,
    GROUP,
    GROUP_2,
    HERE,
    HERE_TOO,
    LO,
    LOOPBACK,
    NOWHERE,
    OTHER,
    PEER,
    Udp,
)

ADDRESSES = (ANY, LOOPBACK, HERE, HERE_TOO, PEER, OTHER, NOWHERE, EVERYBODY, GROUP, GROUP_2)
PORTS = (0, 53, 54, 1000, 1001)
INTERFACES = (0, LO, ETH, ETH_TOO, 77)
OPTIONS = {
    "reuse_address": (False, True),
    "reuse_port": (False, True),
    "interface": (0, ETH, ETH_TOO),
    "broadcast": (False, True),
    "no_check": (False, True),
    "multicast_all": (False, True),
    "multicast_interface": (0, LO, ETH_TOO),
    "multicast_source": (None, HERE_TOO),
    "recv_error": (False, True),
    "discover_pmtu": range(6),
    "receive_buffer": (0, 5000, 200_000),
}
CAUSES = (messages.PORT_UNREACHABLE, messages.HOST_UNREACHABLE, messages.PACKET_TOO_BIG, messages.TTL_EXCEEDED)


def drawn(random):
    """A request, any at all."""
    socket, address, port = random.randrange(1, 9), random.choice(ADDRESSES), random.choice(PORTS)
    interface, device = random.choice(INTERFACES), random.choice((0, ETH))
    name = random.choice(list(OPTIONS))
    return random.choice(
        (
            transport.Bind(socket, address, port, random.random() < 0.7, random.random() < 0.3, device),
            transport.Connect(socket, random.choice((None, address)), port),
            transport.Send(socket, bytes(random.choice((0, 10, 3000, 70_000))), random.choice((None, address)), port),
            transport.Send(socket, b"x", address, port, random.choice((None, HERE, OTHER)), interface, 3, 4),
            transport.SetOption(socket, name, random.choice(OPTIONS[name])),
            transport.Join(socket, random.choice((GROUP, GROUP_2, address)), interface),
            transport.Leave(socket, random.choice((GROUP, GROUP_2, address)), interface, random.choice((None, HERE))),
            transport.Close(socket),
        )
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_things_does_harm(seed):
    random = Random(seed)
    udp = Udp(StackConfig(ip_local_port_range=(1000, 1003), udp=UdpConfig(udp_mem=65_536)))
    unread = []
    members = 0
    for _ in range(4000):
        kind = random.random()
        remote = (random.choice(ADDRESSES[1:]), random.choice(PORTS))
        local = (random.choice(ADDRESSES[1:]), random.randrange(1000, 1004))
        if kind < 0.5:
            request = drawn(random)
            events = udp.asks(request)
            if type(request) is transport.Close:
                unread = [event for event in unread if event.socket != request.socket]
        elif kind < 0.9:
            events = udp.hears(bytes(random.randrange(9000)), remote, local, interface=random.randrange(1, 4))
        else:
            events = udp.learns(random.choice(CAUSES), local, remote, mtu=1000)
        unread += [event for event in events if type(event) is transport.Datagram]
        if unread and random.random() < 0.3:
            event = unread.pop(0)
            udp.asks(transport.Read(event.socket, event.charge))
    assert len(udp.sent) > 50 and udp.core.counts["InDatagrams"] > 50
    assert udp.asks(*(transport.Close(socket) for socket in range(1, 9))) == []
    for message in udp.told:
        members += {messages.JoinGroup: 1, messages.LeaveGroup: -1}.get(type(message), 0)
    assert members == 0
    udp.bind(9, port=1000)
    assert udp.arrives(bytes(64_000)) == [9]  # all the memory is there
