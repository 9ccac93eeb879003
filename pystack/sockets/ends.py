"""The engine's end of a program's socket: what streams, listeners and datagram sockets have in common."""

import errno
import os
from itertools import count
from operator import attrgetter
from socket import AF_INET, AF_INET6

from pystack import errors, transport
from pystack.scope import is_link_local, on_wire, scope_of, scoped
from pystack.sockets import options, options6, protocol
from pystack.sockets.poller import ERROR, HANGUP, READ, URGENT, WRITE

V4_MAPPED = bytes(10) + b"\xff\xff"


def pack_endpoint(address, port):
    """`protocol.ENDPOINT` of an address as the stack has it."""
    return protocol.pack_endpoint(on_wire(address), port, scope_of(address))


def refusal(number):
    """An OSError of that errno, which the program gets to see."""
    return OSError(number, os.strerror(number))


class Answers:
    """The requests of programs that a transport has yet to answer, in their order.

    Between `expect` and `settle` comes whatever the transport does; a rendezvous does it before `expect` returns.
    """

    __slots__ = ("_waiting",)

    def __init__(self):
        self._waiting = []  # few; an empty deque occupies 600 bytes

    def expect(self, reply):
        """*reply* is to be called with what comes."""
        self._waiting.append(reply)

    def settle(self, number=0, data=b""):
        """The transport has answered the oldest. Returns False if none waits."""
        if not self._waiting:
            return False
        self._waiting.pop(0)(number, data)
        return True

    def fail(self, number):
        """It will answer none."""
        while self.settle(number):
            pass


class End:
    """One socket, known by the *inode* of the program's end of its pair, which may be open in several processes.

    Args:
        service: the `Service`.
        family: AF_INET or AF_INET6.
        inode: an int.
        sock: the engine's end of the pair, a `kernel.socket` that does not block, or None.
        number: the transport's for the socket.
    """

    transport = ""
    options = {}  # family -> table

    def __init__(self, service, family, inode, sock, number):
        self.family = family
        self.inode = inode
        self.number = number
        self.sock = sock
        self.gone = False  # the transport knows it no more
        self.unread = False  # the program has closed it, and left something in the pair
        self.local = None  # (address, port), once bound
        self.remote = None
        self.error = 0  # the errno that the program has not been told of yet
        self.values = {}  # setting -> value, as far as the program has set any
        self._service = service
        self._fd = -1 if sock is None else sock.fileno()
        self._watched = 0  # events that the poller was asked for
        self._answers = Answers()
        self._tokens = {}  # of GetInfo -> reply
        self._next_token = count(1)
        self._bound_by_program = None  # the Bind to be made again for another attempt to connect
        service.endpoints.add(self.transport, self)

    # -- addresses ----------------------------------------------------------------------------------------------------

    @property
    def any_address(self):
        """Zeros, as many as an address of the family has."""
        return bytes(4 if self.family == AF_INET else 16)

    def inward(self, address, scope, to_bind=False):
        """An address of the program's as the stack has it: an IPv4 one of an IPv6 socket in its own form, a link-local
        one with its scope. None stays None. Raises OSError, which Linux chooses by whether it is *to_bind* to."""
        if address is None:
            return None
        if len(address) != len(self.any_address):
            raise refusal(errno.EAFNOSUPPORT)
        if address[:12] == V4_MAPPED and len(address) == 16:
            if self.values.get("v6_only"):
                raise refusal(errno.EINVAL if to_bind else errno.ENETUNREACH)
            return address[12:]
        if is_link_local(address):
            scope = scope or self.values.get("interface", 0)
            if not scope:
                raise refusal(errno.EINVAL)
            if not self._service.name_of(scope):
                raise refusal(errno.ENODEV if to_bind else errno.ENETUNREACH)
            return scoped(address, scope)
        return address

    # -- the pair -----------------------------------------------------------------------------------------------------

    def watch(self):
        """Be told of the pair from now on."""
        self._watched = self.interest()
        self._service.poller.add(self._fd, self._on_events, self._watched)

    def interest(self):
        """Of which events to be told now. Not to ask for room as long as nothing waits for it saves a wake for each
        time that the program reads."""
        return READ

    def review_interest(self):
        """Something has changed that `interest` depends on, perhaps."""
        if self.sock is not None:
            wanted = self.interest()
            if wanted != self._watched:
                self._watched = wanted
                self._service.poller.change(self._fd, wanted)

    def _on_events(self, events):
        if events & WRITE:
            self.writable()
        if events & URGENT:
            self.urgent()
        if events & (READ | HANGUP | ERROR | URGENT) and self.sock is not None:
            if events & HANGUP and events & ERROR:
                self.unread = True
            self.readable(events & HANGUP != 0)

    def readable(self, hung_up):
        """There is something in the pair, or its end; *hung_up*: no process has the program's end any more."""

    def route(self, address, port, reply):
        """May a datagram be sent there?"""
        reply(errno.EOPNOTSUPP)

    def give_up(self, plug):
        """Nobody waits for a connect's answer any more."""
        raise refusal(errno.EOPNOTSUPP)

    def shutdown(self, reply):
        """The program neither reads nor writes any more."""
        reply(errno.EOPNOTSUPP)

    def writable(self):
        """There is room in the pair."""

    def urgent(self):
        """The program has sent urgent data."""

    def unplug(self, left):
        """Take *left* bytes out of the pair, which kept it from polling writable: it does not connect. Returns how many
        there were not."""
        return left

    def close_pair(self):
        """No more bytes will go either way."""
        if self.sock is not None:
            self._service.poller.remove(self._fd)
            self.sock.close()
            self.sock = None
            self._fd = -1
            self._service.descriptor_freed()

    def let_go(self, request):
        """The program has closed its socket: the transport gets *request* as the last one."""
        self.post(request)
        self.gone = True
        self._service.endpoints.forget(self.transport, self)
        self.close_pair()
        self._service.bury(self)

    # -- the transport ------------------------------------------------------------------------------------------------

    def post(self, request):
        self._service.endpoints.post(self.transport, request)

    def ask(self, request, reply):
        """Make a request whose answer is *reply*'s. A transport that does not know the socket any more answers none."""
        if self.gone:
            reply(errno.EINVAL)
            return
        self._answers.expect(reply)
        self.post(request)

    def event(self, event):
        """Take one event of the transport."""
        kind = type(event)
        if kind is transport.Bound:
            self.local = event.address, event.port
            self._answers.settle()
        elif kind is transport.Info:
            self._tokens.pop(event.token)(event.info)
        elif kind is transport.Failed:
            self.failed(errors.ERRNO[event.cause])

    def failed(self, number):
        """A request was refused."""
        self._answers.settle(number)

    def stop(self, failure):
        """The stack has stopped."""
        self._answers.fail(errno.ENETDOWN)
        tokens, self._tokens = self._tokens, {}
        for reply in tokens.values():
            reply(None)

    def become_ipv6(self):
        """Tell the transport that the socket is of AF_INET6."""
        self._set("ipv6", True, True)

    # -- requests of the program --------------------------------------------------------------------------------------

    def bind(self, address, port, owner, reply):
        if address is None:
            reply(errno.EAFNOSUPPORT)
            return
        if self.local is not None:
            reply(errno.EINVAL)
            return
        self._bound_by_program = transport.Bind(
            self.number,
            address,
            port,
            reuse_address=self.values.get("reuse_address", False),
            reuse_port=self.values.get("reuse_port", False),
            interface=self.values.get("interface", 0),
            owner=owner,
        )
        self.ask(self._bound_by_program, reply)

    def state(self):
        """One of protocol's FRESH to OVER."""
        return protocol.FRESH

    def take_error(self):
        """The pending errno, which is none from now on."""
        number, self.error = self.error, 0
        return number

    def set_option(self, level, name, value, reply):
        key = level, name
        option = self.options[self.family].get(key)
        if key == options6.V6ONLY and self.local is not None:
            raise refusal(errno.EINVAL)
        if key == options.BINDTODEVICE:
            index = self._service.index_of(bytes(value).split(b"\0")[0].decode("utf-8", "replace"))
            if index is None:
                raise refusal(errno.ENODEV)
            self._set("interface", index, self.transport == "udp")
        elif option is None:
            raise refusal(errno.ENOPROTOOPT)
        else:
            self._set(option.setting, option.to_value(value), option.transport)
        reply(0)

    def _set(self, setting, value, to_transport):
        if to_transport:
            try:
                self._service.endpoints.check(self.transport, setting, value)
            except errors.StackError:
                raise refusal(errno.ENOENT if setting == "congestion" else errno.EINVAL) from None
            self.post(transport.SetOption(self.number, setting, value))
        self.values[setting] = value

    def get_option(self, level, name, room, reply):
        key = level, name
        option = self.options[self.family].get(key)
        if key == options.BINDTODEVICE:
            index = self.values.get("interface", 0)
            value = self._service.name_of(index).encode() + b"\0" if index else b""
        elif key == options.IP_OPTIONS:
            value = b""
        elif key == options.IP_MTU or (key == options6.MTU and self.family == AF_INET6):
            if self.remote is None:
                raise refusal(errno.ENOTCONN)
            facts = self._service.paths.path(self.remote[0])
            value = options.write_int(facts.mtu if facts is not None else 0)
        elif option is None:
            raise refusal(errno.ENOPROTOOPT)
        else:
            value = option.to_bytes(self._value_of(option))
        reply(0, value[:room])

    def _value_of(self, option):
        value = self.values.get(option.setting)
        if value is None and not option.transport:
            return option.default
        if value is None:
            value = attrgetter(option.setting)(self._service.defaults[self.transport])
        return value or options.LEFT_TO_STACK.get(option.setting, value)
