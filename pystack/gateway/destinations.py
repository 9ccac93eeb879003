"""Where the kernel is to connect for an address of the program's network."""

import errno
import ipaddress

from pystack import messages
from pystack.scope import on_wire
from pystack.text import format_address

UNREACHABLE_BY_ERRNO = {  # what the kernel says of a destination -> what ICMP says of it to the program
    errno.ENETUNREACH: messages.NET_UNREACHABLE,
    errno.EADDRNOTAVAIL: messages.NET_UNREACHABLE,
    errno.EAFNOSUPPORT: messages.NET_UNREACHABLE,  # a kernel without IPv6
    errno.EINVAL: messages.NET_UNREACHABLE,
    errno.EHOSTUNREACH: messages.HOST_UNREACHABLE,
    errno.EHOSTDOWN: messages.HOST_UNREACHABLE,
    errno.EACCES: messages.PROHIBITED,
    errno.EPERM: messages.PROHIBITED,
}
RESOLV_CONF = "/etc/resolv.conf"
DNS_PORT = 53
LOCALHOST = "127.0.0.1"
LOCALHOSTS = {4: LOCALHOST, 16: "::1"}  # by length of address
PATIENCE = 2.0  # seconds that a name server may take before the next question goes to the next


def system_nameservers(path=RESOLV_CONF):
    """The host's name servers, as text; 127.0.0.1 if it names none, as resolv.conf(5) has it."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                words = line.split()
                if len(words) >= 2 and words[0] == "nameserver":
                    found.append(words[1])
    except OSError:
        pass
    return tuple(filter(_is_address, found)) or (LOCALHOST,)


class Destinations:
    """The host's addresses stand for the kernel's 127.0.0.1 and ::1, and their port 53 for the name servers.

    Args:
        hosts: the host's addresses in the program's network, of 4 or 16 bytes.
        nameservers: their addresses as text; the system's if there are none.
    """

    def __init__(self, hosts, nameservers=()):
        self._hosts = frozenset(hosts)
        self._nameservers = tuple(nameservers) or system_nameservers()
        self._at = 0  # the name server that is asked now
        self._asked_at = None  # when it was, if it has not answered since

    def of(self, address, port):
        """``(address as text, port)`` for the kernel."""
        if address not in self._hosts:
            # Without its scope the kernel refuses a link-local one: the links of the program's are not the kernel's.
            return format_address(on_wire(address)), port
        if port == DNS_PORT:
            return self._nameservers[self._at], port
        return LOCALHOSTS[len(address)], port

    def is_dns(self, address, port):
        """Whether a name server is meant, so that `asked`, `answered` and `failed` are to be told."""
        return port == DNS_PORT and address in self._hosts

    def asked(self, now):
        """A name server is about to be asked: the next one, if this one is silent."""
        if self._asked_at is None:
            self._asked_at = now
        elif now - self._asked_at > PATIENCE:
            self.failed()
            self._asked_at = now

    def answered(self):
        """The name server lives."""
        self._asked_at = None

    def failed(self):
        """It does not: ask the next one from now on."""
        self._at = (self._at + 1) % len(self._nameservers)
        self._asked_at = None


def _is_address(text):
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
