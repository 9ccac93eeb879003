"""The receiving half of a connection: the owner of RCV.*. What it delivers is the stream; how much, the window says."""

from pystack import errors
from pystack.deadlines import NEVER
from pystack.tcp import paws
from pystack.tcp.autotune import Autotune
from pystack.tcp.delayedack import DelayedAck
from pystack.tcp.reassembly import FIN, Reassembly
from pystack.tcp.receivebuffer import OVERHEAD, ReceiveBuffer
from pystack.tcp.receivewindow import ReceiveWindow, initial_window, initial_window_scale

__all__ = ["Receiver", "initial_window", "initial_window_scale"]


class Receiver:
    """Lives from the peer's SYN on, which has been counted. Numbers are unbounded ints.

    The Connection reads ``ack_now`` (an ACK must be sent), ``ack_at`` (when it must be at the latest, or `NEVER`),
    ``out_of_order`` (there is something for a SACK option, or a hole), ``ece`` (what the ACKs must have), and
    ``fin_received`` (the stream has ended, and all of it is there). ``acks``, ``buffer`` and ``tune`` are its parts,
    for who wants to know (TCP_INFO), or to tell ``tune`` a measured round trip.

    Args:
        irs: the number of the peer's SYN.
        settings, config, memory: the connection's `Settings`, `TcpConfig`, `Memory`.
        window_scale_bits: of our windows, as agreed on.
        mss: payload bytes of a full segment.
        sack: whether SACK was agreed on.
        drops: the layer's `Counts`.
    """

    __slots__ = (
        "_drops",
        "_duplicate",
        "_fin_at",
        "_memory",
        "_reassembly",
        "_sack",
        "_settings",
        "_urgent",
        "_urgent_at",
        "_window",
        "ack_at",
        "ack_now",
        "acks",
        "buffer",
        "bytes_received",
        "ece",
        "fin_received",
        "irs",
        "last_ack_sent",
        "out_of_order",
        "rcv_nxt",
        "ts_recent",
        "ts_recent_at",
        "tune",
    )

    def __init__(self, irs, settings, config, memory, now, *, window_scale_bits, mss, sack, drops):
        self.irs = irs
        self.rcv_nxt = irs + 1
        self.last_ack_sent = irs + 1
        window = initial_window(config, settings)  # of our SYN
        self.ts_recent = 0
        self.ts_recent_at = None  # when it was set, once it is
        self.ack_now = False
        self.ack_at = NEVER
        self.ece = False
        self.out_of_order = False
        self.fin_received = False
        self.bytes_received = 0
        self._settings = settings
        self._memory = memory
        self._drops = drops
        self._sack = sack
        self.buffer = ReceiveBuffer(settings, config, memory)
        self._window = ReceiveWindow(self.buffer, window_scale_bits, mss, self.rcv_nxt + window)
        self._reassembly = Reassembly()
        self.acks = DelayedAck(settings, config, mss)
        self.tune = Autotune(self.rcv_nxt, mss, window, now)
        self._duplicate = None  # (left, right) for a D-SACK
        self._fin_at = None  # the FIN's number, once one has come
        self._urgent_at = None  # the number of the urgent byte that is awaited
        self._urgent = None  # (byte, mark) for `take_urgent`

    # -- facts --------------------------------------------------------------------------------------------------------

    @property
    def rcv_adv(self):
        """The right edge of the window, the furthest ever offered: what is below it is taken. It never goes left."""
        return self._window.adv

    @property
    def rcv_wnd(self):
        """RCV.WND: bytes that the peer may send beyond ``rcv_nxt``."""
        return max(self._window.adv - self.rcv_nxt, 0)

    @property
    def window_scale_bits(self):
        return self._window.scale_bits

    @property
    def has_news(self):
        """Whether `take_delivered` or `take_urgent` may have something."""
        return bool(self.buffer.ready) or self._urgent is not None

    @property
    def unread(self):
        """Bytes of the stream that the program has not read."""
        return self.buffer.unread

    def acceptable(self, seq, length):
        """Whether a segment of *length* numbers, SYN and FIN included, is for the window (RFC 9293 §3.4).

        As Linux's tcp_sequence it is wider than the RFC's table: with what touches the window at either end a valid
        ACK, URG or RST may come, also when the window is zero. `receive` takes no text that the window has no place
        for.
        """
        return seq + length >= self.last_ack_sent and seq <= max(self._window.adv, self.rcv_nxt)

    # -- timestamps ---------------------------------------------------------------------------------------------------

    def paws_rejects(self, ts_val, now, rst):
        """Whether a segment with this TSval is an old one (RFC 7323 §5.3)."""
        return paws.rejects(ts_val, self.ts_recent, self.ts_recent_at, now, rst)

    def update_ts_recent(self, ts_val, seq, now):
        """TS.Recent from an acceptable segment at *seq* (RFC 7323 §4.3 (2))."""
        if seq <= self.last_ack_sent and not paws.rejects(ts_val, self.ts_recent, self.ts_recent_at, now, False):
            self.ts_recent = ts_val
            self.ts_recent_at = now

    # -- arrival ------------------------------------------------------------------------------------------------------

    def receive(self, seq, payload, frame_size, fin, now, push=False, gso_size=0):
        """Take the text and the FIN of an acceptable segment.

        Args:
            payload: a view into a frame of *frame_size* bytes, which is kept with it.
            fin: a bool.
            gso_size: bytes of each segment, if this is a super-segment; else 0.

        Returns:
            Whether ``rcv_nxt`` has advanced.
        """
        size = len(payload)
        nxt = self.rcv_nxt
        if (
            seq != nxt
            or fin
            or nxt + size > self._window.adv
            or not size
            or self.out_of_order
            or self._urgent_at is not None
            or self._fin_at is not None
            or self._memory.exhausted
        ):
            return self._receive_slowly(seq, payload, frame_size, fin, now, push, gso_size)
        self.buffer.append(payload, frame_size)
        self.rcv_nxt = nxt + size
        self._advanced(size, gso_size or size, push, now)
        return True

    def duplicate(self, left, right):
        """Note for a D-SACK (RFC 2883) that the text from *left* to *right* has come, of which what is below
        ``rcv_nxt`` had come before."""
        right = min(right, self.rcv_nxt)
        if left < right:
            self._note_duplicate(left, right)

    def urgent(self, up_seq):
        """RCV.UP: the urgent pointer points at number *up_seq*, the byte after the urgent one.

        Call it before `receive`. As on Linux the byte before is the urgent one (RFC 6093 §2 keeps that), a pointer into
        what has come already means nothing, and a newer one takes the place of one whose byte has not come.
        """
        at = up_seq - 1
        if at >= self.rcv_nxt and (self._urgent_at is None or at > self._urgent_at):
            self._urgent_at = at

    def on_ce(self):
        """A segment has come with CE: ECE until CWR comes (RFC 3168 §6.1.3), at once."""
        if not self.ece:
            self.acks.quicken()
        self.ece = True
        self.ack_now = True

    def on_cwr(self):
        """The peer has slowed down."""
        self.ece = False

    def _receive_slowly(self, seq, payload, frame_size, fin, now, push, gso_size):
        """What is not simply the next text."""
        if self.fin_received:
            self.ack_now = True
            return False
        nxt = self.rcv_nxt
        end = seq + len(payload)
        if end < nxt or (end == nxt and not fin):  # nothing of it is new: a keepalive's byte too
            self.acks.quicken()
            self.ack_now = True
            self.duplicate(seq, end)
            return False
        if seq < nxt:
            self.ack_now = True
            self.duplicate(seq, nxt)
            payload = payload[nxt - seq :]
            seq = nxt
        if self._fin_at is not None and end > self._fin_at:  # text after FIN is not there
            payload = payload[: max(self._fin_at - seq, 0)]
            fin = False
        elif end > self._window.adv:
            self._drops[errors.WINDOW_OVERFLOW] += 1
            self.ack_now = True
            payload = payload[: max(self._window.adv - seq, 0)]
            fin = False
        if not payload and not fin:
            self.ack_now = True
            return False
        if seq > nxt:
            self._receive_beyond(seq, payload, frame_size, fin)
            return False
        if payload and self._memory.exhausted and not self._make_room(frame_size):
            return False
        self._receive_next(payload, frame_size, fin)
        self._advanced(self.rcv_nxt - nxt, gso_size or len(payload), push, now)
        return True

    def _receive_next(self, payload, frame_size, fin):
        """Text, or FIN, at ``rcv_nxt``, and what has waited for it."""
        if fin:
            self._end_at(self.rcv_nxt + len(payload))
        waiting = self._reassembly
        if not waiting:
            self._deliver(payload, len(payload), frame_size)
        else:
            self.ack_now = True  # a hole is filled, or the lower part of it (RFC 5681 §4.2)
            if payload:
                excess = self.buffer.charged + waiting.charged + frame_size - self.buffer.capacity
                if excess > 0:
                    self._memory.release(waiting.prune(excess, self.rcv_nxt + len(payload)))
                self._insert(self.rcv_nxt, payload, frame_size)
            for buffer, size, charge in waiting.pop_ready(self.rcv_nxt):
                if buffer is FIN:
                    self._memory.release(charge)
                else:
                    self._deliver(buffer, size, 0, charge)
            self.out_of_order = bool(waiting) or self._duplicate is not None
        if self.rcv_nxt == self._fin_at:
            self.rcv_nxt += 1
            self.fin_received = True
            self.ack_now = True

    def _receive_beyond(self, seq, payload, frame_size, fin):
        """Text, or FIN, after a hole: kept if there is room, and answered at once (RFC 5681 §4.2)."""
        self.ack_now = True
        self.acks.quicken()
        end = seq + len(payload)
        if payload:
            if not self._make_room_beyond(frame_size, end):
                return
            self._insert(seq, payload, frame_size)
        if fin and end < self._window.adv:
            self._end_at(end)
            self._memory.charge(self._reassembly.insert_fin(end))
        self.out_of_order = bool(self._reassembly) or self._duplicate is not None

    def _make_room_beyond(self, frame_size, end):
        """Whether a frame out of order may be held; what is beyond number *end* goes first if the buffer is full."""
        size = frame_size + OVERHEAD
        excess = self.buffer.charged + self._reassembly.charged + size - self.buffer.capacity
        exhausted = self._memory.exhausted
        if exhausted and excess < size:
            excess = size
        if excess > 0:
            freed = self._reassembly.prune(excess, end)
            self._memory.release(freed)
            if freed < excess:
                self._drops[errors.OUT_OF_MEMORY if exhausted else errors.WINDOW_OVERFLOW] += 1
                self.out_of_order = bool(self._reassembly) or self._duplicate is not None
                return False
        return True

    def _make_room(self, frame_size):
        """The stack's memory is full. What is out of order must go; if that is not enough the program has to read
        first, but one segment at a time is always taken, or no connection would ever get on (Linux's
        sk_forced_mem_schedule)."""
        self._memory.release(self._reassembly.prune(frame_size + OVERHEAD, self.rcv_nxt))
        if not self._memory.exhausted or not self.buffer.unread:
            return True
        self._drops[errors.OUT_OF_MEMORY] += 1
        self.ack_now = True
        return False

    def _insert(self, seq, payload, frame_size):
        waiting = self._reassembly
        self._memory.charge(waiting.insert(seq, payload, frame_size))
        if waiting.duplicate is not None:
            self._note_duplicate(*waiting.duplicate)

    def _end_at(self, seq):
        """FIN is number *seq*: what came from beyond it was never sent. Of several the first in the stream counts."""
        if self._fin_at is None or seq < self._fin_at:
            self._fin_at = seq
            self._memory.release(self._reassembly.cut(seq))

    def _note_duplicate(self, left, right):
        """RFC 2883 §4: one range, the first; another that continues it makes it longer."""
        self.ack_now = True
        if not self._sack:
            return
        self.out_of_order = True
        noted = self._duplicate
        if noted is None:
            self._duplicate = (left, right)
        elif left <= noted[1] and noted[0] <= right:
            self._duplicate = (min(left, noted[0]), max(right, noted[1]))

    def _deliver(self, buffer, size, frame_size, charge=None):
        """The next *size* bytes of the stream: from a frame, or with a *charge* from the Reassembly."""
        at = self._urgent_at
        if at is not None and at < self.rcv_nxt + size:
            self._deliver_urgent(buffer, size, frame_size, charge)
        elif charge is None:
            if size:
                self.buffer.append(buffer, frame_size)
        else:
            self.buffer.adopt(buffer, size, charge)
        self.rcv_nxt += size

    def _deliver_urgent(self, buffer, size, frame_size, charge):
        """The urgent byte is among these: take it out, unless the program wants it in line (SO_OOBINLINE)."""
        offset = self._urgent_at - self.rcv_nxt
        self._urgent_at = None
        if charge is not None:
            self._memory.release(charge)
            frame_size = charge - OVERHEAD
        if self._settings.urgent_inline:
            self.buffer.append(buffer, frame_size)
            return
        if offset:
            self.buffer.append(buffer[:offset], frame_size)
        self._urgent = (buffer[offset], self.buffer.read + self.buffer.unread)
        if offset + 1 < size:
            self.buffer.append(buffer[offset + 1 :], frame_size)

    def _advanced(self, size, segment_size, push, now):
        """``rcv_nxt`` has advanced by *size*."""
        nxt = self.rcv_nxt
        self.bytes_received += size - self.fin_received
        self.tune.received(nxt, self._window.adv - nxt, now)
        delay = self.acks.received(segment_size, nxt - self.last_ack_sent, push, now)
        if not delay:
            self.ack_now = True
        elif now + delay < self.ack_at:
            self.ack_at = now + delay

    # -- delivery -----------------------------------------------------------------------------------------------------

    def take_delivered(self, everything=False):
        """The buffers of the stream that have come since the last time. They stay charged until they are `consumed`.

        A few short bytes may be kept back while the program has many buffers to read, unless the stream is at its end,
        or with *everything*. So who has read all that there is must have that `consumed`, and ask again.
        """
        return self.buffer.take(everything or self.fin_received or self._urgent is not None)

    def take_urgent(self):
        """``(byte, mark)`` if the urgent byte has come since the last time, else None. *mark* counts the bytes
        delivered before it. If another has come in the meantime it is lost, as on Linux."""
        urgent, self._urgent = self._urgent, None
        return urgent

    def consumed(self, size, now):
        """The program has read *size* bytes: the window may open, and the peer be told at once."""
        buffer = self.buffer
        buffer.consume(size)
        window = self.tune.consumed(size, now)
        if window:
            buffer.grow(window)
        if not self.ack_now and self.needs_window_update():
            self.ack_now = True

    def drop(self):
        """Let go of everything that is held."""
        self.buffer.drop()
        self._memory.release(self._reassembly.clear())

    # -- acknowledgement ----------------------------------------------------------------------------------------------

    def expire(self, now):
        """Time has come to ``ack_at``."""
        if self.ack_at <= now:
            self.ack_at = NEVER
            self.ack_now = True
            self.acks.expired()

    def acked(self, now):
        """A segment has just been sent with ACK ``rcv_nxt`` and the `window`."""
        self.last_ack_sent = self.rcv_nxt
        self.ack_now = False
        self.ack_at = NEVER
        self.acks.sent()

    def window(self):
        """Bytes to advertise in the segment that is now sent, a multiple of what the scale can say."""
        return self._window.advertise(self.rcv_nxt)

    def needs_window_update(self):
        """Whether an ACK must be sent to open the window."""
        return not self.fin_received and self._window.update_due(self.rcv_nxt)

    def sack_blocks(self, limit):
        """``[(left, right), ...]`` for the next ACK, at most *limit*: a D-SACK first if there is something to report,
        which is forgotten then, and the most recently changed blocks first (RFC 2018 §4, RFC 2883 §4)."""
        noted = self._duplicate
        waiting = self._reassembly
        if noted is None:
            return waiting.blocks(limit) if self._sack else []
        self._duplicate = None
        self.out_of_order = bool(waiting)
        return [noted, *waiting.blocks(limit - 1)]
