"""The engine's end of a UDP socket."""

import errno
from collections import deque

from pystack import errors, transport
from pystack.sockets import options, protocol
from pystack.sockets.ends import End, refusal

BUDGET = 64  # datagrams of one turn; whoever has more has another turn
_MOST = protocol.DATAGRAM.size + 65_536


class DatagramEnd(End):
    """Each datagram is one message of the pair, after a `protocol.DATAGRAM`; what does not fit waits here.

    It is still charged to the socket's receive buffer then, so that UDP drops what comes beyond that. An error is a
    header alone, in its place among the datagrams.
    """

    transport = "udp"
    options = options.UDP

    def __init__(self, service, inode, sock, number):
        super().__init__(service, inode, sock, number)
        self._state = protocol.FRESH
        self._messages = deque()  # (header, payload, charge) for the program
        self._undoing = False  # a connect to nobody is on the way

    def state(self):
        return self._state

    # -- requests of the program --------------------------------------------------------------------------------------

    def connect(self, address, port, plug, reply):
        if address is not None and len(address) != 4:
            reply(errno.EAFNOSUPPORT)
            return
        self._undoing = address is None
        self.ask(transport.Connect(self.number, address, port), reply)

    def listen(self, backlog, reply):
        reply(errno.EOPNOTSUPP)

    def route(self, address, port, reply):
        """May a datagram be sent there? What the transport will check again, the program is to be told at once."""
        if address is None:
            reply(0 if self.remote is not None else errno.EDESTADDRREQ)
            return
        if len(address) != 4:
            reply(errno.EAFNOSUPPORT)
            return
        cause = self._service.way_of(self.number, address) if port else errors.BAD_ADDRESS
        reply(0 if cause is None else errors.ERRNO[cause])

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
        else:
            super().set_option(level, name, value, reply)

    def get_option(self, level, name, room, reply):
        if (level, name) == options.MULTICAST_IF:
            reply(0, (self.values.get("multicast_source") or bytes(4))[:room])
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
        if version:
            request.address, request.port = address[:4], port
        if flags & protocol.HAS_TTL:
            request.ttl = ttl
        if flags & protocol.HAS_TOS:
            request.tos = tos
        if flags & protocol.HAS_PKTINFO:
            request.interface = interface
            request.source = source[:4] if any(source) else None
        self.post(request)

    def writable(self):
        while self._messages:
            header, payload, charge = self._messages[0]
            if not self._pass(header, payload):
                return
            self._messages.popleft()
            self._read(charge)

    def _received(self, event):
        address, port = event.source
        flags = 0
        values = self.values
        if values.get("receive_ttl"):
            flags |= protocol.HAS_TTL
        if values.get("receive_tos"):
            flags |= protocol.HAS_TOS
        if values.get("packet_info"):
            flags |= protocol.HAS_PKTINFO
        header = protocol.DATAGRAM.pack(
            4, event.ttl, event.tos, flags, port, 0, event.interface, address, event.destination[0]
        )
        self._deliver(header, event.payload, event.charge)

    def _failed_to_send(self, number):
        self._deliver(protocol.DATAGRAM.pack(0, 0, 0, 0, 0, number, 0, b"", b""), b"", 0)

    def _deliver(self, header, payload, charge):
        if not charge and len(self._messages) >= BUDGET:
            return  # an error behind so much: one of many
        if self._messages or not self._pass(header, payload):
            self._messages.append((header, payload, charge))
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
        if charge:
            self.post(transport.Read(self.number, charge))
