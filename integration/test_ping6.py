"""The kernel's ping against the stack by IPv6, and the stack's against the kernel."""

import gevent
import pytest

from integration.support.namespaces import Namespace, has, veth
from integration.support.stacks import HOST6, LINK_LOCAL, STACK6, drops, on_tap6
from integration.test_ping import received

pytestmark = pytest.mark.skipif(not has("ping"), reason="needs ping (iputils-ping)")

SIZES = [0, 1452, 1453, 9000, 65507, 65527]  # the last is the most that IPv6 carries; ping itself sends 20 less


def link_local_of(namespace):
    """The kernel's on ps0, in the stack's words; once the kernel uses it."""
    for _ in range(500):
        if not namespace.ip("-6 addr show dev ps0 tentative"):
            break
        gevent.sleep(0.01)
    line = next(line for line in namespace.ip("-6 addr show dev ps0").splitlines() if "fe80::" in line)
    return line.split()[1].partition("/")[0] + "%eth0"


@pytest.mark.parametrize("offload", [True, False])
def test_a_flood_loses_nothing(namespace, offload):
    with on_tap6(namespace, offload=offload) as stack:
        assert received(namespace.run(["ping", "-6", "-q", "-f", "-c", "1000", STACK6])) == (1000, 1000)
        assert received(namespace.run(["ping", "-6", "-q", "-f", "-l", "50", "-c", "1000", STACK6])) == (1000, 1000)
        assert drops(stack).keys() <= {"not_a_member"}  # the kernel's own reports of its groups


@pytest.mark.parametrize("address", [STACK6, f"{LINK_LOCAL}%ps0"])
@pytest.mark.parametrize("size", SIZES[:-1])
def test_sizes_from_the_kernel(namespace, size, address):
    with on_tap6(namespace):
        done = namespace.run(["ping", "-6", "-q", "-i", "0.01", "-c", "3", "-s", str(size), address])
        assert received(done) == (3, 3)


@pytest.mark.parametrize("local", [False, True], ids=["global", "link-local"])
@pytest.mark.parametrize("size", SIZES)
def test_sizes_from_the_stack(namespace, size, local):
    with on_tap6(namespace) as stack:
        address = link_local_of(namespace) if local else HOST6
        replies = stack.ping(address, count=3, size=size, interval=0.01, timeout=5)
        assert [(reply.error, reply.ttl) for reply in replies] == [(None, 64)] * 3
        assert {reply.source.partition("%")[0] for reply in replies} == {address.partition("%")[0]}


@pytest.mark.parametrize("hops", [1, 255])
def test_hop_limits(namespace, hops):
    with on_tap6(namespace) as stack:
        assert received(namespace.run(["ping", "-6", "-q", "-c", "1", "-t", str(hops), STACK6])) == (1, 1)
        assert stack.ping(HOST6, count=1, ttl=hops, timeout=5)[0].error is None


def test_all_nodes_answer(namespace):
    with on_tap6(namespace):
        done = namespace.run(["ping", "-6", "-c", "1", "-W", "1", "ff02::1%ps0"])
        assert f"from {LINK_LOCAL}%ps0" in done.stdout or "1 received" in done.stdout


def test_the_path_mtu_is_learned_from_a_router(namespace):
    """stack - TAP of 1500 - kernel router - veth of 1280 - kernel (RFC 8201)."""
    with Namespace() as far, on_tap6(namespace) as stack:
        veth(namespace, "out", far, "in")
        namespace.ip("addr add fd78::1/64 dev out nodad")
        namespace.ip("link set out mtu 1280")
        far.ip("addr add fd78::2/64 dev in nodad")
        far.ip("route add default via fd78::1")
        namespace.sysctl("net.ipv6.conf.all.forwarding", 1)
        first, second = stack.ping("fd78::2", count=2, size=1400, interval=0, dont_fragment=True, timeout=3)
        assert (first.error, first.mtu, first.source) == ("packet_too_big", 1280, HOST6)
        assert (second.error, second.mtu, second.source) == ("packet_too_big", 1280, None)
        assert stack.ping("fd78::2", count=1, size=1400, timeout=5)[0].error is None  # in fragments
        assert stack.ping("fd78::2", count=1, size=1232, dont_fragment=True, timeout=5)[0].error is None
        (expired,) = stack.ping("fd78::2", count=1, ttl=1)
        assert (expired.error, expired.source) == ("ttl_exceeded", HOST6)
        far.ip("link set in mtu 1280")
        assert received(far.run(["ping", "-6", "-q", "-c", "2", "-i", "0.01", "-s", "3000", STACK6])) == (2, 2)
        (unreachable,) = stack.ping("fd79::1", count=1)
        assert (unreachable.error, unreachable.source) == ("net_unreachable", HOST6)
