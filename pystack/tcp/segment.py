"""One received segment: the fields that the steps of RFC 9293 §3.10.7 look at."""


class Segment:
    """``seq`` and ``ack`` are as on the wire (32 bits) until `Connection.receive` extends them (`wire.seq.extend`).

    ``payload`` is a memoryview into a frame, ``packet.buf`` at first; who keeps it pins ``len(payload.obj)`` bytes.
    """

    __slots__ = ("ack", "flags", "options", "packet", "payload", "seq", "urgent", "window")

    def __init__(self, seq, ack, flags, window, urgent, payload, options, packet):
        self.seq = seq
        self.ack = ack
        self.flags = flags  # wire.tcp.FIN and the others
        self.window = window  # not scaled
        self.urgent = urgent  # the urgent pointer
        self.payload = payload
        self.options = options  # wire.tcp_options.Options
        self.packet = packet  # the RxPacket
