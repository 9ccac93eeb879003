"""Programs that use both versions of IP at once, on the stack, with the kernel on the other side."""

import pytest

from integration.programs.content import content, sha256
from integration.support.programs import FLAVOURS, PLANS, Runner

PORT = 8070
FOUR, SIX = PLANS[4], PLANS[6]
HOSTS = f"""127.0.0.1 localhost
::1 localhost
{FOUR.host} both.example
{SIX.host} both.example
{FOUR.host} dark.example
{SIX.nobody} dark.example
"""


@pytest.fixture(params=[f"{link}46" for link in ("kernel", "tap") if link in FLAVOURS])
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


def device(runner):
    """The name of the kernel's side of the link."""
    names = [line.split("@")[0].split()[0] for line in runner.ip_here("-br link").splitlines()]
    (name,) = (name for name in names if name.startswith(("ps0", "pystack")))
    return name


def link_local(runner):
    """The kernel's own address of that kind on the link."""
    lines = runner.ip_here(f"-6 -o addr show dev {device(runner)} scope link").splitlines()
    return lines[0].split()[3].partition("/")[0]


def get(runner, address):
    return runner.run_command_here("curl", "-sS", "--fail", f"http://{address}:{PORT}/file")


@pytest.mark.parametrize("bind", ["0.0.0.0", "::"])
def test_http_server(runner, bind):
    """Without --bind it takes what getaddrinfo has first, which with glibc is 0.0.0.0; by ``::`` it serves both."""
    folder = runner.folder / "served"
    folder.mkdir()
    (folder / "file").write_bytes(b"hello")
    options = ["--bind", bind] if bind == "::" else []
    server = runner.start("-m", "http.server", PORT, *options, "--directory", folder)
    assert bind in server.until("Serving HTTP")
    assert get(runner, FOUR.guest).out == "hello"
    six = get(runner, f"[{SIX.guest}]")
    if bind == "::":
        assert six.out == "hello"
        assert [line.split()[0] for line in server.err.splitlines()] == [f"::ffff:{FOUR.host}", SIX.host]
    else:
        assert six.status == 7  # curl's exit status for a connection that is refused


def test_a_listener_for_both_versions(runner):
    server = runner.start("dual.py", "listen", PORT, 2)
    server.until("name=")
    for address in (FOUR.guest, SIX.guest):
        facts = runner.run_here("bulk_peer.py", "ask", address, PORT, 1_000_000).facts()
        assert facts == {"0": sha256(content(1_000_000))}
    assert server.wait().facts() == {
        "name": f"('::', {PORT}, 0, 0)",
        "peer.0": f"('::ffff:{FOUR.host}', 0, 0)",
        "own.0": f"('::ffff:{FOUR.guest}', {PORT}, 0, 0)",
        "peer.1": f"('{SIX.host}', 0, 0)",
        "own.1": f"('{SIX.guest}', {PORT}, 0, 0)",
    }


@pytest.mark.parametrize("plan", [FOUR, SIX], ids=["4", "6"])
def test_a_name_of_which_one_address_listens(runner, plan):
    runner.start_here("bulk_peer.py", "serve", plan.any, PORT, 0).until("ready")
    facts = runner.run("dual.py", "connect", "both.example", f"::ffff:{FOUR.host}", PORT, hosts=HOSTS).facts()
    assert facts == {
        "addresses": f"['{SIX.host}', '{FOUR.host}']",
        "peer": plan.host,
        "asyncio": plan.host,
        "mapped": "none" if plan is FOUR else "ECONNREFUSED",
    }


def test_a_name_of_which_one_address_has_no_host(runner):
    """RFC 8305: the other one is tried before the first has failed."""
    runner.start_here("bulk_peer.py", "serve", FOUR.any, PORT, 0).until("ready")
    facts = runner.run("dual.py", "race", "dark.example", PORT, hosts=HOSTS).facts()
    assert facts == {"peer": FOUR.host, "at_once": "True"}


def test_requests_by_both_versions(runner):
    runner.start_here("http_origin.py", "::", PORT).until("ready")
    code = "import requests, sys; print(*(requests.get(url).headers['X-Client'] for url in sys.argv[1:]))"
    urls = [f"http://{address}:{PORT}/bytes/10" for address in (f"[{SIX.host}]", FOUR.host, "both.example")]
    assert runner.run("-c", code, *urls, hosts=HOSTS).out == f"{SIX.guest} ::ffff:{FOUR.guest} {SIX.guest}\n"


def test_v6only(runner):
    assert runner.run("dual.py", "only", PORT).facts() == {
        "default": "0",
        "mapped": "ENETUNREACH",
        "bind_mapped": "EINVAL",
        "both_beside_six": "EADDRINUSE",
        "too_late": "EINVAL",
        "six": "True",
        "four": "True",
        "four_beside_both": "EADDRINUSE",
        "local_beside_both": "EADDRINUSE",
    }


def test_its_own_loopback(runner):
    facts = runner.run("dual.py", "own", PORT, hosts=HOSTS).facts()
    for name in ("::1", "localhost"):
        assert facts.pop(name).startswith("('::1', ")
        assert facts.pop(f"{name}.agrees") == "True"
    assert facts == {"four": "ECONNREFUSED", "second": "127.0.0.1", "udp": "(65527, '::1', (0, 0))"}


@pytest.mark.parametrize("side", ["client", "server"])
def test_link_local_addresses(runner, side):
    if side == "client":
        runner.start_here("dual.py", "echo", PORT).until("ready")
        facts = runner.run("dual.py", "near", "eth0", PORT).facts()
    else:
        runner.start("dual.py", "echo", PORT).until("ready")
        facts = runner.run_here("dual.py", "near", device(runner), PORT).facts()
    assert facts == {
        "found": "(True, True)",
        "text": "True",
        "tcp": "b'hello'",
        "scopes": "[True, True]",
        "own": "True",
        "udp": "b'hello'",
        "udp_scope": "True",
        "connected": "b'again'",
        "without_scope": "EINVAL",
    }


@pytest.mark.parametrize("group, source", [("ff02::4321", "fe80"), ("ff15::4321", "fd77")])
def test_a_multicast_group(runner, group, source):
    def heard(what, hops):
        return str((what, source, source == "fe80", f"destination {group}", f"hops {hops}"))

    program = runner.start("dual.py", "group", "first", group, PORT, "eth0")
    program.until("ready")
    facts = runner.run_here("dual.py", "group", "second", group, PORT, device(runner)).facts()
    ends = {"twice": "EADDRINUSE", "left": "EADDRNOTAVAIL", "more": "timed out"}
    assert facts == {"own": heard(b"hello", 1), "answer": heard(b"answer", 7), "again": heard(b"again", 7), **ends}
    assert program.wait().facts() == {
        "ready": "first",
        "hello": heard(b"hello", 1),
        "own": heard(b"again", 7),
        **ends,
    }


@pytest.mark.parametrize("side", ["client", "server"])
def test_what_packets_carry_beside_their_data(runner, side):
    here, there = (PLANS[version].host for version in (4, 6)), (PLANS[version].guest for version in (4, 6))
    if side == "client":
        server = runner.start_here("dual.py", "mirror", PORT, 3)
        server.until("ready")
        (server_four, server_six), (client_four, client_six) = here, there
        facts = runner.run("dual.py", "ask", server_six, server_four, PORT).facts()
    else:
        server = runner.start("dual.py", "mirror", PORT, 3)
        server.until("ready")
        (server_four, server_six), (client_four, client_six) = there, here
        facts = runner.run_here("dual.py", "ask", server_six, server_four, PORT).facts()
    four = f"destination ::ffff:{client_four}"
    assert facts == {
        "option.72": "72",
        "option.17": "17",
        "six": str((server_six, "class 32", f"destination {client_six}", "hops 33")),
        "four": str((f"::ffff:{server_four}", four, "tos 0", "ttl 64")),
        "defaults": "(0, 64)",
    }
    four = f"destination ::ffff:{server_four}"
    assert server.wait().facts() == {
        "ready": str(PORT),
        "0": str((client_six, "class 72", f"destination {server_six}", "hops 17")),
        "1": str((f"::ffff:{client_four}", four, "tos 0", "ttl 64")),
        "2": str((client_six, "class 0", f"destination {server_six}", "hops 64")),
    }


def test_datagrams_at_the_limits(runner):
    runner.start_here("dual.py", "echo", PORT).until("ready")
    facts = runner.run("dual.py", "large", SIX.host, PORT).facts()
    sizes = 0, 1452, 1453, 65_527
    assert facts == {
        "mtu": "1500",
        **{f"echo.{size}": str(size) for size in sizes},
        **{f"at_once.{size}": "True" for size in sizes},
        "too_large": "EMSGSIZE",
        "whole": "none",
        "cut": "EMSGSIZE",
        "discovered": "EMSGSIZE",
        "got": "1452",
    }
