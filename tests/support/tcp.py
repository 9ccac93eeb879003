"""One `Connection` without a layer around it, and a peer that is the test: segments in, segments out, in virtual time.

Numbers are relative, as people write them: our SYN is 0 and our first byte 1; the peer's the same.
"""

from collections import Counter, namedtuple

from pystack import transport
from pystack.config import TcpConfig
from pystack.deadlines import NEVER
from pystack.packet import RxPacket
from pystack.tcp import states
from pystack.tcp.connection import Connection
from pystack.tcp.limiter import ChallengeLimiter
from pystack.tcp.memory import Memory
from pystack.tcp.segment import Segment
from pystack.tcp.settings import Settings
from pystack.wire import tcp, tcp_options
from pystack.wire.seq import MASK, extend

LOCAL = (bytes((10, 0, 0, 2)), 80)
REMOTE = (bytes((10, 0, 0, 1)), 40_000)
ISS = 0xFFFFF000  # so that every longer test crosses 2^32
IRS = 0xFFFFFF00
LETTERS = "FSRPAUEC"  # by bit

Sent = namedtuple("Sent", "flags seq ack length")
"""What left: flags as letters in the order FSRPAUEC (``"PA"``), relative numbers, bytes of text."""


def letters(flags):
    """``tcp.SYN | tcp.ACK`` as ``"SA"``."""
    return "".join(letter for bit, letter in enumerate(LETTERS) if flags >> bit & 1)


def flags_of(text):
    """``"SA"`` as ``tcp.SYN | tcp.ACK``."""
    return sum(1 << LETTERS.index(letter) for letter in text)


def options(mss=0, window_scale=None, sack_permitted=False, timestamp=None, sacks=()):
    """`tcp_options.Options` as a peer might send them; *sacks* relative to our numbers."""
    made = tcp_options.Options()
    made.mss = mss
    made.window_scale = window_scale
    made.sack_permitted = sack_permitted
    made.timestamp = timestamp
    made.sacks = tuple(((left + ISS) & MASK, (right + ISS) & MASK) for left, right in sacks)
    return made


class Conversation:
    """The connection, and a peer's pen. ``now`` is the virtual time."""

    def __init__(self, config=None, settings=None, *, mss=1460, now=100.0, limit=1 << 30, **overrides):
        self.now = now
        self.config = config or TcpConfig(**{"tcp_timestamps": False, **overrides})
        self.memory = Memory(limit)
        self.drops = Counter()
        self.counts = Counter()
        self.connection = Connection(
            socket=1,
            key=b"key",
            local=LOCAL,
            remote=REMOTE,
            settings=settings or Settings.from_config(self.config),
            config=self.config,
            memory=self.memory,
            iss=ISS,
            mss=mss,
            timestamp_offset=0,
            drops=self.drops,
            counts=self.counts,
            limiter=ChallengeLimiter(self.config.tcp_challenge_ack_limit),
            now=now,
        )
        self.packets = []  # the TxPackets of the last `sent`
        self._options = tcp_options.NONE

    # -- the peer -----------------------------------------------------------------------------------------------------

    def segment(self, flags, seq, ack=0, payload=b"", *, window=65_535, urgent=0, opts=None, frame=None, ecn=0):
        """A `Segment` with relative numbers; *frame* is the size of the frame that it pins, *ecn* the IP header's."""
        buf = bytes(payload) + bytes(64 if frame is None else frame - len(payload))
        packet = RxPacket(buf, 0, 0)
        packet.tos = ecn
        return Segment(
            (seq + IRS) & MASK,
            (ack + ISS) & MASK if "A" in flags else 0,
            flags_of(flags),
            window,
            urgent,
            memoryview(buf)[: len(payload)],
            opts or self._options,
            packet,
        )

    def arrives(self, flags, seq, ack=0, payload=b"", *, at=None, **how):
        """Let one segment arrive, and flush; returns what was sent."""
        return self.batch([self.segment(flags, seq, ack, payload, **how)], at=at)

    def batch(self, segments, at=None):
        """Let several arrive at once."""
        if at is not None:
            self.now = at
        for segment in segments:
            if not self.connection.over:
                self.connection.receive(segment, self.now)
        return self.sent()

    # -- us -----------------------------------------------------------------------------------------------------------

    def does(self, name, *arguments):
        """Call a request of the connection, and flush; returns what was sent."""
        getattr(self.connection, name)(*arguments, self.now)
        return self.sent()

    def write(self, data, urgent=False):
        return self.does("write", [data], urgent)

    def sent(self):
        """Flush; what has left since the last look, as `Sent`."""
        connection = self.connection
        connection.flush(self.now)
        self.packets = connection.packets[:]
        connection.packets.clear()
        return [self._read(packet) for packet in self.packets]

    def events(self):
        """The events since the last look."""
        events = self.connection.events[:]
        self.connection.events.clear()
        return events

    def received(self):
        """The bytes of all Received events since the last look, which ends all events."""
        return b"".join(
            bytes(buffer) for event in self.events() if type(event) is transport.Received for buffer in event.buffers
        )

    def after(self, seconds):
        """Let time pass, with what is due in it; returns what was sent, as (time since the call, `Sent`)."""
        start, end = self.now, self.now + seconds
        found = []
        while (due := self.connection.next_deadline()) <= end and not self.connection.over:
            self.now = max(self.now, due)
            self.connection.expire(self.now)
            found += [(round(self.now - start, 6), each) for each in self.sent()]
        self.now = end
        return found

    def deadline(self):
        """When something is due, in seconds from now; None if nothing is."""
        at = self.connection.next_deadline()
        return None if at == NEVER else at - self.now

    @property
    def state(self):
        """The state's name."""
        return states.NAMES[self.connection.state]

    def _read(self, packet):
        header = bytes(packet.header)
        _, _, seq, ack, flags, _, _, at = tcp.parse(header, 0, len(header))
        assert at == len(header)
        return Sent(
            letters(flags),
            extend(seq, ISS) - ISS,
            extend(ack, IRS) - IRS if flags & tcp.ACK else 0,
            sum(map(len, packet.payload)),
        )

    def options_sent(self):
        """The `tcp_options.Options` of the last packet of the last `sent`."""
        header = bytes(self.packets[-1].header)
        return tcp_options.parse(header, 20, len(header))

    def window_sent(self):
        """The window field of the last packet."""
        header = bytes(self.packets[-1].header)
        return tcp.parse(header, 0, len(header))[5]


SYN_OPTIONS = {"mss": 1460, "window_scale": 0, "sack_permitted": True}


def opening(**how):
    """A Conversation in SYN-SENT."""
    conversation = Conversation(**how)
    assert conversation.does("connect") == [Sent("S", 0, 0, 0)]
    return conversation


def half_open(opts=None, **how):
    """A Conversation in SYN-RECEIVED, from a listener."""
    conversation = Conversation(**how)
    syn = conversation.segment("S", 0, opts=opts or options(**SYN_OPTIONS))
    conversation.connection.accept_syn(syn, conversation.now)
    assert conversation.sent() == [Sent("SA", 0, 1, 0)]
    return conversation


def established(opts=None, window=65_535, **how):
    """A Conversation in ESTABLISHED, passively opened, with no events left."""
    conversation = half_open(opts, **how)
    assert conversation.arrives("A", 1, 1, window=window) == []
    assert conversation.state == "ESTABLISHED"
    conversation.events()
    return conversation


def in_state(name, **how):
    """A Conversation in the state of this name (not LISTEN), reached by the shortest way."""
    if name == "CLOSED":
        return Conversation(**how)
    if name == "SYN-SENT":
        return opening(**how)
    if name == "SYN-RECEIVED":
        return half_open(**how)
    made = established(**how)
    if name in ("CLOSE-WAIT", "LAST-ACK"):
        made.arrives("FA", 1, 1)
    if name in ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "TIME-WAIT", "LAST-ACK"):
        made.does("shutdown")
    if name in ("FIN-WAIT-2", "TIME-WAIT"):
        made.arrives("A", 1, 2)
    if name == "CLOSING":
        made.arrives("FA", 1, 1)
    if name == "TIME-WAIT":
        made.arrives("FA", 1, 2)
    assert made.state == name, made.state
    made.events()
    return made
