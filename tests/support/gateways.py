"""A stack whose link is a gateway to the kernel; what is outside are the kernel's sockets, by gevent."""

from contextlib import contextmanager
from dataclasses import dataclass

import gevent
import pytest
from gevent import socket

from pystack import Interface, Stack, StackConfig
from pystack.config import Ipv6Config
from pystack.device import memory
from pystack.gateway.gateway import Gateway
from pystack.text import parse_address


@dataclass(frozen=True)
class Version:
    """Addresses of one version of IP, as text: the host's and the program's, the kernel's own, and one far away."""

    name: str
    host: str
    guest: str
    localhost: str
    far: str
    family: int

    @property
    def host_bytes(self):
        return parse_address(self.host)

    @property
    def guest_bytes(self):
        return parse_address(self.guest)

    @property
    def far_bytes(self):
        return parse_address(self.far)


V4 = Version("IPv4", "10.77.0.1", "10.77.0.2", "127.0.0.1", "192.0.2.9", socket.AF_INET)
V6 = Version("IPv6", "fdc5:77ab:1b4e::1", "fdc5:77ab:1b4e::2", "::1", "2001:db8::9", socket.AF_INET6)
by_both = pytest.mark.parametrize("ip", [V4, V6], ids=lambda ip: ip.name)


@contextmanager
def linked(mtu=65_535, seconds=30, bugs=0, versions=(V4, V6), **settings):
    """``(stack, gateway)``, running; to be done within that many seconds."""
    ours, theirs = memory.pair(mtu=mtu)
    addresses = [f"{ip.guest}/{24 if ip is V4 else 64}" for ip in versions]
    # Nobody else is on the link: no time is spent on duplicate address detection, and there is no router.
    config = StackConfig(ipv6=Ipv6Config(dad_transmits=0, accept_ra=False))
    stack = Stack([Interface(device=ours, addresses=addresses, gateway=tuple(ip.host for ip in versions))], config)
    with gevent.Timeout(seconds), Gateway(theirs, **settings) as gateway, stack:
        yield stack, gateway
        assert gateway.counters()["gateway"]["bugs"] == bugs
        assert stack.counters()["stack"]["bugs"] == 0


def listening(ip=V4):
    """``(listener, port)`` of the kernel's."""
    listener = socket.socket(ip.family)  # create_server is the standard library's, which blocks
    listener.bind((ip.localhost, 0))
    listener.listen()
    return listener, listener.getsockname()[1]


@contextmanager
def connected(stack, ip=V4):
    """A stream of the stack's and the kernel's socket that it leads to."""
    listener, port = listening(ip)
    with listener:
        stream = stack.connect(ip.host, port)
        outside, _ = listener.accept()
    with outside, stream:
        yield stream, outside


def read_all(recv):
    """What comes up to the end of the stream."""
    parts = []
    while part := recv(1 << 18):
        parts.append(part)
    return b"".join(parts)


def free_port(kind=socket.SOCK_STREAM, ip=V4):
    """A port of the kernel's that nobody has."""
    with socket.socket(ip.family, kind) as probe:
        probe.bind((ip.localhost, 0))
        return probe.getsockname()[1]
