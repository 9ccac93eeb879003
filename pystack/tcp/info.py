"""What TCP_INFO tells of a connection."""

from dataclasses import dataclass

from pystack.tcp.terms import HEADERS


@dataclass(slots=True)
class TcpInfo:
    """The fields of Linux's struct tcp_info under its names without prefix; times in seconds, rates in bytes/s."""

    state: int  # a number of `states`
    retransmits: int  # timeouts in a row
    probes: int  # unanswered window or keepalive probes
    backoff: int  # doublings of the retransmission timeout
    timestamps: bool
    sack: bool
    ecn: bool
    snd_wscale: int  # bits, of the peer's window
    rcv_wscale: int
    rto: float
    ato: float  # delayed ACK timeout
    snd_mss: int
    rcv_mss: int  # the peer's segments, as far as seen
    advmss: int
    pmtu: int
    unacked: int  # bytes sent and not acknowledged (Linux counts packets here and in the next three)
    sacked: int
    lost: int
    retrans: int  # bytes retransmitted and still in flight
    last_data_sent: float  # how long ago
    last_data_recv: float
    rcv_ssthresh: int
    rtt: float
    rttvar: float
    min_rtt: float
    rcv_rtt: float
    snd_ssthresh: int  # bytes (Linux: packets), as the next
    snd_cwnd: int
    snd_wnd: int
    rcv_wnd: int
    rcv_space: int
    reordering: bool  # whether the path has been seen to reorder
    total_retrans: int  # segments
    pacing_rate: float
    max_pacing_rate: float
    delivery_rate: float
    delivery_rate_app_limited: bool
    bytes_acked: int
    bytes_received: int
    bytes_sent: int
    bytes_retrans: int
    segs_out: int
    segs_in: int
    data_segs_out: int
    data_segs_in: int
    notsent_bytes: int
    dsack_dups: int
    congestion: str  # the algorithm's name
    ca_state: int  # 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss


def describe(connection, now):
    """The TcpInfo of a `connection.Connection`; before the peer's SYN what is the receiver's is 0."""
    sender, receiver, terms, output = connection.sender, connection.receiver, connection.terms, connection.output
    board, rtt, control = sender.board, sender.rtt, sender.congestion
    return TcpInfo(
        state=connection.state,
        retransmits=sender.timers.timeouts,
        probes=sender.persist.probes or connection.keepalive.probes,
        backoff=rtt.backoff_shift,
        timestamps=terms.timestamps,
        sack=terms.sack,
        ecn=terms.ecn,
        snd_wscale=terms.peer_window_scale,
        rcv_wscale=terms.window_scale,
        rto=rtt.rto,
        snd_mss=sender.mss,
        advmss=terms.advertised_mss(),
        pmtu=terms.path_mss + HEADERS[len(connection.remote[0])],
        unacked=board.size,
        sacked=board.sacked,
        lost=board.lost,
        retrans=board.again,
        last_data_sent=now - sender.last_sent_at,
        last_data_recv=now - connection.data_received_at,
        rtt=rtt.srtt,
        rttvar=rtt.rttvar,
        min_rtt=rtt.min_rtt if rtt.srtt else 0.0,
        snd_ssthresh=control.ssthresh,
        snd_cwnd=control.cwnd,
        snd_wnd=sender.snd_wnd,
        reordering=sender.repair.rack.reordering_seen,
        total_retrans=sender.total_retransmissions,
        pacing_rate=sender.pacer.rate,
        max_pacing_rate=connection.settings.max_pacing_rate,
        delivery_rate=sender.delivery.rate,
        delivery_rate_app_limited=sender.delivery.rate_app_limited,
        bytes_acked=sender.acks.acked_total,
        bytes_sent=sender.bytes_sent,
        bytes_retrans=sender.bytes_retransmitted,
        segs_out=output.segments,
        segs_in=connection.segments_in,
        data_segs_out=output.data_segments,
        data_segs_in=connection.data_segments_in,
        notsent_bytes=sender.unsent,
        dsack_dups=sender.acks.duplicates_total,
        congestion=control.name,
        ca_state=sender.repair.state,
        **_describe_receiver(receiver),
    )


def _describe_receiver(receiver):
    if receiver is None:
        return dict.fromkeys(("ato", "rcv_mss", "rcv_ssthresh", "rcv_rtt", "rcv_wnd", "rcv_space", "bytes_received"), 0)
    rtt = receiver.tune.rtt
    return {
        "ato": receiver.acks.ato,
        "rcv_mss": receiver.acks.rcv_mss,
        "rcv_ssthresh": receiver.buffer.capacity,
        "rcv_rtt": rtt if rtt != float("inf") else 0.0,
        "rcv_wnd": receiver.rcv_wnd,
        "rcv_space": receiver.tune.space,
        "bytes_received": receiver.bytes_received,
    }
