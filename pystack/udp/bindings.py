"""UDP's sockets: where each is bound, and which of them a datagram is for."""

import zlib

from pystack.ports import PortTable, udp_conflict
from pystack.udp.settings import Settings


class Binding:
    """One socket. Its port is 0 until it is bound; ``queued`` and ``drops`` are the layer's to keep."""

    __slots__ = (
        "address",
        "chosen_address",
        "chosen_port",
        "drops",
        "groups",
        "peer",
        "port",
        "queued",
        "settings",
        "socket",
        "source",
    )

    def __init__(self, socket, settings):
        self.socket = socket
        self.settings = settings
        self.address = bytes(4)  # what must be the destination of a datagram for it, or zeros: any; once it is bound
        self.source = None  # what it sends from, if that is settled; no group or broadcast address that it is bound to
        self.port = 0
        self.chosen_address = False  # by the program: a disconnect does not undo it
        self.chosen_port = False
        self.peer = None  # (address, port) if it is connected; port 0: any
        self.groups = {}  # (group, interface) -> the address that the interface was chosen by, or None
        self.queued = 0  # bytes charged for what the program has not read
        self.drops = 0

    @property
    def any_address(self):
        """Zeros, as many as an address of the socket's family has."""
        return bytes(16 if self.settings.ipv6 else 4)

    def is_of_other_version(self, destination):
        """Whether it has connected by IPv6, with an address that a connect has settled, and *destination* is IPv4's.

        On Linux each version has its own source address, so that such a socket can speak IPv4 still. Not the reverse.
        """
        return len(destination) == 4 and len(self.address) == 16 and any(self.address) and not self.chosen_address

    def takes_any(self, address):
        """Whether it is bound to no address, and *address* is one that it may then mean."""
        own = self.address
        return not any(own) and (len(own) == len(address) or (len(own) == 16 and not self.settings.v6_only))


class _Port:
    """The sockets of one port, newest first in each list: the newest of equals gets a unicast datagram, as on Linux."""

    __slots__ = ("connected", "open")

    def __init__(self):
        self.open = []
        self.connected = {}  # peer -> sockets; found at once, there may be thousands


class Bindings:
    """All sockets of the layer. *config* is the `config.StackConfig`, *random* a ``random.Random``."""

    def __init__(self, config, random):
        self._config = config.udp
        self._table = PortTable(config, random, udp_conflict)
        self._secret = random.getrandbits(32)
        self._sockets = {}  # number -> Binding
        self._ports = {}  # port -> _Port

    def get(self, socket):
        """The socket's `Binding`, or None."""
        return self._sockets.get(socket)

    def make(self, socket):
        """The socket's `Binding`, a new one with the defaults if there is none."""
        binding = self._sockets.get(socket)
        if binding is None:
            binding = self._sockets[socket] = Binding(socket, Settings.from_config(self._config))
        return binding

    def __len__(self):
        return len(self._sockets)

    # -- binding ------------------------------------------------------------------------------------------------------

    def bind(self, binding, address, port, source, owner=0):
        """Bind to ``(address, port)``, port 0 being any free one, and send from *source* (None: as the route says).

        Returns:
            None, or the cause of the refusal.
        """
        settings = binding.settings
        got, cause = self._table.bind(
            binding.socket,
            address,
            port,
            reuse_address=settings.reuse_address,
            reuse_port=settings.reuse_port,
            interface=settings.interface,
            owner=owner,
            v6_only=settings.v6_only,
        )
        if cause is not None:
            return cause
        binding.address, binding.port, binding.source = address, got, source
        binding.chosen_address, binding.chosen_port = any(address), port != 0
        self._enter(binding)
        return None

    def connect(self, binding, peer, source):
        """Hear *peer* only, and send from *source* if nothing else is settled. The socket is bound."""
        self._leave(binding)
        binding.peer = peer
        other = binding.is_of_other_version(source)
        if binding.source is None or other:
            binding.source = source
        if not any(binding.address) or other:
            binding.address = source
            self._table.specify(binding.socket, source)
        self._enter(binding)

    def disconnect(self, binding):
        """Hear all again. What the program has not chosen itself is given back, the port too (as Linux)."""
        if binding.port:
            self._leave(binding)
        binding.peer = None
        binding.settings.interface = 0  # as __udp_disconnect does
        self._table.set_interface(binding.socket, 0)
        if not binding.chosen_address:
            binding.address, binding.source = binding.any_address, None
            if binding.port:
                self._table.specify(binding.socket, binding.address)
        if not binding.chosen_port:
            binding.port = 0
            self._table.release(binding.socket)
        if binding.port:
            self._enter(binding)

    def close(self, binding):
        """Forget the socket."""
        del self._sockets[binding.socket]
        if binding.port:
            self._leave(binding)
            self._table.release(binding.socket)

    def set(self, binding, name, value):
        """Set a field of its `Settings`."""
        if name.startswith("v6."):
            setattr(binding.settings.v6, name[3:], value)
        else:
            setattr(binding.settings, name, value)
        if name in ("reuse_address", "reuse_port"):
            self._table.set_reuse(binding.socket, **{name: value})
        elif name == "interface":
            self._table.set_interface(binding.socket, value)

    def _enter(self, binding):
        held = self._ports.get(binding.port)
        if held is None:
            held = self._ports[binding.port] = _Port()
        if binding.peer is None or not binding.peer[1]:
            held.open.insert(0, binding)
        else:
            held.connected.setdefault(binding.peer, []).insert(0, binding)

    def _leave(self, binding):
        held = self._ports[binding.port]
        if binding.peer is None or not binding.peer[1]:
            held.open.remove(binding)
        else:
            among = held.connected[binding.peer]
            among.remove(binding)
            if not among:
                del held.connected[binding.peer]
        if not held.open and not held.connected:
            del self._ports[binding.port]

    # -- finding ------------------------------------------------------------------------------------------------------

    def find(self, address, port, peer, interface):
        """Whose a unicast datagram from *peer* to ``(address, port)`` is: Linux's __udp4_lib_lookup.

        A connected socket comes first, then one bound to the address, then one bound to any; a device or a peer's
        address that fit are for it too. The newest of equals has it, unless they share by SO_REUSEPORT.

        Args:
            interface: the index of the one that it came in by, or None if that does not matter.

        Returns:
            a `Binding` or None.
        """
        held = self._ports.get(port)
        if held is None:
            return None
        if held.connected:
            for each in held.connected.get(peer, ()):  # the newest, by device or not: udp4_lib_lookup4
                device = each.settings.interface
                if each.address == address and (not device or interface is None or device == interface):
                    return each
        found = _best(held.open, address, peer, interface)
        if found is not None and found.settings.reuse_port and found.peer is None:
            return self._share(held.open, found, address, port, peer)
        return found

    def find_all(self, address, port, peer, interface):
        """A list of all for whom a broadcast or multicast datagram is."""
        held = self._ports.get(port)
        if held is None:
            return []
        multicast = address[0] >> 4 == 14 if len(address) == 4 else True
        return [
            each
            for each in (*held.open, *held.connected.get(peer, ()))
            if (each.address == address or each.takes_any(address))
            and (not each.settings.interface or each.settings.interface == interface)
            and (each.peer is None or each.peer[0] == peer[0])
            and (not multicast or each.settings.of(address).multicast_all or (address, interface) in each.groups)
        ]

    def _share(self, among, found, address, port, peer):
        """One of the sockets that share with *found* by SO_REUSEPORT: always the same for one flow."""
        claim = self._table.claim
        owner, interface = claim(found.socket).owner, found.settings.interface
        group = [
            each
            for each in among
            if each.settings.reuse_port
            and each.address == found.address
            and each.peer is None
            and each.settings.interface == interface
            and claim(each.socket).owner == owner
        ]
        flow = peer[0] + address + (peer[1] << 16 | port).to_bytes(4, "big")
        # In the order in which they were bound: a newcomer then moves few flows (Linux's reciprocal_scale).
        return group[-1 - (zlib.crc32(flow, self._secret) * len(group) >> 32)]


def _best(among, address, peer, interface):
    """The highest score of those that fit, the first of equals (compute_score)."""
    best, best_score = None, -1
    for each in among:
        score = len(each.address) == len(address)
        if each.address == address:
            score += 8
        elif not each.takes_any(address):
            continue
        device = each.settings.interface
        if device and interface is not None:
            if device != interface:
                continue
            score += 2
        if each.peer is not None:
            if each.peer[0] != peer[0]:
                continue
            score += 2
        if score > best_score:
            best, best_score = each, score
    return best
