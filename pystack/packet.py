"""The two units that cross the layers: one received packet, one packet to send. One buffer, offsets, no copies."""

# How the link layer addressed a received frame (Linux's PACKET_HOST, PACKET_BROADCAST, PACKET_MULTICAST).
HOST = 0
BROADCAST = 1
MULTICAST = 2


class RxPacket:
    """A received packet on its way up.

    ``buf`` is the whole frame and immutable; ``at`` and ``end`` bound what the next layer has to read. `link` sets the
    first group of fields, `inet` the second. Whoever holds the packet pins ``len(buf)`` bytes, and what ``following``
    views.
    """

    __slots__ = (
        "at",
        "buf",
        "cast",
        "checksum_trusted",
        "destination",
        "end",
        "following",
        "gso_size",
        "interface",
        "ip_at",
        "options",
        "protocol",
        "source",
        "tos",
        "ttl",
    )

    def __init__(self, buf, at, end, interface=0, cast=HOST, checksum_trusted=False, gso_size=0):
        self.buf = buf
        self.at = at  # offset of the first byte not yet read
        self.end = end  # offset one past the last byte
        self.interface = interface  # index of the interface that it came in by
        self.cast = cast  # HOST, BROADCAST or MULTICAST: the link-layer destination
        self.checksum_trusted = checksum_trusted  # the device vouches for the transport checksum
        self.gso_size = gso_size  # bytes of transport payload per wire segment of a super-segment, else 0
        self.following = ()  # views of the text of TCP segments that came with it, follow it, and are else alike
        self.ip_at = at  # offset of the IP header: an ICMP error quotes from here
        self.source = b""  # 4 or 16 bytes, as all addresses within the stack
        self.destination = b""
        self.protocol = 0
        self.ttl = 0
        self.tos = 0
        self.options = b""  # the IPv4 options, verbatim

    def pseudo_sum(self, length):
        """The one's-complement sum of the pseudo-header of a transport's *length* bytes (RFC 9293 §3.1, RFC 8200 §8.1).

        Of the addresses as they came, without what `pystack.scope` puts into them.
        """
        at = self.ip_at
        addresses = self.buf[at + 12 : at + 20] if len(self.source) == 4 else self.buf[at + 8 : at + 40]
        return int.from_bytes(addresses, "big") + self.protocol + length


class TxPacket:
    """A packet on its way down.

    The transport fills the first group; what it leaves at ``None`` or 0 `inet` decides. `inet` sets ``interface``,
    ``next_hop``, and prepends the IP header to ``header``; `link` prepends its own, so that a frame leaves as one
    ``writev`` of ``[headers, *payload]``. The payload's buffers belong to the stack until the frame has left.
    """

    __slots__ = (
        "checksum_at",
        "destination",
        "dont_fragment",
        "gso_size",
        "header",
        "interface",
        "multicast_loop",
        "next_hop",
        "options",
        "payload",
        "protocol",
        "source",
        "tos",
        "ttl",
        "vnet",
    )

    def __init__(self, destination, protocol, header, payload=(), source=None, ttl=None, tos=0, options=b""):
        self.destination = destination  # 4 or 16 bytes
        self.protocol = protocol  # IANA number
        self.header = header  # bytes-like: the transport header (bytearray if checksum_at is given)
        self.payload = payload  # sequence of bytes-like objects
        self.source = source  # None: chosen by the route
        self.ttl = ttl  # None: the stack's default; a multicast of 0 stays on this host
        self.tos = tos
        self.options = options  # IPv4 options, padded to 4 bytes; of IPv6 a hop-by-hop header, its first byte to be set
        self.dont_fragment = False
        self.interface = 0  # 0: chosen by the route
        self.multicast_loop = True  # members on this host are to have a multicast too
        self.next_hop = b""  # the neighbour's IP address; the destination itself for broadcast and multicast
        self.checksum_at = None  # offset in header of a transport checksum for inet to complete; its field is 0 now
        self.gso_size = 0  # TCP: bytes of payload per wire segment, if the packet is a super-segment
        self.vnet = None  # the frame's virtio-net header, or None for one of zeros
