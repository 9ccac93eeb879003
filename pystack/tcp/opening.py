"""Passive opens: listeners, connections that are half open, and SYN cookies where there are too many."""

from dataclasses import replace
from itertools import count

from pystack import errors, transport
from pystack.tcp import cookies, replies, states
from pystack.tcp.connection import Connection
from pystack.tcp.isn import InitialSequence
from pystack.tcp.listener import Listeners
from pystack.tcp.receiver import initial_window, initial_window_scale
from pystack.tcp.terms import HEADERS, Terms
from pystack.wire import tcp, tcp_options
from pystack.wire.seq import MASK


class Opening:
    """Makes connections: those of listeners, and for `requests.Requests` those of connect. *layer*: the `TcpLayer`."""

    def __init__(self, layer, random):
        self.listeners = Listeners(random.getrandbits(32))
        self._layer = layer
        self._sequence = InitialSequence(random)
        self._cookies = cookies.Cookies(random)
        self._numbers = count(transport.FIRST_ACCEPTED)
        self._opened = None

    def on_open(self, opened):
        """Call ``opened(connection, listener)`` for each new passive connection, half open or not."""
        self._opened = opened

    def timestamp_offset(self, local, remote):
        """Of a connection between these endpoints."""
        return self._sequence.timestamp_offset(local[0], remote[0])

    def make(self, socket, key, local, remote, settings, mtu, now, iss=None):
        """A `Connection` in CLOSED, known to the layer."""
        layer = self._layer
        connection = Connection(
            socket=socket,
            key=key,
            local=local,
            remote=remote,
            settings=settings,
            config=layer.config,
            memory=layer.memory,
            iss=self._sequence.number(key, now) if iss is None else iss & MASK,
            mss=mtu - HEADERS[len(remote[0])],
            timestamp_offset=self.timestamp_offset(local, remote),
            drops=layer.drops,
            counts=layer.counts,
            limiter=layer.limiter,
            now=now,
        )
        layer.add(connection)
        return connection

    # -- segments for no connection -----------------------------------------------------------------------------------

    def receive(self, key, segment, now, iss=None):
        """RFC 9293 §3.10.7.1 and .2: the new `Connection` that the segment opens, or None."""
        packet, flags = segment.packet, segment.flags
        listener = self._find(key, packet)
        if listener is None or packet.cast:
            self._layer.refuse(segment, now)
        elif flags & tcp.RST:
            self._layer.drops[errors.NO_CONNECTION] += 1
        elif flags & tcp.ACK:
            return self._receive_ack(listener, key, segment, now)
        elif flags & (tcp.SYN | tcp.FIN) == tcp.SYN:
            return self._receive_syn(listener, key, segment, now, iss)
        else:
            self._layer.drops[errors.BAD_FLAGS] += 1  # Linux drops SYN with FIN, too
        return None

    def would_accept(self, key, segment):
        """Whether somebody listens there (for a SYN that finds a TIME-WAIT)."""
        if segment.packet.cast or segment.flags & tcp.FIN:
            return False
        listener = self._find(key, segment.packet)
        return listener is not None and not listener.full

    def _find(self, key, packet):
        if len(self.listeners) == 0:
            return None
        port = int.from_bytes(key[-2:], "big")
        return self.listeners.find(packet.destination, port, packet.interface, key)

    def _receive_syn(self, listener, key, segment, now, iss):
        layer, config = self._layer, self._layer.config
        mtu = self._mtu(segment.packet)
        if mtu is None:
            layer.drops[errors.NO_ROUTE] += 1
            return None
        if listener.full:
            layer.counts["ListenOverflows"] += 1
            layer.counts["ListenDrops"] += 1
            layer.drops[errors.LISTEN_OVERFLOW] += 1
            return None
        crowded = listener.syn_queue_full
        if (config.tcp_syncookies == 2 or (crowded and config.tcp_syncookies)) and iss is None:
            listener.overflowed(now)
            self._send_cookie(listener, key, segment, mtu, now)
            return None
        if crowded or self._last_quarter(listener):
            layer.counts["ListenDrops"] += 1
            layer.drops[errors.SYN_OVERFLOW] += 1
            return None
        connection = self._passive(listener, key, segment, mtu, now, iss)
        connection.accept_syn(segment, now)
        listener.half_open[key] = connection
        return connection

    def _last_quarter(self, listener):
        """Linux: without cookies the last quarter of tcp_max_syn_backlog is kept for known peers; here for nobody."""
        config = self._layer.config
        limit = config.tcp_max_syn_backlog
        return not config.tcp_syncookies and len(listener.half_open) > limit - (limit >> 2)

    def _receive_ack(self, listener, key, segment, now):
        """An ACK may bring a cookie back; else it is of no connection."""
        layer, config = self._layer, self._layer.config
        packet = segment.packet
        if not config.tcp_syncookies or segment.flags & tcp.SYN:
            layer.refuse(segment, now)
            return None
        if not listener.expects_cookies(now):
            layer.refuse(segment, now)
            return None
        offset = self._sequence.timestamp_offset(packet.destination, packet.source)
        cookie = self._cookies.check(key, segment, offset, now)
        if cookie is None:
            layer.counts["SyncookiesFailed"] += 1
            layer.drops[errors.BAD_COOKIE] += 1
            layer.refuse(segment, now)
            return None
        mtu = self._mtu(packet)
        if mtu is None:
            layer.drops[errors.NO_ROUTE] += 1
            return None
        if listener.full:
            layer.counts["ListenOverflows"] += 1
            layer.drops[errors.LISTEN_OVERFLOW] += 1
            return None
        layer.counts["SyncookiesRecv"] += 1
        connection = self._passive(listener, key, segment, mtu, now, cookie.iss)
        connection.accept_cookie(segment, cookie, now)
        return connection

    def _passive(self, listener, key, segment, mtu, now, iss):
        packet = segment.packet
        local = packet.destination, int.from_bytes(key[-2:], "big")
        remote = packet.source, int.from_bytes(key[-4:-2], "big")
        socket = next(self._numbers)
        connection = self.make(socket, key, local, remote, replace(listener.settings), mtu, now, iss)
        connection.listener = listener
        self._opened(connection, listener)
        return connection

    def _mtu(self, packet):
        """Towards the sender of a packet; None if there is no way."""
        path = self._layer.paths.path(packet.source, 0, packet.destination)
        return None if path is None else path.mtu

    def _send_cookie(self, listener, key, segment, mtu, now):
        """SYN and ACK, and nothing remembered."""
        layer, packet = self._layer, segment.packet
        layer.counts["SyncookiesSent"] += 1
        options = segment.options
        terms = Terms(layer.config, listener.settings, mtu - HEADERS[len(packet.source)], 0)
        terms.settle_ecn(segment.flags, layer.config)
        terms.settle(options, len(packet.source))
        stamps = None
        if terms.timestamps:
            if not terms.sack or not terms.window_scaling:
                options = tcp_options.Options(options.timestamp)
                options.mss = segment.options.mss
                options.sack_permitted = terms.sack
                options.window_scale = segment.options.window_scale if terms.window_scaling else None
            value = cookies.timestamp(int(now * 1000), options, terms.ecn)
            offset = self._sequence.timestamp_offset(packet.destination, packet.source)
            stamps = ((value + offset) & MASK, options.timestamp[0])
        kept = bool(stamps)  # without timestamps there is no room to remember these
        flags = tcp.SYN | tcp.ACK | (tcp.ECE if terms.ecn and kept else 0)
        scale = initial_window_scale(layer.config, listener.settings) if terms.window_scaling and kept else None
        number = self._cookies.make(key, segment.seq, segment.options, now)
        header_options = tcp_options.syn(terms.advertised_mss(), scale, terms.sack and kept, stamps)
        local = packet.destination, int.from_bytes(key[-2:], "big")
        remote = packet.source, int.from_bytes(key[-4:-2], "big")
        window = min(initial_window(layer.config, listener.settings), 0xFFFF)
        layer.counts["OutSegs"] += 1
        layer.outboxes["inet"].append(
            replies.bare(local, remote, number, segment.seq + 1, flags, window, header_options)
        )

    # -- half-open connections ----------------------------------------------------------------------------------------

    def admits(self, connection, segment, now):
        """Whether a segment for a half-open connection may be looked at: not if it would open and there is no room."""
        listener = connection.listener
        if not listener.full or segment.flags & (tcp.RST | tcp.SYN) or not segment.flags & tcp.ACK:
            return True
        layer = self._layer
        layer.counts["ListenOverflows"] += 1
        layer.drops[errors.LISTEN_OVERFLOW] += 1
        if layer.config.tcp_abort_on_overflow:
            connection.abort(now)
            layer.settle(connection, now)
        return False

    def progress(self, connection, events):
        """Announce a connection that is open now to its listener's program."""
        if connection.state in (states.SYN_RECEIVED, states.CLOSED):
            return
        listener = connection.listener
        connection.listener = None
        listener.half_open.pop(connection.key, None)
        listener.waiting += 1
        self._layer.counts["PassiveOpens"] += 1
        events.append(transport.Accepted(listener.socket, connection.socket, connection.local, connection.remote))

    def forget(self, connection):
        """The connection is over; if it was half open, its place is free."""
        if connection.listener is not None:
            connection.listener.half_open.pop(connection.key, None)

    def close(self, listener, now):
        """The program stops listening: half-open connections end; Linux sends no RST for these."""
        self.listeners.remove(listener)
        for connection in list(listener.half_open.values()):
            connection.fail(errors.ABORTED)
            self._layer.settle(connection, now)
