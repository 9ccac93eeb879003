"""UDP sockets: each message of the pair is a datagram after a `protocol.DATAGRAM`, or an error without one."""

import _socket
import errno
import fcntl
import struct
import termios
from _socket import AF_INET, AF_INET6
from operator import index

from monkey import addresses
from monkey.client import kernel_socket as _kernel
from monkey.client import refusal
from pystack.sockets import protocol

_HEADER = protocol.DATAGRAM
_SIZE = _HEADER.size
_MOST_ROUTES = 64  # destinations that are remembered to be reachable
_IPPROTO_IP, _IPPROTO_UDP, _IPPROTO_IPV6 = 0, 17, 41
_IP_TOS, _IP_TTL, _IP_PKTINFO = 1, 2, 8
_IPV6_PKTINFO, _IPV6_HOPLIMIT, _IPV6_TCLASS = 50, 52, 67
_LEVELS = {  # version of IP of the destination (0: not known) -> levels of control messages that mean it
    4: (_IPPROTO_IP, _IPPROTO_UDP, _socket.SOL_SOCKET),
    6: (_IPPROTO_IPV6, _IPPROTO_UDP, _socket.SOL_SOCKET),
    0: (_IPPROTO_IP, _IPPROTO_IPV6, _IPPROTO_UDP, _socket.SOL_SOCKET),
}
_INT = struct.Struct("=i")
_NOTHING = bytes(_INT.size)
_PKTINFO = struct.Struct("=i4s4s")
_PKTINFO6 = struct.Struct("=16si")
_CMSG_HEADER = _socket.CMSG_LEN(0)


class Datagrams:
    """What a process keeps for one socket. *sock* is the `Socket`."""

    __slots__ = ("_engine", "_family", "_inode", "_told", "_ways", "connected")

    def __init__(self, engine, inode, family):
        self._engine = engine
        self._inode = inode
        self._family = family
        self._told = False  # the error at the head of what waits has been raised already
        self.connected = None  # None: the engine is to be asked
        # (address, port, scope), or None: the peer -> the header of a datagram that may be sent there, and the bytes of
        # the largest that may.
        self._ways = {}

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self, sock, size, flags):
        """As recv."""
        if size < 0:
            raise ValueError("negative buffersize in recv")
        return self._message(sock, size, flags)[_SIZE:]

    def receive_from(self, sock, size, flags):
        """As recvfrom."""
        if size < 0:
            raise ValueError("negative buffersize in recvfrom")
        message = self._message(sock, size, flags)
        return message[_SIZE:], self._header(message)[1]

    def _message(self, sock, size, flags):
        """A datagram of up to *size* bytes with its header, or b"". Raises the error that comes in its place."""
        while True:
            message = _take(_kernel.recv, sock, size + _SIZE, flags)
            if not self._is_told(sock, message, flags):
                break
        if not message:
            self._end()
        elif number := _HEADER.unpack_from(message)[5]:
            raise refusal(number)
        return message

    def receive_into(self, sock, buffer, size, flags):
        """As recvfrom_into."""
        view = memoryview(buffer).cast("B")
        if size < 0:
            raise ValueError("negative buffersize in recv_into")
        if size > len(view):
            raise ValueError("buffer too small for requested bytes")
        got, _, _, sender = self.receive_message_into(sock, [view[:size] if size else view], 0, flags)
        return got, sender

    def receive_message(self, sock, size, room, flags):
        """As recvmsg."""
        if size < 0:
            raise ValueError("negative buffer size in recvmsg()")
        _check_room(room)
        while True:
            message, _, got_flags, _ = _take(_kernel.recvmsg, sock, size + _SIZE, 0, flags)
            if not self._is_told(sock, message, flags):
                break
        ancillary, sender, ended = self._header(message)
        if ended:
            self._end()
        ancillary, truncated = _fit(ancillary, room)
        return message[_SIZE:], ancillary, _flags(got_flags) | truncated, sender

    def receive_message_into(self, sock, buffers, room, flags):
        """As recvmsg_into."""
        _check_room(room)
        header = bytearray(_SIZE)
        while True:
            got, _, got_flags, _ = _take(_kernel.recvmsg_into, sock, [header, *buffers], 0, flags)
            if not got or not self._is_told(sock, header, flags):
                break
        ancillary, sender, ended = self._header(header if got else b"")
        if ended:
            self._end()
        ancillary, truncated = _fit(ancillary, room)
        return max(got - _SIZE, 0), ancillary, _flags(got_flags) | truncated, sender

    def _header(self, message):
        """``(ancillary, sender, whether there was none)``. Raises the error that it brings."""
        if not message:
            return [], None, True
        version, ttl, tos, has, port, number, interface, address, ours = _HEADER.unpack_from(message)
        if number:
            raise refusal(number)
        if version == 4:
            address, ours = address[:4], ours[:4]
        scope = interface if addresses.is_link_local(address) else 0
        ancillary = _control_messages(version, ttl, tos, has, interface, ours) if has else ()
        return ancillary, addresses.sockaddr(self._family, address, port, scope), False

    def _end(self):
        """The pair has ended: by shutdown, or because the engine has gone."""
        self._engine.status(self._inode, False)  # raises if it has

    def take_error(self, sock):
        """The errno at the head of what waits, if it has not been told yet; or 0.

        It stays there, for by now another thread may have taken it, and what would be taken here were a datagram.
        """
        # Where there is a timeout, `_socket` waits for something to be there, whatever the flags say.
        if not has_unread(sock):
            return 0
        try:
            message = _kernel.recv(sock, _SIZE, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except OSError:
            return 0
        number = _HEADER.unpack_from(message)[5] if len(message) >= _SIZE else 0
        if not number or self._told:
            return 0
        self._told = True
        return number

    def _is_told(self, sock, message, flags):
        """Whether a message is an error that `take_error` has told of: that one is skipped."""
        if not self._told or len(message) < _SIZE or not _HEADER.unpack_from(message)[5]:
            return False
        if flags & _socket.MSG_PEEK:
            _kernel.recv(sock, _SIZE)
        self._told = False
        return True

    # -- sending ------------------------------------------------------------------------------------------------------

    def send(self, sock, buffers, flags, packed=None, ancillary=()):
        """Send one datagram; returns its size. *packed*: ``(address, port, scope)``, or None: to the peer."""
        header, most = self._ways.get(packed) or self._route(packed)
        if ancillary:
            header = _with(header, ancillary, self._family)
        size = memoryview(buffers[0]).nbytes if len(buffers) == 1 else sum(memoryview(each).nbytes for each in buffers)
        if size > most and size > self._route(packed)[1]:  # the path's MTU may have grown
            raise refusal(errno.EMSGSIZE)
        if self.connected:
            number = self.take_error(sock)  # as Linux: of an earlier one
            if number:
                raise refusal(number)
        try:
            return _kernel.sendmsg(sock, [header, *buffers], (), flags) - _SIZE
        except (BrokenPipeError, ConnectionResetError):
            self._end()
            raise

    def _route(self, packed):
        if not self.connected:  # a duplicate may have connected it
            self.connected = self._engine.status(self._inode, False)[0] == protocol.CONNECTED
        if packed is None and not self.connected:
            raise refusal(errno.EDESTADDRREQ)
        if packed is None:
            header = _HEADER.pack(0, 0, 0, 0, 0, 0, 0, b"", b"")
            endpoint = protocol.pack_endpoint(None, 0)
        else:
            address, port, scope = packed
            header = _HEADER.pack(4 if len(address) == 4 else 6, 0, 0, 0, port, 0, scope, address, b"")
            endpoint = protocol.pack_endpoint(*packed)
        (most,) = protocol.COUNT.unpack(self._engine.call(protocol.ROUTE, self._inode, endpoint))
        if len(self._ways) >= _MOST_ROUTES:
            self._ways.clear()
        way = self._ways[packed] = header, most
        return way

    def forget_ways(self):
        """An option was set, or another peer: ask again."""
        self._ways.clear()


def _control_messages(version, ttl, tos, has, interface, ours):
    """What a datagram's header tells, as ip(7) and ipv6(7) have it."""
    found = []
    if has & protocol.HAS_PKTINFO6:
        mapped = addresses.V4_MAPPED + ours if version == 4 else ours
        found.append((_IPPROTO_IPV6, _IPV6_PKTINFO, _PKTINFO6.pack(mapped, interface)))
    if has & protocol.HAS_PKTINFO:
        found.append((_IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(interface, ours, ours)))
    if has & protocol.HAS_TTL and version == 6:
        found.append((_IPPROTO_IPV6, _IPV6_HOPLIMIT, _INT.pack(ttl)))
    elif has & protocol.HAS_TTL:
        found.append((_IPPROTO_IP, _IP_TTL, _INT.pack(ttl)))
    if has & protocol.HAS_TOS and version == 6:
        found.append((_IPPROTO_IPV6, _IPV6_TCLASS, _INT.pack(tos)))
    elif has & protocol.HAS_TOS:
        found.append((_IPPROTO_IP, _IP_TOS, bytes([tos])))
    return found


def _fit(ancillary, room):
    """What of control messages a buffer of *room* bytes has room for, and MSG_CTRUNC or 0: Linux's put_cmsg."""
    fitting, flags = [], 0
    for level, kind, data in ancillary:
        if room < _CMSG_HEADER:
            return fitting, _socket.MSG_CTRUNC
        if room < _CMSG_HEADER + len(data):
            flags = _socket.MSG_CTRUNC
        fitting.append((level, kind, data[: room - _CMSG_HEADER]))
        room = max(room - _socket.CMSG_SPACE(len(data)), 0)
    return fitting, flags


def _with(header, ancillary, family):
    """The header with what control messages say of this datagram: ip(7), ipv6(7).

    As on Linux those of the other version of IP say nothing; only IPV6_PKTINFO may have an IPv4 address, mapped. Of
    which version the peer is, is not known here: for it all count.
    """
    version, ttl, tos, has, port, _, interface, address, ours = _HEADER.unpack(header)
    if family == AF_INET or address[:12] == addresses.V4_MAPPED:
        levels = _LEVELS[4]
    else:
        levels = _LEVELS[version]
    for level, kind, data in ancillary:
        if level not in levels and (level, kind, family) != (_IPPROTO_IPV6, _IPV6_PKTINFO, AF_INET6):
            continue
        number = _INT.unpack_from(data)[0] if len(data) >= _INT.size else -1
        key = level, kind
        if key == (_IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO.size:
            interface, ours, _ = _PKTINFO.unpack_from(data)
            ours = addresses.V4_MAPPED + ours if family == AF_INET6 and any(ours) else ours
            has |= protocol.HAS_PKTINFO
        elif key == (_IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) >= _PKTINFO6.size:
            ours, interface = _PKTINFO6.unpack_from(data)
            if levels is _LEVELS[4] and ours[:12] != addresses.V4_MAPPED:
                raise refusal(errno.EINVAL)
            has |= protocol.HAS_PKTINFO
        elif key == (_IPPROTO_IP, _IP_TTL) and 1 <= number <= 255:
            ttl, has = number, has | protocol.HAS_TTL
        elif key == (_IPPROTO_IPV6, _IPV6_HOPLIMIT) and -1 <= number <= 255 and len(data) == _INT.size:
            if number >= 0:  # -1: as the socket is set
                ttl, has = number, has | protocol.HAS_TTL
        elif key == (_IPPROTO_IP, _IP_TOS) and data and data[0] <= 255:
            tos, has = data[0], has | protocol.HAS_TOS
        elif key == (_IPPROTO_IPV6, _IPV6_TCLASS) and -1 <= number <= 255 and len(data) == _INT.size:
            if number >= 0:
                tos, has = number, has | protocol.HAS_TOS
        else:
            raise refusal(errno.EINVAL)
    if interface < 0:
        raise refusal(errno.ENODEV)
    return _HEADER.pack(version, ttl, tos, has, port, 0, interface, address, ours)


def _take(receive, *arguments):
    """Receive from a pair. That its other end was closed with something unread is no error of the datagrams': the end
    of the pair comes after it."""
    try:
        return receive(*arguments)
    except ConnectionResetError:
        return receive(*arguments)


def has_unread(sock):
    """Whether there is something to be read from a pair."""
    try:
        return any(fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NOTHING))
    except (OSError, ValueError):  # it is closed
        return False


def _check_room(size):
    """Raise what `_socket` says of a wrong size of the ancillary buffer."""
    if size < 0 or size > 0x7FFFFFFF - 4096:
        raise ValueError("invalid ancillary data buffer length")


def check_ancillary(messages):
    """Control messages as a list of ``(level, type, bytes)``. Raises TypeError as `_socket` does."""
    checked = []
    for message in messages:
        try:
            level, kind, data = message
        except ValueError:
            raise TypeError("[sendmsg() ancillary data items must be tuples of 3]") from None
        checked.append((index(level), index(kind), bytes(memoryview(data))))
    return checked


def _flags(flags):
    """What recvmsg says of a message of the pair, as of a datagram: it ends no record."""
    return flags & ~_socket.MSG_EOR
