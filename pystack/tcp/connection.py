"""One connection: its state, what the program asks of it, and what it has to tell. Segments arrive in `arrival`."""

from pystack import errors, messages, transport
from pystack.deadlines import NEVER
from pystack.tcp import arrival, states, timers
from pystack.tcp.info import describe
from pystack.tcp.output import Output
from pystack.tcp.receiver import Receiver, initial_window, initial_window_scale
from pystack.tcp.sender import Sender
from pystack.tcp.terms import HEADERS, Terms
from pystack.tcp.timers import Keepalive
from pystack.wire.seq import MASK

# What an ICMP error means for a connection that is being opened (Linux's icmp_err_convert).
_CAUSES = {
    messages.NET_UNREACHABLE: errors.NET_UNREACHABLE,
    messages.HOST_UNREACHABLE: errors.HOST_UNREACHABLE,
    messages.PROTOCOL_UNREACHABLE: errors.NO_PROTOCOL,
    messages.PORT_UNREACHABLE: errors.REFUSED,
    messages.SOURCE_ROUTE_FAILED: errors.NOT_SUPPORTED,
    messages.PROHIBITED: errors.HOST_UNREACHABLE,
    messages.TTL_EXCEEDED: errors.HOST_UNREACHABLE,
    messages.REASSEMBLY_EXCEEDED: errors.HOST_UNREACHABLE,
    messages.PARAMETER_PROBLEM: errors.PROTOCOL_ERROR,
}
_CAUSES6 = {**_CAUSES, messages.PROHIBITED: errors.PROHIBITED}  # icmpv6_err_convert


class Connection:
    """From the first SYN to TIME-WAIT. Whoever calls it must call `flush` afterwards, once per batch, and then take
    what is in ``packets`` (TxPackets), ``controls`` (messages for inet) and ``events`` (of `transport`).

    ``sender`` owns SND.*, ``receiver`` (None until the peer's SYN is there) RCV.*, ``terms`` what was agreed on,
    ``output`` makes the segments. `arrival` works on all of them; nobody else does.

    Args:
        socket: the number that events carry.
        key: what the layer finds it by.
        local, remote: ``(address, port)``.
        settings, config, memory: `Settings`, `TcpConfig`, `Memory`.
        iss: our initial sequence number.
        mss: bytes of payload that the path's MTU leaves without TCP options.
        timestamp_offset: see `Output`.
        drops, counts: the layer's `Counts`.
        limiter: of challenge ACKs.
    """

    __slots__ = (
        "_answered_at",
        "_memory",
        "config",
        "confirmed_at",
        "controls",
        "counts",
        "data_received_at",
        "data_segments_in",
        "drops",
        "due_at",
        "established",
        "events",
        "keepalive",
        "key",
        "limiter",
        "listener",
        "local",
        "must_ack",
        "opened_at",
        "orphaned",
        "output",
        "packets",
        "queued_at",
        "receiver",
        "remote",
        "segments_in",
        "sender",
        "settings",
        "socket",
        "soft_cause",
        "state",
        "terms",
    )

    def __init__(
        self,
        *,
        socket,
        key,
        local,
        remote,
        settings,
        config,
        memory,
        iss,
        mss,
        timestamp_offset,
        drops,
        counts,
        limiter,
        now,
    ):
        self.socket = socket
        self.key = key
        self.local = local
        self.remote = remote
        self.settings = settings
        self.config = config
        self.drops = drops
        self.counts = counts
        self.limiter = limiter
        self._memory = memory
        self.state = states.CLOSED
        self.sender = Sender(iss, settings, config, memory, now)
        self.receiver = None
        self.terms = Terms(config, settings, mss, initial_window_scale(config, settings))
        self.output = Output(local, remote, settings, self.terms, timestamp_offset, counts)
        self.packets = self.output.packets
        self.controls = []
        self.events = []
        self.keepalive = Keepalive(now)
        self.due_at = self.queued_at = NEVER
        self.listener = None  # whose connection it is until the program has been told of it
        self.established = False
        self.orphaned = False  # the program has closed it: it wants no events
        self.must_ack = False
        self.opened_at = now
        self.confirmed_at = -NEVER  # when inet was last told that the neighbour lives
        self.soft_cause = None  # of an ICMP error that did not end the connection: what a timeout is then called
        self._answered_at = -NEVER  # when a bad segment was last answered
        self.segments_in = 0
        self.data_segments_in = 0
        self.data_received_at = now

    # -- requests -----------------------------------------------------------------------------------------------------

    def connect(self, now):
        """Open actively: a SYN at the next flush."""
        self.move(states.ACTIVE_OPEN)
        self.sender.open(now)

    def accept_syn(self, segment, now):
        """Open passively, by a SYN that a listener has checked."""
        self.move(states.PASSIVE_OPEN)
        self.terms.settle_ecn(segment.flags, self.config)
        self.take_syn(segment.seq, segment.options, segment.window, now)
        self.move(states.GOT_SYN)
        self.sender.open(now)

    def accept_cookie(self, segment, cookie, now):
        """Open passively, by the ACK of a SYN-ACK whose number was a cookie; ``iss`` was that number.

        Args:
            cookie: a `cookies.Cookie`: ``options`` are those of the SYN that it stands for, as far as it can hold them;
                ``ecn`` whether ECN was agreed on.
        """
        self.move(states.PASSIVE_OPEN)
        self.terms.ecn = cookie.ecn
        self.sender.skip_syn(now)
        self.take_syn((segment.seq - 1) & MASK, cookie.options, segment.window, now)
        self.move(states.GOT_COOKIE)
        self.establish(now)
        self.receive(segment, now)

    def receive(self, segment, now):
        """Take a `Segment` that is for this connection."""
        arrival.receive(self, segment, now)

    def write(self, buffers, urgent, now):
        """Take over buffers to send; ignored when this side has ended."""
        if self.state in states.SENDING and not self.sender.fin_queued:
            self.sender.write(buffers, urgent)

    def shutdown(self, now):
        """End our side: FIN after what is written (RFC 9293 §3.10.4). As on Linux the state changes at once."""
        if self.state == states.SYN_SENT:
            self.fail(errors.RESET)  # Linux's tcp_disconnect
        elif (self.state, states.CLOSE) in states.TRANSITIONS:
            self.move(states.CLOSE)
            self.sender.finish()

    def close(self, linger, now):
        """The program lets go: `shutdown`, or `abort` if data was left unread, as on Linux, or *linger* is 0."""
        self.orphaned = self.sender.orphaned = True
        self.events.clear()
        if self.state == states.SYN_SENT:
            self.move(states.CLOSE)
            self._let_go()
        elif linger == 0 or (self.receiver is not None and self.receiver.unread):
            self.counts["AbortOnClose"] += 1
            self.abort(now, lost=linger != 0)
        else:
            self.shutdown(now)
            if self.state == states.FIN_WAIT_2:
                self._await_fin(now)

    def abort(self, now, lost=False):
        """Reset the connection (RFC 9293 §3.10.5).

        After both sides' FIN, as on Linux, only if something is *lost* thereby that came, or was to be sent.
        """
        self.orphaned = True
        self.events.clear()
        ending = self.state in (states.CLOSING, states.LAST_ACK)
        if self.state in states.RESETTABLE or (ending and (lost or self.sender.unsent)):
            self.output.reset(self._acceptable_seq(), self.receiver, now)
        self._end()

    def consumed(self, size, now):
        """The program has read *size* bytes. Returns whether `flush` has something to do because of that."""
        receiver = self.receiver
        if receiver is None:
            return False
        receiver.consumed(size, now)
        return receiver.ack_now or receiver.has_news

    def set_option(self, name, value, now):
        """A field of `Settings`."""
        setattr(self.settings, name, value)
        if name.startswith("keepalive") and self.established:
            if self.settings.keepalive:
                self.keepalive.start(self.settings, now)
            elif not self._awaits_fin():
                self.keepalive.stop()
        elif name == "maximum_segment_size" and self.receiver is not None:
            self.sender.set_mss(self.terms.mss(), now)
        elif name == "fin_timeout" and self._awaits_fin():
            self._await_fin(now)

    def unreachable(self, cause, mtu, now):
        """An ICMP error, or a failure within the stack, about a segment of this connection."""
        causes = _CAUSES if len(self.remote[0]) == 4 else _CAUSES6
        if cause == messages.PACKET_TOO_BIG:
            mss = mtu - HEADERS[len(self.remote[0])]
            if mss < self.terms.path_mss:
                self.terms.path_mss = mss
                self.controls.append(messages.PmtuChanged(self.remote[0], mtu))
                if self.receiver is not None:
                    self.sender.set_mss(self.terms.mss(), now)
        elif self.state in (states.SYN_SENT, states.SYN_RECEIVED):
            self.counts["AttemptFails"] += 1
            self.fail(causes[cause])
        else:
            # No ICMP error ends a connection that stands: RFC 9293 MUST-54, and Linux, against SHLD-26.
            self.soft_cause = causes[cause]

    def info(self, now):
        """A `TcpInfo`."""
        return describe(self, now)

    # -- time ---------------------------------------------------------------------------------------------------------

    def next_deadline(self):
        """The earliest of its parts', or `NEVER`."""
        at = self.sender.due_at
        keepalive = self.keepalive.due_at
        if keepalive < at:
            at = keepalive
        receiver = self.receiver
        if receiver is not None and receiver.ack_at < at:
            at = receiver.ack_at
        return at

    def expire(self, now):
        """Do what is due."""
        if self.sender.due_at <= now:
            cause = self.sender.expire(now)
            if cause is not None:
                self.counts["AbortOnTimeout"] += 1
                self.fail(self.soft_cause or cause)
                return
        if self.receiver is not None and self.receiver.ack_at <= now:
            self.receiver.expire(now)
        if self.keepalive.due_at <= now:
            self._keep_alive(now)

    def _keep_alive(self, now):
        if self._awaits_fin():
            self.counts["AbortOnLinger"] += 1
            self._end()  # Linux's tcp_fin_timeout: the peer has had its time
            return
        sender = self.sender
        busy = sender.snd_una != sender.snd_nxt or sender.unsent
        verdict = self.keepalive.expire(self.settings, busy, now)
        if verdict == timers.GIVE_UP:
            self.output.reset(self._acceptable_seq(), self.receiver, now)
            self.fail(self.soft_cause or errors.TIMED_OUT)
        elif verdict == timers.PROBE:
            self.counts["KeepAlive"] += 1
            self.send_ack(now, sender.snd_nxt - 1)  # an old number, so that the peer must answer

    def _awaits_fin(self):
        return self.orphaned and self.state == states.FIN_WAIT_2

    def _await_fin(self, now):
        """In FIN-WAIT-2 without a program nobody waits for ever (Linux); the keepalive timer has the time to do it."""
        self.keepalive.due_at = now + self.settings.fin_timeout

    # -- state, for `arrival` -----------------------------------------------------------------------------------------

    @property
    def over(self):
        """Whether the connection is CLOSED, and may be forgotten."""
        return self.state == states.CLOSED

    def move(self, event):
        """Walk the table."""
        self.state = states.TRANSITIONS[self.state, event]

    def take_syn(self, irs, options, window, now):
        """The peer's SYN: its number, options and (never scaled) window."""
        terms = self.terms
        terms.settle(options, len(self.remote[0]))
        self.receiver = Receiver(
            irs,
            self.settings,
            self.config,
            self._memory,
            now,
            window_scale_bits=terms.window_scale,
            mss=terms.mss(),
            sack=terms.sack,
            drops=self.drops,
        )
        if terms.timestamps:
            self.receiver.update_ts_recent(options.timestamp[0], irs, now)
        self.sender.established(
            mss=terms.mss(),
            window=window,
            sack_ok=terms.sack,
            timestamps_ok=terms.timestamps,
            ecn_ok=terms.ecn,
            seq=irs,
            ack=self.sender.snd_una,
            now=now,
        )

    def establish(self, now):
        """The handshake is complete."""
        self.established = True
        self.counts["CurrEstab"] += 1
        if not self.orphaned and self.listener is None:
            self.events.append(transport.Connected(self.socket, self.local, self.remote))
        if self.settings.keepalive:
            self.keepalive.start(self.settings, now)

    def fin_arrived(self, now):
        """The peer's FIN, and all before it, is there."""
        if (self.state, states.GOT_FIN) not in states.TRANSITIONS:
            return
        self.move(states.GOT_FIN)
        self.must_ack = True
        self.deliver()
        if not self.orphaned:
            self.events.append(transport.EndOfStream(self.socket))
        if self.state == states.TIME_WAIT:
            self._finish()

    def fin_acknowledged(self, now):
        """The peer has our FIN."""
        if (self.state, states.GOT_ACK_OF_FIN) not in states.TRANSITIONS:
            return
        self.move(states.GOT_ACK_OF_FIN)
        if self.state != states.FIN_WAIT_2:
            self._finish()
        elif self.orphaned:
            self._await_fin(now)

    def fail(self, cause):
        """The connection is lost: the program is told why, after what has come in order."""
        if not self.orphaned:
            if self.receiver is not None:
                self.deliver(everything=True)
            self.events.append(transport.Failed(self.socket, cause))
        self._end()

    def deliver(self, everything=False):
        """Hand up what has come in order; *everything* if it is the last chance."""
        receiver = self.receiver
        buffers = receiver.take_delivered(everything)
        urgent = receiver.take_urgent()
        if self.orphaned:
            return
        if buffers:
            self.events.append(transport.Received(self.socket, buffers))
        if urgent is not None:
            self.events.append(transport.UrgentReceived(self.socket, *urgent))

    def may_answer(self, now):
        """Whether a bad segment may be answered, and if so, note that it is (Linux's tcp_invalid_ratelimit)."""
        if now - self._answered_at < self.config.tcp_invalid_ratelimit:
            return False
        self._answered_at = now
        return True

    def time_wait_facts(self):
        """What a TIME-WAIT record keeps: (snd_nxt, rcv_nxt, window as on the wire, timestamps agreed on, ts_recent)."""
        receiver = self.receiver
        window = min(receiver.window() >> self.terms.window_scale, 0xFFFF)
        return self.sender.snd_nxt, receiver.rcv_nxt, window, self.terms.timestamps, receiver.ts_recent

    def _finish(self):
        """Over in good order, in CLOSED or TIME-WAIT."""
        if not self.orphaned:
            self.events.append(transport.Finished(self.socket))
        self._let_go()

    def _end(self):
        self.state = states.CLOSED
        self._let_go()

    def _let_go(self):
        if self.established:
            self.established = False
            self.counts["CurrEstab"] -= 1
        self.sender.drop()
        if self.receiver is not None:
            self.receiver.drop()
        self.keepalive.stop()

    # -- output -------------------------------------------------------------------------------------------------------

    def flush(self, now):
        """Send what may be sent, acknowledge what must be, and tell the program what is new."""
        receiver = self.receiver
        if self.state == states.CLOSED:
            return
        for transmission in self.sender.transmit(now):
            if transmission.syn:
                self.send_syn(now)
                continue
            if receiver.ack_now and receiver.out_of_order:
                self.send_ack(now)  # its SACK blocks would not fit beside a full segment
            self.output.data(transmission, receiver, now)
            self._acked(now)
        if receiver is None:
            return
        if self.must_ack or receiver.ack_now:
            self.send_ack(now)
        if receiver.has_news:
            self.deliver()
        if self.state in states.SENDING and not self.orphaned:
            room = self.sender.take_room()
            if room:
                self.events.append(transport.Room(self.socket, room))

    def send_syn(self, now):
        """SYN, or once the peer's is there SYN and ACK."""
        sender = self.sender
        window = initial_window(self.config, self.settings)
        self.output.syn(sender.iss, window, sender.syn_retransmitted, self.receiver, now)
        if self.receiver is not None:
            self._acked(now)

    def send_ack(self, now, seq=None):
        """A segment without text, from SND.NXT on if *seq* is not given and the peer's window lets it."""
        self.output.ack(self._acceptable_seq() if seq is None else seq, self.receiver, now)
        self._acked(now)

    def _acceptable_seq(self):
        """SND.NXT; or the right edge of the window, if the peer has moved that to the left of what is sent: beyond it
        it would not even look at the ACK or RST (RFC 9293 MUST-34, Linux's tcp_acceptable_seq)."""
        sender = self.sender
        nxt = sender.snd_nxt
        beyond = nxt - sender.snd_una - sender.snd_wnd
        # A scaled window may be rounded down.
        return nxt - beyond if beyond >= 1 << self.terms.peer_window_scale and sender.syn_acked else nxt

    def _acked(self, now):
        self.must_ack = False
        self.receiver.acked(now)
