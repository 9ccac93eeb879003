"""The engine's side of the boundary: which sockets programs have, and what they ask for over their control channels."""

import errno
import logging
import os
import struct
from collections import OrderedDict
from socket import (
    AF_INET,
    AF_INET6,
    SCM_RIGHTS,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)

import gevent

from pystack.errors import StackStopped
from pystack.scope import scoped
from pystack.sockets import kernel, protocol
from pystack.sockets.datagram_end import DatagramEnd
from pystack.sockets.ends import V4_MAPPED, pack_endpoint, refusal
from pystack.sockets.options import write_int
from pystack.sockets.poller import HANGUP, READ, Poller
from pystack.sockets.stream_end import StreamEnd

GRAVES = 4096  # sockets whose connection is over, and that a program may still ask about
_ANCILLARY = 64
_LOOPBACK6 = bytes(15) + b"\x01"
_RETRY = 0.1  # seconds after a shortage of descriptors
_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC

log = logging.getLogger("pystack.sockets")


class Service:
    """Owns the ends of all sockets that programs have.

    Args:
        endpoints: the stack's `Endpoints`.
        paths: who answers ``path(destination)``: inet.
        defaults: transport's name -> its settings as a new socket has them.
        way_of: ``way_of(socket number, address)``, the cause for which UDP would not send there, or None.
        interfaces: called for a list of ``(index, name, addresses)``.
        name_servers: called for ``(addresses, search domains)``, lists of text.

    Attributes:
        on_change: called when a process or a socket has gone; the engine may be at its end.
    """

    def __init__(self, endpoints, paths, defaults, way_of, interfaces, name_servers):
        self.endpoints = endpoints
        self.paths = paths
        self.defaults = defaults
        self.way_of = way_of
        self.on_change = lambda: None
        self.on_leave = None  # ``on_leave(seconds, children, reply)``; None: answer at once
        self.poller = Poller(endpoints.flush)
        self._interfaces = interfaces
        self._name_servers = name_servers
        self._ends = {}  # inode -> End, live or buried
        self._graves = OrderedDict()  # inode -> None, of those that are over
        self._lives = set()
        self.departed = set()  # process ids that had lives; one that is alive still may join again, by exec
        self._starving = {}  # Backlogs that wait for descriptors
        self._listening = None
        self._closed = False
        self._handlers = {
            protocol.OPEN: lambda end, body, reply: reply(0),
            protocol.BIND: self._bind,
            protocol.CONNECT: self._connect,
            protocol.CONNECT_AND_WAIT: self._connect_and_wait,
            protocol.GIVE_UP: self._give_up,
            protocol.LISTEN: self._listen,
            protocol.LOCAL: self._local,
            protocol.PEER: self._peer,
            protocol.SET_OPTION: self._set_option,
            protocol.GET_OPTION: self._get_option,
            protocol.STATUS: self._status,
            protocol.ROUTE: self._route,
            protocol.SHUTDOWN: self._shutdown,
            protocol.IDENTIFY: self._identify,
        }

    # -- processes ----------------------------------------------------------------------------------------------------

    @property
    def lives(self):
        """How many processes use the engine."""
        return len(self._lives)

    @property
    def open_ends(self):
        """How many sockets some process still has."""
        return len(self._ends) - len(self._graves)

    def listen(self, path):
        """Let processes of the same user join at the socket *path*."""
        self._listening = kernel.socket(kernel.AF_UNIX, SOCK_SEQPACKET | kernel.SOCK_CLOEXEC)
        self._listening.setblocking(False)
        self._listening.bind(path)
        self._listening.listen(512)
        self.poller.add(self._listening.fileno(), self._joined, READ)

    def new_life(self):
        """The program's end of a control channel for a new process: a `kernel.socket`, to be given away."""
        ours, theirs = kernel.pair(SOCK_SEQPACKET)
        self.add_life(ours)
        return theirs

    def close(self):
        """Let go of everything; programs see that the engine has gone."""
        self._closed = True
        if self._listening is not None:
            self.poller.remove(self._listening.fileno())
            self._listening.close()
            self._listening = None
        for life in list(self._lives):
            life.close()
        for end in list(self._ends.values()):
            end.close_pair()
        self.poller.close()

    def _joined(self, events=0):
        while self._listening is not None:
            try:
                fd, _ = self._listening._accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("a process waits to join: %s", error)
                gevent.spawn_later(_RETRY, self._joined)  # a descriptor may be free then
                return
            sock = kernel.socket(fileno=fd)
            sock.setblocking(False)
            self.add_life(sock)

    def add_life(self, sock):
        life = Life(self, kernel.peer_pid(sock))
        self._lives.add(life)
        life.add(sock)

    def life_over(self, life):
        """The process has ended, or become another program; `departed` has its id, if we know it."""
        self._lives.discard(life)
        if life.pid:
            self.departed.add(life.pid)
        self.on_change()

    # -- ends ---------------------------------------------------------------------------------------------------------

    def make_stream(self, family, number):
        """The end of a connection that TCP has accepted; without a pair, and so unknown to any program."""
        return StreamEnd(self, family, None, None, number)

    def attach(self, end, sock, inode):
        """Give it the engine's end *sock* of a pair, whose other end has the *inode*."""
        self._bury_old(inode)
        self._ends[inode] = end
        end.attach(inode, sock)

    def bury(self, end):
        """Its pair is closed: its connection is over, or no process has it. A program may still ask about it."""
        if self._ends.get(end.inode) is end:
            self._graves[end.inode] = None
            if len(self._graves) > GRAVES:
                inode, _ = self._graves.popitem(last=False)
                del self._ends[inode]
        self.on_change()

    def _bury_old(self, inode):
        """The kernel has given the number of a socket that is over to a new one."""
        self._graves.pop(inode, None)
        self._ends.pop(inode, None)

    def again(self, function):
        """Call it in the hub's next round."""
        gevent.get_hub().loop.run_callback(function)

    def later(self, function):
        """Call it when there may be more memory."""

        def call():
            function()
            self.endpoints.flush()

        gevent.spawn_later(_RETRY, call)

    def starving(self, backlog, error):
        """It waits for descriptors."""
        if backlog not in self._starving:
            log.warning("a connection waits to be accepted: %s", error)
            self._starving[backlog] = None
            gevent.spawn_later(_RETRY, self.descriptor_freed)

    def descriptor_freed(self):
        """Those that wait may try again."""
        if self._starving:
            starving, self._starving = self._starving, {}
            for backlog in starving:
                backlog.offer()

    # -- interfaces ---------------------------------------------------------------------------------------------------

    def index_of(self, name):
        """The interface's index; 0 for no name, None for a wrong one."""
        if not name:
            return 0
        return next((index for index, other, _ in self._interfaces() if other == name), None)

    def name_of(self, index):
        """The interface's name."""
        return next((name for other, name, _ in self._interfaces() if other == index), "")

    def interface_with(self, address):
        """The index of the interface that has the address, or 0."""
        return next((index for index, _, addresses in self._interfaces() if address in addresses), 0)

    # -- requests -----------------------------------------------------------------------------------------------------

    def request(self, life, message, descriptors, reply):
        """Do what a process asks; ``reply(errno, data=b"", sock=None)`` is called once, now or later.

        Whatever is wrong with the message becomes an errno.
        """
        try:
            if self._closed or self.endpoints.stopped:
                raise refusal(errno.ENETDOWN)
            operation, inode = protocol.REQUEST.unpack_from(message)
            body = memoryview(message)[protocol.REQUEST.size :]
            if operation & protocol.NEW:
                operation ^= protocol.NEW
                body = self._open(inode, body, descriptors)
            if operation == protocol.NEW_CHANNEL:
                ours, theirs = kernel.pair(SOCK_SEQPACKET)
                life.add(ours, shared=False)
                reply(0, b"", theirs)
            elif operation == protocol.NEW_LIFE:
                reply(0, b"", self.new_life())
            elif operation == protocol.INTERFACES:
                reply(0, self._pack_interfaces())
            elif operation == protocol.NAME_SERVERS:
                reply(0, "\0".join("\n".join(found) for found in self._name_servers()).encode())
            elif operation == protocol.SOURCE:
                reply(0, self._source_towards(body))
            elif operation == protocol.VERSIONS:
                reply(0, self._versions())
            elif operation == protocol.LEAVE:
                (seconds,) = protocol.SECONDS.unpack_from(body)
                children = [pid for (pid,) in protocol.COUNT.iter_unpack(body[protocol.SECONDS.size :])]
                if self.on_leave is None:
                    reply(0)
                else:
                    self.on_leave(seconds, children, reply)
            else:
                end = self._ends.get(inode)
                if end is None:
                    raise refusal(errno.ENOTSOCK)
                handler = self._handlers.get(operation)
                if handler is None:
                    raise refusal(errno.EOPNOTSUPP)
                handler(end, body, reply)
        except struct.error:
            reply(errno.EINVAL)
        except OSError as error:
            reply(error.errno or errno.EIO)
        except StackStopped:
            reply(errno.ENETDOWN)
        except Exception:  # a bug of ours, for which the program must not wait for ever
            self.endpoints.bugs += 1
            log.exception("a bug in what a program has asked for: %s", message[: protocol.REQUEST.size].hex())
            reply(errno.EIO)
        finally:
            for fd in descriptors:
                os.close(fd)
        self.endpoints.flush()

    def _open(self, inode, body, descriptors):
        """Open a socket; returns what of the *body* is left."""
        family, kind, _ = protocol.INTS.unpack_from(body)
        (count,) = protocol.COUNT.unpack_from(body, protocol.INTS.size)
        start = protocol.INTS.size + protocol.COUNT.size
        end = start + count * protocol.INTS.size
        old = self._ends.get(inode)
        if old is None or old.sock is None:
            made = self._make(inode, family, kind, descriptors)
            for level, name, value in protocol.INTS.iter_unpack(body[start:end]):
                made.set_option(level, name, write_int(value), _ignore)
        return body[end:]

    def _make(self, inode, family, kind, descriptors):
        if family not in (AF_INET, AF_INET6):
            raise refusal(errno.EAFNOSUPPORT)
        if kind not in (SOCK_STREAM, SOCK_DGRAM):
            raise refusal(errno.ESOCKTNOSUPPORT)
        if not descriptors:
            raise refusal(errno.EMFILE)  # the kernel had no room for it
        sock = kernel.socket(proto=0, fileno=descriptors[0])
        del descriptors[0]  # the socket's from now on
        pair_kind = SOCK_STREAM if kind == SOCK_STREAM else SOCK_SEQPACKET
        if (sock.family, sock.type) != (kernel.AF_UNIX, pair_kind):
            sock.close()
            raise refusal(errno.EINVAL)
        sock.setblocking(False)
        self._bury_old(inode)
        make = StreamEnd if kind == SOCK_STREAM else DatagramEnd
        end = make(self, family, inode, sock, self.endpoints.number())
        if family == AF_INET6:
            end.become_ipv6()
        self._ends[inode] = end
        end.watch()
        return end

    def _bind(self, end, body, reply):
        self.poller.catch_up()  # on Linux a port is free when close returns: the pair says so before the channel asks
        address, port, scope = protocol.unpack_endpoint(body)
        owner, _, _ = protocol.INTS.unpack_from(body, protocol.ENDPOINT.size)
        end.bind(end.inward(address, scope, to_bind=True), port, owner, reply)

    def _connect(self, end, body, reply, waits=False):
        self.poller.catch_up()
        address, port, scope = protocol.unpack_endpoint(body)
        (plug,) = protocol.COUNT.unpack_from(body, protocol.ENDPOINT.size)
        try:
            address = end.inward(address, scope)
        except OSError:
            end.unplug(plug)
            raise
        end.connect(address, port, plug, waits, reply)

    def _connect_and_wait(self, end, body, reply):
        def answer(number, data=b""):
            reply(0, protocol.REPLY.pack(number))

        try:
            self._connect(end, body, answer, True)
        except OSError as error:
            answer(error.errno)

    def _give_up(self, end, body, reply):
        end.give_up(*protocol.COUNT.unpack_from(body))
        reply(0)

    def _listen(self, end, body, reply):
        self.poller.catch_up()
        end.listen(protocol.INTS.unpack_from(body)[0], reply)

    def _local(self, end, body, reply):
        reply(0, pack_endpoint(*(end.local or (end.any_address, 0))))

    def _peer(self, end, body, reply):
        if end.remote is None or end.state() != protocol.CONNECTED:
            reply(errno.ENOTCONN)
        else:
            reply(0, pack_endpoint(*end.remote))

    def _set_option(self, end, body, reply):
        level, name, _ = protocol.INTS.unpack_from(body)
        end.set_option(level, name, bytes(body[protocol.INTS.size :]), reply)

    def _get_option(self, end, body, reply):
        level, name, room = protocol.INTS.unpack_from(body)
        end.get_option(level, name, min(max(room, 0), protocol.MAX_OPTION), reply)

    def _status(self, end, body, reply):
        (take,) = protocol.COUNT.unpack_from(body)
        number = end.take_error() if take else end.error
        reply(0, protocol.STATE.pack(end.state(), number))

    def _route(self, end, body, reply):
        address, port, scope = protocol.unpack_endpoint(body)
        end.route(end.inward(address, scope), port, reply)

    def _shutdown(self, end, body, reply):
        end.shutdown(reply)

    def _identify(self, end, body, reply):
        kind = SOCK_STREAM if end.transport == "tcp" else SOCK_DGRAM
        reply(0, protocol.INTS.pack(end.family, kind, 0))

    def _versions(self):
        outward = [address for _, _, addresses in self._interfaces() for address in addresses]
        outward = [address for address in outward if address[0] != 127 and address != _LOOPBACK6]
        return bytes({4 if len(address) == 4 else 6 for address in outward})

    def _source_towards(self, body):
        address, _, scope = protocol.unpack_endpoint(body)
        if address is None:
            raise refusal(errno.EINVAL)
        if address[:12] == V4_MAPPED:
            address = address[12:]
        facts = self.paths.path(scoped(address, scope & 0xFFFF) if len(address) == 16 else address)
        if facts is None or facts.source is None:
            raise refusal(errno.ENETUNREACH)
        return pack_endpoint(facts.source, 0)

    def _pack_interfaces(self):
        return b"".join(
            protocol.COUNT.pack(index) + protocol.COUNT.pack(len(name.encode())) + name.encode()
            for index, name, _ in self._interfaces()
        )


def _ignore(number, data=b""):
    """The answer to what nobody has asked."""


class Life:
    """One process, by its control channels. It is over when the last of them is closed; the kernel closes them."""

    def __init__(self, service, pid):
        self.pid = pid  # 0: not known
        self._service = service
        self._channels = {}  # descriptor -> Channel

    def add(self, sock, shared=True):
        """One more channel, the engine's end of it; unless it is *shared*, it has one request at a time."""
        channel = Channel(self, sock, shared)
        self._channels[sock.fileno()] = channel
        self._service.poller.add(sock.fileno(), channel.on_events, READ, last=True)

    def remove(self, channel, fd):
        """The process has closed one."""
        self._service.poller.remove(fd)
        channel.sock.close()
        del self._channels[fd]
        if not self._channels:
            self._service.life_over(self)

    def look_again(self, fd):
        """In the next round, so that the pairs have their turn before the next request."""
        if fd in self._channels:
            self._service.poller.change(fd, READ)

    def request(self, message, descriptors, reply):
        self._service.request(self, message, descriptors, reply)

    def close(self):
        for fd, channel in list(self._channels.items()):
            self.remove(channel, fd)


class Channel:
    """A control channel: one request at a time, and its reply. Threads share a process's first one: there another
    request may wait already."""

    def __init__(self, life, sock, shared):
        self.sock = sock
        self._shared = shared
        self._life = life
        self._fd = sock.fileno()
        self._owed = False  # a reply

    def on_events(self, events):
        while self.sock.fileno() >= 0:
            try:
                message, ancillary, _, _ = self.sock.recvmsg(protocol.MAX_MESSAGE, _ANCILLARY, _CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                message, ancillary = b"", ()
            descriptors = []
            for level, kind, data in ancillary:
                if level == SOL_SOCKET and kind == SCM_RIGHTS:
                    descriptors += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
            if not message:
                self._life.remove(self, self._fd)
                return
            self._owed = True
            self._life.request(message, descriptors, self._reply)
            if events & HANGUP == 0:
                if self._shared:
                    self._life.look_again(self._fd)
                return

    def _reply(self, number, data=b"", sock=None):
        ancillary = [(SOL_SOCKET, SCM_RIGHTS, struct.pack("i", sock.fileno()))] if sock is not None else []
        try:
            if self._owed:  # else a bug of ours came up after the reply
                self.sock.sendmsg([protocol.REPLY.pack(number), data], ancillary)
        except OSError:
            pass  # who asked has gone
        self._owed = False
        if sock is not None:
            sock.close()
