"""The host's networks, as the kernel of this machine tells them."""

import struct
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

from pystack.device.hostroutes import taken_networks


def kernels_routes():
    """The IPv4 networks of /proc/net/route, which shows the main table."""
    found = set()
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        _, destination, _, _, _, _, _, mask, *_ = line.split()
        network, netmask = (ip_address(struct.pack("=I", int(word, 16))) for word in (destination, mask))
        found.add(ip_network(f"{network}/{netmask}"))
    return found


def test_all_routes_and_the_loopbacks_address_are_taken():
    taken = taken_networks()
    assert kernels_routes() <= taken
    assert IPv4Network("127.0.0.0/8") in taken
