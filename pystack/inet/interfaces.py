"""What inet knows of one interface."""

from pystack.wire import ipv6

LIMITED_BROADCAST = b"\xff\xff\xff\xff"


class InterfaceState:
    """``membership`` and ``membership6`` are its `multicast.Membership`s of IGMP and MLD, or None on a loopback.

    With ``accepts_any`` each unicast packet that comes in by it is for this host, whatever its destination, and what
    answers it is sent from there (Linux: ``ip route add local default dev lo``).
    """

    __slots__ = (
        "accepts_any",
        "addresses",
        "addresses6",
        "broadcasts",
        "checksum_offload",
        "control_outbox",
        "device_mtu",
        "has_ipv6",
        "index",
        "loopback",
        "mac",
        "membership",
        "membership6",
        "mtu",
        "mtu6",
        "name",
    )

    def __init__(
        self,
        index,
        name,
        mtu,
        *,
        mac=bytes(6),
        loopback=False,
        checksum_offload=False,
        membership=None,
        membership6=None,
        accepts_any=False,
        disable_ipv6=False,
    ):
        self.index = index
        self.name = name
        self.device_mtu = mtu  # bytes of IP packet that the device carries
        self.mtu = mtu  # the same for IPv4, which a DHCP server may have lowered
        self.mtu6 = mtu  # the same for IPv6, which a router may have lowered
        self.mac = mac
        self.loopback = loopback
        self.checksum_offload = checksum_offload
        self.membership = membership
        self.membership6 = membership6
        self.accepts_any = accepts_any
        self.addresses = []  # of `addresses.Address`, IPv4
        self.addresses6 = []
        self.broadcasts = frozenset((LIMITED_BROADCAST,))
        self.control_outbox = f"{name}.control"
        self.has_ipv6 = mtu >= ipv6.MIN_MTU and not disable_ipv6  # as Linux: with less there is no IPv6
