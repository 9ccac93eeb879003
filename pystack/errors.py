"""Why a packet was dropped, and the exceptions that a user of the library can see.

A drop reason is the key of a layer's ``drops`` counter. What a peer sends is dropped and counted, it never raises.
"""

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
MEMBERSHIP_REFUSED = "membership_refused"  # too many groups, or a leave without a join
# inet, sending
NO_ROUTE = "no_route"
NO_SOURCE = "no_source"
TOO_BIG = "too_big"
# udp
BAD_LENGTH = "bad_length"
NO_PORT = "no_port"
# devices and queues
DEVICE_BUSY = "device_busy"
DEVICE_REFUSED = "device_refused"
QUEUE_FULL = "queue_full"
IMPAIRED = "impaired"


class StackError(Exception):
    """Base of what the library raises for its user's mistakes and the host's refusals."""


class DeviceError(StackError, OSError):
    """A device cannot be opened or has gone away; the message says what to do."""


class StackStopped(StackError):
    """The stack has been closed, or has failed: then ``__cause__`` is what stopped it."""
