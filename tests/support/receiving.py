"""A `Receiver` alone, with a pen for the peer and an eye on the ACKs. Numbers are relative: the first byte is 1."""

from collections import Counter

from pystack.config import TcpConfig
from pystack.tcp.memory import Memory
from pystack.tcp.receiver import Receiver
from pystack.tcp.settings import Settings

IRS = (1 << 32) - 3000  # so that most tests cross 2^32
HEADERS = 54  # bytes of a frame beside the payload


class Ends:
    """``receiver`` and all that is around it; the memory is its own unless one is given."""

    def __init__(self, *, settings=None, memory=None, bits=0, mss=1000, sack=True, irs=IRS, now=0.0, **config):
        self.config = TcpConfig(**config)
        self.settings = settings or Settings.from_config(self.config)
        self.memory = memory or Memory(1 << 30)
        self.drops = Counter()
        self.irs = irs
        self.receiver = Receiver(
            irs,
            self.settings,
            self.config,
            self.memory,
            now,
            window_scale_bits=bits,
            mss=mss,
            sack=sack,
            drops=self.drops,
        )

    def at(self, number):
        """A number of the receiver's, relative."""
        return number - self.irs

    def gets(self, seq, data=b"", *, fin=False, now=0.0, frame=None, push=False, gso_size=0):
        """Let a segment arrive that begins at *seq* (relative); bytes, or a count of them."""
        payload = bytes(data) if isinstance(data, int) else data
        frame_size = frame or len(payload) + HEADERS
        return self.receiver.receive(
            self.irs + seq, memoryview(payload), frame_size, fin, now, push=push, gso_size=gso_size
        )

    def acks(self, limit=4, now=0.0):
        """Send the ACK that is due: (number, SACK blocks, window); None if none is."""
        receiver = self.receiver
        if not receiver.ack_now:
            return None
        blocks = receiver.sack_blocks(limit) if receiver.out_of_order else []
        window = receiver.window()
        receiver.acked(now)
        return self.at(receiver.rcv_nxt), [(self.at(left), self.at(right)) for left, right in blocks], window

    def sacks(self, limit=4):
        """The ACK that must be due now, without its window."""
        return self.acks(limit)[:2]

    def fill(self, size=1000):
        """Send into the window until it is closed; returns the bytes that have come in all."""
        receiver = self.receiver
        while receiver.rcv_wnd:
            self.gets(self.at(receiver.rcv_nxt), min(size, receiver.rcv_wnd))
            receiver.ack_now = True
            self.acks()
        return receiver.unread

    def quiet(self):
        """Come out of the quick ACKs of the beginning."""
        for _ in range(16):
            self.receiver.acked(0.0)
        return self

    def read(self, now=0.0):
        """Take what is delivered, and consume it."""
        data = b"".join(map(bytes, self.receiver.take_delivered()))
        self.receiver.consumed(len(data), now)
        return data

    def drain(self):
        """Read until there is no more."""
        data = b""
        while more := self.read():
            data += more
        return data
