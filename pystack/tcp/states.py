"""The states of a connection and the only table that names a next one (RFC 9293 §3.3.2, figure 5)."""

# Linux's numbers, which TCP_INFO shows.
ESTABLISHED = 1
SYN_SENT = 2
SYN_RECEIVED = 3
FIN_WAIT_1 = 4
FIN_WAIT_2 = 5
TIME_WAIT = 6
CLOSED = 7
CLOSE_WAIT = 8
LAST_ACK = 9
LISTEN = 10
CLOSING = 11

NAMES = {
    ESTABLISHED: "ESTABLISHED",
    SYN_SENT: "SYN-SENT",
    SYN_RECEIVED: "SYN-RECEIVED",
    FIN_WAIT_1: "FIN-WAIT-1",
    FIN_WAIT_2: "FIN-WAIT-2",
    TIME_WAIT: "TIME-WAIT",
    CLOSED: "CLOSED",
    CLOSE_WAIT: "CLOSE-WAIT",
    LAST_ACK: "LAST-ACK",
    LISTEN: "LISTEN",
    CLOSING: "CLOSING",
}

# What moves a connection. RST, ABORT and TIMEOUT end it from any state, so the table does not list them.
ACTIVE_OPEN = "active open"
PASSIVE_OPEN = "passive open"
CLOSE = "close"
GOT_SYN = "SYN"
GOT_SYN_ACK = "SYN, ACK of SYN"
GOT_ACK_OF_SYN = "ACK of SYN"
GOT_COOKIE = "ACK of a SYN cookie"
GOT_FIN = "FIN"
GOT_ACK_OF_FIN = "ACK of FIN"
TWO_MSL_PASSED = "2 MSL passed"

TRANSITIONS = {
    (CLOSED, ACTIVE_OPEN): SYN_SENT,
    (CLOSED, PASSIVE_OPEN): LISTEN,
    (LISTEN, GOT_SYN): SYN_RECEIVED,
    (LISTEN, GOT_COOKIE): ESTABLISHED,
    (LISTEN, CLOSE): CLOSED,
    (SYN_SENT, GOT_SYN): SYN_RECEIVED,  # both sides open at once
    (SYN_SENT, GOT_SYN_ACK): ESTABLISHED,
    (SYN_SENT, CLOSE): CLOSED,
    (SYN_RECEIVED, GOT_ACK_OF_SYN): ESTABLISHED,
    (SYN_RECEIVED, CLOSE): FIN_WAIT_1,
    (ESTABLISHED, CLOSE): FIN_WAIT_1,
    (ESTABLISHED, GOT_FIN): CLOSE_WAIT,
    (FIN_WAIT_1, GOT_FIN): CLOSING,
    (FIN_WAIT_1, GOT_ACK_OF_FIN): FIN_WAIT_2,
    (FIN_WAIT_2, GOT_FIN): TIME_WAIT,
    (CLOSE_WAIT, CLOSE): LAST_ACK,
    (CLOSING, GOT_ACK_OF_FIN): TIME_WAIT,
    (LAST_ACK, GOT_ACK_OF_FIN): CLOSED,
    (TIME_WAIT, TWO_MSL_PASSED): CLOSED,
}

# States by what they allow.
SYNCHRONIZED = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT))
RECEIVING = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2))  # text is taken (RFC 9293 §3.10.7.4, seventh step)
SENDING = frozenset((ESTABLISHED, CLOSE_WAIT))  # the program may write
OVER = frozenset((CLOSED, TIME_WAIT))  # what comes is not for the connection any more
RESETTABLE = frozenset(
    (SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT)
)  # RFC 9293 §3.10.5: abort sends RST
