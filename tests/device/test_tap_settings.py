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


def test_frames_that_come_alone_are_read_one_by_one_and_many_together(monkeypatch):
    """A read that finds nothing is made only now and then, where each wake brings one short frame."""
    waiting, reads = [], []

    def read(fd, size):
        reads.append(fd)
        if not waiting:
            raise BlockingIOError
        return waiting.pop(0)

    monkeypatch.setattr("pystack.device.tap.os.read", read)
    tap = Tap()

    def wake(*frames, now=0.0):
        waiting.extend(frames)
        before = len(reads)
        return len(tap.receive(now)), len(reads) - before

    short, long = bytes(100), bytes(1500)
    assert [wake(short) for _ in range(9)] == [(1, 2)] + 7 * [(1, 1)] + [(1, 2)]
    assert wake(long) == (1, 2)  # part of more, perhaps
    assert wake(long, long, short) == (3, 4)
    assert wake(short, short) == (2, 3)
    assert wake(short) == (1, 2)
    assert wake(short, short) == (1, 1) and waiting  # the descriptor says so
    assert wake() == (1, 1)
    for _ in range(5):
        wake(short)
    assert wake(short, short, short) == (3, 4)
    wake(short)
    assert wake(short) == (1, 1)
    assert wake(short, short, now=0.2) == (2, 3)  # late: an ACK among them may be what a timer waits for
