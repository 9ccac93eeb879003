"""The same for IPv6: inner -- tap0 (router) out0 -- server; by force_forwarding, and by the switch of older kernels."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import gevent
import pytest

from integration.support.masquerades import Opened, pings, tables
from integration.support.namespaces import Namespace, veth
from pystack.device import forwarding6

NETWORKS = ("10.77.0.0/24", "fdc5:77ab:1b4e::/64")
INNER = "fdc5:77ab:1b4e::2"
ROUTER = "2001:db8::1"  # its address on the server's side
SERVER = "2001:db8::2"
BEYOND = "2001:db8:1::1"  # of the server's, for a route that a router advertisement tells of

PROGRAM = f"""
import signal
from pystack.device import forwarding6
from pystack.device.masquerade import Masquerade
forwarding6.FORCE = "{{force}}"
Masquerade("tap0", {NETWORKS}).open()
print("up", flush=True)
signal.pause()
"""

# Sends one advertisement of a router for a minute, as RFC 4861 §4.2 has it.
ADVERTISE = """
import socket, struct
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex("eth0")
sock.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 60, 0, 0), ("ff02::1", 0, 0, index))
"""


@pytest.fixture(params=[forwarding6.FORCE, "absent"], ids=["force", "switch"])
def force(request, namespace, monkeypatch):
    with namespace.entered():
        if not Path(f"/proc/sys/net/ipv6/conf/lo/{request.param}").exists() and request.param != "absent":
            pytest.skip("this kernel has no force_forwarding")
    monkeypatch.setattr(forwarding6, "FORCE", request.param)
    return request.param


@pytest.fixture
def outer(namespace, force):
    """The server's namespace, joined to the router's, which is *namespace*."""
    with Namespace() as made:
        for each in (namespace, made):
            set_on(each, "default", "dad_transmits", 0)  # so that link-local addresses are there at once
        veth(namespace, "out0", made, "eth0")
        namespace.ip(f"addr add {ROUTER}/64 dev out0 nodad")
        made.ip(f"addr add {SERVER}/64 dev eth0 nodad")
        made.ip(f"addr add {BEYOND}/128 dev lo nodad")
        until_up(namespace, "out0")
        until_up(made, "eth0")
        yield made


@pytest.fixture
def inner(namespace, outer):
    """The namespace behind tap0: another kernel stands for the stack."""
    with Namespace() as made:
        veth(namespace, "tap0", made, "eth0")
        namespace.ip("addr add fdc5:77ab:1b4e::1/64 dev tap0 nodad")
        made.ip(f"addr add {INNER}/64 dev eth0 nodad")
        made.ip("-6 route add default via fdc5:77ab:1b4e::1")
        set_on(namespace, "all", "forwarding", 0)
        until_up(namespace, "tap0")
        until_up(made, "eth0")
        yield made


def until(true, timeout=5):
    """Wait until ``true()``, for what the kernel does in a moment."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        gevent.sleep(0.02)


def until_up(namespace, interface):
    """The kernel looks at a new link's carrier up to a second later, and sends no IPv6 before."""
    until(lambda: "fe80::" in namespace.ip(f"-6 addr show dev {interface} -tentative"))


def set_on(namespace, interface, setting, value):
    namespace.sysctl(f"net.ipv6.conf.{interface}.{setting}", value)


def settings(namespace):
    """``{"out0/accept_ra": "1"}``: all that could be changed."""
    with namespace.entered():
        return {
            f"{path.parent.name}/{path.name}": path.read_text().strip()
            for name in ("forwarding", "accept_ra", "force_forwarding")
            for version in (4, 6)
            for path in Path(f"/proc/sys/net/ipv{version}/conf").glob(f"*/{name}")
        }


def start(namespace, force):
    """A process that has one open for tap0."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    code = PROGRAM.format(force=force)
    process = namespace.popen([sys.executable, "-c", code], stdout=-1, stderr=-2, env=environment)
    assert process.stdout.readline() == b"up\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)


def test_tcp_and_ping_get_out_and_back_under_the_routers_address(namespace, inner, outer):
    before = settings(namespace)
    assert not pings(inner, SERVER)
    with outer.socket(socket.AF_INET6, socket.SOCK_STREAM) as listener:
        listener.bind((SERVER, 80))
        listener.listen()
        listener.settimeout(10)
        with Opened(namespace, "tap0", NETWORKS):
            assert tables(namespace, 4) == tables(namespace, 6) == {"pystack_tap0"}
            assert pings(inner, SERVER)
            with inner.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
                client.settimeout(10)
                client.connect((SERVER, 80))
                served, peer = listener.accept()
                with served:
                    assert peer[0] == ROUTER
                    served.sendall(b"down")
                    assert client.recv(9) == b"down"
    assert tables(namespace, 4) == tables(namespace, 6) == set()
    assert settings(namespace) == before
    assert not pings(inner, SERVER)


def test_only_replies_come_in(namespace, inner, outer):
    """The host is no router for its neighbours, neither to the stack nor elsewhere."""
    outer.ip(f"route add {NETWORKS[1]} via {ROUTER}")
    outer.ip(f"route add 2001:db8:2::/64 via {ROUTER}")
    with Namespace() as third:
        veth(namespace, "third0", third, "eth0")
        namespace.ip("addr add 2001:db8:2::1/64 dev third0 nodad")
        third.ip("addr add 2001:db8:2::2/64 dev eth0 nodad")
        third.ip("-6 route add default via 2001:db8:2::1")
        with Opened(namespace, "tap0", NETWORKS):
            assert not pings(outer, INNER)
            assert not pings(outer, "2001:db8:2::2")
            assert pings(inner, "2001:db8:2::2") and pings(inner, SERVER)


def test_the_host_goes_on_believing_its_router(namespace, inner, outer):
    """What it has learned stays, through all changes, and what comes meanwhile is learned."""
    set_on(namespace, "out0", "accept_ra", 1)
    set_on(namespace, "tap0", "forwarding", 1)  # and so is to be put back, which costs routes as well
    before = settings(namespace)
    advertise = [sys.executable, "-c", ADVERTISE]

    def knows():
        return "proto ra" in namespace.ip("-6 route show default")

    outer.run(advertise, check=True)
    until(knows)
    with Opened(namespace, "tap0", NETWORKS):
        assert knows()
        assert pings(inner, BEYOND)
        namespace.ip("-6 route flush proto ra")
        assert not knows()
        outer.run(advertise, check=True)
        until(knows)
    assert knows()
    assert settings(namespace) == before


def test_a_host_that_is_a_router_goes_on_as_it_was(namespace, inner, outer):
    outer.ip(f"route add {NETWORKS[1]} via {ROUTER}")
    set_on(namespace, "all", "forwarding", 1)
    before = settings(namespace)
    assert pings(outer, INNER)
    with Opened(namespace, "tap0", NETWORKS[1:]):
        assert settings(namespace) == before
        assert pings(outer, INNER) and pings(inner, SERVER)
    assert settings(namespace) == before


def test_what_somebody_else_has_switched_on_meanwhile_stays_on(namespace, inner):
    with Opened(namespace, "tap0", NETWORKS[1:]):
        set_on(namespace, "all", "forwarding", 1)
    after = settings(namespace)
    assert after["all/forwarding"] == after["out0/forwarding"] == "1"
    assert tables(namespace, 6) == set()


def test_what_somebody_else_has_switched_off_meanwhile_stays_off(namespace, inner):
    before = settings(namespace)
    with Opened(namespace, "tap0", NETWORKS[1:]):
        set_on(namespace, "all", "forwarding", 0)
    assert settings(namespace) == before


def test_the_last_of_several_restores(namespace, outer):
    for name in ("tap1", "tap2"):
        namespace.ip(f"tuntap add {name} mode tap")
    set_on(namespace, "all", "forwarding", 0)
    before = settings(namespace)
    first = Opened(namespace, "tap1", ["fd01::/64"])
    second = Opened(namespace, "tap2", ["fd02::/64"])
    first.close()
    assert tables(namespace, 6) == {"pystack_tap2"}
    changed = {name for name, value in settings(namespace).items() if value != before[name]}
    assert changed in ({"tap2/force_forwarding", "out0/force_forwarding"}, {"all/forwarding"})
    second.close()
    assert settings(namespace) == before and tables(namespace, 6) == set()


def test_a_killed_process_leaves_no_table_and_the_next_one_restores(namespace, inner, force):
    before = settings(namespace)
    kill(start(namespace, force))
    assert tables(namespace, 6) == set()
    if force != "absent":
        set_on(namespace, "tap0", "force_forwarding", 0)  # a TAP would have gone with the process
    namespace.sysctl("net.ipv4.conf.tap0.forwarding", 0)
    with Opened(namespace, "tap0", NETWORKS):
        assert pings(inner, SERVER)
    assert settings(namespace) == before


def test_a_switch_that_was_half_turned_is_put_back_by_the_next(namespace, inner, monkeypatch):
    """A process that is killed in between has written down what there was."""
    monkeypatch.setattr(forwarding6, "FORCE", "absent")
    before = settings(namespace)

    class Killed(BaseException):
        pass

    def put_back(settings):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(forwarding6, "_put_back", put_back)
        with pytest.raises(Killed):
            Opened(namespace, "tap0", NETWORKS[1:])
    assert settings(namespace)["out0/forwarding"] == "1"
    with Opened(namespace, "tap0", NETWORKS[1:]):
        assert settings(namespace)["out0/forwarding"] == "0"
        assert pings(inner, SERVER)
    assert settings(namespace) == before


def test_a_host_without_ipv6_gets_ipv4_alone(namespace, inner, caplog):
    set_on(namespace, "all", "disable_ipv6", 1)
    with Opened(namespace, "tap0", NETWORKS):
        assert tables(namespace, 4) == {"pystack_tap0"} and tables(namespace, 6) == set()
    assert not caplog.records


def test_where_ipv6_fails_ipv4_goes_on_and_a_line_says_so(namespace, inner, caplog, monkeypatch):
    before = settings(namespace)

    def refuse(*_):
        raise PermissionError(30, "Read-only file system", "/proc/sys/net/ipv6/conf/all/forwarding")

    monkeypatch.setattr(forwarding6.Ipv6Forwarding, "turn_on", refuse)
    with Opened(namespace, "tap0", NETWORKS):
        assert tables(namespace, 4) == {"pystack_tap0"} and tables(namespace, 6) == set()
    assert "IPv4 alone, not IPv6: cannot write /proc/sys/net/ipv6" in caplog.text
    assert settings(namespace) == before
