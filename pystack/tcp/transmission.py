"""What the sender wants to leave now: one segment, or a super-segment of many."""


class Transmission:
    """Numbers are unbounded. ``urgent`` is the urgent pointer, counted from ``seq``; 0: none."""

    __slots__ = (
        "cwr",
        "fin",
        "gso_size",
        "length",
        "payload",
        "push",
        "retransmission",
        "seq",
        "syn",
        "urgent",
    )

    def __init__(self, seq, payload=(), length=0):
        self.seq = seq
        self.payload = payload  # list of memoryviews
        self.length = length  # of the payload, bytes
        self.gso_size = 0  # payload bytes per wire segment, if there are several
        self.syn = False
        self.fin = False
        self.push = False
        self.cwr = False  # ECN: the congestion window was reduced
        self.retransmission = False
        self.urgent = 0
