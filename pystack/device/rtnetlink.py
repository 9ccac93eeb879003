"""Settings of the host's interfaces over rtnetlink: pyroute2's messages on a plain blocking socket.

Not pyroute2's `IPRoute`: since 0.9 that runs an asyncio loop, which a program may have running already in this thread,
and whose selector a gevent program has patched. The kernel answers before ``send`` returns, so nothing here waits.
A socket belongs to the network namespace in which it was made, wherever its thread is later.
"""

import errno
import os
import struct
from _socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket  # what nobody patches in place

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ERROR = struct.Struct("=i")
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST = 0x1
_ACK = 0x4
_DUMP = 0x300
_CREATE_EXCLUSIVE = 0x600
_RTM_NEWLINK = 16
_RTM_GETLINK = 18
_RTM_NEWADDR = 20
_RTM_DELADDR = 21
_RTM_GETADDR = 22
_RTM_GETROUTE = 26
_RT_TABLE_MAIN = 254
_ANY = {AF_INET: "0.0.0.0", AF_INET6: "::"}
_IFF_UP = 1
_IFF_LOOPBACK = 8
_TUN_TYPE_TAP = 2  # IFLA_TUN_TYPE
_IFA_F_NODAD = 2


class Rtnetlink:
    """A connection to the kernel of the namespace that the calling thread is in now. Errors are OSError."""

    def __init__(self):
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)
        self._socket.setblocking(True)  # whatever socket.setdefaulttimeout says
        self._sequence = 0

    def close(self):
        self._socket.close()

    def link(self, name):
        """``(index, mac, mtu, queue length, is up)`` of the interface."""
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        message = ifinfmsg()
        message["attrs"] = [("IFLA_IFNAME", name)]
        found = self._ask(message, _RTM_GETLINK, _ACK)
        if not found:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        link = found[0]
        mac = bytes.fromhex((link.get_attr("IFLA_ADDRESS") or "").replace(":", ""))
        up = bool(link["flags"] & _IFF_UP)
        return link["index"], mac, link.get_attr("IFLA_MTU"), link.get_attr("IFLA_TXQLEN"), up

    def links(self):
        """``[(index, name, kind)]`` of every interface; the kind is "loopback", "tap" or what the kernel calls it
        ("veth", "tun"; None for a network card).
        """
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        found = []
        for link in self._ask(ifinfmsg(), _RTM_GETLINK, _DUMP):
            info = link.get_attr("IFLA_LINKINFO")
            kind = info and info.get_attr("IFLA_INFO_KIND")
            if link["flags"] & _IFF_LOOPBACK:
                kind = "loopback"
            elif kind == "tun":
                tun = info.get_attr("IFLA_INFO_DATA")
                if tun and tun.get_attr("IFLA_TUN_TYPE") == _TUN_TYPE_TAP:
                    kind = "tap"
            found.append((link["index"], link.get_attr("IFLA_IFNAME"), kind))
        return found

    def set_link(self, index, *, mtu=None, queue_length=None, up=None):
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

        message = ifinfmsg()
        message["index"] = index
        if up is not None:
            message["flags"] = _IFF_UP if up else 0
            message["change"] = _IFF_UP
        attributes = [("IFLA_MTU", mtu), ("IFLA_TXQLEN", queue_length)]
        message["attrs"] = [item for item in attributes if item[1] is not None]
        self._ask(message, _RTM_NEWLINK, _ACK)

    def addresses(self):
        """``[(index, address, prefix length)]`` of every interface; addresses as strings."""
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

        found = []
        for message in self._ask(ifaddrmsg(), _RTM_GETADDR, _DUMP):
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if address:
                found.append((message["index"], address, message["prefixlen"]))
        return found

    def routes(self):
        """``[(destination, prefix length)]`` of the main table, IPv4 and IPv6; a default route is of length 0."""
        from pyroute2.netlink.rtnl.rtmsg import rtmsg

        found = []
        for family, any_address in _ANY.items():  # asked for those of all, Linux 6.18 tells IPv4's alone
            request = rtmsg()
            request["family"] = family
            for message in self._ask(request, _RTM_GETROUTE, _DUMP):
                if message["family"] == family and message.get_attr("RTA_TABLE") == _RT_TABLE_MAIN:
                    found.append((message.get_attr("RTA_DST") or any_address, message["dst_len"]))
        return found

    def add_address(self, index, interface):
        """Add an `ipaddress` IPv4Interface or IPv6Interface; FileExistsError if the link has it already."""
        self._address(_RTM_NEWADDR, _ACK | _CREATE_EXCLUSIVE, index, interface)

    def remove_address(self, index, interface):
        self._address(_RTM_DELADDR, _ACK, index, interface)

    def _address(self, kind, flags, index, interface):
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

        message = ifaddrmsg()
        message["index"] = index
        message["prefixlen"] = interface.network.prefixlen
        address = str(interface.ip)
        attributes = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
        if interface.version == 4:
            message["family"] = AF_INET
            if interface.network.prefixlen < 31:
                attributes.append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
        else:
            message["family"] = AF_INET6
            # The only other host on this link is the stack behind it, and it defends its own addresses; duplicate
            # address detection would leave the host deaf for a second.
            message["flags"] = _IFA_F_NODAD
        message["attrs"] = attributes
        self._ask(message, kind, flags)

    def _ask(self, message, kind, flags):
        """Send one request; the decoded messages of its answer. Raises OSError with the kernel's errno."""
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags | _REQUEST
        message["header"]["sequence_number"] = self._sequence
        message["header"]["pid"] = 0
        message.encode()
        self._socket.sendto(message.data, (0, 0))
        answer = []
        while True:
            data = self._socket.recv(1 << 17)
            at = 0
            while at + _HEADER.size <= len(data):
                length, found, _, sequence, _ = _HEADER.unpack_from(data, at)
                body = data[at : at + length]
                at += (max(length, _HEADER.size) + 3) & ~3
                if sequence != self._sequence:
                    continue  # the rest of an answer that was given up
                if found == _NLMSG_DONE:
                    return answer
                if found == _NLMSG_ERROR:
                    code = -_ERROR.unpack_from(body, _HEADER.size)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return answer
                decoded = type(message)(body)
                decoded.decode()
                answer.append(decoded)
