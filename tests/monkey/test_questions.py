"""Questions to name servers that are played by the test, in virtual time."""

import socket
from _socket import AF_INET, AF_INET6
from types import SimpleNamespace

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from monkey import questions

BOTH = (AF_INET, AF_INET6)
NOT_FOUND, AGAIN, NO_RECOVERY, NO_DATA = 1, 2, 3, 4
DATA = {"A": "192.0.2.1", "AAAA": "2001:db8::1"}


class Wire:
    """What the sockets do: ``play(protocol, server, query)`` gives the answers, a list of messages or bytes."""

    def __init__(self, play):
        self.play = play
        self.log = []
        self.now = 1000.0

    def socket(self, family, kind):
        return FakeSocket(self, family, kind)

    def monotonic(self):
        return self.now


class FakeSocket:
    def __init__(self, wire, family, kind):
        self.wire, self.family = wire, family
        self.protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
        self.inbox = []

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def settimeout(self, seconds):
        self.timeout = seconds

    def connect(self, address):
        assert self.family == (AF_INET6 if ":" in address[0] else AF_INET)
        self.server = address

    def send(self, data):
        query = dns.message.from_wire(data)
        self.wire.log.append((self.protocol, self.server[0], *query.question[0].to_text().split()[::2]))
        for each in self.wire.play(self.protocol, self.server, query):
            self.inbox.append(each if isinstance(each, bytes) else each.to_wire())

    def sendall(self, data):
        self.send(data[2:])
        self.inbox = [len(each).to_bytes(2, "big") + each for each in self.inbox]

    def recv(self, size):
        self.wire.log.append("recv")
        if not self.inbox:
            self.wire.now += self.timeout
            raise TimeoutError
        data = self.inbox.pop(0)
        if self.protocol == "tcp" and len(data) > size:
            self.inbox.insert(0, data[size:])
        return data[:size]


@pytest.fixture
def ask(monkeypatch):
    """``ask(play, name, families, servers=...)``: what `Questions.addresses` gives, or the reason of its refusal; and
    the log."""

    def asked(play, name="host.example.", families=BOTH, servers=("192.0.2.53",), search=(), **settings):
        wire = asked.wire = Wire(play)
        monkeypatch.setattr(socket, "socket", wire.socket)
        monkeypatch.setattr(questions, "time", SimpleNamespace(monotonic=wire.monotonic))
        settings = {"ndots": 1, "timeout": 5.0, "attempts": 2, "index_of": lambda name: 7, **settings}
        try:
            found = questions.Questions(servers, search, **settings).addresses(name, families)
        except questions.Unanswered as failure:
            found = failure.reason
        return found, wire.log

    return asked


def answer(query, what):
    """A list of the one response that *what* names; of none, if that is "silence"."""
    name, kind = query.question[0].name, query.question[0].to_text().split()[2]
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    if what == "silence":
        return []
    if what == "data":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, DATA[kind]))
    elif what == "alias":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "middle.example."))
        response.answer.append(dns.rrset.from_text("middle.example.", 60, "IN", "CNAME", "end.example."))
        response.answer.append(dns.rrset.from_text("end.example.", 60, "IN", kind, DATA[kind]))
    elif what == "alias to nothing":
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "end.example."))
    elif what == "cut":
        response.flags |= dns.flags.TC
    elif what == "lame":
        response.flags = dns.flags.QR
    elif what != "nothing":
        response.set_rcode(dns.rcode.from_text(what))
    return [response]


def plays(a, aaaa):
    """The same of every server."""
    return lambda protocol, server, query: answer(query, a if query.question[0].rdtype == 1 else aaaa)


def udp(kind, server="192.0.2.53", name="host.example."):
    return "udp", server, name, kind


def test_both_questions_are_sent_before_an_answer_is_awaited(ask):
    found, log = ask(plays("data", "data"))
    assert log == [udp("A"), udp("AAAA"), "recv", "recv"]
    assert found == ("host.example", [(AF_INET, "192.0.2.1", 0), (AF_INET6, "2001:db8::1", 0)])


def test_one_family_is_one_question(ask):
    assert ask(plays("data", "data"), families=(AF_INET6,))[1] == [udp("AAAA"), "recv"]


def test_answers_are_told_apart_by_their_id(ask):
    held = []

    def play(protocol, server, query):
        held.append(query)
        return [answer(each, "data")[0] for each in reversed(held)] if len(held) == 2 else []

    assert ask(play)[0][1] == [(AF_INET, "192.0.2.1", 0), (AF_INET6, "2001:db8::1", 0)]
    assert held[0].id != held[1].id


def test_what_answers_no_question_of_ours_is_ignored(ask):
    def play(protocol, server, query):
        other_id = answer(query, "NXDOMAIN")[0]
        other_id.id ^= 0x5555
        other_name = dns.message.make_response(dns.message.make_query("other.example.", "A"))
        other_name.id = query.id
        return [b"", b"nonsense", query.to_wire(), other_id, other_name, *answer(query, "data")]

    assert ask(play, families=(AF_INET,))[0] == ("host.example", [(AF_INET, "192.0.2.1", 0)])


@pytest.mark.parametrize(
    ("a", "aaaa", "reason"),
    [
        ("nothing", "nothing", NO_DATA),
        ("alias to nothing", "nothing", NO_DATA),
        ("NXDOMAIN", "NXDOMAIN", NOT_FOUND),
        ("NXDOMAIN", "nothing", NOT_FOUND),
        ("nothing", "NXDOMAIN", NOT_FOUND),
        ("NXDOMAIN", "SERVFAIL", NOT_FOUND),
        ("SERVFAIL", "SERVFAIL", AGAIN),
        ("nothing", "SERVFAIL", AGAIN),
        ("silence", "nothing", AGAIN),
        ("silence", "silence", AGAIN),
        ("REFUSED", "REFUSED", AGAIN),
        ("lame", "lame", AGAIN),
        ("FORMERR", "nothing", NO_RECOVERY),
    ],
)
def test_why_there_is_no_address(ask, a, aaaa, reason):
    assert ask(plays(a, aaaa))[0] == reason


@pytest.mark.parametrize("other", ["nothing", "NXDOMAIN", "SERVFAIL", "REFUSED", "FORMERR", "silence"])
def test_one_family_is_enough(ask, other):
    assert ask(plays("data", other))[0] == ("host.example", [(AF_INET, "192.0.2.1", 0)])
    assert ask(plays(other, "data"))[0] == ("host.example", [(AF_INET6, "2001:db8::1", 0)])


def test_only_what_is_open_is_asked_again(ask):
    """resolv.conf(5): each server in turn, *attempts* times."""
    _, log = ask(plays("data", "silence"), servers=("192.0.2.53", "192.0.2.54"), timeout=2.0)
    assert log == [
        *(udp("A"), udp("AAAA"), "recv", "recv"),
        *(udp("AAAA", "192.0.2.54"), "recv", udp("AAAA"), "recv", udp("AAAA", "192.0.2.54"), "recv"),
    ]
    assert ask.wire.now == 1008.0


def test_a_server_that_is_not_there_is_passed_over_at_once(ask):
    def play(protocol, server, query):
        if server[0] == "192.0.2.53":
            raise ConnectionRefusedError
        return answer(query, "data")

    assert ask(play, families=(AF_INET,), servers=("192.0.2.53", "192.0.2.54"))[0][1] == [(AF_INET, "192.0.2.1", 0)]
    assert ask.wire.now == 1000.0


def test_aliases_are_followed_to_the_canonical_name(ask):
    found = ask(plays("alias", "alias"))[0]
    assert found == ("end.example", [(AF_INET, "192.0.2.1", 0), (AF_INET6, "2001:db8::1", 0)])


def test_what_is_cut_is_asked_for_by_tcp(ask):
    """RFC 7766 §5; the other answer, that was whole, is not."""

    def play(protocol, server, query):
        is_cut = protocol == "udp" and query.question[0].rdtype == 1
        return answer(query, "cut" if is_cut else "data")

    found, log = ask(play)
    assert found[1] == [(AF_INET, "192.0.2.1", 0), (AF_INET6, "2001:db8::1", 0)]
    assert [entry for entry in log if entry != "recv"] == [
        *(udp("A"), udp("AAAA"), ("tcp", "192.0.2.53", "host.example.", "A"))
    ]


def test_a_name_is_searched_for(ask):
    """resolv.conf(5): first as it is, if it has dots enough."""

    def play(protocol, server, query):
        return answer(query, "data" if query.question[0].name.to_text() == "host.b.example." else "NXDOMAIN")

    def names(name, **settings):
        _, log = ask(play, name, (AF_INET,), search=("a.example", "b.example"), **settings)
        return [entry[2] for entry in log if entry != "recv"]

    assert names("host") == ["host.a.example.", "host.b.example."]
    assert names("other") == ["other.a.example.", "other.b.example.", "other."]
    assert names("other.") == ["other."]
    assert names("x.y") == ["x.y.", "x.y.a.example.", "x.y.b.example."]
    assert names("x.y", ndots=2) == ["x.y.a.example.", "x.y.b.example.", "x.y."]


def test_an_empty_answer_outlives_the_rest_of_the_search(ask):
    def play(protocol, server, query):
        return answer(query, "nothing" if query.question[0].name.to_text() == "host.a.example." else "NXDOMAIN")

    assert ask(play, "host", search=("a.example", "b.example"))[0] == NO_DATA


def test_silence_ends_the_search_and_a_failure_does_not(ask):
    for what, count in (("silence", 2), ("SERVFAIL", 3)):
        found, log = ask(plays(what, what), "host", (AF_INET,), search=("a.example", "b.example"), attempts=1)
        assert found == AGAIN
        assert len([entry for entry in log if entry != "recv"]) == count


def test_servers_and_domains_may_change(ask):
    servers, domains = ["192.0.2.53"], ["a.example"]
    assert ask(plays("data", "data"), "host", servers=lambda: servers, search=lambda: domains)[1][0] == udp(
        "A", name="host.a.example."
    )
    servers[:], domains[:] = ["2001:db8::53"], []
    assert ask(plays("data", "data"), "host", servers=lambda: servers, search=lambda: domains)[1][0] == udp(
        "A", "2001:db8::53", "host."
    )
    servers.clear()
    assert ask(plays("data", "data"), "host", servers=lambda: servers) == (AGAIN, [])


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5300", ("192.0.2.53", 5300)),
        ("2001:db8::53", ("2001:db8::53", 53, 0, 0)),
        ("[2001:db8::53]:5300", ("2001:db8::53", 5300, 0, 0)),
        ("fe80::53%net0", ("fe80::53", 53, 0, 7)),
        ("[fe80::53%9]:5300", ("fe80::53", 5300, 0, 9)),
        (("fe80::53%net0", 5300), ("fe80::53", 5300, 0, 7)),
    ],
)
def test_a_server_by_its_address(ask, server, address):
    """RFC 4007 §11.2 for the zone."""
    used = []

    def index_of(name):
        if name != "net0":
            raise OSError
        return 7

    def play(protocol, server, query):
        used.append(server)
        return answer(query, "data")

    ask(play, families=(AF_INET,), servers=[server, "fe80::1%nowhere", "nonsense"], index_of=index_of)
    assert used == [address]


def test_an_address_is_asked_for_backwards(ask):
    """RFC 3596 §2.5; a mapped one as the IPv4 address that it is."""

    def play(protocol, server, query):
        response = dns.message.make_response(query)
        response.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "PTR", "one.example."))
        return [response]

    ask(play)  # for the sockets
    for address, name in [
        ("2001:db8::6", "6." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa."),
        ("192.0.2.1", "1.2.0.192.in-addr.arpa."),
        ("::ffff:192.0.2.1", "1.2.0.192.in-addr.arpa."),
    ]:
        ask.wire.log.clear()
        assert questions.Questions(["192.0.2.53"], (), 1, 5.0, 2, None).names(address) == ["one.example"]
        assert ask.wire.log == [udp("PTR", name=name), "recv"]
