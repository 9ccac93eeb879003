"""The resolver without DNS: the libc of this machine says what is right, wherever its answer is the same everywhere."""

import _socket
import os
import subprocess
import sys
from _socket import AF_INET, AF_INET6, SOCK_DGRAM, SOCK_STREAM

import pytest

from monkey import hostfiles, resolver

BOTH = (AF_INET, AF_INET6)
HOSTS = """\
127.0.0.1  localhost
192.0.2.1  Alpha.example alpha a1   # the first name is the canonical one
192.0.2.2  alpha.example
2001:db8::1 alpha.example
fe80::7%9  linked
192.0.2.9  # no name
nonsense   ignored
"""
SERVICES = "both 700/tcp alias\nboth 700/udp\nstream 701/tcp\nassociation 702/sctp\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "hosts").write_text(HOSTS)
    (tmp_path / "services").write_text(SERVICES)
    return {"hosts_path": tmp_path / "hosts", "services_path": tmp_path / "services"}


def make(families=BOTH, **settings):
    return resolver.Resolver([], families=lambda: families, **settings)


def anywhere(address, scope):
    """There is a route to everything."""
    return "2001:db8::99/64" if ":" in address else "192.0.2.99/24"


def outcome(function, *arguments, **keywords):
    """What it returned, or the exception's class and arguments."""
    try:
        return function(*arguments, **keywords)
    except Exception as error:
        return type(error), error.args


def fails(code, function, *arguments, **keywords):
    with pytest.raises(_socket.gaierror) as raised:
        function(*arguments, **keywords)
    return raised.value.errno == code


ENDPOINTS = [  # host and port do not matter here: type, protocol
    *[(type, proto) for type in (0, 1, 2, 3, 4, 5, 6) for proto in (0, 1, 6, 17, 33, 132, 136)],
]
PORTS = [
    *(
        None,
        0,
        80,
        70000,
        -1,
        2**31,
        2**32 + 5,
        2**70,
        1.5,
        True,
        [],
        "80",
        b"80",
        "",
        b"",
        "+80",
        " 80",
        "80 ",
        "0x50",
    ),
    *("-1", "70000", "99999999999", "http", b"http", "HTTP", "domain", "tftp", "no-such-service", "*", "\udc80"),
]
HOSTS_TO_COMPARE = [
    *("127.0.0.1", b"127.0.0.1", "127.1", "0x7f000001", "017700000001", "1", "1.2.3.4", "::1", "::", "2001:DB8:0::1"),
    *("::ffff:1.2.3.4", "::1.2.3.4", "fe80::1%lo", "fe80::1%9", "fe80::1%no-such", "::1%lo", "::1%1", "ff02::1%lo"),
    *("fe80::1%", "::1%", "fe80::1%4294967296", "*", 1, 1.5, [], bytearray(b"127.1"), "a" * 70, "a..b", "\udc80"),
]
NEVER_LOOKED_UP = [
    "",
    "a.invalid",
    "127.0.0.1 ",
    " 127.0.0.1",
    "1.2.3.256",
    "1.2.3.4.5",
    "é",
    b"\xff",
    ":::",
    "a b",
    "08",
]


@pytest.mark.parametrize("port", ["80", "http", None], ids=repr)
@pytest.mark.parametrize(("type", "proto"), ENDPOINTS)
def test_types_and_protocols_are_libcs(type, proto, port):
    arguments = ("127.0.0.1", port, 0, type, proto)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


@pytest.mark.parametrize("type", [0, SOCK_STREAM, SOCK_DGRAM])
@pytest.mark.parametrize("flags", [0, _socket.AI_NUMERICSERV])
@pytest.mark.parametrize("port", PORTS, ids=repr)
def test_ports_are_libcs(port, flags, type):
    arguments = ("127.0.0.1", port, 0, type, 0, flags)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


@pytest.mark.parametrize("flags", [0, _socket.AI_CANONNAME, _socket.AI_V4MAPPED, 0x18, _socket.AI_NUMERICHOST, 1 << 20])
@pytest.mark.parametrize("family", [AF_INET, AF_INET6, 0, 1, 99])
@pytest.mark.parametrize("host", HOSTS_TO_COMPARE, ids=repr)
def test_numeric_hosts_are_libcs(host, family, flags):
    if host == "*" and family == 0:
        pytest.skip("libc sorts by the kernel's routes")
    arguments = (host, 80, family, 0, 0, flags)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


@pytest.mark.parametrize("host", NEVER_LOOKED_UP, ids=repr)
def test_what_is_not_numeric_is_refused_as_by_libc(host):
    arguments = (host, 80, 0, 0, 0, _socket.AI_NUMERICHOST)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


@pytest.mark.parametrize("flags", [0, _socket.AI_PASSIVE, _socket.AI_CANONNAME, _socket.AI_NUMERICHOST])
@pytest.mark.parametrize("family", BOTH)
@pytest.mark.parametrize("port", [None, "", 80, "http"], ids=repr)
def test_no_host_is_libcs(port, family, flags):
    arguments = (None, port, family, 0, 0, flags)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [("1", 80, "x"), ("1", 80, 1.0), ("1", 80, 0, 2**40), ("1", 80, 0, -(2**40)), ("1", 80, 0, 0, 2**70)],
    ids=repr,
)
def test_integers_are_checked_as_in_c(arguments):
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


def test_keywords_are_libcs():
    keywords = {"host": "127.1", "port": 1, "family": 2, "type": 1, "proto": 6, "flags": 2}
    assert make().getaddrinfo(**keywords) == _socket.getaddrinfo(**keywords)
    with pytest.raises(TypeError):
        make().getaddrinfo("127.1")


@pytest.mark.parametrize("flags", [0, _socket.AI_CANONNAME])
@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", b"localhost"], ids=repr)
def test_localhost_of_this_machine_is_libcs(name, flags):
    arguments = (name, "http", AF_INET, 0, 0, flags)
    assert outcome(make().getaddrinfo, *arguments) == outcome(_socket.getaddrinfo, *arguments)


SOCKADDRS = [
    *[("127.0.0.1", 80), ("127.1", 80), ("::1", 80), ("::1", 80, 0, 0), ("::1", 80, 0, 1), ("fe80::1", 80, 0, 1)],
    *[("fe80::1", 80, 0, 77), ("fe80::1%lo", 80, 0, 0), ("127.0.0.1", 80, 0, 0), ("127.0.0.1",), ["127.0.0.1", 80]],
    *[("1.2.3.4", 69), ("1.2.3.4", 54321), ("1.2.3.4", 70000), ("1.2.3.4", -1), ("1.2.3.4", 2**40), (None, 80), None],
    *[("1.2.3.4", 1, 2, 3, 4), ("1.2.3.4", "80"), ("1.2.3.4", 1.5), ("", 80), ("1.2\0", 80), (b"1.2.3.4", 80), ()],
    *[("::1", 80, 2**21), ("::1", 80, -1), ("::1", 80, 0, 2**32), ("a.invalid", 80), ("::1", 80, 0, "x")],
]


@pytest.mark.parametrize("flags", [1, 3, 1 | 16, 1 | 8, 1 | 1 << 20, "x", 2**40], ids=repr)
@pytest.mark.parametrize("sockaddr", SOCKADDRS, ids=repr)
def test_numeric_getnameinfo_is_libcs(sockaddr, flags):
    assert outcome(make().getnameinfo, sockaddr, flags) == outcome(_socket.getnameinfo, sockaddr, flags)


@pytest.mark.parametrize("function", ["gethostbyname", "gethostbyname_ex", "gethostbyaddr"])
@pytest.mark.parametrize("name", ["a\0b", b"a\0b", 1, None, "é" * 70, "a..b", [], "a b"], ids=repr)
def test_the_gethostby_functions_check_their_argument_as_in_c(function, name):
    assert outcome(getattr(make(), function), name) == outcome(getattr(_socket, function), name)


@pytest.mark.parametrize("name", ["", "<broadcast>", "255.255.255.255", "127.1", "0x7f.1", "localhost", "::1"])
def test_gethostbyname_is_libcs(name):
    assert outcome(make().gethostbyname, name) == outcome(_socket.gethostbyname, name)


@pytest.mark.parametrize("name", ["1.2.3.4", "127.1", bytearray(b"1.2.3.4"), "::1"], ids=repr)
def test_gethostbyname_ex_of_an_address_is_libcs(name):
    assert outcome(make().gethostbyname_ex, name) == outcome(_socket.gethostbyname_ex, name)


def test_no_host_means_the_families_of_the_stack():
    stream = (80, 0, SOCK_STREAM)
    assert [entry[4][0] for entry in make().getaddrinfo(None, *stream)] == ["::1", "127.0.0.1"]
    assert [entry[4][0] for entry in make((AF_INET,)).getaddrinfo(None, *stream)] == ["127.0.0.1"]
    passive = (*stream, 0, _socket.AI_PASSIVE)
    assert [entry[4][0] for entry in make().getaddrinfo(None, *passive)] == ["0.0.0.0", "::"]
    assert [entry[4][0] for entry in make((AF_INET,)).getaddrinfo(None, *passive)] == ["0.0.0.0"]


def test_addrconfig_leaves_out_the_family_that_the_stack_has_not():
    only_v4 = make((AF_INET,))
    flags = _socket.AI_ADDRCONFIG
    assert fails(_socket.EAI_NONAME, only_v4.getaddrinfo, "::1", 80, AF_INET6, flags=flags)
    assert fails(_socket.EAI_ADDRFAMILY, only_v4.getaddrinfo, "::1", 80, flags=flags)
    assert make().getaddrinfo("::1", 80, AF_INET6, SOCK_STREAM, 0, flags)[0][4] == ("::1", 80, 0, 0)


def test_addrconfig_goes_by_what_is_configured_and_not_by_what_sockets_can_be(files):
    """/etc/hosts and the loopback are no exception (glibc 2.36); with nothing configured, all is asked for."""
    configured = [AF_INET]
    names = make(configured=lambda: configured, **files)

    def addresses(family, flags=_socket.AI_ADDRCONFIG):
        return [entry[4][0] for entry in names.getaddrinfo("alpha.example", 5, family, SOCK_STREAM, 0, flags)]

    assert addresses(0) == ["192.0.2.1", "192.0.2.2"]
    assert addresses(0, 0) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert fails(_socket.EAI_NONAME, addresses, AF_INET6)
    assert fails(_socket.EAI_ADDRFAMILY, names.getaddrinfo, "::1", 5, flags=_socket.AI_ADDRCONFIG)
    configured.clear()
    assert addresses(0) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert fails(_socket.EAI_NONAME, addresses, AF_INET)


def test_hosts_give_the_best_first_and_the_canonical_name_once(files):
    found = make(source_of=anywhere, **files).getaddrinfo("ALPHA.example", 5, 0, SOCK_STREAM, 0, _socket.AI_CANONNAME)
    assert [entry[3] for entry in found] == ["Alpha.example", "", ""]
    assert [entry[4] for entry in found] == [("2001:db8::1", 5, 0, 0), ("192.0.2.1", 5), ("192.0.2.2", 5)]
    assert [entry[0] for entry in found] == [AF_INET6, AF_INET, AF_INET]


def test_without_a_way_to_know_sources_the_order_is_as_found(files):
    found = make(**files).getaddrinfo("alpha.example", 5, 0, SOCK_STREAM)
    assert [entry[4][0] for entry in found] == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]


def test_what_cannot_be_reached_comes_last(files):
    """RFC 6724 §6, rule 1; gethostbyname takes the first, and gethostbyname_ex never sorts (as in glibc)."""

    def source_of(address, scope):
        return "192.0.2.99" if address == "192.0.2.2" else None

    names = make(source_of=source_of, **files)
    found = names.getaddrinfo("alpha.example", 5, 0, SOCK_STREAM)
    assert [entry[4][0] for entry in found] == ["192.0.2.2", "2001:db8::1", "192.0.2.1"]
    assert names.gethostbyname("alpha.example") == "192.0.2.2"
    assert names.gethostbyname_ex("alpha.example")[2] == ["192.0.2.1", "192.0.2.2"]
    assert [entry[4][0] for entry in make(source_of=source_of).getaddrinfo(None, 5, 0, 1, 0, 1)] == ["0.0.0.0", "::"]


def test_gai_conf_says_what_goes_before(files, tmp_path):
    (tmp_path / "gai.conf").write_text("precedence ::ffff:0:0/96 100\n")
    names = make(source_of=anywhere, policy_path=tmp_path / "gai.conf", **files)
    assert names.getaddrinfo("alpha.example", 5, 0, SOCK_STREAM)[-1][4][0] == "2001:db8::1"


def test_a_stack_without_ipv6_is_given_none(files):
    found = make((AF_INET,), **files).getaddrinfo("alpha.example", 5, type=SOCK_STREAM)
    assert [entry[4] for entry in found] == [("192.0.2.1", 5), ("192.0.2.2", 5)]


@pytest.mark.parametrize(
    ("flags", "addresses"),
    [
        (0, ["2001:db8::1"]),
        (_socket.AI_V4MAPPED, ["2001:db8::1"]),
        (_socket.AI_V4MAPPED | _socket.AI_ALL, ["2001:db8::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"]),
    ],
)
def test_mapped_addresses(files, flags, addresses):
    found = make(**files).getaddrinfo("alpha.example", 5, AF_INET6, SOCK_STREAM, 0, flags)
    assert [entry[4][0] for entry in found] == addresses
    found = make(**files).getaddrinfo("a1", 5, AF_INET6, SOCK_STREAM, 0, _socket.AI_V4MAPPED)
    assert [entry[4][0] for entry in found] == ["::ffff:192.0.2.1"]


def test_the_scope_of_a_host_is_kept(files):
    assert make(**files).getaddrinfo("linked", 5, type=SOCK_STREAM)[0][4] == ("fe80::7", 5, 0, 9)


def test_zones_are_named_by_the_stack():
    """RFC 4007 §11.2; a name that is unknown is written as its number, and one that is not a link's always is."""

    def index_of(name):
        return {"net0": 7}[name] if name == "net0" else _no_interface()

    def name_of(index):
        return "net0" if index == 7 else _no_interface()

    names = make(index_of=index_of, name_of=name_of)
    numeric = _socket.NI_NUMERICHOST | _socket.NI_NUMERICSERV
    assert names.getaddrinfo("fe80::1%net0", 5, type=SOCK_STREAM)[0][4] == ("fe80::1", 5, 0, 7)
    assert names.getaddrinfo("fe80::1%2", 5, type=SOCK_STREAM)[0][4] == ("fe80::1", 5, 0, 2)
    assert fails(_socket.EAI_NONAME, names.getaddrinfo, "fe80::1%lo", 5)
    assert fails(_socket.EAI_NONAME, names.getaddrinfo, "2001:db8::1%net0", 5)
    assert names.getnameinfo(("fe80::1", 5, 0, 7), numeric) == ("fe80::1%net0", "5")
    assert names.getnameinfo(("ff02::1", 5, 0, 8), numeric) == ("ff02::1%8", "5")
    assert names.getnameinfo(("2001:db8::1", 5, 0, 7), numeric) == ("2001:db8::1%7", "5")


def _no_interface():
    raise OSError("no interface with this name")


def test_names_of_interfaces_are_those_of_the_patched_functions(monkeypatch):
    names = make()
    monkeypatch.setattr(_socket, "if_nametoindex", lambda name: 99)
    monkeypatch.setattr(_socket, "if_indextoname", lambda index: "patched")
    assert names.getaddrinfo("fe80::1%net0", 5, type=SOCK_STREAM)[0][4] == ("fe80::1", 5, 0, 99)
    assert names.getnameinfo(("fe80::1", 5, 0, 99), 3) == ("fe80::1%patched", "5")


def test_hosts_with_ipv6_alone_serve_ipv4_where_glibc_has_it_so(files):
    """For those who ask for IPv4 alone, "::1" is 127.0.0.1 and a mapped address the one in it (nss_files)."""
    files["hosts_path"].write_text("::1 six\n::ffff:192.0.2.7 mapped\n2001:db8::1 other\n")
    names = make(**files)
    assert names.gethostbyname("six") == "127.0.0.1"
    assert names.gethostbyname_ex("mapped") == ("mapped", [], ["192.0.2.7"])
    assert names.gethostbyaddr("192.0.2.7")[0] == "mapped"
    assert names.gethostbyaddr("six") == ("six", [], ["::1"])
    assert [entry[4][0] for entry in names.getaddrinfo("six", 5, type=SOCK_STREAM)] == ["::1"]
    assert fails(_socket.EAI_AGAIN, names.gethostbyname, "other")  # a question for DNS, and there is no server


def test_gethostby_functions_read_hosts(files):
    names = make(**files)
    assert names.gethostbyname("alpha") == "192.0.2.1"
    assert names.gethostbyname_ex("a1") == ("Alpha.example", ["alpha", "a1"], ["192.0.2.1"])
    assert names.gethostbyaddr("192.0.2.1") == ("Alpha.example", ["alpha", "a1"], ["192.0.2.1"])
    assert names.gethostbyaddr("2001:db8::1") == ("alpha.example", [], ["2001:db8::1"])


def test_getnameinfo_reads_hosts_and_services(files):
    names = make(hostname=lambda: "me.example", **files)
    assert names.getnameinfo(("192.0.2.1", 701), 0) == ("Alpha.example", "stream")
    assert names.getnameinfo(("192.0.2.1", 701), _socket.NI_DGRAM) == ("Alpha.example", "701")
    assert names.getnameinfo(("192.0.2.1", 701), _socket.NI_NOFQDN | _socket.NI_NUMERICSERV) == ("Alpha", "701")


def test_services_are_read_from_their_file(files):
    names = make(**files)

    def endpoints(service):
        return [(entry[1], entry[2], entry[4][1]) for entry in names.getaddrinfo("127.1", service)]

    assert endpoints("both") == [(1, 6, 700), (2, 17, 700)]
    assert endpoints("alias") == [(1, 6, 700)]
    assert endpoints("association") == [(1, 132, 702), (5, 132, 702)]
    assert fails(_socket.EAI_SERVICE, names.getaddrinfo, "127.1", "stream", type=SOCK_DGRAM)


def test_localhost_is_what_hosts_say_and_else_a_name_like_any_other(files):
    """As with glibc's "files dns": that it is known without being written anywhere is nss_myhostname's."""
    files["hosts_path"].write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    names = make(source_of=lambda address, scope: address, **files)
    for name in ("localhost", "Localhost"):
        assert [entry[4][0] for entry in names.getaddrinfo(name, 80, type=SOCK_STREAM)] == ["::1", "127.0.0.1"]
    for name in ("localhost.", "a.localhost"):
        assert fails(_socket.EAI_AGAIN, names.getaddrinfo, name, 80)  # there is no server to ask


def test_hosts_are_read_again_when_they_change(files):
    names = make(**files)
    assert names.gethostbyname("alpha") == "192.0.2.1"
    files["hosts_path"].write_text("192.0.2.77 alpha\n")
    os.utime(files["hosts_path"], ns=(1, 1))
    assert names.gethostbyname("alpha") == "192.0.2.77"


def test_the_settings_of_resolv_conf(tmp_path):
    """resolv.conf(5): three servers, and the last of "domain" and "search"."""
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# comment\nnameserver 192.0.2.1 ; comment\nnameserver 2001:db8::1\ndomain wrong\nsearch a.example b.example\n"
        "options rotate ndots:2 timeout:1 attempts:x\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
    )
    assert hostfiles.read_resolv_conf(path) == {
        "nameservers": [("192.0.2.1", 53), ("2001:db8::1", 53), ("192.0.2.2", 53)],
        "search": ["a.example", "b.example"],
        "ndots": 2,
        "timeout": 1,
    }
    path.write_text("")
    assert hostfiles.read_resolv_conf(path)["nameservers"] == [("127.0.0.1", 53)]


def test_neither_socket_nor_dnspython_is_imported_before_a_name_needs_dns():
    program = (
        "import sys; sys.path.insert(0, '.'); from monkey import resolver; names = resolver.from_system(['192.0.2.1']);"
        "names.getaddrinfo('127.0.0.1', 'http'); names.getaddrinfo('localhost', 80); names.gethostbyname('127.1');"
        "print({'socket', 'dns', 'threading', 'gevent'} & set(sys.modules))"
    )
    root = os.path.dirname(os.path.dirname(resolver.__file__))
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
