"""IPv6 without root: programs under ``--link user`` reach the kernel's IPv6 peers, and are reached."""

import time

import pytest

from integration.support.namespaces import Namespace, veth
from integration.support.programs import Runner

PORT, ELSEWHERE = 8080, 8081  # what is served there, and here
HOST, GUEST = "fdc5:77ab:1b4e::1", "fdc5:77ab:1b4e::2"
SERVER = "2001:db8::2"
BOTH = ("--address", f"{GUEST}/64")  # beside the IPv4 address

FETCH = "import sys, urllib.request; print('got=' + urllib.request.urlopen(sys.argv[1]).read().decode().strip())"

CONNECT = """
import errno, socket, sys, time
began = time.monotonic()
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
except OSError as error:
    print("error=" + errno.errorcode[error.errno])
print("seconds=" + str(time.monotonic() - began))
"""

# Two addresses of one name, the IPv6 one first.
FALL_BACK = """
import socket, sys
def both(host, port, *_, **__):
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::9", port, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.77.0.1", port)),
    ]
socket.getaddrinfo = both
with socket.create_connection(("name.example", int(sys.argv[1])), timeout=10) as sock:
    print("peer=" + sock.getpeername()[0])
"""

DATAGRAM = """
import socket, sys
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
    sock.settimeout(10)
    sock.connect((sys.argv[1], int(sys.argv[2])))
    sock.send(b"question")
    try:
        print("got=" + sock.recv(100).decode())
    except OSError as error:
        print("error=" + type(error).__name__)
"""

ANSWER = """
import socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
data, peer = sock.recvfrom(100)
sock.sendto(data.upper(), peer)
"""

PING = """
import sys
from pystack import Interface, Stack
from pystack.device import memory
from pystack.gateway.gateway import Gateway
ours, theirs = memory.pair()
addresses = ["10.77.0.2/24", "fdc5:77ab:1b4e::2/64"]
stack = Stack([Interface(device=ours, addresses=addresses, gateway=("10.77.0.1", "fdc5:77ab:1b4e::1"))])
with Gateway(theirs), stack:
    stack.await_addresses({4, 6}, 10)
    for number, address in enumerate(sys.argv[1:]):
        (reply,) = stack.ping(address, count=1, timeout=5)
        print(f"{number}={reply.source} {reply.error}")
"""


@pytest.fixture
def runner(namespace):
    with Runner("user", namespace) as made:
        yield made


@pytest.fixture
def outside(namespace):
    """A host beyond the test's."""
    with Namespace() as made:
        for each in (namespace, made):
            each.sysctl("net.ipv6.conf.default.dad_transmits", 0)
        veth(namespace, "out0", made, "out1")
        namespace.ip("addr add 2001:db8::1/64 dev out0 nodad")
        made.ip(f"addr add {SERVER}/64 dev out1 nodad")
        yield made


def serve(runner, start, address):
    """An HTTP server with one file."""
    runner.file("index.html", b"a page\n")
    server = start("-m", "http.server", ELSEWHERE, "--bind", address)
    server.until("Serving")
    return f":{ELSEWHERE}/index.html"


def test_a_page_of_the_hosts_own(runner):
    """The gateway's address stands for ::1."""
    where = serve(runner, runner.start_here, "::1")
    assert runner.run("-c", FETCH, f"http://[{HOST}]{where}", options=BOTH).facts() == {"got": "a page"}


def test_a_page_of_another_host(runner, outside):
    where = serve(runner, lambda *argv: runner.start_in(outside, *argv), SERVER)
    assert runner.run("-c", FETCH, f"http://[{SERVER}]{where}", options=BOTH).facts() == {"got": "a page"}


def test_a_published_port(runner):
    """It leads to the program's address of the same version as the host's."""
    runner.file("index.html", b"a page\n")
    publish = ("--publish", f"[::1]:{PORT}:{PORT}")
    runner.start("-m", "http.server", PORT, "--bind", GUEST, options=(*BOTH, *publish)).until("Serving")
    assert runner.run_here("-c", FETCH, f"http://[::1]:{PORT}/index.html").facts() == {"got": "a page"}


def test_what_the_kernel_cannot_do_is_what_the_program_gets(runner, outside):
    def connect(address):
        facts = runner.run("-c", CONNECT, address, ELSEWHERE, options=BOTH).facts()
        assert float(facts["seconds"]) < 5  # the kernel gives a neighbour 3
        return facts["error"]

    assert connect(SERVER) == connect(HOST) == "ECONNREFUSED"
    assert connect("2001:db8:9::1") == "ENETUNREACH"  # no route
    outside.ip("-6 route add prohibit 2001:db8:a::/64")
    outside.sysctl("net.ipv6.conf.all.forwarding", 1)
    runner.ip_here(f"-6 route add default via {SERVER}")
    assert connect("2001:db8:a::1") == "EACCES"
    assert connect("2001:db8:9::1") == "ENETUNREACH"
    assert connect("2001:db8::99") == "EHOSTUNREACH"  # no neighbour


def test_without_an_ipv6_route_the_program_falls_back_to_ipv4(runner):
    serve(runner, runner.start_here, "127.0.0.1")
    began = time.monotonic()
    assert runner.run("-c", FALL_BACK, ELSEWHERE, options=BOTH).facts() == {"peer": "10.77.0.1"}
    assert time.monotonic() - began < 5


def test_datagrams(runner, outside):
    runner.start_in(outside, "-c", ANSWER, SERVER, ELSEWHERE).until("ready")
    assert runner.run("-c", DATAGRAM, SERVER, ELSEWHERE, options=BOTH).facts() == {"got": "QUESTION"}
    answer = runner.run("-c", DATAGRAM, SERVER, ELSEWHERE, options=BOTH).facts()
    assert answer == {"error": "ConnectionRefusedError"}


def test_echoes_where_the_kernel_permits_them(runner, namespace, outside):
    namespace.sysctl("net.ipv4.ping_group_range", "0 2147483647")
    namespace.ip("addr add 192.0.2.1/24 dev out0")
    outside.ip("addr add 192.0.2.2/24 dev out1")
    facts = runner.run_here("-c", PING, SERVER, "192.0.2.2", HOST).facts()
    assert facts == {"0": f"{SERVER} None", "1": "192.0.2.2 None", "2": f"{HOST} None"}
