"""Which networks the host knows already, so that a new one does not hide them."""

from ipaddress import ip_interface, ip_network

from pystack.device.rtnetlink import Rtnetlink


def has_ipv6():
    """Whether interfaces of the calling thread's network namespace get IPv6."""
    try:
        with open("/proc/sys/net/ipv6/conf/default/disable_ipv6") as file:
            return file.read().strip() == "0"
    except OSError:
        return False  # the kernel has none


def taken_networks():
    """The set of `ipaddress` networks of the main table's routes and of all addresses, in the calling thread's network
    namespace. A default route is in it as 0.0.0.0/0 or ::/0. Raises OSError.
    """
    netlink = Rtnetlink()
    try:
        found = {ip_network(f"{address}/{length}") for address, length in netlink.routes()}
        found |= {ip_interface(f"{address}/{length}").network for _, address, length in netlink.addresses()}
    finally:
        netlink.close()
    return found
