"""`pystack.Stack`: a stack with sockets of its own, for programs that patch nothing."""

import os
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, SO_REUSEADDR, SO_REUSEPORT, SOCK_STREAM, SOL_SOCKET

from gevent.socket import socket as GeventSocket

from monkey.resolver import Resolver
from monkey.socket import Socket
from pystack import inline, stack

_UNSET = object()
_RESOLVER = Resolver(())


class Stack(stack.Stack):
    """As `stack.Stack`, and its sockets have the standard library's interface; they wait as gevent's do.

    Names are those of /etc/hosts. Two stacks of one process, joined by a `pystack.device.memory.pair`, can talk to each
    other.
    """

    _socket_class = None
    _service = None

    def socket(self, family=AF_INET, type=SOCK_STREAM, proto=0):
        """A new socket, as `socket.socket` makes it. Raises OSError; StackStopped."""
        if self._socket_class is None:
            self._service = self.service()
            self._socket_class = _make_class(self._service)
        return self._socket_class(family, type, proto)

    def create_connection(self, address, timeout=_UNSET, source_address=None):
        """Connect a TCP socket to ``(host, port)``, by IPv6 or IPv4 as it comes. Raises OSError; TimeoutError."""
        host, port = address
        failure = None
        for family, *_, found in _RESOLVER.getaddrinfo(host, port, 0, SOCK_STREAM):
            try:
                return self._connect(family, found, timeout, source_address)
            except OSError as error:
                failure = error
        raise failure

    def _connect(self, family, address, timeout, source_address):
        sock = self.socket(family)
        try:
            if timeout is not _UNSET:
                sock.settimeout(timeout)
            if source_address is not None:
                sock.bind(source_address)
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def create_server(self, address, *, family=AF_INET, backlog=128, reuse_port=False, dualstack_ipv6=False):
        """A TCP socket that listens on ``(host, port)``; a host of "" is all addresses, of both versions of IP with
        *dualstack_ipv6*. Raises OSError."""
        sock = self.socket(family)
        try:
            if family == AF_INET6:
                sock.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, not dualstack_ipv6)
            sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        return sock

    def release(self):
        if self._service is not None:
            self._service, service = None, self._service
            service.close()
        super().release()

    def abandon(self):
        self._service = None
        super().abandon()


def _make_class(service):
    """A class of sockets on the stack of *service*: gevent's, around those of `monkey.socket`."""
    made = inline.engine_of(service)
    made.resolver = _RESOLVER

    class OfStack(Socket):
        __slots__ = ("__weakref__",)
        pystack_engine = made

    class StackSocket(GeventSocket):
        """A socket of one `Stack`."""

        __slots__ = ()
        _gevent_sock_class = OfStack

        def accept(self):
            while True:
                try:
                    fd, address = self._accept()
                    break
                except BlockingIOError:
                    if self.timeout == 0.0:
                        raise
                self._wait(self._read_event)
            return type(self)(self.family, self.type, self.proto, fileno=fd), address

        def dup(self):
            """A second socket object for the same socket."""
            sock = type(self)(self.family, self.type, self.proto, fileno=os.dup(self.fileno()))
            sock.settimeout(self.gettimeout())
            return sock

    return StackSocket
