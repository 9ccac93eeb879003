"""The seam: a subclass of `_socket.socket` whose internet sockets are ends of pairs, the other ends being the engine's.

All I/O is the kernel's own on a real descriptor; what is here is what a pair cannot do by itself: names, options,
connecting, accepting, the headers of datagrams, and errors. `socket.py` of the standard library runs on top unchanged.
"""

import _socket
import errno
import os
import select
from _socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
)
from contextlib import suppress

from monkey import addresses, tls
from monkey.client import Unanswered, has_hung_up, refusal, wait
from monkey.client import kernel_socket as _kernel
from monkey.datagrams import Datagrams, check_ancillary, has_unread
from pystack.sockets import protocol

_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_FD = 64  # room for an ancillary descriptor
_TYPES = {
    (SOCK_STREAM, 0): 6,
    (SOCK_STREAM, 6): 6,
    (SOCK_DGRAM, 0): 17,
    (SOCK_DGRAM, 17): 17,
}
_INT = 4
_MOST_WAITING = 32  # connects that keep a control channel until they are answered: each occupies a descriptor
# Options that are the pair's own: the kernel minds them on any socket.
_NATIVE = frozenset(
    getattr(_socket, name)
    for name in ("SO_RCVTIMEO", "SO_SNDTIMEO", "SO_RCVLOWAT", "SO_PEEK_OFF", "SO_INCOMING_CPU")
    if hasattr(_socket, name)
) | {20, 21, 18}  # fmt: skip
# Options that a socket may have many of: IP_ADD_ and DROP_MEMBERSHIP, IPV6_JOIN_ and LEAVE_GROUP.
_MEMBERSHIPS = frozenset(((0, 35), (0, 36), (41, 20), (41, 21)))
# Options that take any int, so that the engine need not say at once whether they can be: SO_REUSEADDR, SO_KEEPALIVE,
# SO_REUSEPORT, TCP_NODELAY.
_IPPROTO_TCP = 6
_CARRIED = frozenset(((SOL_SOCKET, 2), (SOL_SOCKET, 9), (SOL_SOCKET, 15), (_IPPROTO_TCP, 1)))
_SO_DOMAIN = getattr(_socket, "SO_DOMAIN", 39)
_SO_PROTOCOL = getattr(_socket, "SO_PROTOCOL", 38)


class Known:
    """What this process knows of one of its sockets.

    ``state`` is protocol's, or None: then the engine is to be asked. ``datagrams`` is a `Datagrams`, or None.
    ``options`` are the arguments of `setsockopt`, the last of each, for the kernel's socket that may take its place.
    ``plug`` is how much of a plug is in the pair, perhaps, of which the engine could not be told.
    """

    __slots__ = ("datagrams", "inode", "options", "plug", "state")

    def __init__(self, inode, state, datagrams):
        self.inode = inode
        self.state = state
        self.datagrams = datagrams
        self.options = {}
        self.plug = 0


class Socket(_kernel):
    """In the place of `_socket.socket`.

    Instances have no attributes of their own: what is known of a descriptor is in `known`, and may at any time be asked
    for again, by the inode. Nor do the methods use ``super()``: they serve any class made of the kernel's, so that
    `patch` can put them into one that exists already. Private names are mangled, as subclasses have names of their own
    (`ssl.SSLSocket._connected`).
    """

    __slots__ = ()
    kernel_class = _kernel
    pystack_engine = None  # an `Engine`: of the class, for all its sockets

    def __init_subclass__(cls, **named):
        super().__init_subclass__(**named)
        if (cls.__module__, cls.__name__) == ("ssl", "SSLSocket"):
            tls.watch(cls, raise_pending)

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is not None:
            self.__adopt(family, type, proto, fileno)
            return
        family = AF_INET if family == -1 else family
        type = SOCK_STREAM if type == -1 else type
        proto = 0 if proto == -1 else proto
        if family not in (AF_INET, AF_INET6):
            _kernel.__init__(self, family, type, proto)
            self.pystack_engine.known.pop(self.fileno(), None)
            return
        kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)
        _check_kind(kind, proto)
        inode, fd = self.pystack_engine.open_pair(family, kind, proto, type & SOCK_NONBLOCK)
        try:
            _kernel.__init__(self, family, type & ~SOCK_CLOEXEC, proto, fd)
        except BaseException:
            os.close(fd)
            raise
        self.pystack_engine.known[fd] = Known(
            inode, protocol.FRESH, Datagrams(self.pystack_engine, inode, family) if kind == SOCK_DGRAM else None
        )

    def __adopt(self, family, type, proto, fileno):
        """Take a descriptor that is there already: by accept, dup, detach, fork, exec, or from elsewhere."""
        _kernel.__init__(self, family, type, proto, fileno)
        fd = self.fileno()
        accepted = self.pystack_engine.accepted.pop(fd, None)
        self.pystack_engine.known.pop(fd, None)
        if accepted is not None:
            self.pystack_engine.known[fd] = accepted
            return
        if family not in (-1, AF_INET, AF_INET6) or _kernel.getsockopt(self, SOL_SOCKET, _SO_DOMAIN) != AF_UNIX:
            return
        found = self.pystack_engine.identify(fd)
        if found is None:
            return  # the kernel's own
        inode, (family, kind, proto) = found
        if self.family != family or self.type != kind:
            blocking = self.gettimeout()
            _kernel.__init__(self, family, kind, proto if proto >= 0 else 0, fd)
            self.settimeout(blocking)
        self.pystack_engine.known[fd] = Known(
            inode, None, Datagrams(self.pystack_engine, inode, family) if kind == SOCK_DGRAM else None
        )

    # -- what is known ------------------------------------------------------------------------------------------------

    def __known(self):
        """`Known`, or None: it is a socket of the kernel's (or closed, which the kernel will say)."""
        return self.pystack_engine.known.get(self.fileno())

    def __state(self, known):
        """The socket's state now, as the engine has it, unless it is settled."""
        if known.state in (protocol.CONNECTED, protocol.LISTENING):
            return known.state
        known.state = self.pystack_engine.status(known.inode, False)[0]
        return known.state

    def __pending(self, known):
        """The errno that the socket has pending, which is none from now on; 0 if there is none."""
        state, number = self.pystack_engine.status(known.inode, True)
        if state == protocol.CONNECTED:
            known.state = state
        return number

    def __raise_pending(self, known):
        number = self.__pending(known)
        if number:
            raise refusal(number)

    # -- life ---------------------------------------------------------------------------------------------------------

    def close(self):
        known = self.pystack_engine.known.pop(self.fileno(), None)
        # What is unread makes it a reset, which on Linux is on its way when close returns. The engine hears of the end
        # of a pair before it looks at a channel, so that any question will do.
        resets = known is not None and known.state == protocol.CONNECTED and has_unread(self)
        _kernel.close(self)
        self.pystack_engine.closed(known)
        if resets:
            with suppress(OSError):
                self.pystack_engine.status(known.inode, False)

    # -- names --------------------------------------------------------------------------------------------------------

    def bind(self, address):
        known = self.__known()
        if known is None:
            return _kernel.bind(self, address)
        packed = addresses.parse(self.pystack_engine, self.family, address, "bind")
        if self.pystack_engine.is_kernels(packed[0]) and self.__become_kernels(known):
            return _kernel.bind(self, address)
        body = protocol.pack_endpoint(*packed) + protocol.INTS.pack(_user(), 0, 0)
        self.pystack_engine.call(protocol.BIND, known.inode, body)
        return None

    def getsockname(self):
        known = self.__known()
        if known is None:
            return _kernel.getsockname(self)
        return addresses.text(self.pystack_engine.call(protocol.LOCAL, known.inode), self.family)

    def getpeername(self):
        known = self.__known()
        if known is None:
            return _kernel.getpeername(self)
        return addresses.text(self.pystack_engine.call(protocol.PEER, known.inode), self.family)

    # -- connecting ---------------------------------------------------------------------------------------------------

    def connect(self, address):
        known = self.__known()
        if known is None:
            return _kernel.connect(self, address)
        packed = addresses.parse(self.pystack_engine, self.family, address, "connect")
        if self.pystack_engine.is_kernels(packed[0]) and self.__become_kernels(known):
            return _kernel.connect(self, address)
        number = self.__connect(known, packed)
        if number is None:
            raise TimeoutError("timed out")
        if number:
            raise refusal(number)
        return None

    def connect_ex(self, address):
        known = self.__known()
        if known is None:
            return _kernel.connect_ex(self, address)
        packed = addresses.parse(self.pystack_engine, self.family, address, "connect_ex")
        if self.pystack_engine.is_kernels(packed[0]) and self.__become_kernels(known):
            return _kernel.connect_ex(self, address)
        try:
            number = self.__connect(known, packed)
        except OSError as error:
            return error.errno
        return errno.EAGAIN if number is None else number

    def __connect(self, known, packed):
        """Connect, and wait as long as the socket's timeout says. Returns an errno, 0 if it stands, None if it does not
        yet."""
        body = protocol.pack_endpoint(*packed)
        if known.datagrams is not None:
            try:
                self.pystack_engine.call(protocol.CONNECT, known.inode, body + protocol.COUNT.pack(0))
            except OSError as error:
                return error.errno
            known.datagrams.connected = True
            known.datagrams.forget_ways()
            return 0
        if known.plug:
            self.__give_up(known, known.plug)
            if known.plug:
                return errno.EMFILE
        plug = 0
        if known.state not in (protocol.CONNECTED, protocol.LISTENING):
            known.state, number = self.pystack_engine.status(known.inode, False)
            if known.state == protocol.FRESH and not number:
                plug = self.__plug()
        known.state = None
        body += protocol.COUNT.pack(plug)
        if self.gettimeout() == 0:
            return self.__begin_to_connect(known, body, plug)
        return self.__connect_and_wait(known, body, plug)

    def __begin_to_connect(self, known, body, plug):
        try:
            self.pystack_engine.call(protocol.CONNECT, known.inode, body)
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                known.plug = plug  # nobody was told
            return error.errno
        known.state = protocol.CONNECTED
        # On the loopback it may stand already; Linux tells so only him who waits.
        return errno.EINPROGRESS if plug else 0

    def __connect_and_wait(self, known, body, plug):
        waiting = self.pystack_engine.waiting
        if len(waiting) < _MOST_WAITING:
            waiting.append(None)
            try:
                answer = self.pystack_engine.call(protocol.CONNECT_AND_WAIT, known.inode, body, self.gettimeout())
            except Unanswered:
                self.__give_up(known, plug)
                return None
            except BaseException:  # a signal handler's, or there is no descriptor to ask by
                self.__give_up(known, plug)
                raise
            finally:
                waiting.pop()
            (number,) = protocol.REPLY.unpack(answer)
        else:
            number = self.__begin_to_connect(known, body, plug)
        if number == errno.EINPROGRESS:
            known.state = None
            if not self.__wait_connected():
                return None
            number = self.__connected(known)
        if not number:
            known.state = protocol.CONNECTED
        return number

    def __give_up(self, known, plug):
        """Wait no more; the attempt goes on, if it was begun."""
        known.plug = plug
        with suppress(OSError):
            self.pystack_engine.call(protocol.GIVE_UP, known.inode, protocol.COUNT.pack(plug))
            known.plug = 0

    def __plug(self):
        """Fill the pair until it polls writable no more; the engine takes it out when the connection stands, or fails.

        A pair is writable while no more than a quarter of its buffer is in use (unix_writable).
        """
        size = _kernel.getsockopt(self, SOL_SOCKET, _socket.SO_SNDBUF) // 4 + 1
        if size > len(self.pystack_engine.plug):
            self.pystack_engine.plug = bytes(size)
        return _kernel.send(self, memoryview(self.pystack_engine.plug)[:size], _socket.MSG_DONTWAIT)

    def __wait_connected(self):
        """Wait as long as the socket's timeout says; False if it is over."""
        return wait(self, select.POLLOUT, self.gettimeout())

    def __connected(self, known):
        """The attempt is over: the errno of how."""
        known.state, number = self.pystack_engine.status(known.inode, True)
        return number

    def __become_kernels(self, known):
        """The program wants a destination that stays with the kernel: put a socket of the kernel's in this one's place,
        with the options that were set. Not if it is bound or connected already."""
        if self.__state(known) != protocol.FRESH:
            return False
        engine = self.pystack_engine
        if engine.unopened(known.inode) is None:
            if addresses.text(engine.call(protocol.LOCAL, known.inode), self.family) != _unbound(self.family):
                return False
        fd = self.fileno()
        other = _kernel(self.family, self.type, self.proto)
        try:
            for arguments in known.options.values():
                other.setsockopt(*arguments)
            os.set_blocking(other.fileno(), os.get_blocking(fd))
            os.dup2(other.fileno(), fd, os.get_inheritable(fd))
        finally:
            other.close()
        del engine.known[fd]
        engine.closed(known)
        return True

    # -- accepting ----------------------------------------------------------------------------------------------------

    def listen(self, backlog=128):
        known = self.__known()
        if known is None:
            return _kernel.listen(self, backlog)
        if not -0x80000000 <= backlog <= 0x7FFFFFFF:
            raise OverflowError("signed integer is greater than maximum")
        self.pystack_engine.call(protocol.LISTEN, known.inode, protocol.INTS.pack(max(backlog, 0), 0, 0))
        known.state = protocol.LISTENING
        return None

    def _accept(self):
        known = self.__known()
        if known is None:
            return _kernel._accept(self)
        if known.state != protocol.LISTENING and self.__state(known) != protocol.LISTENING:
            raise refusal(errno.EOPNOTSUPP if known.datagrams is not None else errno.EINVAL)
        size = protocol.ACCEPTED.size
        while True:
            # First only look, for what is taken without a descriptor to spare is lost. What was seen stays open, so
            # that it can serve if there is none for a second one.
            seen, ancillary, _, _ = _kernel.recvmsg(self, size, _FD, _socket.MSG_PEEK | _CLOEXEC)
            if not seen:
                self.__raise_pending(known)
                raise refusal(errno.EINVAL)  # it has been shut down
            peeked = _descriptor(ancillary)
            if peeked is None:
                raise refusal(errno.EMFILE)
            try:
                record, ancillary, _, _ = _kernel.recvmsg(self, size, _FD, _socket.MSG_DONTWAIT | _CLOEXEC)
            except BlockingIOError:
                os.close(peeked)
                continue  # another thread or process was faster
            except BaseException:
                os.close(peeked)
                raise
            fd = _descriptor(ancillary)
            if fd is None and record == seen:
                fd = peeked
            else:
                os.close(peeked)
            if fd is not None:
                break
        os.read(fd, len(protocol.MARK))
        (inode,) = protocol.INODE.unpack_from(record, size - protocol.INODE.size)
        self.pystack_engine.accepted[fd] = Known(inode, protocol.CONNECTED, None)
        return fd, addresses.text(record, self.family)

    # -- receiving ----------------------------------------------------------------------------------------------------

    def __check_readable(self, known):
        """Raise what Linux says of a stream that is not connected."""
        state = known.state
        if state != protocol.CONNECTED:
            state = self.__state(known)
            if state in (protocol.FRESH, protocol.LISTENING):
                self.__raise_pending(known)
                raise refusal(errno.ENOTCONN)

    def __end(self, known):
        """The pair has ended: raise if the connection had not ended in good order.

        On Linux a reset that comes after the peer's end of stream is EPIPE, and told to those that write alone. As long
        as the pair has not ended both ways there was none, and the engine need not be asked.
        """
        if not has_hung_up(self):
            return
        number = self.__pending(known)
        if number not in (0, errno.EPIPE):
            raise refusal(number)

    def recv(self, bufsize, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recv(self, bufsize, flags)
        if known.datagrams is not None:
            return known.datagrams.receive(self, bufsize, flags)
        if known.state != protocol.CONNECTED:
            self.__check_readable(known)
        data = _kernel.recv(self, bufsize, flags)
        if not data and bufsize:
            self.__end(known)
        return data

    def recv_into(self, buffer, nbytes=0, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recv_into(self, buffer, nbytes, flags)
        if known.datagrams is not None:
            return known.datagrams.receive_into(self, buffer, nbytes, flags)[0]
        if known.state != protocol.CONNECTED:
            self.__check_readable(known)
        size = _kernel.recv_into(self, buffer, nbytes, flags)
        if not size and memoryview(buffer).nbytes:
            self.__end(known)
        return size

    def recvfrom(self, bufsize, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recvfrom(self, bufsize, flags)
        if known.datagrams is not None:
            return known.datagrams.receive_from(self, bufsize, flags)
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer, nbytes=0, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recvfrom_into(self, buffer, nbytes, flags)
        if known.datagrams is not None:
            return known.datagrams.receive_into(self, buffer, nbytes, flags)
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize, ancbufsize=0, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recvmsg(self, bufsize, ancbufsize, flags)
        if known.datagrams is not None:
            return known.datagrams.receive_message(self, bufsize, ancbufsize, flags)
        self.__check_readable(known)
        data, ancillary, flags, _ = _kernel.recvmsg(self, bufsize, ancbufsize, flags)
        if not data and bufsize:
            self.__end(known)
        return data, ancillary, flags, None

    def recvmsg_into(self, buffers, ancbufsize=0, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.recvmsg_into(self, buffers, ancbufsize, flags)
        if known.datagrams is not None:
            return known.datagrams.receive_message_into(self, list(buffers), ancbufsize, flags)
        self.__check_readable(known)
        buffers = list(buffers)
        size, ancillary, flags, _ = _kernel.recvmsg_into(self, buffers, ancbufsize, flags)
        if not size and any(memoryview(buffer).nbytes for buffer in buffers):
            self.__end(known)
        return size, ancillary, flags, None

    # -- sending ------------------------------------------------------------------------------------------------------

    def __check_writable(self, known):
        if known.state != protocol.CONNECTED:
            state = self.__state(known)
            if state in (protocol.FRESH, protocol.LISTENING):
                self.__raise_pending(known)
                raise refusal(errno.EPIPE)
            if state == protocol.CONNECTING and self.gettimeout() != 0:
                # Linux lets a send wait for the connection.
                if not self.__wait_connected():
                    raise TimeoutError("timed out")
                number = self.__connected(known)
                if number:
                    raise refusal(number)
            elif state == protocol.CONNECTING:
                raise refusal(errno.EAGAIN)

    def send(self, data, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.send(self, data, flags)
        if known.datagrams is not None:
            return known.datagrams.send(self, [data], flags)
        if known.state != protocol.CONNECTED:
            self.__check_writable(known)
        try:
            return _kernel.send(self, data, flags)
        except (BrokenPipeError, ConnectionResetError):
            self.__raise_pending(known)
            raise

    def sendall(self, data, flags=0):
        known = self.__known()
        if known is None:
            return _kernel.sendall(self, data, flags)
        if known.datagrams is not None:
            known.datagrams.send(self, [data], flags)
            return None
        if known.state != protocol.CONNECTED:
            self.__check_writable(known)
        try:
            return _kernel.sendall(self, data, flags)
        except (BrokenPipeError, ConnectionResetError):
            self.__raise_pending(known)
            raise

    def sendto(self, data, *arguments):
        known = self.__known()
        if known is None:
            return _kernel.sendto(self, data, *arguments)
        if not 1 <= len(arguments) <= 2:
            raise TypeError(f"sendto() takes 2 or 3 arguments ({1 + len(arguments)} given)")
        flags, address = (0, arguments[0]) if len(arguments) == 1 else arguments
        try:
            view = memoryview(data)
        except TypeError:
            raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'") from None
        if not isinstance(flags, int):
            raise TypeError(f"'{type(flags).__name__}' object cannot be interpreted as an integer")
        if known.datagrams is not None:
            packed = addresses.parse(self.pystack_engine, self.family, address, "sendto")
            if self.pystack_engine.is_kernels(packed[0]) and self.__become_kernels(known):
                return _kernel.sendto(self, data, flags, address)
            return known.datagrams.send(self, [view], flags, packed)
        addresses.parse(self.pystack_engine, self.family, address, "sendto")
        return self.send(data, flags)  # Linux: a stream does not mind the address

    def sendmsg(self, buffers, ancdata=(), flags=0, address=None):
        known = self.__known()
        if known is None:
            if ancdata:  # sockets of ours, perhaps
                self.pystack_engine.open_all()
            return _kernel.sendmsg(self, buffers, ancdata, flags, *(() if address is None else (address,)))
        if known.datagrams is not None:
            packed = (
                addresses.parse(self.pystack_engine, self.family, address, "sendmsg") if address is not None else None
            )
            if packed is not None and self.pystack_engine.is_kernels(packed[0]) and self.__become_kernels(known):
                return _kernel.sendmsg(self, buffers, ancdata, flags, address)
            return known.datagrams.send(self, list(buffers), flags, packed, check_ancillary(ancdata))
        if address is not None:
            addresses.parse(self.pystack_engine, self.family, address, "sendmsg")  # Linux does not mind it otherwise
        ancdata = check_ancillary(ancdata)
        self.__check_writable(known)
        # Control messages would reach the engine as such: a descriptor, say, which TCP cannot carry.
        if any(level == SOL_SOCKET and kind == _socket.SCM_RIGHTS for level, kind, _ in ancdata):
            raise refusal(errno.EINVAL)
        try:
            return _kernel.sendmsg(self, buffers, (), flags)
        except (BrokenPipeError, ConnectionResetError):
            self.__raise_pending(known)
            raise

    def shutdown(self, how):
        known = self.__known()
        if known is None:
            return _kernel.shutdown(self, how)
        state = self.__state(known)
        if state == protocol.FRESH or state == protocol.OVER:
            number = self.__pending(known) if state == protocol.FRESH else 0
            raise refusal(number or errno.ENOTCONN)
        if how == _socket.SHUT_RDWR and known.datagrams is None:
            known.state = None
            self.pystack_engine.call(protocol.SHUTDOWN, known.inode)
            return None
        return _kernel.shutdown(self, how)

    # -- options ------------------------------------------------------------------------------------------------------

    def getsockopt(self, level, name, buflen=0):
        known = self.__known()
        if known is None or _is_native(known, level, name):
            return _kernel.getsockopt(self, level, name, *((buflen,) if buflen else ()))
        if buflen < 0 or buflen > protocol.MAX_OPTION:
            raise OSError("getsockopt buflen out of range")
        value = self.__own_option(known, level, name)
        if value is None:
            body = protocol.INTS.pack(level, name, buflen or _INT)
            value = self.pystack_engine.call(protocol.GET_OPTION, known.inode, body)
        else:
            value = value.to_bytes(_INT, "little", signed=True)
        return value[:buflen] if buflen else int.from_bytes(value[:_INT], "little", signed=True)

    def __own_option(self, known, level, name):
        """The value of one that is not the engine's to keep, or None."""
        if level != SOL_SOCKET:
            return None
        if name == _socket.SO_TYPE:
            return SOCK_DGRAM if known.datagrams is not None else SOCK_STREAM
        if name == _socket.SO_ERROR:
            number = self.__pending(known)
            if known.datagrams is not None:
                number = number or known.datagrams.take_error(self)
            return number
        if name == _SO_DOMAIN:
            return int(self.family)
        if name == _SO_PROTOCOL:
            return 17 if known.datagrams is not None else 6
        if name == _socket.SO_ACCEPTCONN:
            return int(self.__state(known) == protocol.LISTENING)
        return None

    def setsockopt(self, level, name, value, optlen=None):
        known = self.__known()
        arguments = (level, name, value) if optlen is None else (level, name, value, optlen)
        if known is None or _is_native(known, level, name):
            return _kernel.setsockopt(self, *arguments)
        if value is None:
            data = b""
        elif isinstance(value, int):
            if not -0x80000000 <= value <= 0x7FFFFFFF:
                raise OverflowError("signed integer is greater than maximum")
            data = value.to_bytes(_INT, "little", signed=True)
        else:
            data = bytes(value)
        if len(data) > protocol.MAX_OPTION:
            raise refusal(errno.EINVAL)
        new = self.pystack_engine.unopened(known.inode) if (level, name) in _CARRIED and len(data) == _INT else None
        if new is not None and (level != _IPPROTO_TCP or known.datagrams is None):
            new.add_option(level, name, int.from_bytes(data, "little", signed=True))
        else:
            self.pystack_engine.call(protocol.SET_OPTION, known.inode, protocol.INTS.pack(level, name, 0) + data)
        key = arguments if (level, name) in _MEMBERSHIPS else (level, name)
        known.options.pop(key, None)  # the order counts
        known.options[key] = arguments
        if known.datagrams is not None:
            known.datagrams.forget_ways()
        if level == SOL_SOCKET and name == _socket.SO_SNDBUF and known.datagrams is None:
            _kernel.setsockopt(self, *arguments)  # what waits in the pair is in the send buffer, too
        return None


def raise_pending(sock):
    """Raise the error that a socket of ours has pending."""
    known = sock.pystack_engine.known.get(sock.fileno())
    if known is not None:
        number = sock.pystack_engine.status(known.inode, True)[1]
        if number:
            raise refusal(number)


def _is_native(known, level, name):
    """Whether the pair itself has the option, and minds it as TCP or UDP would."""
    if level != SOL_SOCKET:
        return False
    return name in _NATIVE or (name == _socket.SO_OOBINLINE and known.datagrams is None)


def _check_kind(kind, proto):
    """Raise what Linux says of sockets that there are not."""
    if (kind, proto) in _TYPES:
        return
    if kind == _socket.SOCK_RAW:
        raise refusal(errno.EPERM)  # as to anybody without CAP_NET_RAW
    if (kind, proto) == (SOCK_DGRAM, 1):
        raise refusal(errno.EACCES)  # ping sockets: as where net.ipv4.ping_group_range is empty, its default
    if kind not in (SOCK_STREAM, SOCK_DGRAM) and kind != SOCK_SEQPACKET:
        raise refusal(errno.EINVAL if not 0 < kind < 11 else errno.ESOCKTNOSUPPORT)
    raise refusal(errno.ESOCKTNOSUPPORT if kind == SOCK_SEQPACKET and not proto else errno.EPROTONOSUPPORT)


def _descriptor(ancillary):
    """The one that came with a record, or None."""
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(data) >= 4:
            return int.from_bytes(data[:4], "little")
    return None


def _unbound(family):
    """What getsockname says of a socket that is not bound."""
    return ("0.0.0.0", 0) if family == AF_INET else ("::", 0, 0, 0)


def _user():
    return os.geteuid() & 0x7FFFFFFF
