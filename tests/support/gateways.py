"""A stack whose link is a gateway to the kernel; what is outside are the kernel's sockets, by gevent."""

from contextlib import contextmanager

import gevent
from gevent import socket

from pystack import Interface, Stack
from pystack.device import memory
from pystack.gateway.gateway import Gateway

HOST = "10.77.0.1"
GUEST = "10.77.0.2"
LOCALHOST = "127.0.0.1"


@contextmanager
def linked(mtu=65_535, seconds=30, bugs=0, **settings):
    """``(stack, gateway)``, running; to be done within that many seconds."""
    ours, theirs = memory.pair(mtu=mtu)
    stack = Stack([Interface(device=ours, addresses=[f"{GUEST}/24"], gateway=HOST)])
    with gevent.Timeout(seconds), Gateway(theirs, **settings) as gateway, stack:
        yield stack, gateway
        assert gateway.counters()["gateway"]["bugs"] == bugs
        assert stack.counters()["stack"]["bugs"] == 0


def listening():
    """``(listener, port)`` of the kernel's."""
    listener = socket.socket()  # create_server is the standard library's, which blocks
    listener.bind((LOCALHOST, 0))
    listener.listen()
    return listener, listener.getsockname()[1]


@contextmanager
def connected(stack):
    """A stream of the stack's and the kernel's socket that it leads to."""
    listener, port = listening()
    with listener:
        stream = stack.connect(HOST, port)
        outside, _ = listener.accept()
    with outside, stream:
        yield stream, outside


def read_all(recv):
    """What comes up to the end of the stream."""
    parts = []
    while part := recv(1 << 18):
        parts.append(part)
    return b"".join(parts)


def free_port(kind=socket.SOCK_STREAM):
    """A port of the kernel's that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOCALHOST, 0))
        return probe.getsockname()[1]
