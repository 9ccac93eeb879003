"""What the tests of `pystack.udp` say of Linux, asked of the kernel's own sockets."""

import errno
import itertools
import socket

import pytest

from pystack.udp.layer import MAX_MEMBERSHIPS
from tests.support.udp import GROUP, GROUP_2, HERE, LOOPBACK, NOWHERE, PEER, SOCKETS

ANY_PORT = 0


@pytest.fixture
def there(namespace):
    """This thread is meanwhile in a namespace whose loopback has the addresses of both sides."""
    for address in (HERE, PEER):
        namespace.ip(f"address add {text(address)}/32 dev lo")
    with namespace.entered():
        yield


def text(address):
    return socket.inet_ntoa(address)


def udp_socket():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def refused_with(call, *arguments):
    """The errno of a call that must fail."""
    with pytest.raises(OSError) as info:
        call(*arguments)
    return info.value.errno


def heard(each):
    """Whether a datagram waits; it is taken."""
    try:
        return bool(each.recv(10))
    except BlockingIOError:
        return False


@pytest.mark.parametrize(("better", "worse"), list(itertools.combinations(SOCKETS, 2)))
@pytest.mark.parametrize("newest", ["better", "worse"])
def test_the_closest_fit_gets_it(there, better, worse, newest):
    names = (worse, better) if newest == "better" else (better, worse)
    sockets = {name: udp_socket() for name in names}
    for name, each in sockets.items():
        address, by_device, peer = SOCKETS[name]
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if by_device:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        each.bind((text(address), 1000))
        if peer is not None:
            each.connect((text(peer[0]), peer[1]))
    with udp_socket() as sender:
        sender.bind((text(PEER), 53))
        sender.sendto(b"x", (text(HERE), 1000))
    found = [name for name, each in sockets.items() if heard(each)]
    for each in sockets.values():
        each.close()
    assert found == [better]


def test_of_equals_the_newest_gets_it(there):
    sockets = [udp_socket() for _ in range(3)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind(("", 1000))
    with udp_socket() as sender:
        sender.sendto(b"x", (text(HERE), 1000))
    found = [heard(each) for each in sockets]
    for each in sockets:
        each.close()
    assert found == [False, False, True]


def test_the_unspecified_address_is_this_host(there):
    with udp_socket() as each:
        each.connect(("0.0.0.0", 53))
        assert each.getsockname()[0] == each.getpeername()[0] == text(LOOPBACK)


def test_what_cannot_be_bound_or_sent_is_refused_with_its_cause(there):
    with udp_socket() as each:
        assert refused_with(each.bind, (text(NOWHERE), 53)) == errno.EADDRNOTAVAIL
        assert refused_with(each.send, b"x") == errno.EDESTADDRREQ
        assert each.getsockname()[1] != ANY_PORT  # bound by a send that failed
        assert refused_with(each.sendto, b"x", (text(PEER), 0)) == errno.EINVAL
        assert refused_with(each.sendto, b"x", (text(NOWHERE), 53)) == errno.ENETUNREACH
        assert refused_with(each.sendto, bytes(65_508), (text(PEER), 53)) == errno.EMSGSIZE
        assert refused_with(each.bind, (text(HERE), 53)) == errno.EINVAL


def test_what_cannot_be_joined(there):
    def change(option, group, address):
        each.setsockopt(socket.IPPROTO_IP, option, group + address)

    join, leave = socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP
    with udp_socket() as each:
        change(join, GROUP, LOOPBACK)
        assert refused_with(change, join, GROUP, LOOPBACK) == errno.EADDRINUSE
        assert refused_with(change, join, PEER, LOOPBACK) == errno.EINVAL
        assert refused_with(change, join, GROUP_2, NOWHERE) == errno.ENODEV
        assert refused_with(change, leave, GROUP_2, LOOPBACK) == errno.EADDRNOTAVAIL
        for number in range(MAX_MEMBERSHIPS - 1):
            change(join, bytes((239, 9, 9, number)), LOOPBACK)
        assert refused_with(change, join, GROUP_2, LOOPBACK) == errno.ENOBUFS
