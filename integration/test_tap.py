"""Tap against the kernel: what it makes, negotiates and undoes, and how it fails. Needs root."""

import gc
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from integration.support.namespaces import Namespace
from pystack.device.impair import Impaired
from pystack.device.tap import Tap
from pystack.errors import DEVICE_REFUSED, DeviceError


@pytest.fixture
def second_namespace():
    with Namespace() as made:
        yield made


@pytest.fixture(autouse=True)
def no_descriptor_leaks(namespace):
    import pyroute2.netlink.rtnl.ifaddrmsg  # noqa: F401  what importing opens is not the device's leak

    gc.collect()
    before = sorted(os.listdir("/proc/self/fd"))
    home = os.readlink("/proc/thread-self/ns/net")
    yield
    gc.collect()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert os.readlink("/proc/thread-self/ns/net") == home


def said(namespace, *argv):
    return namespace.run(list(argv), capture_output=True, text=True).stdout


def links(namespace):
    return said(namespace, "ip", "-o", "link")


def test_made_with_its_settings_and_gone_after_close(namespace):
    tap = Tap(netns=namespace.path, mtu=1400, host_addresses=["10.98.0.1/24", "fd00:98::1/64"])
    tap.open()
    tap.open()  # has no effect
    shown = said(namespace, "ip", "addr", "show", "dev", tap.name)
    assert tap.name == "pystack0" and "mtu 1400" in shown and "qlen 10000" in shown and "UP" in shown
    assert "inet 10.98.0.1/24 brd 10.98.0.255" in shown and "inet6 fd00:98::1/64" in shown
    assert "tentative" not in shown.split("fd00:98::1/64")[1].splitlines()[0]
    assert tap.host_mac.hex(":") in shown and tap.mac != tap.host_mac
    assert not os.get_blocking(tap.fileno()) and not os.get_inheritable(tap.fileno())
    tap.close()
    tap.close()
    assert "pystack0" not in links(namespace) and tap.fileno() == -1


def test_the_hosts_routes_of_both_versions_are_known(namespace):
    namespace.ip("route add 10.77.0.0/24 dev lo")
    namespace.ip("-6 route add fdc5:77ab:1b4e:1::/64 dev lo")
    script = "from pystack.device.hostroutes import taken_networks; print(*taken_networks())"
    assert {"10.77.0.0/24", "fdc5:77ab:1b4e:1::/64"} <= set(said(namespace, sys.executable, "-c", script).split())


def test_can_be_opened_again(namespace):
    tap = Tap(netns=namespace.path)
    for _ in range(2):
        tap.open()
        assert tap.name == "pystack0"
        tap.close()


def test_an_attached_interface_is_left_as_it_was(namespace):
    said(namespace, "ip", "tuntap", "add", "mine", "mode", "tap")
    said(namespace, "ip", "link", "set", "mine", "mtu", "1300", "txqueuelen", "77")
    said(namespace, "ip", "addr", "add", "10.98.1.1/24", "dev", "mine")
    before = said(namespace, "ip", "addr", "show", "dev", "mine")
    tap = Tap("mine", netns=namespace.path, mtu=1500, host_addresses=["10.98.1.1/24", "10.98.2.1/24", "fd00:98::1/64"])
    tap.open()
    during = said(namespace, "ip", "addr", "show", "dev", "mine")
    assert "mtu 1500" in during and "qlen 10000" in during and "UP" in during
    assert "10.98.2.1/24" in during and "fd00:98::1/64" in during
    tap.close()
    after = said(namespace, "ip", "addr", "show", "dev", "mine")
    assert without_carrier(after) == without_carrier(before)
    assert "tcp-segmentation-offload: off" in said(namespace, "ethtool", "-k", "mine")


def without_carrier(shown):
    """The address lines and the settings; the kernel's notion of carrier stays after any use of a TAP."""
    first, *rest = shown.splitlines()
    words = first.split()
    return words[words.index("mtu") : words.index("mtu") + 2], "qlen 77" in first, ",UP" in first, rest


def test_a_failed_open_leaves_an_attached_interface_as_it_was(namespace):
    said(namespace, "ip", "tuntap", "add", "mine", "mode", "tap")
    said(namespace, "ip", "tuntap", "add", "other", "mode", "tap")
    said(namespace, "ip", "addr", "add", "10.98.3.1/24", "dev", "other")
    before = said(namespace, "ip", "addr", "show", "dev", "mine")
    with pytest.raises(DeviceError, match=r"10\.98\.3\.9/25 overlaps 10\.98\.3\.0/24.*choose another network"):
        Tap("mine", netns=namespace.path, mtu=1400, host_addresses=["10.98.3.9/25"]).open()
    assert said(namespace, "ip", "addr", "show", "dev", "mine") == before


def test_a_failed_open_leaves_no_new_interface(namespace):
    with pytest.raises(DeviceError, match="cannot set MTU 70000"):
        Tap(netns=namespace.path, mtu=70000).open()
    assert "pystack" not in links(namespace)


def test_the_same_name_twice(namespace):
    first = Tap("twice", netns=namespace.path)
    first.open()
    with pytest.raises(DeviceError, match=r"'twice': another process .* has it open"):
        Tap("twice", netns=namespace.path).open()
    assert "twice" in links(namespace)
    first.close()


def test_the_name_of_another_kind_of_interface(namespace):
    said(namespace, "ip", "tuntap", "add", "other", "mode", "tun")
    with pytest.raises(DeviceError, match="choose another name"):
        Tap("other", netns=namespace.path).open()


@pytest.mark.skipif(Path("/proc/self/setgroups").read_text() == "deny\n", reason="needs a second user to become")
@pytest.mark.parametrize("opened", [False, True])
def test_an_unprivileged_user_is_told_what_to_do(monkeypatch, opened):
    """Whether it is already the device file that refuses, as it does here, or TUNSETIFF."""
    reader, writer = os.pipe()
    ready = os.open("/dev/net/tun", os.O_RDWR)
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            if opened:
                monkeypatch.setattr(os, "open", lambda *arguments: ready)
            Tap("others").open()
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(writer)
    with open(reader) as pipe:
        told = pipe.read()
    assert told.startswith("DeviceError") and "'others'" in told
    assert "run as root" in told and ("attach to a TAP that you own" in told or not opened)


def test_deleted_under_us(namespace):
    tap = Tap(netns=namespace.path)
    tap.open()
    said(namespace, "ip", "link", "del", tap.name)
    assert select.select([tap.fileno()], [], [], 5)[0]  # its reader is woken
    tap.transmit([(bytes(10), bytes(60))], 0.0)
    assert tap.drops == {DEVICE_REFUSED: 1}
    with pytest.raises(DeviceError, match="'pystack0' has gone"):
        tap.receive(0.0)
    tap.close()


def test_frames_for_an_interface_that_is_down_are_counted(namespace):
    tap = Tap(netns=namespace.path)
    tap.open()
    said(namespace, "ip", "link", "set", tap.name, "down")
    tap.transmit([(bytes(10), bytes(60))] * 3, 0.0)
    assert tap.drops == {DEVICE_REFUSED: 3}
    tap.receive(0.0)
    assert tap.receive(0.0) == []
    tap.close()


def test_a_frame_of_very_many_buffers_is_sent(namespace):
    tap = Tap(netns=namespace.path)
    tap.open()
    tap.transmit([(bytes(10), tap.host_mac + tap.mac + b"\x08\x00", *[b"x"] * 1100)], 0.0)
    assert not tap.drops
    assert "1114" in said(namespace, "ip", "-s", "link", "show", "dev", tap.name)
    tap.close()


def test_abandon_closes_the_descriptors_only(namespace):
    tap = Tap(netns=namespace.path)
    tap.open()
    child = os.fork()
    if not child:
        tap.abandon()
        os._exit(0 if tap.fileno() == -1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert tap.name in links(namespace)
    tap.close()


SERVER = """
import hashlib, socket
s = socket.create_server(("10.98.9.2", 5000))
c, _ = s.accept()
h = hashlib.sha256()
while data := c.recv(1 << 16):
    h.update(data)
print(h.hexdigest())
"""
CLIENT = """
import hashlib, os, socket, time
for _ in range(100):
    try:
        c = socket.create_connection(("10.98.9.2", 5000), 5)
        break
    except OSError:
        time.sleep(0.1)
data = os.urandom(4 << 20)
c.sendall(data)
c.close()
print(hashlib.sha256(data).hexdigest())
"""


def run_over_a_cable(first, second, first_namespace, second_namespace):
    """A TCP transfer between two kernels, with two open devices plugged together; returns the sizes of all frames."""
    programs = [
        subprocess.Popen(
            ["nsenter", f"--net={namespace.path}", sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        for program, namespace in ((SERVER, second_namespace), (CLIENT, first_namespace))
    ]
    sizes = []
    try:
        end = time.monotonic() + 30
        while programs[0].poll() is None and time.monotonic() < end:
            select.select([first, second], [], [], 0.1)
            for device, other in ((first, second), (second, first)):
                frames = device.receive(time.monotonic())
                sizes += map(len, frames)
                other.transmit([(frame,) for frame in frames], time.monotonic())
        digests = [program.communicate(timeout=10)[0] for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.wait()
            program.stdout.close()
    assert digests[0] == digests[1] != ""
    return sizes


@pytest.mark.parametrize(
    ("offload", "wrapped", "large"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_offloads_are_what_was_negotiated(namespace, second_namespace, offload, wrapped, large):
    """The kernel's super-segments arrive, and are taken back; not without offload, and not behind impairments."""
    first = Tap(netns=namespace.path, offload=offload, host_addresses=["10.98.9.1/24"])
    second = Tap(netns=second_namespace.path, offload=offload, host_addresses=["10.98.9.2/24"])
    if wrapped:
        first, second = Impaired(first), Impaired(second)
    first.open()
    second.open()
    try:
        assert first.segment_offload is large and first.checksum_offload is offload
        sizes = run_over_a_cable(first, second, namespace, second_namespace)
        assert max(sizes) > 30000 if large else max(sizes) <= 10 + 14 + 1500
        assert not first.drops and not second.drops
    finally:
        first.close()
        second.close()
