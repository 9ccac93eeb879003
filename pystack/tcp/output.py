"""The segments of one connection on their way out: headers, options, and how many there were."""

from pystack.packet import TxPacket
from pystack.wire import ipv4, tcp, tcp_options
from pystack.wire.seq import MASK

ECT_0 = 2  # RFC 3168 §5
MAX_WINDOW = 0xFFFF  # of the header's field


class Output:
    """Fills ``packets`` with TxPackets. Sequence numbers come unbounded and are cut to 32 bits here.

    Args:
        local, remote: ``(address, port)``.
        settings, terms: the connection's `Settings` and `Terms`, read at each segment.
        timestamp_offset: added to the clock's milliseconds in every timestamp (RFC 7323 §7.1).
        counts: the layer's `Counts`.
    """

    __slots__ = (
        "_counts",
        "_destination",
        "_ipv6",
        "_local_port",
        "_remote_port",
        "_settings",
        "_source",
        "_terms",
        "_timestamp_offset",
        "data_segments",
        "packets",
        "segments",
    )

    def __init__(self, local, remote, settings, terms, timestamp_offset, counts):
        self._source, self._local_port = local
        self._destination, self._remote_port = remote
        self._ipv6 = len(self._destination) == 16
        self._settings = settings
        self._terms = terms
        self._timestamp_offset = timestamp_offset
        self._counts = counts
        self.packets = []
        self.segments = 0  # on the wire: a super-segment counts as many
        self.data_segments = 0

    def timestamp(self, now):
        """TSval: the clock in milliseconds, 32 bits."""
        return (int(now * 1000) + self._timestamp_offset) & MASK

    def echoed_at(self, tsecr, now):
        """The clock's time at which *tsecr* was our TSval, to the millisecond below; None if it cannot have been."""
        milliseconds = int(now * 1000)
        age = (milliseconds + self._timestamp_offset - tsecr) & MASK
        return (milliseconds - age) / 1000 if age <= milliseconds else None

    def syn(self, iss, window, again, receiver, now):
        """SYN, or with a *receiver* SYN and ACK: what is offered, or agreed on.

        Args:
            window: bytes, not scaled here.
            again: it was sent before and not answered.
        """
        terms = self._terms
        flags, ack, ts_recent = tcp.SYN, 0, 0
        if receiver is not None:
            flags, ack, ts_recent = tcp.SYN | tcp.ACK, receiver.rcv_nxt, receiver.ts_recent
            if terms.ecn:
                flags |= tcp.ECE
        elif terms.ecn and again:
            terms.ecn = False  # RFC 3168 §6.1.1.1: something on the path may dislike it
        elif terms.ecn:
            flags |= tcp.ECE | tcp.CWR
        options = tcp_options.syn(
            terms.advertised_mss(),
            terms.window_scale if terms.window_scaling else None,
            terms.sack,
            (self.timestamp(now), ts_recent) if terms.timestamps else None,
        )
        self._put(iss, ack, flags, min(window, MAX_WINDOW), options)

    def data(self, transmission, receiver, now):
        """A `sender.Transmission`: text, FIN or a window probe."""
        flags = tcp.ACK
        if transmission.fin:
            flags |= tcp.FIN
        if transmission.push:
            flags |= tcp.PSH
        urgent = transmission.urgent
        if urgent:
            flags |= tcp.URG
        if transmission.cwr:
            flags |= tcp.CWR
        length, gso_size = transmission.length, transmission.gso_size
        count = -(-length // gso_size) if gso_size else 1
        if length:
            self.data_segments += count
        if transmission.retransmission:
            self._counts["RetransSegs"] += count
        # RFC 3168 §6.1.5: a retransmission is not ECN-capable.
        ect = self._terms.ecn and length > 0 and not transmission.retransmission
        packet = self._acknowledging(transmission.seq, flags, b"", receiver, now, transmission.payload, urgent, ect)
        if count > 1:
            packet.gso_size = gso_size
            self.segments += count - 1
            self._counts["OutSegs"] += count - 1

    def ack(self, seq, receiver, now):
        """A segment without text, with SACK blocks if there are any."""
        options = b""
        if self._terms.sack and receiver.out_of_order:
            blocks = receiver.sack_blocks(3 if self._terms.timestamps else 4)
            if blocks:
                options = tcp_options.sack([(left & MASK, right & MASK) for left, right in blocks])
        self._acknowledging(seq, tcp.ACK, options, receiver, now)

    def reset(self, seq, receiver, now):
        """RST; with ACK as on Linux, for a peer that has been heard."""
        self._counts["OutRsts"] += 1
        if receiver is None:
            self._put(seq, 0, tcp.RST, 0, b"")
        else:
            self._put(seq, receiver.rcv_nxt, tcp.RST | tcp.ACK, 0, self._timestamps(receiver, now))

    def refuse(self, seq):
        """RST to an ACK of what was never sent: <SEQ=SEG.ACK><CTL=RST>."""
        self._counts["OutRsts"] += 1
        self._put(seq, 0, tcp.RST, 0, b"")

    def _acknowledging(self, seq, flags, options, receiver, now, payload=(), urgent=0, ect=False):
        terms = self._terms
        if receiver.ece and terms.ecn:
            flags |= tcp.ECE
        window = min(receiver.window() >> terms.window_scale, MAX_WINDOW)
        options = self._timestamps(receiver, now) + options
        return self._put(seq, receiver.rcv_nxt, flags, window, options, payload, urgent, ECT_0 if ect else 0)

    def _timestamps(self, receiver, now):
        return tcp_options.timestamp(self.timestamp(now), receiver.ts_recent) if self._terms.timestamps else b""

    def _put(self, seq, ack, flags, window, options, payload=(), urgent=0, ecn=0):
        settings = self._settings
        header = tcp.build(self._local_port, self._remote_port, seq & MASK, ack & MASK, flags, window, urgent, options)
        packet = TxPacket(
            self._destination,
            ipv4.TCP,
            header,
            payload,
            self._source,
            (settings.hop_limit if self._ipv6 else settings.ttl) or None,
            (settings.traffic_class if self._ipv6 else settings.tos) & 0xFC | ecn,
        )
        packet.dont_fragment = settings.discover_pmtu
        packet.checksum_at = tcp.CHECKSUM_AT
        self.packets.append(packet)
        self.segments += 1
        self._counts["OutSegs"] += 1
        return packet
