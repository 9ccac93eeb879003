"""Connections that do not come about, and how they end: the errno is Linux's at both ends."""

import errno
import socket

import gevent
import pytest

from integration.support.stacks import HOST, STACK, on_tap
from pystack import StackConfig
from pystack.config import TcpConfig


def kernel_connect(namespace, port):
    """The errno of a kernel's connect to the stack, which goes on meanwhile."""
    with namespace.socket() as one:
        one.setblocking(False)
        one.connect_ex((STACK, port))
        for _ in range(200):
            number = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                return number
            try:
                one.getpeername()
            except OSError:
                gevent.sleep(0.01)
            else:
                return 0
    return None


def test_a_closed_port_of_the_stack(namespace):
    with on_tap(namespace) as stack:
        assert kernel_connect(namespace, 81) == errno.ECONNREFUSED
        assert stack.counters()["tcp"]["OutRsts"] == 1


def test_a_closed_port_of_the_kernel(namespace):
    with on_tap(namespace) as stack:
        with pytest.raises(ConnectionRefusedError):
            stack.connect(HOST, 81)
        assert stack.held()["connections"] == stack.held()["ports"] == 0


def test_nobody_there_and_no_way(namespace):
    with on_tap(namespace, StackConfig(tcp=TcpConfig(tcp_syn_retries=0)), gateway=None) as stack:
        with pytest.raises(OSError) as nobody:
            stack.connect("10.77.0.99", 80, timeout=10)
        assert nobody.value.errno in (errno.EHOSTUNREACH, errno.ETIMEDOUT)
        with pytest.raises(OSError) as nowhere:
            stack.connect("192.0.2.1", 80)
        assert nowhere.value.errno == errno.ENETUNREACH
        with pytest.raises(TimeoutError):
            stack.connect("10.77.0.98", 80, timeout=0.2)


def test_a_reset_by_the_kernel(namespace):
    """Close with unread data: what had come before is read first, then ECONNRESET."""
    with on_tap(namespace) as stack, stack.listen(80) as listener:
        with namespace.socket() as one:
            one.setblocking(False)
            one.connect_ex((STACK, 80))
            with listener.accept() as stream:
                stream.sendall(b"never read")
                gevent.sleep(0.05)
                one.send(b"read")
                one.close()
                gevent.sleep(0.05)
                assert stream.recv(10) == b"read"
                with pytest.raises(ConnectionResetError):
                    stream.recv(10)


def test_a_reset_by_the_stack(namespace):
    with on_tap(namespace) as stack, stack.listen(80) as listener:
        with namespace.socket() as one:
            one.setblocking(False)
            one.connect_ex((STACK, 80))
            stream = listener.accept()
            one.send(b"never read")
            gevent.sleep(0.05)
            stream.close()
            gevent.sleep(0.05)
            with pytest.raises(ConnectionResetError):
                one.recv(10)


def test_urgent_data_both_ways(namespace):
    """As on Linux, the byte before the pointer, out of the stream."""
    with on_tap(namespace) as stack, stack.listen(80) as listener:
        with namespace.socket() as one:
            one.setblocking(False)
            one.connect_ex((STACK, 80))
            with listener.accept() as stream:
                one.send(b"abc")
                one.send(b"de!", socket.MSG_OOB)
                one.send(b"fg")
                gevent.sleep(0.05)
                assert stream.recv(100) == b"abcdefg"
                assert stream.urgent() == (ord("!"), 5)
                stream.sendall(b"abc")
                stream.send_urgent(b"de!")
                stream.sendall(b"fg")
                gevent.sleep(0.1)
                assert one.recv(1, socket.MSG_OOB) == b"!"
                assert one.recv(100) + one.recv(100) == b"abcdefg"
