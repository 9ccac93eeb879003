"""radvd and dnsmasq configure a stack from nothing: addresses, routers, name servers; and take it all back.

The stack's clock is hastened where a lease of minutes has to end.
"""

import ipaddress
import signal
import sys
from contextlib import contextmanager

import gevent
import pytest

from integration.support.hastened import HastenedClock
from integration.support.namespaces import has
from integration.support.programs import Runner
from pystack import Interface, Stack, StackConfig
from pystack.config import Ipv6Config
from pystack.device.tap import Tap

HOST, HOST6 = "10.77.0.1", "fd77::1"
RADVD = pytest.mark.skipif(not has("radvd"), reason="needs radvd")
DNSMASQ = pytest.mark.skipif(not has("dnsmasq"), reason="needs dnsmasq (Debian: dnsmasq-base)")


@contextmanager
def stack_of(namespace, *, factor=1, dhcp=False, **ipv6):
    """A stack without any configuration on a TAP whose host side has addresses. It must have no bug."""
    tap = Tap("ps0", netns=namespace.path, host_addresses=[f"{HOST}/24", f"{HOST6}/64"])
    namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
    config = StackConfig(ipv6=Ipv6Config(router_solicitation_delay=0.1, **ipv6))
    with Stack([Interface(device=tap, dhcp=dhcp)], config, clock=HastenedClock(factor)) as stack:
        yield stack
        assert stack.counters()["stack"]["bugs"] == 0


@contextmanager
def server(namespace, argv):
    """A daemon that runs until the end of the block."""
    process = namespace.popen(list(map(str, argv)))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@contextmanager
def radvd(namespace, folder, text):
    """``restart(text)`` gives it another configuration."""
    path = folder / "radvd.conf"
    head = "AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4;"

    def configure(text):
        path.write_text(f"interface ps0 {{ {head} {text} }};")
        path.chmod(0o644)

    configure(text)
    with server(namespace, ["radvd", "-n", "-C", path, "-p", folder / "radvd.pid", "-m", "stderr"]) as process:

        def restart(text):
            configure(text)
            process.send_signal(signal.SIGHUP)

        yield restart


def dnsmasq(namespace, folder, *options, port=0):
    """DHCP and router advertisements, and DNS if it is given a port."""
    return server(
        namespace,
        [
            "dnsmasq",
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            f"--port={port}",
            "--interface=ps0",
            "--user=root",
        ]
        + ["--bind-interfaces", f"--dhcp-leasefile={folder / 'leases'}", "--conf-file=/dev/null", *options],
    )


def until(found, seconds=15):
    """Wait for a true result."""
    for _ in range(seconds * 50):
        result = found()
        if result:
            return result
        gevent.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s: {found}")


def addresses(stack, prefix="fd"):
    """The stack's usable ones that begin so, with prefix length."""
    return [text for name, text in stack.addresses() if name == "eth0" and text.startswith(prefix)]


def gateways(stack, network="::/0"):
    return [gateway for prefix, gateway, _ in stack.routes() if prefix == network]


@RADVD
def test_slaac_and_all_else_that_a_router_says(namespace, tmp_path):
    said = (
        "AdvLinkMTU 1400; AdvCurHopLimit 77; AdvDefaultLifetime 30; prefix fd77::/64 {}; route fd99::/48 {};"
        "RDNSS fd77::1 fd77::53 {}; DNSSL example.org lab.test {};"
    )
    with stack_of(namespace, use_tempaddr=1) as stack, radvd(namespace, tmp_path, said):
        until(lambda: len(addresses(stack)) == 2)  # a stable and a temporary one
        (router,) = gateways(stack)
        assert router.startswith("fe80::") and router.endswith("%eth0")
        assert gateways(stack, "fd99::/48") == [router] and gateways(stack, "fd77::/64") == [None]
        assert stack.name_servers() == (["fd77::1", "fd77::53"], ["example.org", "lab.test"])
        (reply,) = stack.ping(HOST6, count=1, size=1400, dont_fragment=True, timeout=5)
        assert (reply.error, reply.mtu) == ("packet_too_big", 1400)
        namespace.sysctl("net.ipv6.conf.ps0.forwarding", 1)
        for text in addresses(stack):
            assert namespace.run(["ping", "-6", "-c", "1", text.partition("/")[0]]).stdout.count("ttl=77") == 1


@RADVD
def test_stable_addresses_are_the_same_again(namespace, tmp_path):
    """RFC 7217: of one secret and prefix there is one identifier, whatever the MAC address."""
    found = []
    for _ in range(2):
        with stack_of(namespace, stable_secret="a secret") as stack, radvd(namespace, tmp_path, "prefix fd77::/64 {};"):
            found.append(until(lambda stack=stack: addresses(stack)))
    assert found[0] == found[1]


@RADVD
def test_a_router_withdraws_itself_and_its_prefix(namespace, tmp_path):
    with stack_of(namespace) as stack:
        with radvd(namespace, tmp_path, "AdvDefaultLifetime 30; prefix fd77::/64 {};") as restart:
            until(lambda: addresses(stack) and gateways(stack))
            # Lifetimes of 0: the prefix is on the link no more; the address is deprecated, but lives on for two hours
            # (RFC 4862 §5.5.3 (e)).
            restart("AdvDefaultLifetime 0; prefix fd77::/64 { AdvValidLifetime 0; AdvPreferredLifetime 0; };")
            until(lambda: not gateways(stack) and not gateways(stack, "fd77::/64"))
            assert addresses(stack)


@RADVD
def test_another_prefix_takes_over(namespace, tmp_path):
    with stack_of(namespace, factor=20) as stack:
        namespace.ip("addr add fd88::1/64 dev ps0 nodad")
        brief = "{ AdvValidLifetime 7300; AdvPreferredLifetime 100; };"
        with radvd(namespace, tmp_path, f"AdvDefaultLifetime 9000; prefix fd77::/64 {brief}") as restart:
            until(lambda: addresses(stack, "fd77:"))
            restart("AdvDefaultLifetime 9000; prefix fd88::/64 {};")
            until(lambda: addresses(stack, "fd88:"))
            old, new = addresses(stack, "fd77:")[0], addresses(stack, "fd88:")[0]
            assert old and new
            with namespace.socket(10, 2) as listener:
                listener.bind(("fd88::1", 9000))
                listener.setblocking(False)
                gevent.sleep(5.5)  # 110 of the stack's seconds: the old one is deprecated
                with stack.udp() as sock:
                    sock.send(b"from?", ipaddress.ip_address("fd88::1").packed, 9000)
                    source = until(lambda: _heard(listener))
        assert source == new.partition("/")[0]


def _heard(listener):
    try:
        return listener.recvfrom(100)[1][0]
    except BlockingIOError:
        return None


@RADVD
def test_a_duplicate_address_is_given_up_for_another(namespace, tmp_path):
    """RFC 4862 §5.4.5, RFC 7217 §6: the kernel has the one that the stack would make."""
    with stack_of(namespace, stable_secret="a secret") as stack, radvd(namespace, tmp_path, "prefix fd77::/64 {};"):
        (first,) = until(lambda: addresses(stack))
    with stack_of(namespace, stable_secret="a secret") as stack:
        namespace.ip(f"addr add {first} dev ps0 nodad")
        with radvd(namespace, tmp_path, "prefix fd77::/64 {};"):
            (second,) = until(lambda: addresses(stack))
    assert second != first


@DNSMASQ
def test_dhcpv6_gives_an_address_and_renews_it(namespace, tmp_path):
    options = "--dhcp-range=fd77::100,fd77::1ff,64,2m", "--enable-ra", "--ra-param=ps0,3,1800"
    servers = "--dhcp-option=option6:dns-server,[fd77::1]", "--dhcp-option=option6:domain-search,example.org"
    with stack_of(namespace, factor=25) as stack, dnsmasq(namespace, tmp_path, *options, *servers):
        (address,) = until(lambda: addresses(stack))
        assert address.startswith("fd77::1") and address.endswith("/128")
        until(lambda: stack.name_servers() == (["fd77::1"], ["example.org"]))
        assert stack.ping(HOST6, count=1, timeout=5)[0].error is None
        before = (tmp_path / "leases").stat().st_mtime_ns
        gevent.sleep(5.2)  # 130 s: it would be over by now
        assert addresses(stack) == [address]
        assert (tmp_path / "leases").stat().st_mtime_ns > before


@DNSMASQ
def test_dhcpv6_without_addresses(namespace, tmp_path):
    options = "--dhcp-range=fd77::,ra-stateless", "--enable-ra", "--ra-param=ps0,3,1800"
    server = "--dhcp-option=option6:dns-server,[fd77::53]"
    with stack_of(namespace) as stack, dnsmasq(namespace, tmp_path, *options, server):
        (address,) = until(lambda: addresses(stack))
        assert address.endswith("/64")
        until(lambda: "fd77::53" in stack.name_servers()[0])


@DNSMASQ
def test_a_duplicate_dhcpv6_address_is_declined(namespace, tmp_path):
    options = "--dhcp-range=fd77::100,fd77::101,64,2m", "--enable-ra", "--ra-param=ps0,3,1800"
    with stack_of(namespace, factor=5) as stack:
        namespace.ip("addr add fd77::100/128 dev ps0 nodad")
        with dnsmasq(namespace, tmp_path, *options):
            assert until(lambda: addresses(stack), 30) == ["fd77::101/128"]


@DNSMASQ
def test_dhcpv4_gives_everything_and_renews_it(namespace, tmp_path):
    options = [
        "--dhcp-range=10.77.0.100,10.77.0.199,2m",
        "--dhcp-option=option:dns-server,10.77.0.1,10.77.0.53",
        "--dhcp-option=option:domain-search,example.org,lab.example.org",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-option=121,0.0.0.0/0,10.77.0.1,192.0.2.0/24,10.77.0.9",
    ]
    with dnsmasq_before(namespace, tmp_path, options, factor=40) as stack:
        (address,) = until(lambda: addresses(stack, "10."))
        assert 100 <= int(address.partition("/")[0].rpartition(".")[2]) < 200 and address.endswith("/24")
        until(lambda: gateways(stack, "0.0.0.0/0") == ["10.77.0.1"])
        assert gateways(stack, "192.0.2.0/24") == ["10.77.0.9"]
        assert stack.name_servers() == (["10.77.0.1", "10.77.0.53"], ["example.org", "lab.example.org"])
        (reply,) = stack.ping(HOST, count=1, size=1400, dont_fragment=True, timeout=5)
        assert (reply.error, reply.mtu) == ("packet_too_big", 1400)
        before = (tmp_path / "leases").read_text()
        gevent.sleep(3.5)  # 140 s: it would be over by now
        assert addresses(stack, "10.") == [address]
        assert (tmp_path / "leases").read_text() != before


@DNSMASQ
def test_a_dhcpv4_lease_ends_when_the_server_is_gone(namespace, tmp_path):
    with stack_of(namespace, factor=60, dhcp=True, accept_ra=False) as stack:
        with dnsmasq(namespace, tmp_path, "--dhcp-range=10.77.0.100,10.77.0.199,2m"):
            until(lambda: addresses(stack, "10."))
        until(lambda: not addresses(stack, "10."))
        assert gateways(stack, "0.0.0.0/0") == []


@DNSMASQ
def test_leases_are_given_back_at_the_end(namespace, tmp_path):
    """DHCPRELEASE (RFC 2131 §4.4.6) and RELEASE (RFC 8415 §18.2.7)."""
    options = "--dhcp-range=10.77.0.100,10.77.0.199,2m", "--dhcp-range=fd77::100,fd77::1ff,64,2m", "--enable-ra"
    leases = tmp_path / "leases"
    namespace.ip("tuntap add dev ps0 mode tap")  # one that stays
    with stack_of(namespace, factor=20, dhcp=True) as stack, dnsmasq(namespace, tmp_path, *options):
        until(lambda: addresses(stack, "10.") and addresses(stack))
        assert "10.77.0.1" in leases.read_text() and "fd77::1" in leases.read_text()
        stack.close()
        until(lambda: "10.77.0.1" not in leases.read_text() and "fd77::1" not in leases.read_text())


@DNSMASQ
def test_a_duplicate_dhcpv4_address_is_declined(namespace, tmp_path):
    """RFC 5227 finds the other host, and DHCPDECLINE tells the server (RFC 2131 §3.1 (5))."""
    with stack_of(namespace, factor=5, dhcp=True, accept_ra=False) as stack:
        namespace.ip("addr add 10.77.0.100/24 dev ps0")
        options = "--dhcp-range=10.77.0.100,10.77.0.101,2m", "--no-ping", "--dhcp-sequential-ip"
        with dnsmasq(namespace, tmp_path, *options):
            assert until(lambda: addresses(stack, "10."), 30) == ["10.77.0.101/24"]


PROGRAM = """
import socket
found = socket.getaddrinfo("name.lab.test", 8080, type=socket.SOCK_STREAM)
print("found=" + " ".join(each[4][0] for each in found), flush=True)
print("short=" + socket.gethostbyname("name"), flush=True)
for family, address in ((socket.AF_INET, "10.77.0.1"), (socket.AF_INET6, "fd77::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, 9))
        print(f"{family.name}={sock.getsockname()[0]}", flush=True)
"""


@DNSMASQ
def test_a_program_under_the_runner_is_configured_by_others(namespace):
    """``--address dhcp --address auto``, on a TAP that is there already; names are asked for where the network says."""
    namespace.ip("tuntap add dev ps0 mode tap")
    namespace.ip(f"addr add {HOST}/24 dev ps0")
    namespace.ip(f"addr add {HOST6}/64 dev ps0 nodad")
    namespace.ip("link set ps0 up")
    namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
    options = ["--dhcp-range=10.77.0.100,10.77.0.199,1h", "--dhcp-range=fd77::,slaac", "--enable-ra"]
    names = ["--address=/name.lab.test/10.77.0.1", "--address=/name.lab.test/fd77::1"]
    search = ["--dhcp-option=option:domain-search,lab.test"]
    with Runner("tap", namespace) as runner, dnsmasq(namespace, runner.folder, *options, *names, *search, port=53):
        command = [sys.executable, "-m", "pystack.run", "--link", "tap:ps0", "--address", "dhcp", "--address", "auto"]
        facts = runner.run_command_here(*command, "-c", PROGRAM).facts()
    assert facts["found"] == "fd77::1 10.77.0.1" and facts["short"] == "10.77.0.1"
    assert facts["AF_INET"].startswith("10.77.0.1") and facts["AF_INET6"].startswith("fd77::")


@contextmanager
def dnsmasq_before(namespace, folder, options, **how):
    """A stack that asks by DHCP where a server is there already."""
    with stack_of(namespace, dhcp=True, accept_ra=False, **how) as stack, dnsmasq(namespace, folder, *options):
        yield stack
