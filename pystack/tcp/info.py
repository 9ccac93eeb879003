"""What TCP_INFO tells of a connection."""

from dataclasses import dataclass


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
    """The TcpInfo of a `connection.Connection`."""
    raise NotImplementedError
