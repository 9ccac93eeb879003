"""The resolver's DNS half against dnsmasq, on the loopback of a namespace."""

import _socket
import os
import shutil
import socket
import subprocess
from _socket import AF_INET, AF_INET6, SOCK_STREAM

import pytest

from integration.support import install, namespaces
from monkey import resolver

DNSMASQ = shutil.which("dnsmasq", path=install.PATH)
pytestmark = pytest.mark.skipif(DNSMASQ is None, reason="dnsmasq is missing: apt-get install dnsmasq-base")
PORT = 5300
MANY = [f"192.0.2.{last}" for last in range(1, 101)]  # 1600 bytes of answer: more than UDP carries without EDNS
RECORDS = [
    "--local=/example/",
    "--local=/in-addr.arpa/",
    "--local=/ip6.arpa/",
    "--host-record=both.example,198.51.100.1,2001:db8::1",
    "--host-record=four.example,198.51.100.4",
    "--host-record=six.example,2001:db8::6",
    "--host-record=bücher.example,198.51.100.8",
    "--cname=alias.example,both.example",
    "--txt-record=text.example,no address here",
]
FLAGS = [
    "--no-daemon",
    "--no-resolv",
    "--no-hosts",
    "--conf-file=/dev/null",
    "--pid-file=",
    "--user=root",
    "--bind-interfaces",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """dnsmasq on 127.0.0.1; it and the tests of this module are in a namespace of their own, where no port is taken."""
    hosts = tmp_path_factory.mktemp("dns") / "hosts"
    hosts.write_text("".join(f"{address} many.example\n" for address in MANY))
    listen = ["--listen-address=127.0.0.1", "--listen-address=::1", f"--port={PORT}", f"--addn-hosts={hosts}"]
    with (
        namespaces.Namespace() as own,
        own.entered(),
        subprocess.Popen([DNSMASQ, *FLAGS, *listen, *RECORDS], stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            lines = []
            for line in process.stderr:  # the files are read last, and by then it listens
                lines.append(line)
                if str(hosts) in line:
                    break
            else:
                pytest.fail(f"dnsmasq did not start: {''.join(lines)}")
            yield
        finally:
            process.kill()


@pytest.fixture
def make(server):
    def made(families=(AF_INET, AF_INET6), nameserver=None, **settings):
        nameservers = [nameserver or f"127.0.0.1:{PORT}"]
        settings = {"hosts_path": os.devnull, "families": lambda: families, **settings}
        return resolver.Resolver(nameservers, **settings)

    return made


def addresses(found):
    return [entry[4][0] for entry in found]


def stream(names, host, **keywords):
    return addresses(names.getaddrinfo(host, 80, type=SOCK_STREAM, **keywords))


def refusal(function, *arguments, **keywords):
    with pytest.raises(OSError) as raised:
        function(*arguments, **keywords)
    return raised.type, *raised.value.args


def kernels_source(address, scope):
    """Where the kernel would send from."""
    family = AF_INET6 if ":" in address else AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9) if family == AF_INET else (address, 9, 0, scope))
        except OSError:
            return None
        return sock.getsockname()[0]


def test_ipv6_comes_first_if_the_stack_has_it(make):
    assert stream(make(source_of=kernels_source), "both.example") == ["2001:db8::1", "198.51.100.1"]
    assert stream(make(source_of=kernels_source), "alias.example") == ["2001:db8::1", "198.51.100.1"]
    assert stream(make((AF_INET,)), "both.example") == ["198.51.100.1"]
    assert stream(make(), "both.example", family=AF_INET) == ["198.51.100.1"]
    assert stream(make(), "four.example") == ["198.51.100.4"]
    assert stream(make(), "six.example") == ["2001:db8::6"]


def test_an_international_name_is_asked_for_in_its_ascii_form(make):
    assert stream(make(), "bücher.example") == ["198.51.100.8"]


def test_an_alias_is_followed_to_its_canonical_name(make):
    names = make()
    found = names.getaddrinfo("alias.example", 80, AF_INET, SOCK_STREAM, 0, _socket.AI_CANONNAME)
    assert found == [(AF_INET, SOCK_STREAM, 6, "both.example", ("198.51.100.1", 80))]
    assert names.gethostbyname("alias.example") == "198.51.100.1"
    assert names.gethostbyname_ex("alias.example")[0] == "both.example"


def test_mapped_addresses_stand_in_for_missing_ones(make):
    names = make()
    mapped, every = _socket.AI_V4MAPPED, _socket.AI_V4MAPPED | _socket.AI_ALL
    assert stream(names, "four.example", family=AF_INET6, flags=mapped) == ["::ffff:198.51.100.4"]
    assert stream(names, "both.example", family=AF_INET6, flags=mapped) == ["2001:db8::1"]
    assert stream(names, "both.example", family=AF_INET6, flags=every) == ["2001:db8::1", "::ffff:198.51.100.1"]


def test_a_name_is_searched_for_in_the_domains_given(make):
    assert stream(make(search=["absent.example", "example"]), "four") == ["198.51.100.4"]
    assert refusal(make(search=["example"]).getaddrinfo, "four.", 80)[1] == _socket.EAI_AGAIN  # REFUSED: not ours


def test_a_name_server_by_ipv6(make):
    names = make(nameserver=f"[::1]:{PORT}")
    assert sorted(stream(names, "both.example")) == ["198.51.100.1", "2001:db8::1"]
    assert sorted(stream(names, "many.example", family=AF_INET)) == sorted(MANY)


def test_a_truncated_answer_is_asked_for_again_over_tcp(make):
    assert sorted(stream(make((AF_INET,)), "many.example")) == sorted(MANY)


def test_what_is_missing_is_named_as_glibc_names_it(make):
    names = make()
    missing = (_socket.gaierror, _socket.EAI_NONAME, "Name or service not known")
    empty = (_socket.gaierror, _socket.EAI_NODATA, "No address associated with hostname")
    assert refusal(names.getaddrinfo, "absent.example", 80) == missing
    assert refusal(names.gethostbyname, "absent.example") == missing
    assert refusal(names.getaddrinfo, "text.example", 80) == empty
    assert refusal(names.getaddrinfo, "four.example", 80, AF_INET6) == empty
    assert refusal(names.getaddrinfo, b"a..example", 80) == missing


def test_a_server_that_refuses_or_is_silent_is_a_temporary_failure(make):
    temporary = (_socket.gaierror, _socket.EAI_AGAIN, "Temporary failure in name resolution")
    assert refusal(make().getaddrinfo, "elsewhere.test", 80) == temporary  # dnsmasq has nobody to ask: REFUSED
    with socket.socket(AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        names = make(nameserver=silent.getsockname(), timeout=0.05, attempts=1)
        assert refusal(names.getaddrinfo, "four.example", 80) == temporary
        assert refusal(names.gethostbyaddr, "198.51.100.4") == (_socket.herror, 2, "Host name lookup failure")


def test_addresses_have_names(make):
    names = make()
    assert names.gethostbyaddr("198.51.100.4") == ("four.example", [], ["198.51.100.4"])
    assert names.gethostbyaddr("six.example") == ("six.example", [], ["2001:db8::6"])
    assert names.getnameinfo(("2001:db8::6", 80), 0) == ("six.example", "http")
    assert names.getnameinfo(("198.51.100.4", 80), _socket.NI_NUMERICHOST) == ("198.51.100.4", "http")


def test_an_address_without_a_name_stays_one(make):
    names = make()
    assert refusal(names.gethostbyaddr, "198.51.100.99") == (_socket.herror, 1, "Unknown host")
    assert names.getnameinfo(("198.51.100.99", 9999), 0) == ("198.51.100.99", "9999")
    assert refusal(names.getnameinfo, ("198.51.100.99", 80), _socket.NI_NAMEREQD)[1] == _socket.EAI_NONAME


def test_hosts_come_before_dns(make, tmp_path):
    (tmp_path / "hosts").write_text("203.0.113.1 both.example\n")
    names = make(hosts_path=tmp_path / "hosts")
    assert stream(names, "both.example") == ["203.0.113.1"]
    assert stream(names, "both.example", family=AF_INET6) == ["2001:db8::1"]  # libc too asks for what it lacks
