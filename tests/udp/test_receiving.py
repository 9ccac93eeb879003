"""Whose a datagram is, and how many of them wait."""

import itertools
from collections import Counter

import pytest

from pystack import errors, messages, transport
from pystack.packet import BROADCAST, HOST, MULTICAST
from pystack.udp.layer import OVERHEAD
from tests.support.udp import (
    ETH,
    ETH_TOO,
    EVERYBODY,
    GROUP,
    HERE,
    HERE_TOO,
    OTHER,
    PEER,
    SOCKETS,
    Udp,
)


def test_a_datagram_is_handed_up_with_all_that_is_known_of_it():
    udp = Udp()
    udp.bind(1, port=1000)
    (event,) = udp.hears(b"hello", ttl=3, tos=0x22, padding=7)
    charge = 34 + 8 + 5 + 7 + OVERHEAD
    assert event == transport.Datagram(1, b"hello", (PEER, 53), (HERE, 1000), ETH, 3, 0x22, charge)
    assert isinstance(event.payload, memoryview)
    assert udp.core.counts == {"InReceives": 1, "InDatagrams": 1} and udp.drops == {}


def test_an_empty_datagram_is_one():
    udp = Udp()
    udp.bind(1, port=1000)
    (event,) = udp.hears(b"")
    assert event.payload == b""


def test_a_checksum_of_zero_is_none_and_a_wrong_one_is_the_end():
    """RFC 768."""
    udp = Udp()
    udp.bind(1, port=1000)
    assert udp.arrives(check=0) == [1]
    assert udp.arrives(check=0x1234) == []
    assert udp.drops == {errors.BAD_CHECKSUM: 1} and udp.told == []


def test_no_socket_is_answered_by_port_unreachable_unless_it_was_for_many():
    """RFC 1122 §4.1.3.1, §3.2.2."""
    udp = Udp()
    udp.bind(1, HERE_TOO, 1000)
    assert udp.arrives() == []
    (message,) = udp.told
    assert type(message) is messages.SendError and message.cause == messages.PORT_UNREACHABLE
    for to, cast in ((HERE, BROADCAST), (EVERYBODY, BROADCAST), (EVERYBODY, HOST), (GROUP, MULTICAST)):
        assert udp.arrives(to=(to, 1000), cast=cast) == []
    assert len(udp.told) == 1
    assert udp.drops == {errors.NO_PORT: 5}


def test_a_connected_socket_hears_its_peer_alone():
    udp = Udp()
    udp.bind(1, port=1000)
    udp.connect(1)
    assert udp.arrives() == [1]
    for source, to in (((PEER, 54), HERE), ((OTHER, 53), HERE), ((PEER, 53), HERE_TOO)):
        assert udp.arrives(source=source, to=(to, 1000)) == []
    assert len(udp.told) == 3


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(SOCKETS, 2)))
@pytest.mark.parametrize("newest", [1, 2])
def test_the_closest_fit_gets_it(better, worse, newest):
    udp = Udp()
    for number in (1, 2) if newest == 2 else (2, 1):
        address, by_device, peer = SOCKETS[better if number == 1 else worse]
        udp.bind(number, address, 1000, reuse_address=True, interface=ETH if by_device else 0)
        if peer is not None:
            udp.connect(number, *peer)
    assert udp.arrives() == [1]
    udp.asks(transport.Close(1))
    assert udp.arrives() == [2]


def test_of_connected_sockets_the_newest_gets_it_by_device_or_not():
    """Linux's udp4_lib_lookup4."""
    udp = Udp()
    for number, device in ((1, ETH), (2, 0), (3, ETH_TOO)):
        udp.bind(number, HERE, 1000, reuse_address=True, interface=device)
        udp.connect(number)
    assert udp.arrives() == [2]


def test_of_equals_the_newest_gets_it():
    """SO_REUSEADDR: Linux puts the newest first."""
    udp = Udp()
    for number in (1, 2, 3):
        udp.bind(number, port=1000, reuse_address=True)
    assert udp.arrives() == [3]
    udp.asks(transport.Close(3))
    assert udp.arrives() == [2]


def test_a_device_is_heard_alone():
    """SO_BINDTODEVICE, before the bind and after it."""
    udp = Udp()
    udp.bind(1, port=1000, interface=ETH)
    assert udp.arrives(interface=ETH) == [1]
    assert udp.arrives(interface=ETH_TOO) == []
    udp.sets(1, interface=ETH_TOO)
    assert udp.arrives(interface=ETH_TOO) == [1]


def test_reuse_port_spreads_flows_and_keeps_each():
    udp = Udp()
    for number in range(1, 5):
        udp.bind(number, port=1000, reuse_port=True, owner=7)
    udp.bind(9, HERE_TOO, 1000, reuse_port=True, owner=7)  # another address is another group
    first = [udp.arrives(source=(PEER, port)) for port in range(1, 401)]
    assert first == [udp.arrives(source=(PEER, port)) for port in range(1, 401)]
    counts = Counter(number for (number,) in first)
    assert set(counts) == {1, 2, 3, 4} and min(counts.values()) > 50
    udp.connect(2, PEER, 77)
    assert udp.arrives(source=(PEER, 77)) == [2]
    assert {udp.arrives(source=(PEER, port))[0] for port in range(100, 401)} == {1, 3, 4}


def test_a_broadcast_is_heard_by_all():
    """Linux's __udp4_lib_mcast_deliver; each has its own count of what waits."""
    udp = Udp()
    udp.bind(1, port=1000, reuse_address=True)
    udp.bind(2, EVERYBODY, 1000, reuse_address=True)
    udp.bind(3, HERE, 1000, reuse_address=True)
    udp.bind(4, port=1000, reuse_address=True, interface=ETH_TOO)
    udp.bind(5, port=1000, reuse_address=True)
    udp.connect(5, OTHER, 53)
    udp.bind(6, port=1001)
    assert sorted(udp.arrives(to=(EVERYBODY, 1000), cast=BROADCAST)) == [1, 2]
    assert sorted(udp.arrives(to=(EVERYBODY, 1000), cast=HOST)) == [1, 2]  # the loopback's link knows no broadcast
    assert udp.arrives(to=(HERE, 1000), cast=BROADCAST) == [3]  # one host's, however the link addressed it


def test_a_full_queue_drops_and_reading_makes_room():
    """As Linux it takes one more while what waits does not exceed SO_RCVBUF."""
    udp = Udp()
    udp.bind(1, port=1000)
    udp.sets(1, receive_buffer=5000)
    events = [udp.hears(bytes(1000)) for _ in range(8)]
    taken = [event for (event,) in filter(None, events)]
    charge = taken[0].charge
    assert len(taken) == 5000 // charge + 1
    assert udp.drops == {errors.RECEIVE_QUEUE_FULL: 8 - len(taken)} and udp.told == []
    udp.asks(transport.Read(1, charge), transport.Read(1, charge))
    assert udp.arrives(bytes(1000)) == [1]
    udp.bind(2, port=1001)
    assert udp.arrives(to=(HERE, 1001)) == [2]  # another's queue is another's


def test_all_queues_together_are_bounded():
    """udp_mem; a closed socket gives back what it held."""
    udp = Udp(udp_mem=65_536)
    for number in range(1, 4):
        udp.bind(number, port=1000 + number)
    heard = [udp.arrives(bytes(30_000), to=(HERE, 1000 + number)) for number in range(1, 4)]
    assert heard == [[1], [2], []]
    assert udp.drops == {errors.OUT_OF_MEMORY: 1}
    udp.asks(transport.Close(1))
    assert udp.arrives(bytes(30_000), to=(HERE, 1003)) == [3]


def test_a_super_datagram_is_the_datagrams_that_it_was_made_of():
    """virtio-net's GSO_UDP_L4; the last may be shorter."""
    udp = Udp()
    udp.bind(1, port=1000)
    events = udp.hears(b"a" * 100 + b"b" * 100 + b"c" * 30, gso_size=100)
    assert [bytes(event.payload) for event in events] == [b"a" * 100, b"b" * 100, b"c" * 30]
    assert len({id(event.payload.obj) for event in events}) == 1
    assert sum(event.charge for event in events) == 230 + 3 * OVERHEAD
    udp.asks(*(transport.Read(1, event.charge) for event in events))
    udp.sets(1, receive_buffer=0)
    assert udp.arrives() == [1]  # nothing waited
