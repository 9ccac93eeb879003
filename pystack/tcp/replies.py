"""Segments that no connection sends: the answers of closed ports, of TIME-WAIT and of cookies."""

from pystack.packet import TxPacket
from pystack.wire import ipv4, tcp, tcp_options
from pystack.wire.seq import MASK


def bare(local, remote, seq, ack, flags, window=0, options=b"", tos=0):
    """A TxPacket without text; *local* and *remote* are ``(address, port)``, numbers are cut to 32 bits."""
    header = tcp.build(local[1], remote[1], seq & MASK, ack & MASK, flags, window, 0, options)
    packet = TxPacket(remote[0], ipv4.TCP, header, source=local[0], tos=tos)
    packet.dont_fragment = True
    packet.checksum_at = tcp.CHECKSUM_AT
    return packet


def reset(segment):
    """RFC 9293 §3.10.7.1: what is sent for a *segment* to a port where nobody is."""
    packet = segment.packet
    at = packet.at
    local = packet.destination, int.from_bytes(packet.buf[at + 2 : at + 4], "big")
    remote = packet.source, int.from_bytes(packet.buf[at : at + 2], "big")
    flags = segment.flags
    if flags & tcp.ACK:
        return bare(local, remote, segment.ack, 0, tcp.RST)
    length = len(segment.payload) + (flags & tcp.FIN) + (flags >> 1 & 1)
    return bare(local, remote, 0, segment.seq + length, tcp.RST | tcp.ACK)


def abandon(connection):
    """RST for a connection that is given up without ceremony."""
    receiver = connection.receiver
    ack, flags = (0, tcp.RST) if receiver is None else (receiver.rcv_nxt, tcp.RST | tcp.ACK)
    return bare(connection.local, connection.remote, connection.sender.snd_nxt, ack, flags)


def time_wait_ack(record, now):
    """The ACK of a `timewait.TimeWait`."""
    options = b""
    if record.timestamps:
        options = tcp_options.timestamp((int(now * 1000) + record.timestamp_offset) & MASK, record.ts_recent)
    return bare(record.local, record.remote, record.snd_nxt, record.rcv_nxt, tcp.ACK, record.window, options)
