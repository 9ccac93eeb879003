"""The sending half of a connection: the owner of SND.*. Acknowledgements come in, `Transmission`s go out."""

from pystack import errors
from pystack.deadlines import NEVER
from pystack.tcp import (
    congestion,
    cubic,  # noqa: F401 it must be imported to be known to congestion
    recovery,
    retransmission,
)
from pystack.tcp.acknowledgement import Acknowledgement
from pystack.tcp.delivery import DeliveryRate
from pystack.tcp.pacing import Pacer
from pystack.tcp.persist import Persist
from pystack.tcp.recovery import Recovery
from pystack.tcp.retransmission import Retransmission
from pystack.tcp.rtt import RttEstimator
from pystack.tcp.scoreboard import Scoreboard
from pystack.tcp.sendbuffer import SendBuffer
from pystack.tcp.transmission import Transmission

MAX_PAYLOAD = 65_535 - 60 - 40  # bytes of a super-segment: the largest IP packet less all headers and options
FIRST_MSS = 536  # bytes, until the peer's SYN is there
# Timeouts in a row that make a full segment suspect: when none has ever got through, and when some have. Linux takes
# tcp_retries1 (3) for both, and finds black holes on any path that loses a lot.
BLACK_HOLE_TIMEOUTS = 2
BLACK_HOLE_TIMEOUTS_PROVEN = 6
MSS_OF_1280 = 1220  # payload of 1,280 bytes, which every link of today carries


class Sender:
    """Whoever calls it asks `transmit` afterwards what may leave. Numbers are unbounded ints, sizes bytes.

    ``rtt``, ``congestion``, ``pacer``, ``delivery``, ``board``, ``repair``, ``timers``, ``acks`` and ``persist`` are
    its parts, to be read by who wants to know (TCP_INFO). ``due_at`` is when `expire` must be called.

    Args:
        iss: the number of our SYN.
        settings, config, memory: the connection's `Settings`, `TcpConfig`, `Memory`.
    """

    __slots__ = (
        "_answering",
        "_config",
        "_cwr",
        "_ecn",
        "_forced",
        "_granted",
        "_max_in_flight",
        "_memory",
        "_mode",
        "_pace_at",
        "_probe",
        "_pushed",
        "_restarted",
        "_send_buffer",
        "_settings",
        "_small_end",
        "_tail",
        "_up",
        "_window_end",
        "acks",
        "board",
        "buffer",
        "bytes_retransmitted",
        "bytes_sent",
        "congestion",
        "cwnd_limited",
        "delivery",
        "due_at",
        "fin_queued",
        "fin_seq",
        "iss",
        "last_sent_at",
        "mss",
        "mtu_reductions",
        "orphaned",
        "pacer",
        "persist",
        "repair",
        "rtt",
        "snd_max_wnd",
        "snd_nxt",
        "snd_una",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "syn_retransmitted",
        "timers",
        "total_retransmissions",
    )

    def __init__(self, iss, settings, config, memory, now):
        self.iss = self.snd_una = self.snd_nxt = iss
        self.snd_wnd = self.snd_wl1 = self.snd_wl2 = self.snd_max_wnd = 0
        self.mss = FIRST_MSS
        self.due_at = NEVER
        self.orphaned = False  # the program has closed its socket
        self.syn_retransmitted = False
        self.fin_queued = False
        self.fin_seq = None  # the number of our FIN, once it is sent
        self.bytes_sent = self.bytes_retransmitted = 0
        self.total_retransmissions = 0  # segments
        self.mtu_reductions = 0
        self.last_sent_at = now
        self.cwnd_limited = False
        self.rtt = RttEstimator(config.tcp_rto_min, config.tcp_rto_max)
        self.congestion = congestion.make(settings.congestion, self.mss, config.initial_window * self.mss)
        self.pacer = Pacer()
        self.delivery = DeliveryRate()
        self.board = Scoreboard()
        self.repair = Recovery(self.board, self.congestion)
        self.timers = Retransmission(self.board, self.repair, self.rtt, config)
        self.acks = Acknowledgement(self.board, self.repair, self.rtt, self.delivery)
        self.persist = Persist(config.tcp_rto_max)
        self.buffer = SendBuffer(iss + 1, memory)
        self._settings = settings
        self._config = config
        self._memory = memory
        self._mode = _CLOSED
        self._ecn = False
        self._answering = False  # the peer's SYN is there
        self._cwr = False  # CWR is due on the next new data
        self._send_buffer = config.tcp_wmem[1]
        self._granted = 0  # bytes of room that the program has been told of and not used
        self._small_end = iss  # the end of the last segment that was not full (Minshall's variant of Nagle)
        self._restarted = None  # `_window_end` when a flight was last begun from rest
        self._pushed = iss  # the end of the last segment with PUSH
        self._up = None  # SND.UP
        self._probe = False  # a window probe is due
        self._tail = None  # the record to send again as a tail loss probe; nobody says that it is lost
        self._forced = False  # one segment may leave whatever cwnd and Nagle say
        self._pace_at = NEVER
        self._window_end = iss  # SND.NXT when the most was in flight, for cwnd validation
        self._max_in_flight = 0

    # -- facts --------------------------------------------------------------------------------------------------------

    @property
    def syn_acked(self):
        return self.snd_una > self.iss

    @property
    def fin_acked(self):
        return self.fin_seq is not None and self.snd_una > self.fin_seq

    @property
    def unsent(self):
        """Bytes written and never sent."""
        begun = self.snd_nxt if self.snd_nxt > self.iss else self.iss + 1
        return self.buffer.end - begun if self.buffer.end > begun else 0

    # -- requests -----------------------------------------------------------------------------------------------------

    def open(self, now):
        """SYN is to be sent."""
        self._mode = _OPENING

    def hasten_syn(self, now):
        """Our SYN was answered by something old, of a connection that the peer is about to forget by our reset: send it
        again at once, and not after a second. As Linux, the first time only (tcp_rcv_synsent_state_process)."""
        if not self.timers.timeouts:
            self.timers.hasten(now)
            self._arm()

    def skip_syn(self, now):
        """SYN was sent, and acknowledged, before this was made (SYN cookies)."""
        self.snd_una = self.snd_nxt = self._window_end = self.iss + 1

    def established(self, *, mss, window, sack_ok, timestamps_ok, ecn_ok, seq, ack, now):
        """The peer's SYN, numbered *seq*, has said what it can."""
        self.mss = mss
        self.congestion.set_mss(mss)
        segments = 1 if self.syn_retransmitted else self._config.initial_window  # RFC 6928 §2, RFC 5681 §3.1
        self.congestion.cwnd = segments * mss
        self.repair.sack_ok = sack_ok
        self._ecn = ecn_ok
        self._answering = True
        self.snd_wnd = self.snd_max_wnd = window
        self.snd_wl1 = seq
        self.snd_wl2 = ack
        if self._mode == _CLOSED:
            self._mode = _OPEN

    def write(self, buffers, urgent=False):
        """Take over buffers; with *urgent* their last byte is."""
        if self.buffer.end <= self.snd_nxt and self.board.in_flight < self.congestion.cwnd:
            self.delivery.app_limited = True  # Linux's tcp_rate_check_app_limited
        for buffer in buffers:
            self._granted -= len(buffer)
            self.buffer.append(buffer)
        self._granted = max(self._granted, 0)
        if urgent:
            self._up = self.buffer.end

    def finish(self):
        """FIN follows what is written."""
        self.fin_queued = True

    def take_room(self):
        """Bytes that the program may write beyond what it has been told before; in steps worth a wake."""
        settings, memory, buffer = self._settings, self._memory, self.buffer
        held = buffer.end - buffer.start + self._granted
        pressed = memory.under_pressure
        size = settings.send_buffer
        if not size:
            if not pressed:
                # Linux's tcp_sndbuf_expand: twice the window, for what is in flight and what follows.
                wanted = min(2 * self.congestion.cwnd, self._config.tcp_wmem[2])
                if wanted > self._send_buffer:
                    self._send_buffer = wanted
            size = self._send_buffer
        if pressed:
            # As Linux's tcp_wmem: beyond the first of them a program has to wait for the others' memory.
            size = min(size, self._config.tcp_wmem[0 if memory.exhausted else 1])
        room = size - held
        lowat = settings.notsent_lowat
        if lowat:
            room = min(room, lowat - self.unsent - self._granted)
            size = min(size, lowat)
        if room <= 0 or (room < size // 3 and held):
            return 0
        self._granted += room
        return room

    def set_mss(self, mss, now):
        """The size of a full segment has changed; what is in flight and too large now is sent again."""
        if mss == self.mss:
            return
        smaller = mss < self.mss
        self.mss = mss
        self.congestion.set_mss(mss)
        if smaller and self.board.records and self._mode == _OPEN:
            for record in self.board.records:
                if not record.sacked and record.end - record.start > mss:
                    self.board.mark_lost(record)
            self.repair.resegmented(self.snd_nxt)

    def drop(self):
        """Let go of everything that is held; nothing is sent any more."""
        self._mode = _CLOSED
        self.buffer.drop()
        self.timers.stop()
        self.persist.stop()
        self._pace_at = self.due_at = NEVER

    # -- acknowledgements ---------------------------------------------------------------------------------------------

    def on_ack(self, ack, window, seq, sacks, now, ece=False, echoed_at=None, has_payload=False):
        """Take an ACK that is not of the future.

        Args:
            ack: SEG.ACK; *seq*: SEG.SEQ.
            window: in bytes.
            sacks: ``((left, right), ...)``, a D-SACK first if there is one; lies among them are ignored.
            ece: ECN-Echo, if agreed on.
            echoed_at: when the timestamp that it echoes was made, if that is known.
            has_payload: the segment has text, so it is not a duplicate ACK.

        Returns:
            how many numbers it acknowledges that were not before.
        """
        una = self.snd_una
        changed = False
        if ack >= una:
            changed = self._take_window(ack, window, seq)
            self.persist.answered(now)
            if ack == una and not sacks and not self.board.records:
                self._arm()
                return 0
        newly = max(ack - una, 0)
        if newly:
            self.snd_una = ack
            self.buffer.release(min(ack, self.buffer.end))
        duplicate = not newly and not has_payload and not changed and ack == una
        acks = self.acks
        wait = acks.enter(self, ack, sacks, newly, duplicate, echoed_at, now)
        if ece and self.repair.congestion_echoed(self.snd_una, self.snd_nxt, now):
            acks.reduced = True
        if acks.reduced and self._ecn:
            self._cwr = True
        control = self.congestion
        # Linux's tcp_may_raise_cwnd: what is only reported beyond a hole counts if the path is known to reorder.
        if acks.delivered and (newly or self.repair.rack.reordering_seen) and self._may_grow():
            control.on_ack(acks.sample(now))
        if newly:
            cap = self._settings.max_pacing_rate
            self.pacer.update(control.cwnd, self.rtt.srtt, control.in_slow_start, self._config, cap)
        if self.timers.acknowledged(
            self.snd_una, acks.delivered, newly > 0, acks.duplicate_reported, wait, self.mss, now
        ):
            self.repair.tail_repaired(self.snd_una, self.snd_nxt, now)
        self._arm()
        return newly

    def _take_window(self, ack, window, seq):
        """RFC 9293 §3.10.7.4: the window of a segment that is not older than the last that had one."""
        if self.snd_wl1 < seq or (self.snd_wl1 == seq and self.snd_wl2 <= ack):
            changed = window != self.snd_wnd
            if changed and not self.snd_wnd:
                self.persist.stop()
            self.snd_wnd = window
            self.snd_wl1 = seq
            self.snd_wl2 = ack
            if window > self.snd_max_wnd:
                self.snd_max_wnd = window
            return changed
        return False

    def _may_grow(self):
        """Whether the window was used, so that its growth means something (RFC 7661, Linux's is_cwnd_limited)."""
        if self.repair.state in (recovery.CWR, recovery.RECOVERY):
            return False
        control = self.congestion
        if control.in_slow_start:
            return control.cwnd < 2 * self._max_in_flight
        return self.cwnd_limited

    # -- time ---------------------------------------------------------------------------------------------------------

    def expire(self, now):
        """Do what is due. Returns None, or the cause for which the connection is given up."""
        if self._pace_at <= now:
            self._pace_at = NEVER
        cause = None
        if self.timers.due_at <= now:
            verdict = self.timers.expire(self.snd_una, self.snd_nxt, now)
            if verdict == retransmission.PROBE:
                self._probe_tail(now)
            elif verdict == retransmission.TIMEOUT:
                cause = self._time_out(now)
        if cause is None and self.persist.due_at <= now:
            cause = self._probe_window(now)
        self._arm()
        return cause

    def _probe_tail(self, now):
        """RFC 8985 §7.3: new data if there is some and it may be sent, else the last segment again."""
        records = self.board.records
        room = self.snd_una + self.snd_wnd - self.snd_nxt
        if self.unsent and room >= min(self.mss, self.unsent):
            self.timers.probing(self.snd_nxt, False)
            self._forced = True
        elif records and not records[-1].sacked:
            if records[-1].end - records[-1].start > self.mss:
                records.append(records[-1].split(records[-1].end - self.mss))
            self.timers.probing(self.snd_nxt, True)
            self._tail = records[-1]

    def _time_out(self, now):
        if self._gives_up(now):
            return errors.TIMED_OUT
        if not self.syn_acked:
            self.syn_retransmitted = True
            self.board.mark_lost(self.board.records[0])
        else:
            if self._config.tcp_mtu_probing:
                self._suspect_black_hole(now)
            self.repair.timed_out(self.snd_una, self.snd_nxt, now, self._config.tcp_frto)
            self._cwr = self._ecn
        self.timers.timed_out(now)
        return None

    def _suspect_black_hole(self, now):
        """Full segments vanish and no router says why: try smaller ones (RFC 4821 §7.7, Linux's tcp_mtu_probing)."""
        head = self.board.records[0]
        proven = self.acks.largest >= self.mss
        if self.timers.timeouts < (BLACK_HOLE_TIMEOUTS_PROVEN if proven else BLACK_HOLE_TIMEOUTS):
            return
        for mss in (MSS_OF_1280, self._config.tcp_base_mss, FIRST_MSS):
            if self._config.tcp_min_snd_mss <= mss < self.mss and head.end - head.start > mss:
                self.mtu_reductions += 1
                self.set_mss(mss, now)
                return

    def _gives_up(self, now):
        """RFC 9293 §3.8.3 (R2), by Linux's rules: a number of tries for a SYN, a time for the rest."""
        config, timers = self._config, self.timers
        user_timeout = self._settings.user_timeout
        stalled_at = timers.stalled_at
        if user_timeout:
            start = self.board.records[0].first_sent_at if stalled_at is None else stalled_at
            return now - start >= user_timeout
        if not self.syn_acked:
            return timers.timeouts >= (config.tcp_synack_retries if self._answering else self._settings.syn_retries)
        if stalled_at is None:
            return False
        if not self.snd_wnd and not self.orphaned:
            # The peer has taken its window back, so what is sent again is no more than a window probe: only silence
            # counts (RFC 9293 SHLD-17, MUST-37, Linux's tcp_rtx_probe0_timed_out).
            return now - max(stalled_at, self.persist.answered_at) > 2 * config.tcp_rto_max
        retries = config.tcp_orphan_retries if self.orphaned else config.tcp_retries2
        return now - stalled_at >= timers.patience(retries)

    def _probe_window(self, now):
        persist, config = self.persist, self._config
        user_timeout = self._settings.user_timeout
        if user_timeout and persist.since is not None and now - persist.since >= user_timeout:
            return errors.TIMED_OUT
        if persist.probes >= (config.tcp_orphan_retries if self.orphaned else config.tcp_retries2):
            return errors.TIMED_OUT
        if self.orphaned and persist.slowed(self.rtt.rto, config.tcp_orphan_retries):
            return errors.TIMED_OUT
        persist.probed(self.rtt.rto, now)
        if self.snd_wnd:
            self._forced = True  # a window too small to be worth it is filled now (RFC 9293 SHLD-30)
        else:
            self._probe = True
        return None

    def _arm(self):
        self.due_at = min(self.timers.due_at, self.persist.due_at, self._pace_at)

    # -- transmission -------------------------------------------------------------------------------------------------

    def transmit(self, now):
        """What may leave now, a sequence of `Transmission`: it is taken to be sent."""
        if (
            self._mode == _OPEN
            and self.buffer.end <= self.snd_nxt
            and not self.board.waiting
            and not self._probe
            and self._tail is None
            and (self.fin_seq is not None or not self.fin_queued)
        ):
            self._forced = self.cwnd_limited = False
            return ()  # nothing is new, or lost: so end two calls of three
        out = []
        if self._mode == _OPEN and self.syn_acked:
            self._transmit(out, now)
        elif self._mode == _OPENING:
            self._transmit_syn(out, now)
        else:
            return out
        if out:
            self.last_sent_at = now
            first = out[0]
            self.timers.sent(self.mss, first.retransmission and first.seq == self.snd_una, now)
        if self.board.records:
            self.persist.due_at = NEVER
        elif self._has_more() and self._pace_at == NEVER and self._mode == _OPEN:
            self.persist.start(self.rtt.rto, now)
        self._arm()
        return out

    def _has_more(self):
        return self.unsent or (self.fin_queued and self.fin_seq is None)

    def _transmit_syn(self, out, now):
        """SYN, first and again."""
        if self.syn_acked:
            self._mode = _OPEN
            self._after_syn()
            self._transmit(out, now)
            return
        if self.snd_nxt == self.iss:
            self.snd_nxt = self._window_end = self.iss + 1
            self.delivery.sent(self.board.sent(self.iss, self.snd_nxt, self.mss, now), now)
        else:
            record = self.board.to_resend()
            if record is None:
                return
            self.board.resent(record, 1, self.mss, now)
            self.total_retransmissions += 1
        transmission = Transmission(self.iss)
        transmission.syn = True
        transmission.retransmission = self.syn_retransmitted
        out.append(transmission)

    def _after_syn(self):
        if self.syn_retransmitted and not self.rtt.srtt:
            self.rtt.after_syn_timeout()

    def _transmit(self, out, now):
        if self._probe:
            # As Linux: an old number, so that the peer must answer, and nothing for it to keep.
            self._probe = False
            out.append(Transmission(self.snd_una - 1))
        tail, self._tail = self._tail, None
        if tail is not None:
            # Before the pacer is asked: it waits for nothing, as Linux's tcp_send_loss_probe; later it may be gone.
            self._resend(out, tail, tail.end - tail.start, now)
        paced = self._config.tcp_pacing or self._settings.max_pacing_rate
        if paced:
            if self.pacer.ready_at > now and not self._forced:
                self._pace_at = self.pacer.ready_at
                return
        self._pace_at = NEVER
        if not self.board.waiting or self._retransmit(out, now):
            self._transmit_new(out, now)
        self._forced = False
        if paced and out:
            self.pacer.sent(sum(each.length for each in out), now)

    def _quota(self):
        """Bytes that cwnd leaves."""
        return self.congestion.cwnd - self.board.in_flight

    def _burst(self, start):
        """The most that leaves at once from number *start* on, a multiple of the segment size."""
        if self._up is not None and self._up > start:
            # A device that cuts a super-segment puts one and the same urgent pointer on all pieces, so as on Linux
            # (tcp_write_xmit) segments go one by one.
            return self.mss
        most = MAX_PAYLOAD
        if self.pacer.rate and (self._config.tcp_pacing or self._settings.max_pacing_rate):
            most = min(most, max(int(self.pacer.rate / 1000), 2 * self.mss))  # a millisecond's worth, as Linux
        return max(most // self.mss, 1) * self.mss

    def _retransmit(self, out, now):
        """Send again what is lost; False if cwnd does not allow all of it."""
        board = self.board
        while (record := board.to_resend()) is not None:
            size = record.end - record.start
            quota = self._quota()
            room = self.snd_una + self.snd_wnd - record.start
            if room <= 0 and record.start != self.snd_una:
                return False  # the peer has taken its window back (RFC 9293 SHLD-17)
            if self._forced:
                quota = self.mss
            elif quota < min(size, self.mss):
                return False
            length = min(size, max(quota // self.mss, 1) * self.mss, self._burst(record.start))
            if length > self.mss and length > room > 0:
                length = max(room // self.mss, 1) * self.mss
            self._forced = False
            self._resend(out, record, length, now)
        return True

    def _resend(self, out, record, length, now):
        """Send the first *length* numbers of a record again."""
        record = self.board.resent(record, length, self.mss, now)
        self.delivery.sent(record, now)
        self.repair.sent(length, True, now)
        self._put(out, record, True)

    def _transmit_new(self, out, now):
        """Send what was never sent, as far as windows, Nagle and silly window avoidance let it."""
        buffer, board, mss = self.buffer, self.board, self.mss
        self.cwnd_limited = False
        if not board.records and self._has_more():
            self._restart_after_idle(now)
        while self.fin_seq is None:
            start = self.snd_nxt
            available = buffer.end - start
            if not available and not self.fin_queued:
                break
            room = self.snd_una + self.snd_wnd - start
            quota = self._quota()
            if self._forced:
                quota = mss
            elif quota < min(mss, max(available, 1)):
                self.cwnd_limited = True
                break
            length = self._size(start, available, room, quota)
            if length < 0:
                break
            fin = self.fin_queued and length == available and length < room
            if not length and not fin:
                break
            self._forced = False
            self._send_new(out, start, length, fin, now)
        in_flight = board.in_flight
        if self.snd_una >= self._window_end or self.cwnd_limited or in_flight > self._max_in_flight:
            self._max_in_flight = in_flight
            self._window_end = self.snd_nxt

    def _size(self, start, available, room, quota):
        """Bytes of payload that may leave now in one piece; -1 if nothing may, not even a bare FIN."""
        mss = self.mss
        if not available:
            return 0 if room > 0 else -1  # FIN takes a number, so it waits for the window like text
        length = min(available, room, max(quota, mss), self._burst(start))
        if length <= 0:
            return -1
        if length >= mss:
            rest = length % mss
            if rest and (length < available or not self._may_send_small(start)):
                length -= rest
            return length
        if self._forced or (length == available and self._may_send_small(start)):
            return length
        # RFC 9293 §3.8.6.2.1: less than a full segment only if it is half of all the window that there ever was.
        return length if length < available and length >= self.snd_max_wnd // 2 and not self._settings.cork else -1

    def _may_send_small(self, start):
        """Whether a segment that is not full, the last of what there is, may leave: Nagle's algorithm (RFC 9293
        §3.7.4) in Minshall's variant, as Linux: not while another such is in flight."""
        if self.fin_queued:
            return True
        if self._settings.cork:
            return False
        return self._settings.nodelay or self._small_end <= self.snd_una or (self._up or 0) > start

    def _restart_after_idle(self, now):
        """RFC 5681 §4.1: after an idle time the old window means nothing."""
        if self._window_end != self._restarted:  # once for each time that all was acknowledged
            self._restarted = self._window_end
            rto = self.rtt.rto if self._config.tcp_slow_start_after_idle else NEVER
            self.congestion.on_idle(now, now - self.last_sent_at, rto)

    def _send_new(self, out, start, length, fin, now):
        end = start + length + fin
        record = self.board.sent(start, end, self.mss, now)
        self.delivery.sent(record, now)
        self.snd_nxt = end
        if fin:
            self.fin_seq = end - 1
        if length % self.mss:
            self._small_end = end
        self.bytes_sent += length
        self.repair.sent(end - start, False, now)
        self._put(out, record, False)

    def _put(self, out, record, again):
        start = record.start
        fin = self.fin_seq is not None and record.end == self.fin_seq + 1
        length = record.end - start - fin
        transmission = Transmission(start, self.buffer.view(start, length), length)
        transmission.fin = fin
        if length > self.mss:
            transmission.gso_size = self.mss
        # PUSH (RFC 9293 MUST-60): at the end of what there is, and as Linux from time to time before it.
        if length and (start + length == self.buffer.end or start + length - self._pushed > self.snd_max_wnd // 2):
            transmission.push = True
            self._pushed = max(self._pushed, start + length)
        if self._up is not None:
            self._mark_urgent(transmission, start)
        if again:
            transmission.retransmission = True
            self.total_retransmissions += max(-(-length // self.mss), 1)
            self.bytes_retransmitted += length
        elif self._cwr and length:
            transmission.cwr = True
            self._cwr = False
        out.append(transmission)

    def _mark_urgent(self, transmission, start):
        """RFC 9293 §3.8.5, with Linux's pointer: to the byte behind the urgent one."""
        if self._up <= self.snd_una:
            self._up = None
        elif self._up > start:
            transmission.urgent = min(self._up - start, 0xFFFF)


_CLOSED, _OPENING, _OPEN = range(3)
