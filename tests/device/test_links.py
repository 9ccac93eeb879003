"""Loopback and the linked pair: order, bounds, wakes."""

import pytest

from pystack.device.base import RECEIVE_FRAMES, Device, Wrapper
from pystack.device.loopback import Loopback
from pystack.device.memory import pair
from pystack.errors import DEVICE_REFUSED, QUEUE_FULL


def frames(*texts):
    return [(b"v" * 10, text) for text in texts]


def received(device):
    return [frame[10:] for frame in device.receive(0.0)]


def wakes(device):
    calls = []
    device.wake = lambda: calls.append(1)
    return calls


def test_loopback_returns_what_was_sent_in_order():
    device = Loopback()
    assert device.next_deadline() is None and device.receive(0.0) == []
    device.transmit(frames(b"a", b"b"), 0.0)
    assert device.next_deadline() == 0.0
    assert device.receive(0.0) == [b"v" * 10 + b"a", b"v" * 10 + b"b"]
    assert device.next_deadline() is None


def test_loopback_has_no_neighbours_and_all_offloads():
    device = Loopback()
    assert (device.mtu, device.resolves, device.checksum_offload, device.segment_offload) == (65536, False, True, True)
    assert device.fileno() == -1


def test_wake_comes_once_until_the_queue_is_empty_again():
    device = Loopback()
    calls = wakes(device)
    device.transmit([], 0.0)
    assert calls == []
    device.transmit(frames(b"a"), 0.0)
    device.transmit(frames(b"b"), 0.0)
    assert calls == [1]
    device.receive(0.0)
    device.transmit(frames(b"c"), 0.0)
    assert calls == [1, 1]


@pytest.mark.parametrize("limits", [{"max_frames": 2}, {"max_bytes": 22}])
def test_loopback_is_bounded_in_frames_and_in_bytes(limits):
    device = Loopback(**limits)
    device.transmit(frames(b"a", b"b", b"c"), 0.0)
    assert received(device) == [b"a", b"b"] and device.drops == {QUEUE_FULL: 1}
    device.transmit(frames(b"d"), 0.0)
    assert received(device) == [b"d"]


def test_a_large_backlog_is_taken_by_budget():
    device = Loopback()
    device.transmit(frames(*[b"x"] * (RECEIVE_FRAMES + 1)), 0.0)
    assert len(device.receive(0.0)) == RECEIVE_FRAMES and device.next_deadline() == 0.0
    assert len(device.receive(0.0)) == 1 and device.next_deadline() is None
    device.transmit(frames(*[bytes(65000)] * 20), 0.0)
    assert len(device.receive(0.0)) == 17  # 1 MB is passed by the 17th
    assert len(device.receive(0.0)) == 3


def test_closed_loopback_is_empty():
    device = Loopback()
    device.transmit(frames(b"a"), 0.0)
    device.close()
    device.close()
    assert device.receive(0.0) == []


def test_each_end_of_a_pair_receives_what_the_other_sent():
    a, b = pair(mtu=9000)
    assert (a.mtu, b.mtu) == (9000, 9000) and a.mac != b.mac
    calls = wakes(b)
    a.transmit(frames(b"to b"), 0.0)
    assert calls == [1]
    b.transmit(frames(b"to a"), 0.0)
    assert (received(a), received(b)) == ([b"to a"], [b"to b"])
    assert (received(a), received(b)) == ([], [])


def test_pair_drops_what_exceeds_its_limit_at_the_receiver():
    a, b = pair(limit=3)
    a.transmit(frames(*[b"x"] * 5), 0.0)
    assert len(b.receive(0.0)) == 3 and b.drops == {QUEUE_FULL: 2} and not a.drops


def test_super_segments_need_both_ends():
    a, b = pair()
    assert a.segment_offload and b.segment_offload
    b.segment_offload_allowed = False
    assert not a.segment_offload and not b.segment_offload and a.checksum_offload
    c, _ = pair(offload=False)
    assert not c.segment_offload and not c.checksum_offload


def test_nothing_passes_a_closed_end():
    a, b = pair()
    b.close()
    a.transmit(frames(b"x"), 0.0)
    assert b.receive(0.0) == [] and b.drops == {DEVICE_REFUSED: 1}
    a.close()
    a.transmit(frames(b"x"), 0.0)
    assert a.drops == {DEVICE_REFUSED: 1}


def test_wrapper_passes_every_attribute_and_call_of_a_device_on():
    a, b = pair(mtu=1400)
    wrapped = Wrapper(a)
    for attribute in ("name", "mtu", "mac", "checksum_offload", "segment_offload", "resolves", "drops"):
        assert getattr(wrapped, attribute) == getattr(a, attribute)
    wrapped.segment_offload_allowed = False
    assert a.segment_offload_allowed is False
    calls = wakes(wrapped)
    b.transmit(frames(b"x"), 0.0)
    assert calls == [1] and wrapped.next_deadline() == 0.0 and received(wrapped) == [b"x"]
    wrapped.open()
    wrapped.transmit(frames(b"y"), 0.0)
    assert received(b) == [b"y"] and wrapped.fileno() == -1
    calls = {name for name, value in vars(Device).items() if callable(value) and name != "__init__"}
    assert calls <= set(vars(Wrapper))
