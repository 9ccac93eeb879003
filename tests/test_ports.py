"""Who gets which port. What the kernel says of the same cases: integration/test_ports_like_linux.py."""

import itertools
from collections import Counter
from random import Random

import pytest

from pystack import errors
from pystack.config import StackConfig
from pystack.ports import PortTable, tcp_conflict, udp_conflict
from tests.support.ports import ANY, APART, ONE, OVERLAPPING, by_port_table, longer_cases, pair, table

HERE = bytes((10, 9, 0, 1))
THERE = bytes((10, 9, 0, 2))
PEER = bytes((192, 0, 2, 1))
EVERYWHERE = bytes(4)
EVERYWHERE_6 = bytes(16)
REFUSED = (0, errors.ADDRESS_IN_USE)


def made(low=32768, high=60999, conflict=tcp_conflict, seed=1):
    """An empty table."""
    return PortTable(StackConfig(ip_local_port_range=(low, high)), Random(seed), conflict)


def free(port):
    """No connection is in the way."""
    return False


@pytest.mark.parametrize(("transport", "first", "second", "result"), list(table()))
def test_two_sockets_share_a_port_as_on_linux(transport, first, second, result):
    for addresses in OVERLAPPING:
        assert by_port_table(transport, pair(first, second, addresses)) == result, addresses
    for addresses in APART:
        assert by_port_table(transport, pair(first, second, addresses)) == ".."


def test_reuse_port_is_for_one_user():
    for transport in ("tcp", "udp"):
        case = pair(("P", "never"), ("P", "never"), (ANY, ANY), owner=1)
        assert by_port_table(transport, case) == ".b"
        assert by_port_table(transport, pair(("A", "never"), ("A", "never"), (ANY, ANY), owner=1)) == ".."


def test_sockets_on_two_devices_do_not_meet():
    """SO_BINDTODEVICE."""
    ports = made()
    assert ports.bind(1, EVERYWHERE, 80, interface=1) == (80, None)
    assert ports.bind(2, EVERYWHERE, 80, interface=2) == (80, None)
    assert ports.bind(3, EVERYWHERE, 80, interface=2) == REFUSED
    assert ports.bind(4, EVERYWHERE, 80) == REFUSED


def test_the_newest_that_shares_settles_it_for_udp():
    """udp_lib_lport_inuse returns at the first match, so an older socket that would refuse is not asked."""
    ports = made(conflict=udp_conflict)
    assert ports.bind(1, HERE, 53) == (53, None)
    assert ports.bind(2, THERE, 53, reuse_port=True) == (53, None)
    assert ports.bind(3, EVERYWHERE, 53, reuse_port=True) == (53, None)


def test_the_shortcut_of_a_bucket_may_let_a_bind_through():
    """fastreuseport: the second socket says that SO_REUSEPORT is right, so the third is not held against the first."""
    ports = made()
    ports.bind(1, EVERYWHERE, 80, reuse_address=True)
    ports.bind(2, EVERYWHERE, 80, reuse_address=True, reuse_port=True)
    assert ports.bind(3, EVERYWHERE, 80, reuse_port=True) == (80, None)


def test_ipv6_any_is_every_ipv4_address_unless_it_says_otherwise():
    """RFC 3493 §5.3: IPV6_V6ONLY."""
    for first, second in ((EVERYWHERE, EVERYWHERE_6), (EVERYWHERE_6, HERE)):
        ports = made()
        ports.bind(1, first, 80)
        assert ports.bind(2, second, 80) == REFUSED
    ports = made()
    assert ports.bind(1, EVERYWHERE, 80) == (80, None)
    assert ports.bind(2, EVERYWHERE_6, 80, v6_only=True) == (80, None)
    assert ports.bind(3, bytes(15) + b"\1", 80) == REFUSED  # of the same family as any


def test_a_socket_is_bound_once():
    ports = made()
    ports.bind(1, EVERYWHERE, 80)
    assert ports.bind(1, EVERYWHERE, 81) == (0, errors.BAD_ADDRESS)
    assert ports.connect(1, HERE, PEER, 80, free) == (0, errors.BAD_ADDRESS)
    assert ports.claim(1).port == 80


def test_a_released_port_is_free_and_nothing_is_left():
    ports = made()
    ports.bind(1, EVERYWHERE, 80)
    ports.listen(1)
    ports.inherit(5, 1, HERE, 80)
    ports.release(1)
    assert ports.bind(2, EVERYWHERE, 80) == REFUSED
    ports.release(5)
    ports.release(5)
    assert len(ports) == 0 and ports.claim(5) is None
    assert ports.bind(2, EVERYWHERE, 80) == (80, None)


@pytest.mark.parametrize("waiting", [False, True])
def test_a_server_can_be_restarted_beside_its_old_connections_with_reuse_address_alone(waiting):
    ports = made()
    for reuse in (False, True):
        ports.bind(1, EVERYWHERE, 80, reuse_address=reuse)
        assert ports.listen(1) is None
        ports.inherit(100, 1, HERE, 80)
        ports.release(1)
        if waiting:
            ports.time_wait(100)
        for now in (False, True):
            assert (ports.bind(2, EVERYWHERE, 80, reuse_address=now) == (80, None)) == (reuse and now)
        ports.release(2)
        assert ports.bind(2, THERE, 80) == (80, None)
        ports.release(2)
        ports.release(100)


def test_a_connection_in_time_wait_is_no_users():
    """inet_bind_conflict does not compare its user."""
    ports = made()
    ports.bind(1, EVERYWHERE, 80, reuse_port=True, owner=1)
    ports.inherit(100, 1, HERE, 80)
    ports.release(1)
    assert ports.bind(2, EVERYWHERE, 80, reuse_port=True, owner=2) == REFUSED
    ports.time_wait(100)
    assert ports.bind(2, EVERYWHERE, 80, reuse_port=True, owner=2) == (80, None)


def test_flags_that_change_after_the_bind_count():
    ports = made()
    ports.bind(1, EVERYWHERE, 80)
    ports.set_reuse(1, reuse_address=True, reuse_port=True)
    assert ports.bind(2, EVERYWHERE, 80, reuse_address=True) == (80, None)
    ports.set_reuse(1, reuse_address=False)
    ports.set_reuse(99, reuse_address=True)
    assert ports.bind(3, EVERYWHERE, 80, reuse_address=True) == REFUSED


def test_listening_twice_is_listening_once():
    ports = made()
    ports.bind(1, EVERYWHERE, 80)
    assert ports.listen(1) is None and ports.listen(1) is None


def test_a_socket_that_was_refused_to_listen_is_bound_still():
    ports = made()
    for socket in (1, 2):
        ports.bind(socket, EVERYWHERE, 80, reuse_address=True)
    assert ports.listen(1) is None
    assert ports.listen(2) == errors.ADDRESS_IN_USE
    assert not ports.claim(2).listening
    ports.release(1)
    assert ports.listen(2) is None


def test_the_address_settles_when_the_socket_connects():
    ports = made(conflict=udp_conflict)
    ports.bind(1, EVERYWHERE, 53)
    assert ports.bind(2, THERE, 53) == REFUSED
    ports.specify(1, HERE)
    assert ports.bind(2, THERE, 53) == (53, None)


def test_port_zero_is_any_port_of_the_range_that_nobody_shares():
    """RFC 6056 §3.3.1."""
    for conflict in (tcp_conflict, udp_conflict):
        ports = made(5000, 5009, conflict)
        ports.bind(100, THERE, 5004)
        found = {ports.bind(socket, HERE, 0, reuse_address=True)[0] for socket in range(10)}
        assert found == set(range(5000, 5010))
        assert ports.bind(11, HERE, 0, reuse_address=True, reuse_port=True) == REFUSED
        assert ports.bind(12, EVERYWHERE, 0) == REFUSED


def test_port_zero_is_not_foreseeable():
    counts = Counter()
    for seed in range(400):
        counts[made(seed=seed).bind(1, EVERYWHERE, 0)[0] // 1000] += 1
    assert min(counts) >= 32 and max(counts) <= 60 and len(counts) > 25


def test_connects_to_one_peer_go_through_the_range_and_then_end():
    """RFC 6056 §3.3.4; EADDRNOTAVAIL when all ports are used for this peer."""
    ports = made(5000, 5099)
    taken = set()
    for socket in range(100):
        port, cause = ports.connect(socket, HERE, PEER, 80, taken.__contains__)
        assert cause is None and port not in taken
        taken.add(port)
    assert taken == set(range(5000, 5100))
    assert ports.connect(100, HERE, PEER, 80, taken.__contains__) == (0, errors.NO_FREE_PORT)
    assert ports.connect(101, HERE, PEER, 81, free)[1] is None  # another peer may have the same port
    assert ports.bind(102, HERE, 5000) == REFUSED
    assert ports.bind(103, THERE, 5000) == (5000, None)


def test_connect_passes_over_ports_that_are_bound_whatever_the_address():
    """Linux: a port with a bind or listen is not for connect (inet_bind_bucket's fastreuse)."""
    ports = made(5000, 5003)
    ports.bind(1, THERE, 5001)
    found = {ports.connect(socket, HERE, PEER, socket, free)[0] for socket in range(2, 40)}
    assert found == {5000, 5002, 5003}
    ports.release(1)
    assert 5001 in {ports.connect(socket, HERE, PEER, socket, free)[0] for socket in range(40, 80)}


def test_ports_of_connects_do_not_follow_one_another_across_peers():
    """RFC 6056 §3.3.4: who sees the ports of one peer learns nothing about those of another."""
    ports = made()
    taken = [ports.connect(socket, HERE, PEER, 1000 + socket, free)[0] for socket in range(200)]
    steps = Counter((after - before) % 28_232 // 1000 for before, after in itertools.pairwise(taken))
    assert len(steps) > 20
    assert taken != [made(seed=2).connect(socket, HERE, PEER, 1000 + socket, free)[0] for socket in range(200)]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nothing_is_left_of_longer_cases(transport):
    for case in longer_cases(7, 300, listens=transport == "tcp"):
        by_port_table(transport, case)  # asserts it
    assert by_port_table(transport, pair(("-", "never"), ("-", "never"), (ONE, ONE))) == ".b"
