"""The kernel's ping against the stack, and the stack's against the kernel."""

import re
import socket

import dpkt
import pytest

from integration.support.namespaces import Namespace, has, veth
from integration.support.stacks import HOST, STACK, drops, on_tap
from pystack.device.impair import Delay, Impaired, Loss
from pystack.device.pcap import Capture

pytestmark = pytest.mark.skipif(not has("ping"), reason="needs ping (iputils-ping)")

SIZES = [0, 1472, 1473, 9000, 65507]


def received(done):
    """(sent, received) of a run of ping."""
    found = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
    assert found, done.stdout
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("offload", [True, False])
@pytest.mark.parametrize("queue", ["mailbox", "gevent"])
def test_a_flood_loses_nothing(namespace, offload, queue):
    from pystack import StackConfig

    with on_tap(namespace, StackConfig(queue=queue), offload=offload) as stack:
        assert received(namespace.run(["ping", "-q", "-f", "-c", "1000", STACK])) == (1000, 1000)
        # Not more than 50 in flight: the receive buffer of ping's own socket does not hold 200 replies if it has to
        # wait for the processor, and drops the rest (seen in /proc/net/raw).
        assert received(namespace.run(["ping", "-q", "-f", "-l", "50", "-c", "1000", STACK])) == (1000, 1000)
        assert drops(stack).keys() <= {"not_a_member"}  # the kernel's own IPv6 chatter


@pytest.mark.parametrize("size", SIZES)
def test_sizes_from_the_kernel(namespace, size):
    with on_tap(namespace):
        assert received(namespace.run(["ping", "-q", "-i", "0.01", "-c", "3", "-s", str(size), STACK])) == (3, 3)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_from_the_stack(namespace, size):
    with on_tap(namespace) as stack:
        replies = stack.ping(HOST, count=3, size=size, interval=0.01, timeout=5)
        assert [(reply.error, reply.source, reply.ttl) for reply in replies] == [(None, HOST, 64)] * 3
        assert all(0 < reply.rtt < 1 for reply in replies)


@pytest.mark.parametrize("ttl", [1, 255])
def test_ttls(namespace, ttl):
    with on_tap(namespace) as stack:
        assert received(namespace.run(["ping", "-q", "-c", "1", "-t", str(ttl), STACK])) == (1, 1)
        assert stack.ping(HOST, count=1, ttl=ttl, timeout=5)[0].error is None


@pytest.mark.parametrize("option", [["-R"], ["-T", "tsonly"], ["-T", "tsandaddr"]])
def test_ip_options_come_back(namespace, option):
    with on_tap(namespace):
        done = namespace.run(["ping", "-c", "1", *option, STACK])
        assert received(done) == (1, 1)
        assert ("RR:" in done.stdout or "TS:" in done.stdout) and "unknown option" not in done.stdout


def test_df_with_too_large_a_size_is_refused_on_both_sides(namespace):
    with on_tap(namespace) as stack:
        done = namespace.run(["ping", "-c", "1", "-M", "do", "-s", "1473", STACK])
        assert "essage too long" in done.stdout
        (reply,) = stack.ping(HOST, count=1, size=1473, dont_fragment=True)
        assert (reply.error, reply.mtu, reply.source) == ("packet_too_big", 1500, None)
        assert stack.ping(HOST, count=1, size=1472, dont_fragment=True, timeout=5)[0].error is None


def test_the_path_mtu_is_learned_from_a_router(namespace):
    """stack - TAP of 1500 - kernel router - veth of 1280 - kernel."""
    with Namespace() as far, on_tap(namespace) as stack:
        veth(namespace, "out", far, "in")
        namespace.ip("addr add 10.78.0.1/24 dev out")
        namespace.ip("link set out mtu 1280")
        far.ip("addr add 10.78.0.2/24 dev in")
        far.ip("route add default via 10.78.0.1")
        namespace.sysctl("net.ipv4.ip_forward", 1)
        first, second = stack.ping("10.78.0.2", count=2, size=1400, interval=0, dont_fragment=True, timeout=3)
        assert (first.error, first.mtu, first.source) == ("packet_too_big", 1280, HOST)
        assert (second.error, second.mtu, second.source) == ("packet_too_big", 1280, None)
        assert stack.ping("10.78.0.2", count=1, size=1400, timeout=5)[0].error is None  # in fragments
        assert stack.ping("10.78.0.2", count=1, size=1252, dont_fragment=True, timeout=5)[0].error is None
        (expired,) = stack.ping("10.78.0.2", count=1, ttl=1)
        assert (expired.error, expired.source) == ("ttl_exceeded", HOST)
        # and the other way: fragments of 1280 come in, and those of 1500 that go out are cut again by the router
        far.ip("link set in mtu 1280")
        assert received(far.run(["ping", "-q", "-c", "2", "-i", "0.01", "-s", "3000", STACK])) == (2, 2)


def test_an_impaired_and_captured_link(namespace, tmp_path):
    path = tmp_path / "link.pcapng"

    def wrap(device):
        return Capture(Impaired(device, transmit=[Loss(1.0)]), path)

    with on_tap(namespace, wrap=wrap) as stack:
        assert received(namespace.run(["ping", "-q", "-c", "2", "-i", "0.01", "-W", "1", STACK])) == (2, 0)
        assert drops(stack)["impaired"] > 0
    with path.open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(frame) for _, frame in dpkt.pcapng.Reader(file)]
    asked = socket.inet_aton(STACK)
    assert any(isinstance(frame.data, dpkt.arp.ARP) and frame.data.tpa == asked for frame in frames)


def test_a_delay_is_what_it_says(namespace):
    with on_tap(
        namespace, wrap=lambda device: Impaired(device, receive=[Delay(0.05)], transmit=[Delay(0.05)])
    ) as stack:
        stack.ping(HOST, count=1)  # resolves
        (reply,) = stack.ping(HOST, count=1, timeout=5)
        assert 0.1 <= reply.rtt < 1
