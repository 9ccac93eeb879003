"""Name resolution for programs whose sockets are ours: `_socket`'s five functions, as glibc answers them.

libc would ask its name servers through the kernel. Here names come from /etc/hosts and then from dnspython, which
uses the patched `socket` like any other program. Neither is imported before the first name that needs DNS.
"""

import _socket
import operator
import re
import sys
from _socket import AF_INET, AF_INET6, AF_UNSPEC, gaierror, herror

from monkey import destinations
from monkey.destinations import parse_policy
from monkey.hostfiles import File, is_link_local, literal, parse_hosts, parse_services, read_resolv_conf

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
_HOST_NOT_FOUND = (1, "Unknown host")
_TRY_AGAIN = (2, "Host name lookup failure")

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
_NI_FLAGS = 0xFF  # with NI_IDN and its two
_DECIMAL = re.compile(r"[ \t-\r]*([+-]?)(\d+)", re.ASCII)  # what strtoul reads
_HOSTNAME = re.compile(r"[!-9;-~]+")  # no colon: a bad IPv6 address is no question for DNS


def _gaierror(code):
    return gaierror(code, _GAI_TEXT[code])


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
        gai_path="/etc/gai.conf",
        families=lambda: (AF_INET, AF_INET6),
        configured=None,
        source_of=None,
        hostname=_socket.gethostname,
    ):
        """
        Args:
            nameservers: each an address, ``"address:port"`` (``"[address]:port"`` for IPv6) or ``(address, port)``; or
                a function that is called for each question, for ``(name servers, search domains)``.
            search, ndots, attempts: as in resolv.conf(5).
            timeout: seconds to wait for one answer from one server.
            families: called for each lookup; the address families that there are sockets of.
            configured: called for AI_ADDRCONFIG; the families of which some interface, the loopback aside, has an
                address. None: all.
            source_of: ``source_of(family, address, scope)`` in text, the address (text) that what goes there would be
                sent from, or None if there is no way; None: IPv6 comes first.
            hostname: called for NI_NOFQDN; the name of this host.
        """
        self._learn = nameservers if callable(nameservers) else lambda: (nameservers, search)
        self._ndots = ndots
        self._timeout = timeout
        self._attempts = attempts
        self._hosts = File(hosts_path, parse_hosts)
        self._services = File(services_path, parse_services)
        self._policy = File(gai_path, parse_policy)
        self._families = families
        self._configured_families = configured or families
        self._source_of = source_of
        self._hostname = hostname
        self._dns = None, None  # what it was made for, and dnspython's resolver

    def close(self):
        """For gevent's hub, whose resolver it can be: nothing is open."""

    def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        family, type, proto, flags = map(_c_int, (family, type, proto, flags))
        if host is None:
            name = None
        elif isinstance(host, (str, bytes)):
            name = _c_string(host.encode("idna") if isinstance(host, str) else host)
        else:
            raise TypeError("getaddrinfo() argument 1 must be string or None")
        service = _service_argument(port)
        sys.audit("socket.getaddrinfo", host, port, family, type, proto)
        name, service = (None if name == "*" else name), (None if service == "*" else service)
        if name is None and service is None:
            raise _gaierror(_socket.EAI_NONAME)
        if flags & ~_AI_FLAGS or (flags & _socket.AI_CANONNAME and name is None):
            raise _gaierror(_socket.EAI_BADFLAGS)
        if flags & _socket.AI_ADDRCONFIG:
            family = self._configured(family)
        number = _number(service)
        if service and flags & _socket.AI_NUMERICSERV and _DECIMAL.fullmatch(service) is None:
            raise _gaierror(_socket.EAI_NONAME)
        if family not in (AF_UNSPEC, AF_INET, AF_INET6):
            raise _gaierror(_socket.EAI_FAMILY)
        endpoints = self._endpoints(service, number, type, proto)
        canonical, addresses = self._addresses(name, family, flags)
        if not flags & _socket.AI_CANONNAME:
            canonical = ""
        found = []
        for family, address, scope in addresses:
            for type, proto, port in endpoints:
                sockaddr = (address, port) if family == AF_INET else (address, port, 0, scope)
                found.append((family, type, proto, "" if found else canonical, sockaddr))
        return found

    def getnameinfo(self, sockaddr, flags, /):
        flags = _c_int(flags)
        if not isinstance(sockaddr, tuple):
            del sockaddr  # which the traceback would hold
            raise TypeError("getnameinfo() argument 1 must be a tuple")
        host, port, scope = _sockaddr_argument(sockaddr)
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
            except herror as error:
                if error.args == _TRY_AGAIN:
                    raise _gaierror(_socket.EAI_AGAIN) from None
        if name is None:
            if flags & _socket.NI_NAMEREQD:
                raise _gaierror(_socket.EAI_NONAME)
            name = address + _scope_suffix(address, scope)
        elif flags & _socket.NI_NOFQDN:
            domain = self._hostname().partition(".")[2]
            if domain:
                name = name.removesuffix("." + domain)
        service = None
        if not flags & _socket.NI_NUMERICSERV:
            service = self._services.read()[1].get((port, "udp" if flags & _socket.NI_DGRAM else "tcp"))
        return name, service or str(port)

    def gethostbyname(self, name, /):
        name = _name_argument(name, "gethostbyname")
        sys.audit("socket.gethostbyname", name)
        return self._one_address(name, AF_INET)

    def gethostbyname_ex(self, name, /):
        name = _name_argument(name, "gethostbyname_ex")
        sys.audit("socket.gethostbyname", name)
        if name in ("", "<broadcast>"):  # Python's own words, which only gethostbyname() takes
            raise herror(*_HOST_NOT_FOUND)
        entries = self._hosts.read()[0].get(name.lower(), ())
        canonical, addresses = self._addresses(name, AF_INET, 0)
        names = dict.fromkeys([n for e in entries if e[0] == AF_INET for n in e[2:]] or [name])
        return canonical, [n for n in names if n != canonical], [address for _, address, _ in addresses]

    def gethostbyaddr(self, name, /):
        name = _name_argument(name, "gethostbyaddr")
        sys.audit("socket.gethostbyaddr", name)
        if name == "":
            raise OSError("wildcard resolved to multiple address")
        address = self._one_address(name, AF_UNSPEC)
        canonical, aliases = self._reverse(address)
        return canonical, list(aliases), [address]

    def _one_address(self, name, family):
        """CPython's setipaddr()."""
        if name == "":
            return "0.0.0.0"
        if name == "<broadcast>":
            return "255.255.255.255"
        return self._addresses(name, family, 0)[1][0][1]

    def _configured(self, family):
        """AI_ADDRCONFIG: *family*, or the only one that the stack has."""
        have = self._configured_families()
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
        """``(canonical name, [(family, address, scope id)])``, in the order to try them; never empty."""
        if name is None:
            passive = flags & _socket.AI_PASSIVE
            both = [(AF_INET, "0.0.0.0" if passive else "127.0.0.1", 0), (AF_INET6, "::" if passive else "::1", 0)]
            wanted = self._wanted(family)
            chosen = [entry for entry in both if entry[0] in wanted]
            # RFC 6724 puts ::1 first, but no route leads to "::": glibc lists 0.0.0.0 before it.
            return "", chosen if passive else chosen[::-1]
        number = literal(name)
        if number is not None:
            entry = _as_family(number, family, flags)
            return name, [entry if entry[2] is not None else _none()]
        if flags & _socket.AI_NUMERICHOST or _HOSTNAME.fullmatch(name) is None:
            raise _gaierror(_socket.EAI_NONAME)
        mapped = family == AF_INET6 and flags & _socket.AI_V4MAPPED
        canonical, found = self._lookup(name, (AF_INET, AF_INET6) if mapped else self._wanted(family))
        if mapped and not flags & _socket.AI_ALL:
            found = [entry for entry in found if entry[0] == AF_INET6] or found
        found = self._ordered(found)
        return canonical, [_as_family(entry, AF_INET6, flags) for entry in found] if mapped else found

    def _ordered(self, found):
        """RFC 6724 §6; glibc does not look at a single one."""
        if len(found) < 2:
            return found
        if self._source_of is None:
            return sorted(found, key=lambda entry: entry[0] != AF_INET6)

        def source_of(candidate):
            _, family, address, scope = candidate
            source = self._source_of(family, address, scope)
            return source and destinations.packed(AF_INET6 if ":" in source else AF_INET, source)

        candidates = [(destinations.packed(*entry[:2]), *entry) for entry in found]
        return [candidate[1:] for candidate in destinations.order(candidates, source_of, self._policy.read())]

    def _wanted(self, family):
        return self._families() if family == AF_UNSPEC else (family,)

    def _lookup(self, name, families):
        known = self._hosts.read()[0].get(name.lower(), ())
        entries = [entry for entry in known if entry[0] in families]
        if entries:
            addresses = dict.fromkeys(entry[1] for entry in entries)
            return entries[0][2], [literal(address) for address in addresses]
        bare = name.lower().removesuffix(".")
        if bare == "localhost" or bare.endswith(".localhost"):  # RFC 6761 §6.3: never a question for DNS
            local = [] if known else [(AF_INET, "127.0.0.1", 0), (AF_INET6, "::1", 0)]
            return name, [entry for entry in local if entry[0] in families] or _none()
        return self._ask(name, families)

    def _ask(self, name, families):
        """The A and AAAA records of *name*; raises what glibc makes of a missing one."""
        import dns.exception
        import dns.resolver

        failure, canonical, found = _socket.EAI_NODATA, name, []
        for family, record in ((AF_INET, "A"), (AF_INET6, "AAAA")):
            if family not in families:
                continue
            try:
                answer = self._resolver().resolve(name, record, search=True)
            except dns.resolver.NoAnswer:
                continue
            except dns.resolver.NoNameservers:  # each refused, failed or could not be reached
                failure = _socket.EAI_AGAIN
                continue
            except dns.exception.Timeout:
                failure = _socket.EAI_AGAIN
                break
            except dns.exception.DNSException:  # NXDOMAIN, or no name that DNS could carry
                failure = _socket.EAI_NONAME
                break
            canonical = answer.canonical_name.to_text(omit_final_dot=True)
            found.extend((family, record.address, 0) for record in answer)
        return (canonical, found) if found else _none(failure)

    def _reverse(self, address):
        """``(name, aliases)`` of a numeric *address*; raises herror."""
        entry = self._hosts.read()[1].get(address)
        if entry is not None:
            return entry[2], entry[3:]
        import dns.exception
        import dns.resolver
        import dns.reversename

        try:
            names = [
                record.target.to_text(omit_final_dot=True)
                for record in self._resolver().resolve(dns.reversename.from_address(address), "PTR", search=False)
            ]
        except (dns.resolver.NoNameservers, dns.exception.Timeout):
            raise herror(*_TRY_AGAIN) from None
        except dns.exception.DNSException:
            raise herror(*_HOST_NOT_FOUND) from None
        return names[0], names[1:]

    def _resolver(self):
        servers, search = self._learn()
        learned = tuple(servers), tuple(search)
        if self._dns[0] != learned:
            import dns.name
            import dns.nameserver
            import dns.resolver

            dns_resolver = dns.resolver.Resolver(configure=False)
            servers = [_nameserver(server) for server in servers]
            dns_resolver.nameservers = [dns.nameserver.Do53Nameserver(*server) for server in servers]
            dns_resolver.domain = dns.name.root  # else the host's own, even if *search* is empty
            dns_resolver.search = [dns.name.from_text(domain) for domain in search]
            dns_resolver.ndots = self._ndots
            dns_resolver.timeout = self._timeout
            dns_resolver.lifetime = self._timeout * self._attempts * max(1, len(servers))
            self._dns = learned, dns_resolver  # one store: threads need no lock
        return self._dns[1]


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


def _c_int(value):
    value = operator.index(value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError("Python int too large to convert to C long")
    if not -(2**31) <= value < 2**31:
        what = "greater than maximum" if value > 0 else "less than minimum"
        raise OverflowError(f"signed integer is {what}")
    return value


def _c_string(value):
    return value.partition(b"\0")[0].decode("latin-1")


def _name_argument(name, function):
    """The ``et`` argument with codec idna of the gethostby functions."""
    if not isinstance(name, (str, bytes, bytearray)):
        kind = "None" if name is None else type(name).__name__
        raise TypeError(f"{function}() argument 1 must be str, bytes or bytearray, not {kind}")
    raw = name.encode("idna") if isinstance(name, str) else bytes(name)
    if b"\0" in raw:
        kind = type(name).__name__
        raise TypeError(f"{function}() argument 1 must be encoded string without null bytes, not {kind}")
    return raw.decode("latin-1")


def _service_argument(port):
    if port is None:
        return None
    if type(port) is int:
        if sys.version_info < (3, 12) and not -(2**63) <= port < 2**63:
            raise OverflowError("Python int too large to convert to C long")
        return str(port)
    if isinstance(port, (str, bytes)):
        return _c_string(port.encode() if isinstance(port, str) else port)
    raise OSError("Int or String expected")


def _sockaddr_argument(sockaddr):
    """``(host, port, scope id)``: the format ``si|II``."""
    if not 2 <= len(sockaddr) <= 4 or not isinstance(sockaddr[0], str):
        raise TypeError("getnameinfo(): illegal sockaddr argument")
    host, port, flow, scope = (*sockaddr, 0, 0)[:4]
    if "\0" in host:
        raise ValueError("embedded null character")
    port, flow, scope = _c_int(port), operator.index(flow) & 0xFFFFFFFF, operator.index(scope) & 0xFFFFFFFF
    if flow > 0xFFFFF:
        raise OverflowError("getnameinfo(): flowinfo must be 0-1048575.")
    return host, port, scope


def _number(service):
    """*service* as strtoul and a cast to int read it; None if it is a name."""
    if not service:
        return 0
    match = _DECIMAL.fullmatch(service)
    if match is None:
        return None
    number = int(match[2])
    number = (2**64 - 1 if number >= 2**64 else -number if match[1] == "-" else number) & 0xFFFFFFFF
    return None if number >= 2**31 else number


def _scope_suffix(address, scope):
    if not scope or ":" not in address:
        return ""
    if is_link_local(address):
        try:
            return "%" + _socket.if_indextoname(scope)
        except OSError:
            pass
    return f"%{scope}"


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


def _nameserver(server):
    if not isinstance(server, str):
        return tuple(server)
    address, bracket, port = server.rpartition("]:") if server.startswith("[") else server.rpartition(":")
    if bracket and (":" not in address or server.startswith("[")):
        return address.removeprefix("["), int(port)
    return server.strip("[]"), 53
