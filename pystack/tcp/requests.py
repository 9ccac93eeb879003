"""What the sockets ask of TCP: each request of `transport`, and the ports that they hold."""

from pystack import errors, messages, transport
from pystack.ports import PortTable, tcp_conflict
from pystack.tcp.connection import Connection
from pystack.tcp.listener import EVERY_PORT, Listener
from pystack.tcp.settings import Settings
from pystack.tcp.timewait import TimeWait

_LOOPBACK = {4: bytes((127, 0, 0, 1)), 16: bytes(15) + b"\x01"}
_ONE_HOST = (messages.UNICAST, messages.LOCAL)


class Requests:
    """Owns what each socket is: settings alone, a Listener or a Connection. *layer* is the `TcpLayer`."""

    def __init__(self, layer, opening, config, random):
        self.ports = PortTable(config, random, tcp_conflict)
        self._layer = layer
        self._opening = opening
        self._sockets = {}  # socket -> Settings, Listener or Connection
        self._orphans = set()
        opening.on_open(self._opened)
        self._handlers = {
            transport.Bind: self._bind,
            transport.Connect: self._connect,
            transport.Listen: self._listen,
            transport.Taken: self._taken,
            transport.Write: self._write,
            transport.Consumed: self._consumed,
            transport.Shutdown: self._shutdown,
            transport.Close: self._close,
            transport.Abort: self._abort,
            transport.SetOption: self._set_option,
            transport.GetInfo: self._get_info,
        }

    def take(self, request, now):
        """Do what *request* asks."""
        self._handlers[type(request)](request, now)

    def listeners(self):
        """All `Listener`s."""
        return [each for each in self._sockets.values() if type(each) is Listener]

    def count(self):
        """Sockets known, connections whose program has gone included."""
        return len(self._sockets)

    def forget(self, socket):
        """The socket's connection is over."""
        self._sockets.pop(socket, None)
        self._orphans.discard(socket)
        self.ports.release(socket)

    def time_wait(self, socket):
        """The socket's connection is in TIME-WAIT: its port is taken still, but the socket is no more."""
        self._sockets.pop(socket, None)
        self._orphans.discard(socket)
        self.ports.time_wait(socket)

    def _opened(self, connection, listener):
        self.ports.inherit(connection.socket, listener.socket, *connection.local)
        self._sockets[connection.socket] = connection

    def _tell(self, event):
        self._layer.outboxes["sockets"].append(event)

    def _settings(self, socket):
        """Those of a socket that is not connected yet; made when it is first heard of."""
        known = self._sockets.get(socket)
        if known is None:
            if self.ports.claim(socket) is not None:
                return None  # its connection is in TIME-WAIT, which holds the port
            known = self._sockets[socket] = Settings.from_config(self._layer.config)
        return known if type(known) is Settings else None

    # -- before there is a connection ---------------------------------------------------------------------------------

    def _bind(self, request, now):
        settings = self._settings(request.socket)
        if settings is None:
            self._tell(transport.Failed(request.socket, errors.BAD_ADDRESS))
            return
        if any(request.address) and not self._layer.paths.is_local(request.address):
            self._tell(transport.Failed(request.socket, errors.ADDRESS_NOT_OURS))
            return
        port, cause = self.ports.bind(
            request.socket,
            request.address,
            request.port,
            reuse_address=request.reuse_address,
            reuse_port=request.reuse_port,
            interface=request.interface,
            owner=request.owner,
            v6_only=settings.v6_only,
        )
        if cause is not None:
            self._tell(transport.Failed(request.socket, cause))
        else:
            self._tell(transport.Bound(request.socket, request.address, port))

    def _connect(self, request, now):
        settings = self._settings(request.socket)
        if settings is None:
            return  # it is connecting, connected or listening already: the sockets know that as well
        cause = self._open(request, settings, now)
        if cause is not None:
            self.forget(request.socket)
            self._tell(transport.Failed(request.socket, cause))

    def _open(self, request, settings, now):
        """Open actively; returns the cause of a refusal, or None."""
        layer, socket = self._layer, request.socket
        # As on Linux, "any" is this host.
        address = request.address if any(request.address) else _LOOPBACK[len(request.address)]
        claim = self.ports.claim(socket)
        interface = claim.interface if claim is not None else 0
        source = claim.address if claim is not None and any(claim.address) else None
        if source is not None and len(source) != len(address):
            return errors.NET_UNREACHABLE
        path = layer.paths.path(address, interface, source)
        if path is None or path.kind not in _ONE_HOST:
            return errors.NET_UNREACHABLE
        source = source or path.source
        if source is None:
            return errors.ADDRESS_NOT_OURS
        tail = request.port.to_bytes(2, "big")

        def key_of(port):
            return address + source + tail + port.to_bytes(2, "big")

        def in_use(port):
            flow = layer.flows.get(key_of(port))
            return flow is not None and not self._replaceable(flow, path, now)

        if claim is None:
            port, cause = self.ports.connect(socket, source, address, request.port, in_use)
            if cause is not None:
                return cause
        else:
            port = claim.port
            if in_use(port):
                return errors.NO_FREE_PORT
            self.ports.specify(socket, source)
        key = key_of(port)
        old = layer.flows.get(key)
        iss = None
        if old is not None:
            iss = old.next_iss()
            layer.forget_time_wait(key)
        layer.counts["ActiveOpens"] += 1
        connection = self._opening.make(
            socket, key, (source, port), (address, request.port), settings, path.mtu, now, iss
        )
        self._sockets[socket] = connection
        connection.connect(now)
        layer.settle(connection, now)
        return None

    def _replaceable(self, flow, path, now):
        reuse = self._layer.config.tcp_tw_reuse
        return type(flow) is TimeWait and (reuse == 1 or (reuse == 2 and path.loopback)) and flow.may_be_replaced(now)

    def _listen(self, request, now):
        socket = request.socket
        backlog = min(max(request.backlog, 0), self._layer.config.somaxconn)
        known = self._sockets.get(socket)
        if type(known) is Listener:
            known.backlog = backlog
            self._tell(transport.Bound(socket, known.address, known.port))
            return
        settings = self._settings(socket)
        if settings is None:
            return
        if request.every_port:
            self._add_listener(Listener(socket, bytes(16), EVERY_PORT, 0, backlog, settings, False))
            return
        if self.ports.claim(socket) is None:
            any_address = bytes(16 if settings.ipv6 else 4)
            how = {"reuse_address": settings.reuse_address, "v6_only": settings.v6_only}
            _, cause = self.ports.bind(socket, any_address, 0, **how)
            if cause is not None:
                self._tell(transport.Failed(socket, cause))
                return
        cause = self.ports.listen(socket)
        if cause is not None:
            self._tell(transport.Failed(socket, cause))
            return
        claim = self.ports.claim(socket)
        self._add_listener(
            Listener(socket, claim.address, claim.port, claim.interface, backlog, settings, claim.reuse_port)
        )

    def _add_listener(self, listener):
        self._sockets[listener.socket] = listener
        self._opening.listeners.add(listener)
        self._tell(transport.Bound(listener.socket, listener.address, listener.port))

    def _taken(self, request, now):
        listener = self._sockets.get(request.socket)
        if type(listener) is Listener:
            listener.waiting = max(listener.waiting - request.count, 0)

    # -- connections --------------------------------------------------------------------------------------------------

    def _connection(self, request):
        known = self._sockets.get(request.socket)
        return known if type(known) is Connection else None

    def _write(self, request, now):
        connection = self._connection(request)
        if connection is not None:
            connection.write(request.buffers, request.urgent, now)
            self._layer.settle(connection, now)

    def _consumed(self, request, now):
        connection = self._connection(request)
        if connection is not None:
            if connection.consumed(request.size, now):
                self._layer.settle(connection, now)

    def _shutdown(self, request, now):
        connection = self._connection(request)
        if connection is not None:
            connection.shutdown(now)
            self._layer.settle(connection, now)

    def _close(self, request, now):
        known = self._sockets.get(request.socket)
        if type(known) is Connection:
            linger = request.linger
            self._orphans.add(request.socket)
            if len(self._orphans) > self._layer.config.tcp_max_orphans:
                self._layer.counts["AbortOnMemory"] += 1
                linger = 0
            known.close(linger, now)
            self._layer.settle(known, now)
        elif known is not None:
            if type(known) is Listener:
                self._opening.close(known, now)
            self.forget(request.socket)

    def _abort(self, request, now):
        connection = self._connection(request)
        if connection is None:
            self._close(request, now)
        else:
            connection.abort(now)
            self._layer.settle(connection, now)

    def _set_option(self, request, now):
        known = self._sockets.get(request.socket)
        if type(known) is Connection:
            known.set_option(request.name, request.value, now)
            self._layer.settle(known, now)
        elif type(known) is Listener:
            setattr(known.settings, request.name, request.value)
        else:
            settings = self._settings(request.socket)
            if settings is not None:
                setattr(settings, request.name, request.value)

    def _get_info(self, request, now):
        connection = self._connection(request)
        info = connection.info(now) if connection is not None else None
        self._tell(transport.Info(request.socket, request.token, info))
