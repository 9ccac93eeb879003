"""UDP's core (RFC 768, RFC 1122 §4.1): finds whose a datagram is, queues it within bounds, and sends."""

from collections import Counter

from pystack import errors, messages, transport
from pystack.counts import Counts
from pystack.packet import HOST
from pystack.udp import failures, output
from pystack.udp.bindings import Bindings
from pystack.udp.settings import PMTU_INTERFACE, PMTU_OMIT
from pystack.wire import checksum, udp

OVERHEAD = 256  # bytes charged for a queued datagram beside its frame: the objects that hold it
MAX_MEMBERSHIPS = 20  # of one socket (net.ipv4.igmp_max_memberships)


class UdpLayer:
    """Inlets: `receive` (RxPackets from inet), `control` (messages from inet), `requests` (from the sockets). Outboxes:
    ``inet`` (TxPackets), ``inet.control`` (messages for inet), ``sockets`` (events).

    Args:
        config: a `config.StackConfig`.
        random: a ``random.Random``.
        paths: who answers ``path`` and ``is_local``: inet.
    """

    def __init__(self, config, random, paths):
        self.outboxes = {"inet": [], "inet.control": [], "sockets": []}
        self.drops = Counts()
        self.counts = Counts()
        self._paths = paths
        self._limit = config.udp.udp_mem
        self._held = 0  # bytes charged to all sockets
        self._bindings = Bindings(config, random)
        self._loopback_members = Counter()  # (group, interface) -> sockets: inet keeps no membership of a loopback
        self._handlers = {
            transport.Bind: self._bind,
            transport.Connect: self._connect,
            transport.Send: self._send,
            transport.Read: self._read,
            transport.SetOption: self._set_option,
            transport.Join: self._join,
            transport.Leave: self._leave,
            transport.Close: self._close,
        }

    # -- inlets -------------------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Take UDP packets whose ``at`` is at the UDP header."""
        self.counts["InReceives"] += len(batch)
        for packet in batch:
            self._receive(packet)

    def control(self, batch, now):
        """Take Unreachable messages."""
        for message in batch:
            self._unreachable(message)

    def requests(self, batch, now):
        """Take what programs ask; see `transport`."""
        for request in batch:
            self._handlers[type(request)](request)

    def expire(self, now):
        """Nothing is timed here."""

    def next_deadline(self):
        """Nothing is timed here."""
        return

    # -- receiving ----------------------------------------------------------------------------------------------------

    def _receive(self, packet):
        buf, at = packet.buf, packet.at
        size = packet.end - at
        if size < udp.HEADER_LENGTH:
            self.drops[errors.TRUNCATED_HEADER] += 1
            return
        source_port, port, length, check = udp.parse(buf, at)
        if not udp.HEADER_LENGTH <= length <= size:
            self.drops[errors.BAD_LENGTH] += 1
            return
        destination = packet.destination
        if not check and len(destination) == 16:
            self.drops[errors.BAD_CHECKSUM] += 1  # RFC 8200 §8.1: IPv6 has none of its own that would do
            return
        if check and not packet.checksum_trusted:
            if not checksum.valid(memoryview(buf)[at : at + length], packet.pseudo_sum(length)):
                self.drops[errors.BAD_CHECKSUM] += 1
                return
        peer = (packet.source, source_port)
        if self._paths.is_local(destination):
            binding = self._bindings.find(destination, port, peer, packet.interface)
            if binding is not None:
                self._deliver(binding, packet, peer, port, at + udp.HEADER_LENGTH, at + length)
                return
            self.drops[errors.NO_PORT] += 1
            # RFC 1122 §4.1.3.1; inet knows when RFC 1122 §3.2.2 forbids it, a link broadcast is only seen from here up.
            if packet.cast == HOST:
                self.outboxes["inet.control"].append(messages.SendError(messages.PORT_UNREACHABLE, packet))
            return
        members = self._bindings.find_all(destination, port, peer, packet.interface)
        if not members or not self._is_heard(destination, packet.interface):
            self.drops[errors.NO_PORT] += 1  # in silence: RFC 1122 §3.2.2
            return
        for binding in members:
            self._deliver(binding, packet, peer, port, at + udp.HEADER_LENGTH, at + length)

    def _is_heard(self, destination, interface):
        """False for a group that nobody has joined on the loopback that it was sent to; of others inet knows."""
        if not output.is_multicast(destination):
            return True
        facts = self._paths.path(destination, interface)
        return facts is None or not facts.loopback or self._loopback_members[destination, interface] > 0

    def _deliver(self, binding, packet, peer, port, at, end):
        """Queue it for one socket, as long as there is room: Linux, too, looks before it adds the new one."""
        charge = len(packet.buf) + OVERHEAD
        if binding.queued > binding.settings.receive_buffer:
            self._refuse(binding, errors.RECEIVE_QUEUE_FULL)
        elif self._held + charge > self._limit:
            self._refuse(binding, errors.OUT_OF_MEMORY)
        elif packet.gso_size and end - at > packet.gso_size:
            self._deliver_train(binding, packet, peer, port, at, end)
        else:
            self._hand_up(binding, packet, peer, port, memoryview(packet.buf)[at:end], charge)

    def _deliver_train(self, binding, packet, peer, port, at, end):
        """A super-datagram (GSO_UDP_L4) is the datagrams that it was made of, ``gso_size`` bytes in each but the last.

        Any of them pins the frame, but all together only once.
        """
        view = memoryview(packet.buf)
        for start in range(at, end, packet.gso_size):
            piece = view[start : min(start + packet.gso_size, end)]
            self._hand_up(binding, packet, peer, port, piece, len(piece) + OVERHEAD)

    def _hand_up(self, binding, packet, peer, port, payload, charge):
        binding.queued += charge
        self._held += charge
        self.counts["InDatagrams"] += 1
        self.outboxes["sockets"].append(
            transport.Datagram(
                binding.socket,
                payload,
                peer,
                (packet.destination, port),
                packet.interface,
                packet.ttl,
                packet.tos,
                charge,
            )
        )

    def _refuse(self, binding, reason):
        binding.drops += 1
        self.drops[reason] += 1

    def refusal(self, socket, address):
        """Why nothing can be sent there: a key of `errors.ERRNO`, or None."""
        return output.route(self._bindings.make(socket), self._paths, address).cause

    # -- errors -------------------------------------------------------------------------------------------------------

    def _unreachable(self, message):
        """An error about something that we sent; as Linux's __udp4_lib_err."""
        binding = None
        if len(message.quoted) >= udp.HEADER_LENGTH:
            port, peer_port, _, _ = udp.parse(message.quoted, 0)
            binding = self._bindings.find(message.source, port, (message.destination, peer_port), None)
        if binding is None:
            self.drops[errors.ICMP_UNMATCHED] += 1
            return
        settings = binding.settings.of(message.destination)
        if message.cause == messages.PACKET_TOO_BIG and message.reporter is not None:
            if settings.discover_pmtu in (PMTU_INTERFACE, PMTU_OMIT):
                return
            self.outboxes["inet.control"].append(messages.PmtuChanged(message.destination, message.mtu))
        cause, hard = failures.judge(message, settings.discover_pmtu)
        if cause is None:
            return
        if settings.recv_error:
            self.outboxes["sockets"].append(transport.SendFailed(binding.socket, cause, message))
        elif hard and binding.peer is not None:
            self.outboxes["sockets"].append(transport.SendFailed(binding.socket, cause))

    # -- requests -----------------------------------------------------------------------------------------------------

    def _bind(self, request):
        binding = self._bindings.make(request.socket)
        address, settings = request.address, binding.settings
        source = address if any(address) and self._paths.is_local(address) else None
        if source is None and any(address) and not self._is_group_or_broadcast(address):
            self._fail(request.socket, errors.ADDRESS_NOT_OURS)
            return
        settings.reuse_address |= request.reuse_address
        settings.reuse_port |= request.reuse_port
        settings.interface = request.interface or settings.interface
        cause = self._bindings.bind(binding, address, request.port, source, request.owner)
        if cause is not None:
            self._fail(request.socket, cause)
        else:
            self._tell_bound(binding)

    def _is_group_or_broadcast(self, address):
        """What else than ours a socket may be bound to: it hears what is sent there, and sends from the route's."""
        if output.is_multicast(address):
            return True
        facts = self._paths.path(address)
        return facts is not None and facts.kind == messages.BROADCAST

    def _bind_to_any_port(self, binding):
        """What sending and connecting imply; False if there is no port left."""
        cause = self._bindings.bind(binding, binding.any_address, 0, None)
        if cause is None:
            self._tell_bound(binding)
        return cause is None

    def _tell_bound(self, binding):
        self.outboxes["sockets"].append(transport.Bound(binding.socket, binding.address, binding.port))

    def _fail(self, socket, cause):
        self.outboxes["sockets"].append(transport.Failed(socket, cause))

    def _connect(self, request):
        binding = self._bindings.make(request.socket)
        if request.address is None:
            self._bindings.disconnect(binding)
            self._tell_bound(binding)
            return
        if not binding.port and not self._bind_to_any_port(binding):
            self._fail(request.socket, errors.NO_FREE_PORT)
            return
        way = output.route(binding, self._paths, request.address)
        if way.cause is not None:
            self._fail(request.socket, way.cause)
            return
        self._bindings.connect(binding, (way.destination, request.port), way.facts.source)
        local = (binding.address, binding.port)
        self.outboxes["sockets"].append(transport.Connected(request.socket, local, binding.peer))

    def _send(self, request):
        binding = self._bindings.make(request.socket)
        cause = self._try_to_send(binding, request)
        if cause is not None:
            message = None
            if cause == errors.MESSAGE_TOO_BIG and failures.wants_too_big(binding, request):
                message = failures.too_big(binding, self._paths, request)
            self.outboxes["sockets"].append(transport.SendFailed(request.socket, cause, message, True))

    def _try_to_send(self, binding, request):
        """Returns None, or why nothing was sent. As on Linux the socket is bound even then."""
        if not binding.port and not self._bind_to_any_port(binding):
            return errors.NO_FREE_PORT
        address, port = (request.address, request.port) if request.address is not None else binding.peer or (None, 0)
        if address is None:
            return errors.NO_DESTINATION
        if not port:
            return errors.BAD_ADDRESS
        way = output.route(binding, self._paths, address, request.source, request.interface)
        if way.cause is not None:
            return way.cause
        packet, cause = output.build(binding, way, port, request)
        if cause is None:
            self.counts["OutDatagrams"] += 1
            self.outboxes["inet"].append(packet)
        return cause

    def _read(self, request):
        binding = self._bindings.get(request.socket)
        if binding is not None:
            binding.queued -= request.size
            self._held -= request.size

    def _set_option(self, request):
        self._bindings.set(self._bindings.make(request.socket), request.name, request.value)

    def _close(self, request):
        binding = self._bindings.get(request.socket)
        if binding is None:
            return
        for group, interface in list(binding.groups):
            self._forget_membership(binding, group, interface)
        self._held -= binding.queued
        self._bindings.close(binding)

    # -- groups -------------------------------------------------------------------------------------------------------

    def _join(self, request):
        binding = self._bindings.make(request.socket)
        facts, cause = self._membership_path(request)
        if cause is None and (request.group, facts.interface) in binding.groups:
            cause = errors.ADDRESS_IN_USE
        elif cause is None and len(request.group) == 4 and len(binding.groups) >= MAX_MEMBERSHIPS:
            cause = errors.NO_BUFFERS
        if cause is not None:
            self._fail(request.socket, cause)
            return
        group, interface = request.group, facts.interface
        binding.groups[group, interface] = request.source
        if facts.loopback:
            self._loopback_members[group, interface] += 1
        else:
            self.outboxes["inet.control"].append(messages.JoinGroup(interface, group))
        self.outboxes["sockets"].append(transport.Joined(request.socket, group, interface))

    def _membership_path(self, request):
        """Returns ``(facts, cause)`` of the interface that a Join means, as Linux's ip_mc_find_dev."""
        if not output.is_multicast(request.group):
            return None, errors.BAD_ADDRESS
        source = request.source if request.source is not None and any(request.source) else None
        if not request.interface and source is not None and not self._paths.is_local(source):
            return None, errors.NO_DEVICE
        facts = self._paths.path(request.group, request.interface, source)
        if facts is None or (request.interface and facts.interface != request.interface):
            return None, errors.NO_DEVICE
        return facts, None

    def _leave(self, request):
        binding = self._bindings.make(request.socket)
        for (group, interface), source in binding.groups.items():
            if group != request.group:
                continue
            if interface == request.interface or (not request.interface and request.source in (None, bytes(4), source)):
                self._forget_membership(binding, group, interface)
                self.outboxes["sockets"].append(transport.Left(request.socket, group, interface))
                return
        self._fail(request.socket, errors.ADDRESS_NOT_OURS)

    def _forget_membership(self, binding, group, interface):
        del binding.groups[group, interface]
        if self._loopback_members[group, interface]:
            self._loopback_members[group, interface] -= 1
        else:
            self.outboxes["inet.control"].append(messages.LeaveGroup(interface, group))
