"""Name resolution for programs whose sockets are ours: `_socket`'s five functions, as glibc answers them.

libc would ask its name servers through the kernel. Here names come from /etc/hosts and then from `questions`, by the
patched `socket`, and destinations are in the order of the stack's own routes.
"""

import _socket
import re
import sys
from _socket import AF_INET, AF_INET6, AF_UNSPEC, gaierror, herror

from monkey import arguments, destinations
from monkey.hostfiles import File, as_ipv4, is_link_local, literal, parse_hosts, parse_services, read_resolv_conf
from monkey.questions import HOST_NOT_FOUND, NO_DATA, NO_RECOVERY, TRY_AGAIN, Questions, Unanswered

_GAI_TEXT = {
    _socket.EAI_BADFLAGS: "Bad value for ai_flags",
    _socket.EAI_NONAME: "Name or service not known",
    _socket.EAI_AGAIN: "Temporary failure in name resolution",
    _socket.EAI_FAIL: "Non-recoverable failure in name resolution",
    _socket.EAI_NODATA: "No address associated with hostname",
    _socket.EAI_FAMILY: "ai_family not supported",
    _socket.EAI_SOCKTYPE: "ai_socktype not supported",
    _socket.EAI_SERVICE: "Servname not supported for ai_socktype",
    _socket.EAI_ADDRFAMILY: "Address family for hostname not supported",
}
_EAI = {  # of netdb.h's reasons, as glibc has it
    HOST_NOT_FOUND: _socket.EAI_NONAME,
    TRY_AGAIN: _socket.EAI_AGAIN,
    NO_RECOVERY: _socket.EAI_NONAME,
    NO_DATA: _socket.EAI_NODATA,
}
_HERROR_TEXT = {
    HOST_NOT_FOUND: "Unknown host",
    TRY_AGAIN: "Host name lookup failure",
    NO_RECOVERY: "Unknown server error",
    NO_DATA: "No address associated with name",
}

# glibc's table, in its order: type, protocol, name in /etc/services, whether it is listed when nothing was asked for.
_SOCKET_TYPES = (
    (_socket.SOCK_STREAM, 6, "tcp", True),
    (_socket.SOCK_DGRAM, 17, "udp", True),
    (6, 33, "dccp", False),
    (_socket.SOCK_DGRAM, 136, "udplite", False),
    (_socket.SOCK_STREAM, 132, "sctp", False),
    (_socket.SOCK_SEQPACKET, 132, "sctp", False),
    (_socket.SOCK_RAW, None, None, True),  # any protocol, and no service
)
_AI_FLAGS = 0x3FF | _socket.AI_NUMERICSERV  # with the four AI_IDN flags, which `_socket` does not name
_NI_NUMERICSCOPE = getattr(_socket, "NI_NUMERICSCOPE", 0)  # which glibc has not
_NI_FLAGS = 0xFF | _NI_NUMERICSCOPE  # with NI_IDN and its two
_HOSTNAME = re.compile(r"[!-9;-~]+")  # no colon: a bad IPv6 address is no question for DNS


def _gaierror(code):
    return gaierror(code, _GAI_TEXT[code])


def _herror(reason):
    return herror(reason, _HERROR_TEXT[reason])


class Resolver:
    """The five functions as methods, with the signatures and exceptions of `_socket`'s."""

    def __init__(
        self,
        nameservers,
        *,
        search=(),
        ndots=1,
        timeout=5.0,
        attempts=2,
        hosts_path="/etc/hosts",
        services_path="/etc/services",
        policy_path="/etc/gai.conf",
        families=lambda: (AF_INET, AF_INET6),
        configured=None,
        source_of=None,
        is_deprecated=None,
        index_of=lambda name: _socket.if_nametoindex(name),  # looked up when called: it may be patched
        name_of=lambda index: _socket.if_indextoname(index),
        hostname=_socket.gethostname,
    ):
        """
        Args:
            nameservers: each an address, ``"address:port"`` (``"[address]:port"`` for IPv6, which may have a zone) or
                ``(address, port)``; or a callable that gives them, for each question.
            search, ndots, attempts: as in resolv.conf(5); *search* may be a callable too.
            timeout: seconds to wait for the answers of one server.
            families: called for each lookup; the address families that sockets can have.
            configured: called for each lookup with AI_ADDRCONFIG; those of which an interface other than the loopback
                has an address. None: the same as *families*.
            source_of, is_deprecated: as in `destinations.order`; without *source_of* the order is left as found.
            index_of, name_of: an interface's index by its name, and its name by its index. Both raise OSError.
            hostname: called for NI_NOFQDN; the name of this host.
        """
        self._questions = Questions(nameservers, search, ndots, timeout, attempts, index_of)
        self._hosts = File(hosts_path, parse_hosts)
        self._services = File(services_path, parse_services)
        self._policy = File(policy_path, destinations.parse_policy)
        self._families = families
        self._configured = configured or families
        self._source_of = source_of
        self._is_deprecated = is_deprecated
        self._index_of = index_of
        self._name_of = name_of
        self._hostname = hostname

    def close(self):
        """For gevent's hub, whose resolver it can be: nothing is open."""

    def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        family, type, proto, flags = map(arguments.c_int, (family, type, proto, flags))
        name, service = arguments.host(host), arguments.service(port)
        sys.audit("socket.getaddrinfo", host, port, family, type, proto)
        name, service = (None if name == "*" else name), (None if service == "*" else service)
        if name is None and service is None:
            raise _gaierror(_socket.EAI_NONAME)
        if flags & ~_AI_FLAGS or (flags & _socket.AI_CANONNAME and name is None):
            raise _gaierror(_socket.EAI_BADFLAGS)
        if flags & _socket.AI_ADDRCONFIG:
            family = self._narrowed(family)
        number = arguments.number(service)
        if service and flags & _socket.AI_NUMERICSERV and not arguments.is_number(service):
            raise _gaierror(_socket.EAI_NONAME)
        if family not in (AF_UNSPEC, AF_INET, AF_INET6):
            raise _gaierror(_socket.EAI_FAMILY)
        endpoints = self._endpoints(service, number, type, proto)
        canonical, addresses = self._addresses(name, family, flags)
        if not (name is None and flags & _socket.AI_PASSIVE):
            addresses = self._sorted(addresses)
        if not flags & _socket.AI_CANONNAME:
            canonical = ""
        found = []
        for family, address, scope in addresses:
            for type, proto, port in endpoints:
                sockaddr = (address, port) if family == AF_INET else (address, port, 0, scope)
                found.append((family, type, proto, "" if found else canonical, sockaddr))
        return found

    def getnameinfo(self, sockaddr, flags, /):
        flags = arguments.c_int(flags)
        if not isinstance(sockaddr, tuple):
            del sockaddr  # which the traceback would hold
            raise TypeError("getnameinfo() argument 1 must be a tuple")
        host, port, scope = arguments.sockaddr(sockaddr)
        sys.audit("socket.getnameinfo", sockaddr)
        numeric = self.getaddrinfo(host, port, 0, _socket.SOCK_DGRAM, 0, _socket.AI_NUMERICHOST)
        family, _, _, _, (address, port, *_) = numeric[0]
        if family == AF_INET and len(sockaddr) != 2:
            raise OSError("IPv4 sockaddr must be 2 tuple")
        if flags & ~_NI_FLAGS:
            raise _gaierror(_socket.EAI_BADFLAGS)
        name = None
        if not flags & _socket.NI_NUMERICHOST:
            try:
                name = self._reverse(address)[0]
            except Unanswered as failure:
                if failure.reason == TRY_AGAIN:
                    raise _gaierror(_socket.EAI_AGAIN) from None
        if name is None:
            if flags & _socket.NI_NAMEREQD:
                raise _gaierror(_socket.EAI_NONAME)
            name = address + self._zone(address, scope, flags)
        elif flags & _socket.NI_NOFQDN:
            domain = self._hostname().partition(".")[2]
            if domain:
                name = name.removesuffix("." + domain)
        service = None
        if not flags & _socket.NI_NUMERICSERV:
            service = self._services.read()[1].get((port, "udp" if flags & _socket.NI_DGRAM else "tcp"))
        return name, service or str(port)

    def gethostbyname(self, name, /):
        name = arguments.name(name, "gethostbyname")
        sys.audit("socket.gethostbyname", name)
        return self._one_address(name, AF_INET)

    def gethostbyname_ex(self, name, /):
        name = arguments.name(name, "gethostbyname_ex")
        sys.audit("socket.gethostbyname", name)
        if name in ("", "<broadcast>"):  # Python's own words, which only gethostbyname() takes
            raise _herror(HOST_NOT_FOUND)
        canonical, addresses = self._addresses(name, AF_INET, 0)
        names = dict.fromkeys([n for entry, _ in self._in_hosts(name, (AF_INET,)) for n in entry[2:]] or [name])
        return canonical, [n for n in names if n != canonical], [address for _, address, _ in addresses]

    def gethostbyaddr(self, name, /):
        name = arguments.name(name, "gethostbyaddr")
        sys.audit("socket.gethostbyaddr", name)
        if name == "":
            raise OSError("wildcard resolved to multiple address")
        address = self._one_address(name, AF_UNSPEC)
        try:
            canonical, *aliases = self._reverse(address)
        except Unanswered as failure:
            raise _herror(failure.reason) from None
        return canonical, aliases, [address]

    def _one_address(self, name, family):
        """CPython's setipaddr()."""
        if name == "":
            return "0.0.0.0"
        if name == "<broadcast>":
            return "255.255.255.255"
        return self._sorted(self._addresses(name, family, 0)[1])[0][1]

    def _narrowed(self, family):
        """AI_ADDRCONFIG: *family*, or the only one that is configured.

        As in glibc (2.36): it is decided before anything is looked at, so it is true of literals and of /etc/hosts too,
        and "::1" has no address on a host with IPv4 alone; link-local addresses count, the loopback's never; and
        with no family configured at all, AF_UNSPEC stays.
        """
        have = self._configured()
        if family in (AF_INET, AF_INET6) and family not in have:
            raise _gaierror(_socket.EAI_NONAME)
        return have[0] if family == AF_UNSPEC and len(have) == 1 else family

    def _endpoints(self, service, number, type, proto):
        """``[(type, protocol, port)]``; *number* is None if *service* is a name, and 0 if there is none."""
        rows = [
            row
            for row in _SOCKET_TYPES
            if (not type or type == row[0]) and (not proto or row[1] is None or proto == row[1])
        ]
        if not rows:
            raise _gaierror(_socket.EAI_SOCKTYPE if type else _socket.EAI_SERVICE)
        asked = type or proto
        if asked:
            rows = rows[:1]  # glibc: the first that fits; SOCK_STREAM never means SCTP
        if service and asked and rows[0][2] is None:
            raise _gaierror(_socket.EAI_SERVICE)
        if number is not None:
            return [(t, proto if p is None else p, number & 0xFFFF) for t, p, _, default in rows if asked or default]
        ports = self._services.read()[0]
        found = [(t, p, ports[service, name]) for t, p, name, _ in rows if (service, name) in ports]
        if not found:
            raise _gaierror(_socket.EAI_SERVICE)
        return found

    def _addresses(self, name, family, flags):
        """``(canonical name, [(family, address, scope id)])``, as found; never empty."""
        if name is None:
            passive = flags & _socket.AI_PASSIVE
            both = [(AF_INET, "0.0.0.0" if passive else "127.0.0.1", 0), (AF_INET6, "::" if passive else "::1", 0)]
            wanted = self._wanted(family)
            chosen = [entry for entry in both if entry[0] in wanted]
            # On Linux "::" has the source ::1 and 0.0.0.0 has 127.0.0.1, so that rule 5 has glibc list 0.0.0.0 first.
            return "", chosen if passive else chosen[::-1]
        number = literal(name, self._index_of)
        if number is not None:
            entry = _as_family(number, family, flags)
            return name, [entry if entry[2] is not None else _none()]
        if flags & _socket.AI_NUMERICHOST or _HOSTNAME.fullmatch(name) is None:
            raise _gaierror(_socket.EAI_NONAME)
        mapped = family == AF_INET6 and flags & _socket.AI_V4MAPPED
        canonical, found = self._look_up(name, (AF_INET, AF_INET6) if mapped else self._wanted(family))
        if mapped:
            found.sort(key=lambda entry: entry[0] != AF_INET6)  # glibc: these are asked for first
            if not flags & _socket.AI_ALL and found[0][0] == AF_INET6:
                found = [entry for entry in found if entry[0] == AF_INET6]
            found = [_as_family(entry, AF_INET6, flags) for entry in found]
        return canonical, found

    def _wanted(self, family):
        return self._families() if family == AF_UNSPEC else (family,)

    def _sorted(self, addresses):
        if self._source_of is None or len(addresses) < 2:
            return addresses
        return destinations.order(addresses, self._source_of, self._policy.read(), self._is_deprecated)

    def _look_up(self, name, families):
        """What /etc/hosts has, or else DNS; "localhost" is no exception, as it is none for glibc's files and dns."""
        known = self._in_hosts(name, families)
        if known:  # each once; glibc lists 127.0.0.1 twice if the file has "::1" too and IPv4 alone is asked for
            return known[0][0][2], list(dict.fromkeys(found for _, found in known))
        try:
            return self._questions.addresses(name, families)
        except Unanswered as failure:
            raise _gaierror(_EAI[failure.reason]) from None

    def _in_hosts(self, name, families):
        """``[(entry, (family, address, scope id))]``, without those of zones that there are not."""
        found = []
        for entry in self._hosts.read()[0].get(name.lower(), ()):
            number = literal(entry[1], self._index_of)
            if number[0] not in families and AF_INET in families and AF_INET6 not in families:
                number = AF_INET, as_ipv4(number[1]), 0  # glibc: "::1" is 127.0.0.1 for those who ask for IPv4 alone
            if number[0] in families and number[1] is not None and number[2] is not None:
                found.append((entry, number))
        return found

    def _reverse(self, address):
        """The names of a numeric *address*. Raises Unanswered."""
        entry = self._hosts.read()[1].get(address)
        return entry[2:] if entry is not None else self._questions.names(address)

    def _zone(self, address, scope, flags):
        """RFC 4007 §11.2, the part from "%" on: by name only where the scope is a link."""
        if not scope or ":" not in address:
            return ""
        if is_link_local(address) and not flags & _NI_NUMERICSCOPE:
            try:
                return "%" + self._name_of(scope)
            except OSError:
                pass
        return f"%{scope}"


def from_system(nameservers=None, *, resolv_conf="/etc/resolv.conf", **settings):
    """A `Resolver` with the settings of resolv.conf(5), which is not read if *nameservers* are given.

    *settings* are `Resolver`'s keyword arguments, and win over the file.
    """
    if nameservers is not None:
        return Resolver(nameservers, **settings)
    return Resolver(**{**read_resolv_conf(resolv_conf), **settings})


def _none(code=_socket.EAI_NONAME):
    """For ``found or _none()``."""
    raise _gaierror(code)


def _as_family(entry, family, flags):
    """*entry* as an address of *family*, through the mapped form of RFC 4291 §2.5.5.2 where that is allowed."""
    have, address, _ = entry
    if family in (AF_UNSPEC, have):
        return entry
    if have == AF_INET and flags & _socket.AI_V4MAPPED:
        return AF_INET6, "::ffff:" + address, 0
    if have == AF_INET6 and address.startswith("::ffff:") and "." in address:
        return AF_INET, address.rpartition(":")[2], 0
    raise _gaierror(_socket.EAI_ADDRFAMILY)
