"""What a Tap refuses before it touches the host. The rest needs a kernel: integration/test_tap.py."""

import pytest

from pystack.device.tap import Tap
from pystack.errors import DeviceError


@pytest.mark.parametrize("name", ["", "a" * 16, "a/b", "a b", "..", "a:b", "a%s", "%d%d"])
def test_bad_name(name):
    with pytest.raises(DeviceError, match="1 to 15 characters"):
        Tap(name).open()


@pytest.mark.parametrize("address", ["10.0.0.300/24", "10.0.0.1/33", "x", "224.0.0.1/24", "127.0.0.1/8", "::/64"])
def test_bad_host_address(address):
    with pytest.raises(DeviceError, match="host address"):
        Tap(host_addresses=["10.9.9.1/24", address]).open()


@pytest.mark.parametrize("mac", [b"\2", b"\1\0\0\0\0\1"])
def test_bad_mac(mac):
    with pytest.raises(DeviceError, match="6 bytes"):
        Tap(mac=mac).open()


def test_made_address_is_unicast_local_and_its_own():
    macs = {Tap().mac for _ in range(50)}
    assert len(macs) == 50 and all(mac[0] & 3 == 2 for mac in macs)


def test_unknown_namespace():
    with pytest.raises(DeviceError, match="no network namespace /run/netns/pystack-none"):
        Tap(netns="pystack-none").open()


def test_offloads_follow_what_a_wrapper_allows():
    tap = Tap()
    assert tap.segment_offload and tap.checksum_offload
    tap.segment_offload_allowed = False
    assert not tap.segment_offload and tap.checksum_offload
    assert not Tap(offload=False).checksum_offload


def test_closing_what_was_never_open_is_harmless():
    tap = Tap()
    tap.close()
    tap.close()
    assert tap.fileno() == -1
