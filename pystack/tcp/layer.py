"""The TCP core: finds the connection of each segment, and owns all of them."""

import logging

from pystack import errors, transport
from pystack.counts import Counts
from pystack.deadlines import Deadlines
from pystack.tcp import replies, states, timewait
from pystack.tcp.connection import Connection
from pystack.tcp.limiter import ChallengeLimiter
from pystack.tcp.memory import Memory
from pystack.tcp.opening import Opening
from pystack.tcp.requests import Requests
from pystack.tcp.segment import Segment
from pystack.tcp.settings import check_setting
from pystack.tcp.timewait import TimeWait
from pystack.wire import checksum, tcp, tcp_options
from pystack.wire.seq import extend

log = logging.getLogger("pystack.tcp")

_EMPTY = memoryview(b"")


class TcpLayer:
    """Owns connections, TIME-WAIT records, and when each is due; `Opening` has the listeners, `Requests` the ports.

    Inlets: `receive` (RxPackets from inet), `control` (Unreachable from inet), `requests` (of `transport`, from the
    sockets). Outboxes: ``inet`` (TxPackets), ``inet.control`` (messages), ``sockets`` (events). Counts have the names
    of Linux's MIB; ``bugs`` are exceptions in a connection, which it did not survive.

    Args:
        config: a `StackConfig`.
        random: a ``random.Random``.
        paths: answers ``path(destination, interface, source)`` and ``is_local(address)``, as `InetLayer` does.
    """

    def __init__(self, config, random, paths):
        self.outboxes = {"inet": [], "inet.control": [], "sockets": []}
        self.drops = Counts()
        self.counts = Counts()
        self.config = config.tcp
        check_setting("congestion", config.tcp.tcp_congestion_control)
        self.paths = paths
        self.memory = Memory(config.tcp.tcp_mem)
        self.limiter = ChallengeLimiter(config.tcp.tcp_challenge_ack_limit)
        self.flows = {}  # key -> Connection or TimeWait
        self._deadlines = Deadlines()
        self._time_waits = 0
        self._opening = Opening(self, random)
        self._requests = Requests(self, self._opening, config, random)

    # -- the four calls -----------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Take TCP segments whose ``at`` is at the TCP header; each connection concerned is flushed once."""
        flows = self.flows
        touched = {}
        self.counts["InSegs"] += len(batch)
        for packet in batch:
            if packet.following:
                self.counts["InSegs"] += len(packet.following)
            segment = self._parse(packet)
            if segment is None:
                self.counts["InErrs"] += 1
                continue
            at = packet.at
            # As the header has it: the peer's address and port first.
            key = packet.source + packet.destination + packet.buf[at : at + 4]
            flow = flows.get(key)
            if flow is None or type(flow) is TimeWait:
                flow = self._receive_unconnected(flow, key, segment, now)
                if flow is None:
                    continue
            elif flow.listener is not None and not self._opening.admits(flow, segment, now):
                continue
            elif not self._receive_connected(flow, segment, now):
                touched.pop(flow, None)
                continue
            if flow.listener is not None:
                # Announced now and not when the batch is done, or all of a batch would find the same room.
                self._opening.progress(flow, self.outboxes["sockets"])
            touched[flow] = None
        for connection in touched:
            if connection.key in flows:
                self.settle(connection, now)

    def control(self, batch, now):
        """Take Unreachable messages, and believe those that quote what is in flight (RFC 5927 §4)."""
        for message in batch:
            connection = self._quoted(message)
            if connection is None:
                self.drops[errors.ICMP_UNMATCHED] += 1
            else:
                connection.unreachable(message.cause, message.mtu, now)
                self.settle(connection, now)

    def requests(self, batch, now):
        """Take requests of the sockets."""
        for request in batch:
            self._requests.take(request, now)

    def expire(self, now):
        """Let connections, and TIME-WAITs, do what is due."""
        for item in self._deadlines.due(now):
            if type(item) is TimeWait:
                self._forget_time_wait(item)
                continue
            try:
                item.expire(now)
            except Exception:
                self._failed(item, now)
            else:
                self.settle(item, now)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    # -- what is there ------------------------------------------------------------------------------------------------

    def connections(self):
        """A snapshot: ``[(local, remote, state's name, socket), ...]``; listeners have no remote."""
        found = [((each.address, each.port), None, "LISTEN", each.socket) for each in self._requests.listeners()]
        for flow in self.flows.values():
            state = states.TIME_WAIT if type(flow) is TimeWait else flow.state
            found.append((flow.local, flow.remote, states.NAMES[state], flow.socket))
        return found

    def is_open(self, key):
        """Whether there is a connection, be it half open; TIME-WAIT is none.

        Args:
            key: the peer's address and ours, the peer's port and ours, as they stand in the headers of its segments.
        """
        return type(self.flows.get(key)) is Connection

    def held(self):
        """What there is by kind: connections, TIME-WAITs, sockets known, ports, timed items and bytes of memory."""
        return {
            "connections": len(self.flows) - self._time_waits,
            "time_waits": self._time_waits,
            "sockets": self._requests.count(),
            "ports": len(self._requests.ports),
            "deadlines": len(self._deadlines),
            "memory": self.memory.used,
        }

    # -- connections --------------------------------------------------------------------------------------------------

    def add(self, connection):
        """A new connection is to be found by its key."""
        self.flows[connection.key] = connection

    def settle(self, connection, now):
        """Something has happened to the connection: let it send and tell, and see what it has become."""
        try:
            connection.flush(now)
        except Exception:
            self._failed(connection, now)
            return
        self._collect(connection)
        if connection.state == states.CLOSED:
            self._forget(connection)
        elif connection.state == states.TIME_WAIT:
            self._keep_time_wait(connection, now)
        else:
            at = connection.next_deadline()
            if at < connection.queued_at:
                self._deadlines.set(connection, at)
            else:
                connection.due_at = at

    def forget_time_wait(self, key):
        """A new connection takes the place of this TIME-WAIT."""
        self._forget_time_wait(self.flows[key])

    def _collect(self, connection):
        """Pass on what the connection has put out."""
        if connection.packets:
            self.outboxes["inet"].extend(connection.packets)
            connection.packets.clear()
        if connection.controls:
            self.outboxes["inet.control"].extend(connection.controls)
            connection.controls.clear()
        if connection.listener is not None:
            self._opening.progress(connection, self.outboxes["sockets"])
        if connection.events:
            if connection.listener is None:
                self.outboxes["sockets"].extend(connection.events)
            connection.events.clear()  # nobody has heard of a connection that is still its listener's

    def _forget(self, connection):
        self.flows.pop(connection.key, None)
        self._deadlines.cancel(connection)
        self._opening.forget(connection)
        self._requests.forget(connection.socket)

    def _keep_time_wait(self, connection, now):
        self._deadlines.cancel(connection)
        self._opening.forget(connection)
        if self._time_waits >= self.config.tcp_max_tw_buckets:
            self.counts["TCPTimeWaitOverflow"] += 1
            self._forget(connection)
            return
        facts = connection.time_wait_facts()
        record = TimeWait(connection, facts, self._opening.timestamp_offset(connection.local, connection.remote), now)
        self.flows[connection.key] = record
        self._time_waits += 1
        self.counts["TW"] += 1
        self._requests.time_wait(connection.socket)
        self._deadlines.set(record, now + self.config.time_wait)

    def _forget_time_wait(self, record):
        self._deadlines.cancel(record)
        self._time_waits -= 1
        del self.flows[record.key]
        self._requests.forget(record.socket)

    def _failed(self, connection, now):
        """A bug: the connection is over, and the others go on."""
        log.exception("connection %s to %s has failed", connection.local, connection.remote)
        self.counts["bugs"] += 1
        if connection.listener is None and not connection.orphaned:
            self.outboxes["sockets"].append(transport.Failed(connection.socket, errors.RESET))
        self.flows.pop(connection.key, None)
        self._deadlines.cancel(connection)
        self._opening.forget(connection)
        self._requests.forget(connection.socket)
        self.outboxes["inet"].append(replies.abandon(connection))
        connection.sender.drop()
        if connection.receiver is not None:
            connection.receiver.drop()

    # -- segments -----------------------------------------------------------------------------------------------------

    def _parse(self, packet):
        """The `Segment` of a packet, or None, counted, if there is none to be had."""
        buf, at, end = packet.buf, packet.at, packet.end
        fields = tcp.parse(buf, at, end)
        if fields is None:
            self.drops[errors.TRUNCATED_HEADER if end - at < tcp.HEADER_LENGTH else errors.BAD_OFFSET] += 1
            return None
        _, _, seq, ack, flags, window, urgent, payload_at = fields
        if not packet.checksum_trusted:
            if not checksum.valid(memoryview(buf)[at:end], packet.pseudo_sum(end - at)):
                self.drops[errors.BAD_CHECKSUM] += 1
                return None
        payload = memoryview(buf)[payload_at:end] if payload_at < end else _EMPTY
        options = tcp_options.parse(buf, at + tcp.HEADER_LENGTH, payload_at)
        return Segment(seq, ack, flags, window, urgent, payload, options, packet)

    def _receive_connected(self, connection, segment, now):
        """Hand a segment to its connection; False if that is over with it, and what follows is not for it any more."""
        try:
            connection.receive(segment, now)
        except Exception:
            self._failed(connection, now)
            return False
        if connection.state in states.OVER:
            self.settle(connection, now)
            return False
        return True

    def _receive_unconnected(self, record, key, segment, now):
        """A segment for no connection, or for a TIME-WAIT's *record*: the `Connection` that it opens, or None."""
        iss = None
        if record is not None:
            verdict = record.receive(segment, self.config.tcp_rfc1337, now)
            if verdict == timewait.REOPEN and self._opening.would_accept(key, segment):
                iss = record.next_iss()
                self._forget_time_wait(record)
            else:
                self._answer_in_time_wait(record, verdict, segment, now)
                return None
        try:
            return self._opening.receive(key, segment, now, iss)
        except Exception:
            connection = self.flows.get(key)
            if connection is None:
                raise
            self._failed(connection, now)
            return None

    def _answer_in_time_wait(self, record, verdict, segment, now):
        if verdict == timewait.END:
            self._forget_time_wait(record)
            return
        if verdict == timewait.ACK:
            self._deadlines.set(record, now + self.config.time_wait)
        elif verdict != timewait.CHALLENGE:
            return
        if record.may_answer(segment, self.config.tcp_invalid_ratelimit, now):
            self.outboxes["inet"].append(replies.time_wait_ack(record, now))
            self.counts["OutSegs"] += 1

    def _quoted(self, message):
        """The connection that an Unreachable is about, or None."""
        quoted = message.quoted
        if len(quoted) < 8:
            return None
        flow = self.flows.get(message.destination + message.source + quoted[2:4] + quoted[0:2])
        if flow is None or type(flow) is TimeWait:
            return None
        sender = flow.sender
        seq = extend(int.from_bytes(quoted[4:8], "big"), sender.snd_una)
        return flow if sender.snd_una <= seq <= sender.snd_nxt else None

    def refuse(self, segment, now):
        """RST for a segment that no connection is there for (RFC 9293 §3.10.7.1); silence for a RST."""
        self.drops[errors.NO_CONNECTION] += 1
        packet = segment.packet
        if segment.flags & tcp.RST or packet.cast or not self.paths.is_local(packet.destination):
            return
        self.counts["OutRsts"] += 1
        self.counts["OutSegs"] += 1
        self.outboxes["inet"].append(replies.reset(segment))
