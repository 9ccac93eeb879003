"""Questions to name servers, as glibc's resolver asks them: by UDP, both families at once, and by TCP what is cut.

dnspython writes and reads the messages; the sockets are the patched `socket`'s, like any program's. Neither is imported
before the first question.
"""

import struct
import time
from _socket import AF_INET, AF_INET6

from monkey.hostfiles import literal

HOST_NOT_FOUND, TRY_AGAIN, NO_RECOVERY, NO_DATA = 1, 2, 3, 4  # netdb.h
_LENGTH = struct.Struct("!H")  # before each message, RFC 1035 §4.2.2
_TYPES = ((AF_INET, "A"), (AF_INET6, "AAAA"))  # in the order in which glibc sends them and lists what they bring


class Unanswered(Exception):
    """There is no such record, or nobody says: ``args[0]`` is one of netdb.h's four reasons."""

    def __init__(self, reason, is_servers_fault=False):
        super().__init__(reason)
        self.reason = reason
        self.is_servers_fault = is_servers_fault  # SERVFAIL, not silence


class Questions:
    """What can be asked of the name servers.

    Args:
        nameservers: as in `resolver.Resolver`, or called for each question.
        search: domains, or called for each question.
        ndots, attempts: as in resolv.conf(5).
        timeout: seconds to wait for the answers of one server.
        index_of: the index of an interface, for servers with a zone. Raises OSError.
    """

    def __init__(self, nameservers, search, ndots, timeout, attempts, index_of):
        self._nameservers = nameservers
        self._search = search
        self._ndots = ndots
        self._timeout = timeout
        self._attempts = attempts
        self._index_of = index_of

    def addresses(self, name, families):
        """``(canonical name, [(family, address, 0)])`` of *name*, or of what it becomes with the domains of the search
        list. Raises Unanswered."""
        types = [(family, kind) for family, kind in _TYPES if family in families]
        found, canonical = [], None
        for (family, _), rrset in zip(types, self._find(name, [kind for _, kind in types]), strict=True):
            if rrset is not None:
                canonical = canonical or rrset.name.to_text(omit_final_dot=True)
                found.extend((family, record.address, 0) for record in rrset)
        return canonical, found

    def names(self, address):
        """The names that *address* has, never none. Raises Unanswered."""
        import dns.reversename

        (rrset,) = self._ask(dns.reversename.from_address(address).to_text(), ["PTR"])
        return [record.target.to_text(omit_final_dot=True) for record in rrset]

    def _find(self, name, types):
        """As `_ask`, after res_search(3)."""
        if name.endswith("."):
            return self._ask(name, types)
        first, last, reasons = None, None, []
        dots = name.count(".")
        if dots >= self._ndots:
            try:
                return self._ask(name, types)
            except Unanswered as failure:
                first = failure
        domains = self._search() if callable(self._search) else self._search
        domains = [domain.strip(".") for domain in domains]
        for domain in domains:
            try:
                return self._ask(f"{name}.{domain}", types)
            except Unanswered as failure:
                last = failure
            reasons.append(last.reason)
            if last.reason not in (HOST_NOT_FOUND, NO_DATA) and not last.is_servers_fault:
                break
        if first is None and "" not in domains:
            try:
                return self._ask(name, types)
            except Unanswered as failure:
                last = failure
        if first is None:
            first = next((Unanswered(reason) for reason in (NO_DATA, TRY_AGAIN) if reason in reasons), last)
        raise first

    def _ask(self, name, types):
        """What one full name has: for each type its records, or None; not only None. Raises Unanswered."""
        import dns.exception
        import dns.message
        import dns.name
        import dns.rcode

        try:
            question = dns.name.from_text(name)
            queries = [dns.message.make_query(question, kind, use_edns=False) for kind in types]
        except (dns.exception.DNSException, UnicodeError):
            raise Unanswered(NO_RECOVERY) from None  # not what DNS can carry
        while len({query.id for query in queries}) < len(queries):
            queries[-1].id = queries[-1].id + 1 & 0xFFFF
        answers, server_failed = self._exchange(queries)
        found, reasons = [], set()
        for query in queries:
            answer = answers.get(query.id)
            rrset = None
            if answer is None:
                reasons.add(TRY_AGAIN)
            elif answer.rcode() == dns.rcode.NOERROR:
                rrset = _follow(answer)  # None too where an alias leads to nothing, for which glibc has several words
            else:
                reasons.add(HOST_NOT_FOUND if answer.rcode() == dns.rcode.NXDOMAIN else NO_RECOVERY)
            found.append(rrset)
        if any(rrset is not None for rrset in found):
            return found
        # RFC 8020: what does not exist has no record of any type. For an empty answer beside a missing one, glibc says
        # NO_DATA or TRY_AGAIN, by which came first; here a failure that may pass never looks like one that will not.
        reason = next((each for each in (HOST_NOT_FOUND, TRY_AGAIN, NO_RECOVERY) if each in reasons), NO_DATA)
        raise Unanswered(reason, server_failed and reason == TRY_AGAIN)

    def _exchange(self, queries):
        """``({id: answer}, whether a server failed)``: what is left open by one server is asked of the next."""
        servers = self._nameservers() if callable(self._nameservers) else self._nameservers
        servers = [_sockaddr(server, self._index_of) for server in servers]
        pending, answers, server_failed = {query.id: query for query in queries}, {}, False
        for server in servers * self._attempts:
            if server is None or not pending:
                continue
            try:
                for answer in self._answers(server, list(pending.values())):
                    if _is_useless(answer):
                        server_failed |= answer.rcode() == 2  # SERVFAIL
                    else:
                        answers[answer.id] = answer
                        del pending[answer.id]
            except OSError:
                continue  # nobody is there, or nobody answers
        return answers, server_failed

    def _answers(self, server, queries):
        """Send all *queries* to one server, then yield its answers as they come. Raises OSError when time is up."""
        import socket

        family, address = server
        deadline = time.monotonic() + self._timeout
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect(address)  # so that nobody else can answer
            for query in queries:
                sock.send(query.to_wire())
            waiting = {query.id: query for query in queries}
            while waiting:
                sock.settimeout(_remaining(deadline))
                answer, is_cut = _read(sock.recv(65535), waiting)
                if answer is None:
                    continue
                query = waiting.pop(answer.id)
                if is_cut:
                    answer = self._by_tcp(server, query)
                if answer is not None:
                    yield answer

    def _by_tcp(self, server, query):
        """The answer to one query, or None."""
        import socket

        family, address = server
        deadline = time.monotonic() + self._timeout
        wire = query.to_wire()
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(self._timeout)
                sock.connect(address)
                sock.sendall(_LENGTH.pack(len(wire)) + wire)
                (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size, deadline))
                return _read(_receive(sock, length, deadline), {query.id: query})[0]
        except OSError:
            return None


def _receive(sock, size, deadline):
    """Exactly *size* bytes. Raises OSError."""
    found = b""
    while len(found) < size:
        sock.settimeout(_remaining(deadline))
        more = sock.recv(size - len(found))
        if not more:
            raise ConnectionError("the name server has closed the connection")
        found += more
    return found


def _remaining(deadline):
    """Seconds until *deadline*. Raises TimeoutError."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _read(wire, waiting):
    """``(message, whether it was cut)``; ``(None, False)`` if it answers none of ``{id: query}`` *waiting*."""
    import dns.exception
    import dns.flags
    import dns.message

    try:
        message = dns.message.from_wire(wire, continue_on_error=True)
    except (dns.exception.DNSException, ValueError):
        return None, False
    query = waiting.get(message.id)
    if query is None or not query.is_response(message):
        return None, False
    is_cut = bool(message.flags & dns.flags.TC)
    return (None, False) if message.errors and not is_cut else (message, is_cut)


def _is_useless(answer):
    """Whether to ask another server: this one failed, refuses, or knows only others who might (glibc's rule)."""
    import dns.flags
    import dns.rcode

    if answer.rcode() != dns.rcode.NOERROR:
        return answer.rcode() in (dns.rcode.SERVFAIL, dns.rcode.NOTIMP, dns.rcode.REFUSED)
    return not (answer.answer or answer.additional or answer.flags & (dns.flags.AA | dns.flags.RA))


def _follow(answer):
    """The records asked for, where the aliases lead to; None if there are none."""
    import dns.exception

    try:
        return answer.resolve_chaining().answer
    except dns.exception.DNSException:
        return None


def _sockaddr(server, index_of):
    """``(family, address for connect)``, or None if it is not an address or its zone is unknown."""
    host, port = parse_server(server)
    number = literal(host, index_of)
    if number is None or number[2] is None:
        return None
    family, address, scope = number
    return family, (address, port) if family == AF_INET else (address, port, 0, scope)


def parse_server(server):
    """``(address, port)`` of "address", "address:port", "[address]:port" or such a pair."""
    if not isinstance(server, str):
        return tuple(server)
    address, bracket, port = server.rpartition("]:") if server.startswith("[") else server.rpartition(":")
    if bracket and (":" not in address or server.startswith("[")):
        return address.removeprefix("["), int(port)
    return server.strip("[]"), 53
