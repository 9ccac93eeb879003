"""Out through the host and back: inner -- tap0 (router) out0 -- server, which knows no way to the inner network."""

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from integration.support import masquerades
from integration.support.masquerades import pings, tables
from integration.support.namespaces import Namespace, veth
from integration.support.stacks import on_tap
from pystack.errors import DeviceError

NETWORK = "10.77.0.0/24"
INNER = "10.77.0.2"
ROUTER = "192.0.2.1"  # its address on the server's side
SERVER = "192.0.2.2"

PROGRAM = f"""
import signal
from pystack.device.masquerade import Masquerade
masquerade = Masquerade("tap0", ["{NETWORK}"])
masquerade.open()
print("up", flush=True)
{{body}}
"""

FIREWALL = """
from pyroute2.nftables.main import NFTables
nft = NFTables()
nft.table("add", name="filter")
nft.chain("add", table="filter", name="FORWARD", hook="forward", type="filter", policy=0)
nft.close()
"""


@pytest.fixture
def outer(namespace):
    """The server's namespace, joined to the router's, which is *namespace*."""
    with Namespace() as made:
        veth(namespace, "out0", made, "eth0")
        namespace.ip(f"addr add {ROUTER}/24 dev out0")
        made.ip(f"addr add {SERVER}/24 dev eth0")
        switch(namespace, 0)  # a new namespace may have it on: it copies what its maker's has
        yield made


@pytest.fixture
def inner(namespace, outer):
    """The namespace behind tap0: another kernel stands for the stack."""
    with Namespace() as made:
        veth(namespace, "tap0", made, "eth0")
        namespace.ip("addr add 10.77.0.1/24 dev tap0")
        made.ip(f"addr add {INNER}/24 dev eth0")
        made.ip("route add default via 10.77.0.1")
        set_forwarding(namespace, "tap0", 0)
        yield made


def switch(namespace, value):
    namespace.sysctl("net.ipv4.ip_forward", value)


def set_forwarding(namespace, interface, value):
    namespace.sysctl(f"net.ipv4.conf.{interface}.forwarding", value)


def forwarding(namespace):
    """``{interface: setting}``, the switch among them as "all"."""
    with namespace.entered():
        return {
            path.parent.name: int(path.read_text()) for path in Path("/proc/sys/net/ipv4/conf").glob("*/forwarding")
        }


def opened_on(namespace, interface="tap0", network=NETWORK):
    return masquerades.Opened(namespace, interface, [network])


def start(namespace, body):
    """A process that has opened one for tap0."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = namespace.popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdin=-1, stdout=-1, stderr=-2, env=environment
    )
    assert process.stdout.readline() == b"up\n"
    return process


def finish(process):
    """What it said, and its exit status, once it has ended."""
    said, _ = process.communicate(timeout=20)
    return said.decode(), process.returncode


def test_tcp_and_ping_get_out_and_back_under_the_routers_address(namespace, inner, outer):
    before = forwarding(namespace)
    assert not pings(inner, SERVER)
    with outer.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((SERVER, 80))
        listener.listen()
        listener.settimeout(10)
        with opened_on(namespace):
            assert tables(namespace) == {"pystack_tap0"}
            assert pings(inner, SERVER)
            with inner.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(10)
                client.connect((SERVER, 80))
                served, peer = listener.accept()
                with served:
                    assert peer[0] == ROUTER
                    served.settimeout(10)
                    served.sendall(b"down")
                    assert client.recv(9) == b"down"
                    client.sendall(b"up")
                    assert served.recv(9) == b"up"
    assert tables(namespace) == set()
    assert forwarding(namespace) == before and set(before.values()) == {0}
    assert not pings(inner, SERVER)


def test_a_stack_on_a_tap_gets_out(namespace, outer):
    with on_tap(namespace) as stack, opened_on(namespace, "ps0"):
        assert stack.ping(SERVER, count=1, timeout=5)[0].error is None


def test_only_replies_come_in_by_an_interface_that_was_off(namespace, inner, outer):
    """The host is no router for its neighbours, neither to the stack nor elsewhere."""
    outer.ip(f"route add {NETWORK} via {ROUTER}")
    outer.ip(f"route add 198.51.100.0/24 via {ROUTER}")
    with Namespace() as third:
        veth(namespace, "third0", third, "eth0")
        namespace.ip("addr add 198.51.100.1/24 dev third0")
        third.ip("addr add 198.51.100.2/24 dev eth0")
        third.ip("route add default via 198.51.100.1")
        set_forwarding(namespace, "third0", 0)
        with opened_on(namespace):
            assert not pings(outer, INNER)
            assert not pings(outer, "198.51.100.2")
            assert pings(inner, "198.51.100.2") and pings(inner, SERVER)


def test_a_host_that_forwards_already_goes_on_as_it_was(namespace, inner, outer):
    outer.ip(f"route add {NETWORK} via {ROUTER}")
    switch(namespace, 1)
    before = forwarding(namespace)
    assert pings(outer, INNER)
    with opened_on(namespace):
        assert forwarding(namespace) == before
        assert pings(outer, INNER) and pings(inner, SERVER)
    assert forwarding(namespace) == before and set(before.values()) == {1}


def test_an_interface_that_was_on_or_off_by_itself_is_so_again(namespace, inner, outer):
    set_forwarding(namespace, "out0", 1)
    with opened_on(namespace):
        assert forwarding(namespace)["tap0"] == 1
    assert (forwarding(namespace)["out0"], forwarding(namespace)["tap0"]) == (1, 0)
    switch(namespace, 1)
    set_forwarding(namespace, "out0", 0)
    with opened_on(namespace):
        assert forwarding(namespace)["out0"] == 1
    assert (forwarding(namespace)["out0"], forwarding(namespace)["tap0"]) == (0, 1)


def test_what_somebody_else_has_switched_on_meanwhile_stays_on(namespace, inner):
    with opened_on(namespace):
        switch(namespace, 1)
    assert set(forwarding(namespace).values()) == {1}
    assert tables(namespace) == set()


def test_the_last_of_several_restores(namespace, outer):
    for name in ("tap1", "tap2"):
        namespace.ip(f"tuntap add {name} mode tap")
        set_forwarding(namespace, name, 0)
    before = forwarding(namespace)
    first = opened_on(namespace, "tap1", "10.1.0.0/24")
    assert forwarding(namespace) == {**before, "tap1": 1, "out0": 1}
    second = opened_on(namespace, "tap2", "10.2.0.0/24")
    assert tables(namespace) == {"pystack_tap1", "pystack_tap2"}
    first.close()
    assert forwarding(namespace) == {**before, "tap2": 1, "out0": 1}
    assert tables(namespace) == {"pystack_tap2"}
    second.close()
    assert forwarding(namespace) == before
    assert tables(namespace) == set()


def test_an_interface_that_has_gone_meanwhile_is_no_matter(namespace, inner, outer, caplog):
    with opened_on(namespace):
        namespace.ip("link del out0")
        namespace.ip("link del tap0")
    assert tables(namespace) == set()
    assert not caplog.records


def test_it_may_be_closed_twice_and_opened_again(namespace, inner, outer):
    opened = opened_on(namespace)
    for _ in range(2):
        opened.close()
        opened.close()
        assert tables(namespace) == set()
        with namespace.entered():
            opened.masquerade.open()
            opened.masquerade.open()
        assert pings(inner, SERVER)
    opened.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_table_and_the_next_one_restores(namespace, inner, end):
    before = forwarding(namespace)
    process = start(namespace, "signal.pause()")
    assert tables(namespace) == {"pystack_tap0"}
    process.send_signal(end)
    assert finish(process) == ("", -end)
    assert tables(namespace) == set()
    set_forwarding(namespace, "tap0", 0)  # a TAP would have gone with the process
    with opened_on(namespace):
        assert pings(inner, SERVER)
    assert forwarding(namespace) == before


def test_one_that_is_killed_leaves_the_others_as_they_are(namespace, inner):
    namespace.ip("tuntap add tap1 mode tap")
    with opened_on(namespace, "tap1", "10.1.0.0/24"):
        process = start(namespace, "signal.pause()")
        process.kill()
        finish(process)
        assert tables(namespace) == {"pystack_tap1"}
        assert forwarding(namespace)["out0"] == 1
    assert forwarding(namespace)["out0"] == 0


def test_a_forked_child_that_lets_go_does_not_keep_the_table(namespace, inner):
    body = """
import os, sys
read, write = os.pipe()
child = os.fork()
if child == 0:
    masquerade.abandon()
    os.write(write, b"x")
    signal.pause()
os.read(read, 1)
masquerade.close()
print(child, flush=True)
sys.stdin.read()
os.kill(child, signal.SIGKILL)
"""
    before = forwarding(namespace)
    process = start(namespace, body)
    assert process.stdout.readline().strip().isdigit()
    assert tables(namespace) == set()
    assert forwarding(namespace) == before
    assert finish(process) == ("", 0)


def test_a_second_one_for_the_same_interface_is_refused_and_changes_nothing(namespace, inner):
    with opened_on(namespace):
        before = forwarding(namespace)
        with pytest.raises(DeviceError, match=r"'tap0': there is a table 'ip pystack_tap0' already"):
            opened_on(namespace)
        assert forwarding(namespace) == before
        assert pings(inner, SERVER)


def test_no_such_interface(namespace):
    with pytest.raises(DeviceError, match=r"cannot set up --nat for 'tap9': there is no such interface"):
        opened_on(namespace, "tap9")
    assert tables(namespace) == set()


def test_without_the_right_it_says_so(namespace, inner):
    body = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
masquerade.close()
class Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]
assert libc.capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()) == 0
try:
    masquerade.open()
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""
    said, status = finish(start(namespace, body))
    assert status == 0
    assert said.startswith("DeviceError cannot set up --nat for 'tap0': needs CAP_NET_ADMIN (run as root")


def test_a_chain_of_somebody_elses_that_drops_is_told(namespace, inner, caplog):
    with opened_on(namespace):
        assert not caplog.records
    namespace.run([sys.executable, "-c", FIREWALL], check=True)
    with opened_on(namespace):
        assert "the nftables chain 'ip filter FORWARD' drops" in caplog.text
        assert not pings(inner, SERVER)
