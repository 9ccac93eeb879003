"""Transfers between the stack and the kernel, on links good and bad; what arrives is what was sent."""

import pytest

from integration.support.namespaces import Namespace, veth
from integration.support.stacks import HOST, on_tap
from integration.support.transfers import MB, transfer
from pystack import StackConfig
from pystack.config import TcpConfig
from pystack.device.impair import Blackhole, Delay, Duplicate, Impaired, Loss, Reorder

BOTH = pytest.mark.parametrize("towards_kernel", [True, False], ids=["out", "in"])


@BOTH
def test_100_mb_on_a_clean_link(namespace, towards_kernel):
    with on_tap(namespace) as stack:
        report = transfer(namespace, stack, 100 * MB, towards_kernel)
        print(f"{800 / report['seconds']:.0f} Mbit/s")
        for row in stack.counters().values():
            assert not {"drop.queue_full", "drop.bad_checksum", "drop.window_overflow"} & set(row)


LINKS = {
    "1% loss": [Loss(0.01), Delay(0.002)],
    "5% loss": [Loss(0.05), Delay(0.002)],
    "30% reordering": [Reorder(0.3, 0.002), Delay(0.002)],
    "duplicates": [Duplicate(0.1), Delay(0.001)],
}


@BOTH
@pytest.mark.parametrize("link", LINKS)
def test_10_mb_on_a_bad_link(namespace, link, towards_kernel):
    def wrap(device):
        return Impaired(device, transmit=LINKS[link], receive=LINKS[link], seed=7)

    with on_tap(namespace, wrap=wrap) as stack:
        report = transfer(namespace, stack, 10 * MB, towards_kernel)
        print(f"{80 / report['seconds']:.1f} Mbit/s")


@BOTH
def test_10_mb_at_20_percent_loss(namespace, towards_kernel):
    """With the least timeout at 10 ms at both ends, or such a link takes minutes, with any stack."""
    rules = [Loss(0.2), Delay(0.001)]
    config = StackConfig(tcp=TcpConfig(tcp_rto_min=0.01, delayed_ack_min=0.005, delayed_ack_max=0.01))

    def wrap(device):
        return Impaired(device, transmit=rules, receive=rules, seed=7)

    with on_tap(namespace, config, wrap=wrap) as stack:
        namespace.ip(f"route change 10.77.0.0/24 dev ps0 src {HOST} rto_min 10ms")
        report = transfer(namespace, stack, 10 * MB, towards_kernel)
        print(f"{80 / report['seconds']:.1f} Mbit/s")


@BOTH
def test_10_mb_through_an_mtu_hole(namespace, towards_kernel):
    """A link that drops what is larger than 1,280 bytes, and says nothing (RFC 4821)."""
    namespace.sysctl("net.ipv4.tcp_mtu_probing", 1)
    rules = [Blackhole(min_size=1281)]

    def wrap(device):
        return Impaired(device, transmit=rules, receive=rules)

    with on_tap(namespace, wrap=wrap) as stack:
        transfer(namespace, stack, 10 * MB, towards_kernel)


@BOTH
def test_an_mtu_that_a_router_tells_of(namespace, towards_kernel):
    """stack - TAP of 1500 - kernel router - veth of 1280 - kernel: Fragmentation Needed is obeyed (RFC 1191)."""
    with Namespace() as far, on_tap(namespace) as stack:
        veth(namespace, "out", far, "in")
        namespace.ip("addr add 10.78.0.1/24 dev out")
        namespace.ip("link set out mtu 1280")
        far.ip("addr add 10.78.0.2/24 dev in")
        far.ip("route add default via 10.78.0.1")
        namespace.sysctl("net.ipv4.ip_forward", 1)
        transfer(far, stack, MB, towards_kernel)
