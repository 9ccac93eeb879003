"""Why a packet was dropped, and the exceptions that a user of the library can see.

A drop reason is the key of a layer's ``drops`` counter. What a peer sends is dropped and counted, it never raises. A
cause is why a transport refuses a request or ends a connection: `ERRNO` says what the program gets to see of it.
"""

import errno

# link
TRUNCATED_FRAME = "truncated_frame"
BAD_VNET_HEADER = "bad_vnet_header"
OTHER_HOST = "other_host"
UNKNOWN_ETHERTYPE = "unknown_ethertype"
BAD_ARP = "bad_arp"
NEIGHBOR_QUEUE_FULL = "neighbor_queue_full"
NEIGHBOR_TABLE_FULL = "neighbor_table_full"
NEIGHBOR_UNREACHABLE = "neighbor_unreachable"
# inet, receiving
TRUNCATED_HEADER = "truncated_header"
NOT_IP = "not_ip"  # neither version 4 nor enabled
BAD_VERSION = "bad_version"
BAD_HEADER_LENGTH = "bad_header_length"
BAD_TOTAL_LENGTH = "bad_total_length"
BAD_IP_CHECKSUM = "bad_ip_checksum"
BAD_CHECKSUM = "bad_checksum"  # of ICMP, or a transport
MARTIAN_SOURCE = "martian_source"
NOT_OURS = "not_ours"
NOT_A_MEMBER = "not_a_member"
BAD_OPTION = "bad_option"
SOURCE_ROUTED = "source_routed"
UNKNOWN_PROTOCOL = "unknown_protocol"
# reassembly
BAD_FRAGMENT = "bad_fragment"
FRAGMENT_OVERLAP = "fragment_overlap"
FRAGMENT_DUPLICATE = "fragment_duplicate"
FRAGMENT_DISCARDED = "fragment_discarded"  # of a datagram already condemned by an overlap
REASSEMBLY_TIMEOUT = "reassembly_timeout"
REASSEMBLY_EVICTED = "reassembly_evicted"
BAD_ECN = "bad_ecn"
# icmp and igmp
TRUNCATED_ICMP = "truncated_icmp"
UNKNOWN_ICMP = "unknown_icmp"
ECHO_IGNORED = "echo_ignored"  # to a broadcast or multicast address
ICMP_UNMATCHED = "icmp_unmatched"  # an error or reply about a flow that is not ours
ICMP_RATE_LIMITED = "icmp_rate_limited"
ICMP_FORBIDDEN = "icmp_forbidden"  # an error that RFC 1122 §3.2.2 says must not be sent
BAD_IGMP = "bad_igmp"
BAD_MLD = "bad_mld"
BAD_NDP = "bad_ndp"  # by the checks of RFC 4861 §6.1, §7.1 or §8.1, or in fragments (RFC 6980)
MEMBERSHIP_REFUSED = "membership_refused"  # too many groups, or a leave without a join
# inet, sending
NO_ROUTE = "no_route"
NO_SOURCE = "no_source"
TOO_BIG = "too_big"
# tcp
BAD_OFFSET = "bad_offset"  # a data offset below 5 words or beyond the segment
BAD_FLAGS = "bad_flags"  # a combination that no state has a use for
NO_CONNECTION = "no_connection"  # for a closed port; answered by RST
NOT_ACCEPTABLE = "not_acceptable"  # outside the window (RFC 9293 §3.10.7.4, first step)
PAWS = "paws"  # an old timestamp (RFC 7323 §5)
BAD_ACK = "bad_ack"
BAD_RST = "bad_rst"  # in the window but not exact: challenged (RFC 5961 §3)
BAD_SYN = "bad_syn"  # in a synchronized state: challenged (RFC 5961 §4)
BAD_COOKIE = "bad_cookie"
LISTEN_OVERFLOW = "listen_overflow"  # the accept queue is full
SYN_OVERFLOW = "syn_overflow"  # the SYN queue is full, and cookies are off
DECISION_PENDING = "decision_pending"  # a SYN again, while the gateway still connects
CHALLENGE_LIMITED = "challenge_limited"
WINDOW_OVERFLOW = "window_overflow"  # data beyond what the receive buffer can hold
OUT_OF_MEMORY = "out_of_memory"  # the stack-wide limit of a transport
AFTER_CLOSE = "after_close"  # data for a program that has closed its socket
UNACKABLE = "unackable"  # a segment without ACK where one must be (RFC 9293 §3.10.7.4, fifth step)
# udp
BAD_LENGTH = "bad_length"
NO_PORT = "no_port"
RECEIVE_QUEUE_FULL = "receive_queue_full"
# dhcp
BAD_DHCP = "bad_dhcp"  # no message, or an option in it is malformed
DHCP_UNEXPECTED = "dhcp_unexpected"  # of a type that is not waited for now
DHCP_OTHER_TRANSACTION = "dhcp_other_transaction"
DHCP_OTHER_CLIENT = "dhcp_other_client"
DHCP_OTHER_SERVER = "dhcp_other_server"  # not the one that was asked, or it does not say who it is
DHCP_FAILURE = "dhcp_failure"  # a status code says so
DHCP_NO_ADDRESS = "dhcp_no_address"  # nothing in it that may be used
DHCP_BAD_ADDRESS = "dhcp_bad_address"  # not that of one host
DHCP_BAD_TIMES = "dhcp_bad_times"  # T1 after T2, or preferred for longer than valid
DHCP_TABLE_FULL = "dhcp_table_full"
# devices and queues
DEVICE_BUSY = "device_busy"
DEVICE_REFUSED = "device_refused"
QUEUE_FULL = "queue_full"
IMPAIRED = "impaired"
# gateway
KERNEL_REFUSED = "kernel_refused"  # no socket to be had, or no room in it

# causes
REFUSED = "refused"
RESET = "reset"
TIMED_OUT = "timed_out"
ABORTED = "aborted"
NET_DOWN = "net_down"
NET_UNREACHABLE = "net_unreachable"
HOST_UNREACHABLE = "host_unreachable"
PROHIBITED = "prohibited"
ADDRESS_IN_USE = "address_in_use"
ADDRESS_NOT_OURS = "address_not_ours"
NO_FREE_PORT = "no_free_port"
NO_BUFFERS = "no_buffers"
MESSAGE_TOO_BIG = "message_too_big"
NO_DESTINATION = "no_destination"
NO_DEVICE = "no_device"
BROADCAST_FORBIDDEN = "broadcast_forbidden"
ALREADY_CONNECTED = "already_connected"
BAD_ADDRESS = "bad_address"
PROTOCOL_ERROR = "protocol_error"
NO_PROTOCOL = "no_protocol"
NOT_SUPPORTED = "not_supported"
BROKEN_PIPE = "broken_pipe"

ERRNO = {
    REFUSED: errno.ECONNREFUSED,
    RESET: errno.ECONNRESET,
    TIMED_OUT: errno.ETIMEDOUT,
    ABORTED: errno.ECONNABORTED,
    NET_DOWN: errno.ENETDOWN,
    NET_UNREACHABLE: errno.ENETUNREACH,
    HOST_UNREACHABLE: errno.EHOSTUNREACH,
    PROHIBITED: errno.EACCES,
    ADDRESS_IN_USE: errno.EADDRINUSE,
    ADDRESS_NOT_OURS: errno.EADDRNOTAVAIL,
    NO_FREE_PORT: errno.EADDRNOTAVAIL,
    NO_BUFFERS: errno.ENOBUFS,
    MESSAGE_TOO_BIG: errno.EMSGSIZE,
    NO_DESTINATION: errno.EDESTADDRREQ,
    NO_DEVICE: errno.ENODEV,
    BROADCAST_FORBIDDEN: errno.EACCES,
    ALREADY_CONNECTED: errno.EISCONN,
    BAD_ADDRESS: errno.EINVAL,
    PROTOCOL_ERROR: errno.EPROTO,
    NO_PROTOCOL: errno.ENOPROTOOPT,
    NOT_SUPPORTED: errno.EOPNOTSUPP,
    BROKEN_PIPE: errno.EPIPE,
}


class StackError(Exception):
    """Base of what the library raises for its user's mistakes and the host's refusals."""


class DeviceError(StackError, OSError):
    """A device cannot be opened or has gone away; the message says what to do."""


class StackStopped(StackError):
    """The stack has been closed, or has failed: then ``__cause__`` is what stopped it."""
