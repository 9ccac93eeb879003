"""The engine's end of a UDP socket."""

import errno
from collections import deque
from socket import AF_INET, AF_INET6

from pystack import errors, transport
from pystack.scope import on_wire
from pystack.sockets import options, options6, protocol
from pystack.sockets.ends import End, refusal
from pystack.sockets.poller import READ, WRITE

# By version of IP, the settings by which a program asks for control messages, and the flags that they mean. What an
# IPv4 datagram was sent to a program may ask for in both forms.
_WANTS = {
    4: (
        ("receive_ttl", protocol.HAS_TTL),
        ("receive_tos", protocol.HAS_TOS),
        ("packet_info", protocol.HAS_PKTINFO),
        ("packet_info6", protocol.HAS_PKTINFO6),
    ),
    6: (
        ("receive_hop_limit", protocol.HAS_TTL),
        ("receive_traffic_class", protocol.HAS_TOS),
        ("packet_info6", protocol.HAS_PKTINFO6),
    ),
}
_CUT = (0, 1, 5)  # IP_PMTUDISC_DONT, WANT, OMIT: what does not fit is fragmented (ip(7), ipv6(7))
_HEADERS = {4: 20 + 8, 6: 40 + 8}  # bytes of IP and UDP
BUDGET = 64  # datagrams of one turn; whoever has more has another turn
LITTLE = 4096  # bytes read that UDP need not be told of at once, as its buffer is much larger
_MOST = protocol.DATAGRAM.size + 65_536


class DatagramEnd(End):
    """Each datagram is one message of the pair, after a `protocol.DATAGRAM`; what does not fit waits here.

    It is still charged to the socket's receive buffer then, so that UDP drops what comes beyond that. An error is a
    header alone, in its place among the datagrams.
    """

    transport = "udp"
    options = {AF_INET: options.UDP, AF_INET6: options6.UDP6}

    def __init__(self, service, family, inode, sock, number):
        super().__init__(service, family, inode, sock, number)
        self._state = protocol.FRESH
        self._messages = deque()  # (header, payload, charge) for the program
        self._undoing = False  # a connect to nobody is on the way

    def state(self):
        return self._state

    # -- requests of the program --------------------------------------------------------------------------------------

    def connect(self, address, port, plug, waits, reply):
        self._undoing = address is None
        self.ask(transport.Connect(self.number, address, port), reply)

    def listen(self, backlog, reply):
        reply(errno.EOPNOTSUPP)

    def route(self, address, port, reply):
        """May a datagram be sent there, and how large a one? What the transport will check again, the program is to be
        told at once."""
        if address is None:
            if self.remote is None:
                raise refusal(errno.EDESTADDRREQ)
            address = self.remote[0]
        else:
            cause = self._service.way_of(self.number, address) if port else errors.BAD_ADDRESS
            if cause is not None:
                raise refusal(errors.ERRNO[cause])
        reply(0, protocol.COUNT.pack(self._largest(address)))

    def _largest(self, address):
        """Bytes of payload; the path's MTU is the limit where the program wants nothing cut."""
        version, prefix = (4, "") if len(address) == 4 else (6, "v6.")
        most = protocol.MAX_DATAGRAM[version]
        values = self.values
        if values.get(prefix + "discover_pmtu", 1) in _CUT and not values.get(prefix + "never_fragment"):
            return most
        facts = self._service.paths.path(address)
        return most if facts is None else min(most, facts.mtu - _HEADERS[version])

    def set_option(self, level, name, value, reply):
        key = level, name
        if key == options.ADD_MEMBERSHIP or key == options.DROP_MEMBERSHIP:
            group, address, interface = options.read_membership(value)
            kind = transport.Join if key == options.ADD_MEMBERSHIP else transport.Leave
            self.ask(kind(self.number, group, interface, address), reply)
        elif key == options.MULTICAST_IF:
            address, interface = options.read_multicast_interface(value)
            if address is not None and not interface:
                interface = self._service.interface_with(address)
                if not interface:
                    raise refusal(errno.EADDRNOTAVAIL)
            self.values["multicast_interface"] = interface
            self.post(transport.SetOption(self.number, "multicast_interface", interface))
            self.post(transport.SetOption(self.number, "multicast_source", address))
            self.values["multicast_source"] = address
            reply(0)
        elif self.family == AF_INET6 and key in (options6.JOIN_GROUP, options6.LEAVE_GROUP):
            group, interface = options6.read_membership(value)
            if group[0] != 0xFF:  # Linux's leave says so too
                raise refusal(errno.EINVAL)
            kind = transport.Join if key == options6.JOIN_GROUP else transport.Leave
            self.ask(kind(self.number, group, interface), reply)
        elif self.family == AF_INET6 and key == options6.MULTICAST_IF:
            interface = options.read_int(value)
            if interface and not self._service.name_of(interface):
                raise refusal(errno.ENODEV)
            self.values["v6.multicast_interface"] = interface
            self.post(transport.SetOption(self.number, "v6.multicast_interface", interface))
            reply(0)
        else:
            super().set_option(level, name, value, reply)

    def get_option(self, level, name, room, reply):
        if (level, name) == options.MULTICAST_IF:
            reply(0, (self.values.get("multicast_source") or bytes(4))[:room])
        elif self.family == AF_INET6 and (level, name) == options6.MULTICAST_IF:
            reply(0, options.write_int(self.values.get("v6.multicast_interface", 0))[:room])
        else:
            super().get_option(level, name, room, reply)

    # -- UDP ----------------------------------------------------------------------------------------------------------

    def event(self, event):
        kind = type(event)
        if kind is transport.Datagram:
            self._received(event)
        elif kind is transport.SendFailed:
            self._failed_to_send(errors.ERRNO[event.cause])
        elif kind is transport.Connected:
            self.local, self.remote = event.local, event.remote
            self._state = protocol.CONNECTED
            self._answers.settle()
        elif kind is transport.Joined or kind is transport.Left:
            self._answers.settle()
        elif kind is transport.Bound and self._undoing:
            self._undoing = False
            self.remote = None
            self._state = protocol.FRESH
            self.local = (event.address, event.port) if event.port else None
            self._answers.settle()
        elif kind is transport.Bound and self.local is None and self._bound_by_program is None:
            self.local = event.address, event.port  # sending has bound it: nobody waits for an answer
        else:
            super().event(event)

    def failed(self, number):
        self._undoing = False
        if self.local is None:
            self._bound_by_program = None
        super().failed(number)

    def stop(self, failure):
        super().stop(failure)
        self.error = errno.ENETDOWN
        self.close_pair()

    # -- the pair -----------------------------------------------------------------------------------------------------

    def readable(self, hung_up):
        for _ in range(BUDGET):
            try:
                message = self.sock.recv(_MOST)
            except BlockingIOError:
                return
            except ConnectionResetError:  # the program has closed it with something unread
                continue
            except OSError:
                self.let_go(transport.Close(self.number))
                return
            if not message:
                if hung_up:
                    self.let_go(transport.Close(self.number))
                return
            self._send(message)
        self._service.again(lambda: self._read_again(hung_up))

    def _read_again(self, hung_up):
        if self.sock is not None:
            self.readable(hung_up)
            self._service.endpoints.flush()

    def _send(self, message):
        size = protocol.DATAGRAM.size
        if len(message) < size:
            return
        version, ttl, tos, flags, port, _, interface, address, source = protocol.DATAGRAM.unpack_from(message)
        request = transport.Send(self.number, message[size:])
        try:
            if version:
                request.address, request.port = self.inward(address[:4] if version == 4 else address, interface), port
            if flags & protocol.HAS_PKTINFO:
                if interface and not self._service.name_of(interface):
                    raise refusal(errno.ENODEV)
                request.source = self._source_of(source, interface)
        except OSError as error:
            self._failed_to_send(error.errno)
            return
        if flags & protocol.HAS_TTL:
            request.ttl = ttl
        if flags & protocol.HAS_TOS:
            request.tos = tos
        if flags & protocol.HAS_PKTINFO or (version == 6 and request.address[0] == 0xFF):
            request.interface = interface
        self._service.endpoints.post_data("udp", request)

    def _source_of(self, source, interface):
        """The address to send from that a control message gives, or None."""
        if not any(source):
            return None
        if self.family == AF_INET:
            return source[:4]
        return self.inward(source, interface)

    def interest(self):
        return READ | WRITE if self._messages else READ

    def writable(self):
        while self._messages:
            header, payload, charge = self._messages[0]
            if not self._pass(header, payload):
                return
            self._messages.popleft()
            self._read(charge)
        self.review_interest()

    def _received(self, event):
        address, port = event.source
        flags = 0
        version = 4 if len(address) == 4 else 6
        for setting, flag in _WANTS[version]:
            if self.values.get(setting):
                flags |= flag
        header = protocol.DATAGRAM.pack(
            version,
            event.ttl,
            event.tos,
            flags,
            port,
            0,
            event.interface,
            on_wire(address),
            on_wire(event.destination[0]),
        )
        self._deliver(header, event.payload, event.charge)

    def _failed_to_send(self, number):
        self._deliver(protocol.DATAGRAM.pack(0, 0, 0, 0, 0, number, 0, b"", b""), b"", 0)

    def _deliver(self, header, payload, charge):
        if not charge and len(self._messages) >= BUDGET:
            return  # an error behind so much: one of many
        if self._messages or not self._pass(header, payload):
            self._messages.append((header, payload, charge))
            self.review_interest()
        else:
            self._read(charge)

    def _pass(self, header, payload):
        if self.sock is None:
            return True
        try:
            self.sock.sendmsg([header, payload])
        except BlockingIOError:
            return False
        except OSError:
            pass  # the program has gone, or reads no more
        return True

    def _read(self, charge):
        if not charge:
            return
        if charge > LITTLE or "receive_buffer" in self.values:
            self.post(transport.Read(self.number, charge))
        else:
            self._service.endpoints.post_later("udp", transport.Read, self.number, charge)
