"""The engine as the sockets of this process see it."""

import _socket
import errno
import os
from _socket import AF_INET, AF_INET6, SOCK_NONBLOCK, inet_ntop, inet_pton

from monkey.addresses import V4_MAPPED
from monkey.unopened import Unopened, UnopenedSockets, pair
from pystack.sockets import protocol

_PLUG = bytes(65_536)
_MOST_CHILDREN = 256
_kernel_close = _socket.close


class Engine:
    """What is known of sockets, and the way to ask for more.

    Args:
        call: ``call(operation, inode, body, new, timeout)``, as `client.Client.call`.
        in_process: the engine is of this process, so that to ask it costs little: sockets are opened at once.
        kernel: networks such as "192.0.2.0/24": destinations that stay with the kernel.
        nameservers: addresses; none: those of resolv.conf.
        linger: seconds for which the process waits at its end until all is delivered.

    Attributes:
        known: descriptor -> `socket.Known`. A stale one is harmless: a new socket of that number replaces it.
        accepted: descriptor -> Known, between accept(2) and the socket object.
        waiting: as long as there are connects that wait for an answer.
        resolver: a `resolver.Resolver`.
    """

    def __init__(self, call, kernel=(), nameservers=(), linger=10.0, in_process=False):
        self._call = call
        self._unopened = None if in_process else UnopenedSockets(lambda inode: self.call(protocol.OPEN, inode))
        self.nameservers = tuple(nameservers)
        self.known = {}
        self.accepted = {}
        self.waiting = []
        self.resolver = None
        self.plug = _PLUG
        self._kernel = tuple(map(_network, kernel))
        self._linger = linger

    @classmethod
    def from_environment(cls, call, environ, in_process=False):
        """As the runner has put it there, by its options' variables."""
        return cls(
            call,
            environ.get("PYSTACK_KERNEL", "").replace(",", " ").split(),
            environ.get("PYSTACK_DNS", "").replace(",", " ").split(),
            float(environ.get("PYSTACK_LINGER") or 10.0),
            in_process,
        )

    def call(self, operation, inode=0, body=b"", timeout=None):
        """Ask, and wait for the answer; the socket, if it is new, is opened by that. As `client.Client.call`."""
        return self._call(operation, inode, body, self.unopened(inode), timeout)

    def let_go(self):
        """The process ends: close its sockets, without freeing their descriptors for others; then wait until what was
        written has been delivered. Raises OSError."""
        if self._unopened is not None:
            self._unopened.drop_all()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd, known in list(self.known.items()):
            try:
                if os.fstat(fd).st_ino == known.inode:
                    os.dup2(null, fd, False)
            except OSError:
                pass  # it is closed already
        children = b"".join(map(protocol.COUNT.pack, _python_children()))
        self.call(protocol.LEAVE, 0, protocol.SECONDS.pack(self._linger) + children)

    def open_pair(self, family, kind, proto, flags):
        """Make a socket. Returns ``(inode, descriptor)``, the program's end. Raises OSError."""
        what = family, kind, proto
        inode, ours = self._open(what) if self._unopened is None else self._unopened.make(what)
        if flags & SOCK_NONBLOCK:
            os.set_blocking(ours.fileno(), False)
        return inode, ours.detach()

    def _open(self, what):
        ours, theirs = pair(what[1])
        try:
            inode = os.fstat(ours.fileno()).st_ino
            self._call(protocol.OPEN, inode, new=Unopened(theirs, what))
            return inode, ours
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def unopened(self, inode):
        """The `Unopened` of that inode, or None."""
        return None if self._unopened is None else self._unopened.get(inode)

    def open_all(self):
        """Another process may be about to get sockets of this one's: have the engine know all."""
        if self._unopened is not None:
            self._unopened.open_all()

    def close(self, fd):
        """close(integer) -> None: close an integer socket file descriptor."""
        _kernel_close(fd)
        self.closed(self.known.pop(fd, None))

    def closed(self, known):
        """The descriptor of a socket has been closed; None: it was the kernel's."""
        if known is not None and self._unopened is not None:
            self._unopened.closed(known.inode)

    def identify(self, fd):
        """``(inode, (family, type, protocol))`` if the descriptor is one of ours, else None."""
        inode = os.fstat(fd).st_ino
        try:
            return inode, protocol.INTS.unpack(self.call(protocol.IDENTIFY, inode))
        except OSError:
            return None

    def status(self, inode, take):
        """``(state, errno)``; with *take* the errno is pending no more. Raises OSError if the engine has gone."""
        if self._unopened is not None and inode in self._unopened:
            return protocol.FRESH, 0
        try:
            return protocol.STATE.unpack(self.call(protocol.STATUS, inode, protocol.COUNT.pack(take)))
        except OSError as error:
            if error.errno != errno.ENOTSOCK:
                raise
            return protocol.OVER, 0  # so long ago that it is forgotten

    def is_kernels(self, address):
        """Whether a destination (4 or 16 bytes) stays with the kernel."""
        if not self._kernel:
            return False
        if address[:12] == V4_MAPPED:
            address = address[12:]
        number, size = int.from_bytes(address, "big"), len(address)
        return any(size == length and number & mask == network for length, network, mask in self._kernel)

    def name_servers(self):
        """``(addresses, search domains)`` that the network has told the stack, lists of text."""
        servers, _, search = self.call(protocol.NAME_SERVERS).decode().partition("\0")
        return servers.split(), search.split()

    def source_of(self, address, scope=0):
        """The address, text, that what goes to *address* (text) would be sent from; None if there is no way."""
        try:
            packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
            body = protocol.pack_endpoint(packed, 0, scope)
            source = protocol.unpack_endpoint(self.call(protocol.SOURCE, 0, body))[0]
        except OSError:
            return None
        return inet_ntop(AF_INET if len(source) == 4 else AF_INET6, source)

    def configured(self):
        """The address families of which an interface, the loopback aside, has an address."""
        versions = self.call(protocol.VERSIONS)
        return tuple(family for family, version in ((AF_INET, 4), (AF_INET6, 6)) if version in versions)

    def interfaces(self):
        """``[(index, name)]``."""
        data, found, size = self.call(protocol.INTERFACES), [], protocol.COUNT.size
        while data:
            (index,), (length,) = protocol.COUNT.unpack_from(data), protocol.COUNT.unpack_from(data, size)
            found.append((index, data[2 * size : 2 * size + length].decode()))
            data = data[2 * size + length :]
        return found


def _python_children():
    """Process ids of children that may be about to join."""
    found = []
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            children = file.read().split()
        for pid in children[:_MOST_CHILDREN]:
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")).startswith("python"):
                found.append(int(pid))
    except OSError:
        pass  # the kernel does not tell, or it has ended just now
    return found


def _network(text):
    """``(length of an address, network, mask)`` as ints."""
    address, _, prefix_length = text.partition("/")
    packed = inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    bits = 8 * len(packed)
    mask = (1 << bits) - (1 << bits - int(prefix_length or bits))
    return len(packed), int.from_bytes(packed, "big") & mask, mask
