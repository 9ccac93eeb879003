"""The sending half of a connection: the owner of SND.*. Values come in, `Transmission`s go out."""

from pystack import errors
from pystack.deadlines import NEVER
from pystack.tcp import congestion, recovery
from pystack.tcp.delivery import DeliveryRate
from pystack.tcp.pacing import Pacer
from pystack.tcp.recovery import Recovery
from pystack.tcp.rtt import RttEstimator
from pystack.tcp.scoreboard import Scoreboard
from pystack.tcp.sendbuffer import SendBuffer

MAX_PAYLOAD = 65_535 - 60 - 40  # bytes of a super-segment: the largest IP packet less all headers and options
DELAYED_ACK = 0.2  # seconds that a peer may keep an ACK back (RFC 8985 §7.2)
BLACK_HOLE_TIMEOUTS = 2
PATH_1280 = 1220  # the payload of 1,280 bytes, the least that IPv6 links carry


class Transmission:
    __slots__ = (
        "cwr",
        "fin",
        "gso_size",
        "length",
        "payload",
        "probe",
        "push",
        "retransmission",
        "seq",
        "syn",
        "urgent",
    )

    def __init__(self, seq, payload=(), length=0):
        self.seq = seq
        self.payload = payload
        self.length = length
        self.syn = self.fin = self.push = self.cwr = self.retransmission = self.probe = False
        self.urgent = 0
        self.gso_size = 0


class Sender:
    def __init__(self, iss, settings, config, memory, now):
        self.iss = self.snd_una = self.snd_nxt = iss
        self.snd_wnd = self.snd_wl1 = self.snd_wl2 = self.snd_max_wnd = 0
        self.mss = 536
        self.due_at = NEVER
        self.orphaned = False
        self.retransmits = 0
        self.probes = 0
        self.mtu_reductions = 0
        self.syn_retransmitted = False
        self.fin_queued = self.fin_sent = False
        self.fin_seq = None
        self.bytes_sent = self.bytes_acked = self.bytes_retransmitted = 0
        self.total_retrans = 0
        self.dsack_dups = 0
        self.last_sent_at = now
        self._settings = settings
        self._config = config
        self._memory = memory
        self.rtt = RttEstimator(config.tcp_rto_min, config.tcp_rto_max)
        self.congestion = congestion.make(settings.congestion, self.mss, config.initial_window * self.mss)
        self.pacer = Pacer()
        self.delivery = DeliveryRate()
        self.board = Scoreboard()
        self.recovery = Recovery(self.board, self.congestion)
        self.buffer = SendBuffer(iss + 1, memory)
        self._sndbuf = settings.send_buffer or config.tcp_wmem[1]
        self._granted = 0
        self._small_end = iss
        self._up = None
        self._rto_at = self._tlp_at = self._rack_at = self._persist_at = self._pace_at = NEVER
        self._tlp_high = None
        self._tlp_resent = False
        self._probe = False
        self._forced = False
        self._cwr = False
        self._ecn = False
        self._opening = False
        self._stalled_at = None
        self._established = False
        self._round_end = iss
        self._max_in_flight = 0
        self._limited = False

    # facts
    @property
    def syn_acked(self):
        return self.snd_una > self.iss

    @property
    def fin_acked(self):
        return self.fin_sent and self.snd_una > self.fin_seq

    @property
    def unsent(self):
        return self.buffer.end - max(self.snd_nxt, self.buffer.start) if not self.fin_sent else 0

    # requests
    def open(self, now):
        self._opening = True

    def skip_syn(self, now):
        self.snd_una = self.snd_nxt = self.iss + 1
        self._round_end = self.snd_nxt

    def established(self, *, mss, window, sack_ok, timestamps_ok, ecn_ok, seq, ack, now):
        self.mss = mss
        self.congestion.set_mss(mss)
        self.congestion.cwnd = self._config.initial_window * mss
        self.recovery.sack_ok = sack_ok
        self._ecn = ecn_ok
        self.snd_wnd = self.snd_max_wnd = window
        self.snd_wl1 = seq
        self.snd_wl2 = ack
        self._established = True

    def write(self, buffers, urgent=False):
        for buffer in buffers:
            self._granted -= len(buffer)
            self.buffer.append(buffer)
        if urgent:
            self._up = self.buffer.end

    def finish(self):
        self.fin_queued = True

    def take_room(self):
        if not self._settings.send_buffer:
            want = min(max(2 * self.congestion.cwnd, self._config.tcp_wmem[1]), self._config.tcp_wmem[2])
            if want > self._sndbuf and not self._memory.under_pressure:
                self._sndbuf = want
        else:
            self._sndbuf = self._settings.send_buffer
        room = self._sndbuf - len(self.buffer) - self._granted
        if room < min(self._sndbuf // 3, 65536) and self._granted + len(self.buffer):
            return 0
        if room <= 0:
            return 0
        self._granted += room
        return room

    def drop(self):
        self.buffer.drop()
        self._rto_at = self._tlp_at = self._rack_at = self._persist_at = self._pace_at = NEVER
        self.due_at = NEVER
        self.fin_queued = True
        self._opening = False
        self.board = Scoreboard()
        self._dropped = True
        self.snd_una = self.snd_nxt

    def set_mss(self, mss, now=None):
        if mss == self.mss:
            return
        smaller = mss < self.mss
        self.mss = mss
        self.congestion.set_mss(mss)
        if smaller:
            for record in self.board.records:
                if not record.sacked:
                    self.board.mark_lost(record)

    # acknowledgement
    def on_ack(self, ack, window, seq, sacks, now, *, ece=False, echoed_at=None, has_payload=False):
        una = self.snd_una
        board, rec = self.board, self.recovery
        if ack < una:
            if sacks:
                self._enter_sacks(ack, sacks, now, echoed_at)
            return 0
        window_changed = window != self.snd_wnd
        if self.snd_wl1 < seq or (self.snd_wl1 == seq and self.snd_wl2 <= ack):
            self.snd_wnd = window
            self.snd_wl1 = seq
            self.snd_wl2 = ack
            if window > self.snd_max_wnd:
                self.snd_max_wnd = window
        if self.probes:
            self.probes = 0
            self._stalled_at = None
        newly = ack - una
        if not newly and not sacks and not board.records:
            self._arm(now)
            return 0
        prior_in_flight = board.in_flight
        lost_before = board.lost
        delivered = 0
        original = False
        sample = None
        ambiguous = False
        min_rtt = self.rtt.min_rtt
        if newly:
            self.snd_una = ack
            self.bytes_acked += newly
            if ack > self.iss + 1 or una > self.iss:
                self.buffer.release(min(ack, self.buffer.end))
            for record in board.acknowledge(ack):
                if not record.sacked:
                    delivered += record.end - record.start
                    rec.rack.delivered(record, min_rtt, now, echoed_at)
                    if record.transmissions == 1:
                        sample = now - record.sent_at
                        if record.end <= rec.high_seq:
                            original = True
                    else:
                        ambiguous = True
                    self.delivery.sample(record, now)
            self.retransmits = 0
            self._stalled_at = None
        if sacks:
            more, orig, sack_sample = self._enter_sacks(ack, sacks, now, echoed_at)
            delivered += more
            original |= orig
            if sample is None and not newly:
                sample = sack_sample
        if ambiguous:
            sample = None
            if echoed_at is not None and newly:
                sample = max(now - echoed_at, 0.0)
        if sample is not None:
            self.rtt.sample(sample, now)
        elif newly:
            self.rtt.reset_backoff()
        if ece and rec.congestion_echoed(ack, self.snd_nxt, now):
            self._cwr = True
        duplicate = (
            not newly
            and not has_payload
            and not window_changed
            and ack == una
            and bool(board.records)
            and not rec.sack_ok
        )
        round_start = ack >= self._round_end
        if round_start:
            self._round_end = self.snd_nxt
        wait = rec.acknowledged(
            ack, self.snd_nxt, now, delivered, bool(newly), original, duplicate, echoed_at, self.rtt
        )
        self._rack_at = NEVER if wait is None else now + wait
        if rec.state in (recovery.OPEN, recovery.DISORDER, recovery.LOSS) and delivered and self._limited:
            self.congestion.on_ack(
                congestion.Ack(now, delivered, sample, self.rtt.min_rtt, self.rtt.srtt, prior_in_flight, round_start)
            )
        if self._tlp_high is not None and ack >= self._tlp_high:
            if self._tlp_resent and ack > self._tlp_high:
                pass
            self._tlp_high = None
        if newly or delivered:
            self._arm_loss_timer(now)
        self._arm(now)
        return newly

    def _enter_sacks(self, ack, sacks, now, echoed_at):
        board, rec = self.board, self.recovery
        una, nxt = self.snd_una, self.snd_nxt
        left, right = sacks[0]
        if left < right and (right <= ack or (len(sacks) > 1 and sacks[1][0] <= left and right <= sacks[1][1])):
            if left >= una - self.snd_max_wnd:
                self.dsack_dups += 1
                rec.duplicate_reported(left, una, nxt, max((right - left) // self.mss, 1))
            sacks = sacks[1:]
        good = [(l, r) for l, r in sacks if una < l < r <= nxt]
        delivered, original, sample = 0, False, None
        if good:
            for record in board.sack(good):
                delivered += record.end - record.start
                rec.rack.delivered(record, self.rtt.min_rtt, now, echoed_at)
                if record.transmissions == 1:
                    sample = now - record.sent_at
                    if record.end <= rec.high_seq:
                        original = True
                self.delivery.sample(record, now)
        return delivered, original, sample

    # timers
    def _arm_loss_timer(self, now):
        if self.board.records:
            self._rto_at = now + self.rtt.rto
            self._arm_tlp(now)
        else:
            self._rto_at = self._tlp_at = NEVER

    def _arm_tlp(self, now):
        self._tlp_at = NEVER
        if (
            not self.recovery.sack_ok
            or self.recovery.state > recovery.DISORDER
            or self._tlp_high is not None
            or self.board.sacked
            or not self.rtt.srtt
            or not self.syn_acked
        ):
            return
        pto = 2 * self.rtt.srtt
        if self.board.size <= self.mss:
            pto += DELAYED_ACK
        else:
            pto += 0.002
        if now + pto < self._rto_at:
            self._tlp_at = now + pto

    def _arm(self, now):
        if self._rto_at == NEVER and self.board.records:
            self._rto_at = now + self.rtt.rto
        if self.board.records or not (self.unsent or (self.fin_queued and not self.fin_sent)) or not self.syn_acked:
            self._persist_at = NEVER
        self.due_at = min(self._rto_at, self._tlp_at, self._rack_at, self._persist_at, self._pace_at)

    def next_deadline(self):
        return None if self.due_at == NEVER else self.due_at

    def expire(self, now):
        if self._rack_at <= now:
            wait = self.recovery.reordering_timer(self.snd_una, self.snd_nxt, now, self.rtt)
            self._rack_at = NEVER if wait is None else now + wait
        if self._pace_at <= now:
            self._pace_at = NEVER
        cause = None
        if self._tlp_at <= now:
            self._tlp_at = NEVER
            self._tail_probe(now)
        elif self._rto_at <= now:
            cause = self._time_out(now)
        if self._persist_at <= now:
            cause = self._persist(now)
        self._arm(now)
        return cause

    def _tail_probe(self, now):
        self._tlp_high = self.snd_nxt
        self._tlp_resent = False
        if self.unsent and self.snd_una + self.snd_wnd - self.snd_nxt >= min(self.mss, self.unsent):
            self._forced = True
            return
        records = self.board.records
        if not records:
            return
        last = records[-1]
        if last.sacked:
            return
        if last.end - last.start > self.mss:
            records.append(last.split(last.end - self.mss))
            last = records[-1]
        self._tlp_resent = True
        self.board.mark_lost(last)
        self._forced = True

    def _time_out(self, now):
        if not self.board.records:
            self._rto_at = NEVER
            return None
        cause = self._gives_up(now)
        if cause:
            return cause
        self.retransmits += 1
        if not self.syn_acked:
            self.syn_retransmitted = True
            self.board.mark_lost(self.board.records[0])
        else:
            full = self.board.records[0].end - self.board.records[0].start > PATH_1280
            if self.retransmits >= BLACK_HOLE_TIMEOUTS and self._config.tcp_mtu_probing and full:
                self._black_hole()
            self.recovery.timed_out(self.snd_una, self.snd_nxt, now, self._config.tcp_frto)
        self.rtt.backoff()
        self._tlp_high = None
        self._rack_at = NEVER
        self._rto_at = now + self.rtt.rto
        return None

    def _black_hole(self):
        for mss in (PATH_1280, self._config.tcp_base_mss):
            if mss < self.mss:
                break
        else:
            mss = max(self.mss // 2, self._config.tcp_min_snd_mss)
        self.mtu_reductions += 1
        self.set_mss(mss)

    def _gives_up(self, now):
        if not self.syn_acked:
            limit = self._config.tcp_synack_retries if self._established else self._settings.syn_retries
            return errors.TIMED_OUT if self.retransmits >= limit else None
        if self._stalled_at is None:
            self._stalled_at = self.board.records[0].sent_at if self.board.records else now
        if self._settings.user_timeout:
            over = now - self._stalled_at >= self._settings.user_timeout
        else:
            over = self.retransmits >= (self._config.tcp_orphan_retries if self.orphaned else self._config.tcp_retries2)
        return errors.TIMED_OUT if over else None

    def _persist(self, now):
        if self._stalled_at is None:
            self._stalled_at = now
        if self._settings.user_timeout and now - self._stalled_at >= self._settings.user_timeout:
            return errors.TIMED_OUT
        if self.orphaned and self.probes >= self._config.tcp_orphan_retries:
            return errors.TIMED_OUT
        self.probes += 1
        if self.snd_wnd:
            self._forced = True
        else:
            self._probe = True
        self._persist_at = now + min(self.rtt.rto * (1 << min(self.probes, 20)), self._config.tcp_rto_max)
        return None

    # transmission
    def transmit(self, now):
        out = []
        if self._opening:
            self._opening = False
            self._put(out, self._record(self.iss, self.iss + 1, now), now, syn=True)
            self.snd_nxt = self.iss + 1
            self._round_end = self.snd_nxt
        elif not self.syn_acked:
            record = self.board.to_resend()
            if record is not None:
                self.board.resent(record, 1, now)
                t = Transmission(self.iss)
                t.syn = t.retransmission = True
                out.append(t)
        if not self.syn_acked or not self._established:
            self._arm(now)
            return out
        if self._probe:
            self._probe = False
            t = Transmission(self.snd_una - 1)
            t.probe = True
            out.append(t)
        self._resend(out, now)
        self._send_new(out, now)
        self._forced = False
        if out:
            self.last_sent_at = now
            if self._rto_at == NEVER and self.board.records:
                self._rto_at = now + self.rtt.rto
            if self._tlp_at == NEVER:
                self._arm_tlp(now)
        if not self.board.records and self._persist_at == NEVER:
            if self.unsent or (self.fin_queued and not self.fin_sent):
                self._persist_at = now + self.rtt.rto
        self._arm(now)
        return out

    def _record(self, start, end, now):
        record = self.board.sent(start, end, now)
        self.delivery.sent(record, now)
        return record

    def _quota(self):
        return self.congestion.cwnd - self.board.in_flight

    def _resend(self, out, now):
        board = self.board
        while (record := board.to_resend()) is not None:
            quota = self._quota()
            size = record.end - record.start
            room = min(size, MAX_PAYLOAD // self.mss * self.mss)
            if quota < min(size, self.mss) and not self._forced:
                self._limited = True
                break
            if room > quota and not (self._forced and room <= self.mss):
                room = max(quota // self.mss, 1) * self.mss
            length = min(size, room)
            record = board.resent(record, length, now)
            self.delivery.sent(record, now)
            self.recovery.sent(length, True, now)
            self._put(out, record, now, again=True)
            self._forced = False

    def _send_new(self, out, now):
        buffer = self.buffer
        while True:
            start = self.snd_nxt
            available = buffer.end - start if not self.fin_sent else 0
            fin = self.fin_queued and not self.fin_sent
            if available <= 0 and not fin:
                self.delivery.app_limited = True
                break
            window = self.snd_una + self.snd_wnd - start
            quota = self._quota()
            if not self._forced and quota < min(self.mss, max(available, 1)):
                self._limited = True
                break
            if available <= 0:
                if window < 1 and self.board.records:
                    break
                if window < 1 and not self._forced:
                    break
                self._emit(out, start, 0, True, now)
                break
            if window <= 0:
                break
            length = min(available, window, MAX_PAYLOAD // self.mss * self.mss)
            if not self._forced:
                length = min(length, max(quota, self.mss))
            if length > self.mss and length < available:
                length -= length % self.mss
            elif length > self.mss and length % self.mss and not self._may_send_small(start, available):
                length -= length % self.mss
            if length < self.mss and not self._forced:
                if length < available:
                    if length < self.snd_max_wnd // 2:
                        break
                elif not self._may_send_small(start, available) and not fin:
                    break
            if self._forced and length > self.mss:
                length = self.mss
            self._forced = False
            self._emit(out, start, length, fin and length == available and window > length, now)
            if self.board.size > self._max_in_flight:
                self._max_in_flight = self.board.size

    def _may_send_small(self, start, available):
        if self._settings.cork:
            return False
        if self._settings.nodelay or (self._up is not None and self._up > start):
            return True
        return self._small_end <= self.snd_una

    def _emit(self, out, start, length, fin, now):
        end = start + length + fin
        record = self._record(start, end, now)
        self.snd_nxt = end
        if fin:
            self.fin_sent = True
            self.fin_seq = end - 1
        if length % self.mss:
            self._small_end = end
        self.bytes_sent += length
        self.recovery.sent(end - start, False, now)
        self._limited = self._quota() < self.mss or (self._limited and self.congestion.in_slow_start)
        self._put(out, record, now)

    def _put(self, out, record, now, syn=False, again=False):
        if syn:
            t = Transmission(record.start)
            t.syn = True
            out.append(t)
            return
        fin = self.fin_sent and record.end == self.fin_seq + 1
        length = record.end - record.start - fin
        t = Transmission(record.start, self.buffer.view(record.start, length), length)
        t.fin = fin
        t.push = length > 0 and record.start + length == self.buffer.end
        t.retransmission = again
        if length > self.mss:
            t.gso_size = self.mss
        if self._up is not None and self._up > record.start:
            t.urgent = min(self._up - record.start, 0xFFFF)
        if again:
            self.total_retrans += 1
            self.bytes_retransmitted += length
        elif self._cwr and length:
            t.cwr = True
            self._cwr = False
        out.append(t)
