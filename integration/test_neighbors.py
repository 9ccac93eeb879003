"""ARP with the kernel and arping."""

import gevent
import pytest

from integration.support.namespaces import has
from integration.support.stacks import HOST, STACK, on_tap
from pystack import StackConfig


def neighbor(stack, address=HOST):
    """(MAC, state) of a neighbour."""
    return next(((mac, state) for _, held, mac, state in stack.neighbors() if held == address), None)


@pytest.mark.skipif(not has("arping"), reason="needs arping (iputils-arping)")
def test_arping_is_answered_twice_and_detects_us(namespace):
    with on_tap(namespace):
        done = namespace.run(["arping", "-c", "2", "-I", "ps0", STACK])
        assert done.returncode == 0 and "Received 2 response" in done.stdout, done.stdout
        assert namespace.run(["arping", "-D", "-c", "1", "-I", "ps0", STACK]).returncode == 1
        assert namespace.run(["arping", "-D", "-w", "1", "-c", "1", "-I", "ps0", "10.77.0.99"]).returncode == 0


def test_a_changed_mac_is_learned(namespace):
    with on_tap(namespace) as stack:
        assert stack.ping(HOST, count=1, timeout=5)[0].error is None
        before = neighbor(stack)[0]
        namespace.ip("link set ps0 address 02:00:00:00:00:99")
        gevent.sleep(1.1)  # Linux's locktime, which we keep too: a newer mapping is not replaced by hearsay
        assert namespace.run(["ping", "-c", "1", STACK]).returncode == 0  # the kernel asks, so we hear of it
        assert stack.ping(HOST, count=1, timeout=5)[0].error is None
        assert before != neighbor(stack)[0] == "02:00:00:00:00:99"


def test_a_dead_neighbour_is_reported_and_forgotten(namespace):
    with on_tap(namespace) as stack:
        (reply,) = stack.ping("10.77.0.77", count=1, timeout=10)
        assert (reply.error, reply.source) == ("host_unreachable", None)
        assert neighbor(stack, "10.77.0.77") is None


def test_an_address_in_use_is_not_taken(namespace):
    """RFC 5227 §2.1.1: the kernel holds it."""
    with on_tap(namespace, StackConfig(probe_addresses=True)) as stack:
        namespace.ip(f"addr add {STACK}/32 dev ps0")
        for _ in range(80):
            if not any(held == f"{STACK}/24" for _, held in stack.addresses()) and stack.routes() and gave_up(stack):
                break
            gevent.sleep(0.1)
        assert gave_up(stack)
        assert ("eth0", f"{STACK}/24") not in stack.addresses()


def gave_up(stack):
    """Whether the address and its route are gone."""
    return not any(prefix == "10.77.0.0/24" for prefix, _, _ in stack.routes())


def test_a_free_address_is_taken_after_its_probes(namespace):
    with on_tap(namespace, StackConfig(probe_addresses=True)) as stack:
        assert ("eth0", f"{STACK}/24") not in stack.addresses()
        for _ in range(100):
            if ("eth0", f"{STACK}/24") in stack.addresses():
                break
            gevent.sleep(0.1)
        assert stack.ping(HOST, count=1, timeout=5)[0].error is None


def test_group_membership_is_seen_by_the_kernel(namespace):
    """The kernel does not keep members of its own; the report is what is looked for."""
    with on_tap(namespace) as stack, namespace.socket(2, 3, 2) as igmp:  # AF_INET, SOCK_RAW, IPPROTO_IGMP
        igmp.setsockopt(0, 35, bytes((224, 0, 0, 22)) + bytes((10, 77, 0, 1)))  # IP_ADD_MEMBERSHIP
        igmp.settimeout(0)
        stack.join_group("239.1.2.3")
        seen = b""
        for _ in range(50):
            try:
                seen = igmp.recv(2048)
                if bytes((239, 1, 2, 3)) in seen and seen[24] == 0x22:
                    break
            except BlockingIOError:
                gevent.sleep(0.02)
        assert seen[24] == 0x22 and bytes((239, 1, 2, 3)) in seen
        assert seen[8] == 1 and seen[1] == 0xC0 and seen[20:24] == b"\x94\x04\0\0"
        stack.leave_group("239.1.2.3")
