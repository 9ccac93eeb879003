"""Who may share a port with whom: the kernel gives the answers of the stored table, and those of `PortTable`."""

import contextlib
import errno
import os
import socket

import pytest

from tests.support import ports
from tests.support.ports import APART, OVERLAPPING, PORT

OTHER_USER = 4321


class Kernel:
    """Plays cases on kernel sockets of the current namespace, which has the interfaces d1 and d2."""

    def __init__(self, transport):
        self._kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[transport]
        self._sockets = {}

    def play(self, case):
        """The case's result."""
        try:
            return ports.played(case, self._bind, lambda number: done(self._sockets[number].listen), self._close)
        finally:
            for number in list(self._sockets):
                self._close(number)

    def _bind(self, number, step):
        with user(OTHER_USER if step.owner else 0):
            made = self._sockets[number] = socket.socket(socket.AF_INET, self._kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, "A" in step.flags)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, "P" in step.flags)
        if step.interface:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"d%d" % step.interface)
        address = socket.inet_ntoa(ports.ADDRESSES[step.address])
        return done(lambda: made.bind((address, PORT)))

    def _close(self, number):
        self._sockets.pop(number).close()


def done(call):
    """Whether it was, and not refused because the address is in use."""
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EADDRINUSE
        return False
    return True


@contextlib.contextmanager
def user(number):
    """Sockets made meanwhile are that user's."""
    if number:
        os.seteuid(number)
    try:
        yield
    finally:
        if number:
            os.seteuid(0)


def has_users():
    """Whether this process can be another user: not in a user namespace of one."""
    with open("/proc/self/uid_map") as mapped:
        return any(int(line.split()[2]) > OTHER_USER for line in mapped)


@pytest.fixture
def there(namespace):
    """This thread is in a namespace with both addresses and both interfaces meanwhile."""
    namespace.ip("link add d1 type veth peer name d2")
    for each in (ports.ONE, ports.TWO):
        namespace.ip(f"address add {socket.inet_ntoa(ports.ADDRESSES[each])}/24 dev d1")
    with namespace.entered():
        yield


def agree(transport, cases):
    """The kernel and `PortTable` give the same result for each."""
    kernel = Kernel(transport)
    for case in cases:
        assert (kernel.play(case), case) == (ports.by_port_table(transport, case), case)


def test_the_kernel_gives_the_stored_table(there):
    for transport, first, second, result in ports.table():
        kernel = Kernel(transport)
        for addresses in OVERLAPPING:
            assert kernel.play(ports.pair(first, second, addresses)) == result, (transport, first, second, addresses)
        for addresses in APART:
            assert kernel.play(ports.pair(first, second, addresses)) == "..", (transport, first, second, addresses)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_longer_cases_agree(there, transport):
    agree(transport, ports.longer_cases(5, 3000, listens=transport == "tcp"))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_sockets_of_two_users_agree(there, transport):
    if not has_users():
        pytest.skip("there is one user only in this user namespace")
    agree(transport, ports.two_users(transport))
    agree(transport, ports.longer_cases(6, 2000, listens=transport == "tcp", owners=(0, 1)))
