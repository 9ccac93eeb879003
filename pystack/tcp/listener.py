"""Who listens where, and how many wait: half open for the peer, and open for the program."""

import zlib

EVERY_PORT = 0  # the port of a listener for all ports at which nobody else listens
OVERFLOW_MEMORY = 128.0  # seconds for which cookies are expected back after the last overflow (two of their periods)


class Listener:
    """One listening socket.

    Args:
        socket: its number.
        address, port: where it listens; an address of zeros is any.
        interface: the only one that counts, or 0.
        backlog: connections that may wait for the program.
        settings: what its connections inherit.
        reuse_port: it shares the port with others, each of which gets a part of the connections.
    """

    __slots__ = (
        "_overflowed_at",
        "address",
        "any",
        "backlog",
        "deaf_to_ipv4",
        "half_open",
        "interface",
        "port",
        "reuse_port",
        "settings",
        "socket",
        "waiting",
    )

    def __init__(self, socket, address, port, interface, backlog, settings, reuse_port):
        self.socket = socket
        self.address = address
        self.any = not any(address)
        self.deaf_to_ipv4 = len(address) == 4 or settings.v6_only  # as one for any IPv6 address
        self.port = port
        self.interface = interface
        self.backlog = backlog
        self.settings = settings
        self.reuse_port = reuse_port
        self.half_open = {}  # key -> Connection in SYN-RECEIVED
        self.waiting = 0  # announced to the program and not taken yet
        self._overflowed_at = None

    @property
    def full(self):
        """Whether no further connection may be announced. Linux: one more than the backlog may wait."""
        return self.waiting > self.backlog

    @property
    def syn_queue_full(self):
        """Whether no further half-open connection may be kept."""
        return len(self.half_open) >= max(self.backlog, 1)

    def overflowed(self, now):
        """The SYN queue was full: cookies go out."""
        self._overflowed_at = now

    def expects_cookies(self, now):
        """Whether an ACK may be of a cookie."""
        return self._overflowed_at is not None and now - self._overflowed_at < OVERFLOW_MEMORY


class Listeners:
    """All listeners of a stack, by port."""

    def __init__(self, secret):
        self._ports = {}  # port -> [Listener]
        self._secret = secret

    def __len__(self):
        return sum(map(len, self._ports.values()))

    def add(self, listener):
        self._ports.setdefault(listener.port, []).append(listener)

    def remove(self, listener):
        there = self._ports[listener.port]
        there.remove(listener)
        if not there:
            del self._ports[listener.port]

    def find(self, address, port, interface, key):
        """The listener for a segment to *address* that came by *interface*, or None: of the most exact ones (an
        interface of their own counts more than an address, and that more than the version of IP, as on Linux) the
        newest, or if they share the port one by the hash of the flow's *key*."""
        there = self._ports.get(port) or self._ports.get(EVERY_PORT)
        if there is None:
            return None
        best, score = [], -1
        for listener in there:
            if not listener.any and listener.address != address:
                continue
            if listener.any and len(listener.address) != len(address) and listener.deaf_to_ipv4:
                continue
            if listener.interface and listener.interface != interface:
                continue
            points = 4 * bool(listener.interface) + 2 * (not listener.any) + (len(listener.address) == len(address))
            if points > score:
                best, score = [listener], points
            elif points == score:
                best.append(listener)
        if not best:
            return None
        if len(best) > 1 and best[-1].reuse_port:
            return best[zlib.crc32(key, self._secret) % len(best)]
        return best[-1]
