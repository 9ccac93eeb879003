"""Each rule's statistics under a fixed seed, and that the same seed gives the same bytes."""

import random
import struct

import pytest

from pystack.device.base import Device
from pystack.device.impair import (
    BitFlip,
    Blackhole,
    Delay,
    Duplicate,
    GilbertElliott,
    Impaired,
    Jitter,
    Loss,
    Rate,
    Reorder,
)
from pystack.device.memory import pair
from pystack.errors import IMPAIRED, QUEUE_FULL
from pystack.wire import checksum, vnet

N = 20000


def frame(size=100, number=0):
    return vnet.ZERO + struct.pack("!I", number) + bytes(size - 4)


def outcomes(rule, count=N, seed=1):
    rng = random.Random(seed)
    one = frame()
    return [rule.apply(0.0, one, rng) for _ in range(count)]


def link(**rules):
    a, b = pair(limit=100000)
    return Impaired(a, **rules), b


def numbers(frames):
    return [struct.unpack_from("!I", one, 10)[0] for one in frames]


def send(device, count, now=0.0, first=0, size=100):
    device.transmit([(frame(size, first + i),) for i in range(count)], now)


def test_loss_has_its_rate():
    rule = Loss(0.1)
    lost = sum(not outcome for outcome in outcomes(rule))
    assert lost == rule.events and abs(lost / N - 0.1) < 0.01


def test_gilbert_elliott_has_its_rate_and_its_bursts():
    """Loss p / (p + r); mean burst 1 / r."""
    rule = GilbertElliott(0.01, 0.25)
    lost = [not outcome for outcome in outcomes(rule, 10 * N)]
    bursts = sum(1 for before, this in zip([False, *lost], lost, strict=False) if this and not before)
    assert abs(sum(lost) / len(lost) - 0.01 / 0.26) < 0.004
    assert abs(sum(lost) / bursts - 4) < 0.3


def test_gilbert_elliott_loses_by_state():
    rule = GilbertElliott(0, 1, loss_good=0.5)
    assert abs(sum(not outcome for outcome in outcomes(rule)) / N - 0.5) < 0.02


def test_delay_and_jitter_have_their_times():
    assert outcomes(Delay(0.5), 2) == [[(0.5, frame())]] * 2
    times = [outcome[0][0] for outcome in outcomes(Jitter(0.2))]
    assert 0 <= min(times) < 0.001 and 0.199 < max(times) <= 0.2 and abs(sum(times) / N - 0.1) < 0.005


def test_duplicate_and_reorder_have_their_rates():
    twice = sum(len(outcome) == 2 for outcome in outcomes(Duplicate(0.2)))
    assert abs(twice / N - 0.2) < 0.01
    held = sum(outcome[0][0] == 0.01 for outcome in outcomes(Reorder(0.2, 0.01)))
    assert abs(held / N - 0.2) < 0.01


def test_bit_flip_changes_one_bit_and_never_the_vnet_header():
    original = int.from_bytes(frame()[10:], "big")
    flipped_bits = set()
    for outcome in outcomes(BitFlip(1)):
        [(_, changed)] = outcome
        assert changed[:10] == vnet.ZERO
        difference = original ^ int.from_bytes(changed[10:], "big")
        assert difference.bit_count() == 1
        flipped_bits.add(difference)
    assert len(flipped_bits) == 800


def test_bit_flip_is_detectable_in_a_frame_with_a_partial_or_trusted_checksum():
    body = struct.pack("!HHHH", 1, 2, 18, checksum.pseudo_header(b"\x0a\0\0\1", b"\x0a\0\0\2", 17, 18)) + b"0123456789"
    partial = vnet.build(vnet.F_NEEDS_CSUM, csum_start=0, csum_offset=6) + body
    rng = random.Random(1)
    for _ in range(300):
        [(_, changed)] = BitFlip(1).apply(0.0, partial, rng)
        assert not checksum.valid(changed[10:], checksum.pseudo_header(b"\x0a\0\0\1", b"\x0a\0\0\2", 17, 18))
        [(_, changed)] = BitFlip(1).apply(0.0, vnet.build(vnet.F_DATA_VALID) + body, rng)
        assert changed[0] == 0


def test_rate_spaces_frames_and_drops_what_the_queue_cannot_hold():
    rule = Rate(8000, queue_bytes=250)  # 1000 bytes per second
    results = [rule.apply(0.0, frame(100), None) for _ in range(4)]
    assert [[round(at, 6) for at, _ in result] for result in results] == [[0.1], [0.2], [], []]
    assert rule.events == 2
    [(at, _)] = rule.apply(0.1, frame(100), None)
    assert at == pytest.approx(0.3)
    [(at, _)] = rule.apply(5.0, frame(1000), None)  # an idle link takes any frame
    assert at == pytest.approx(6.0)


def test_blackhole_by_size_predicate_and_time():
    by_size = Blackhole(min_size=1400)
    assert by_size.apply(0.0, frame(1413), None) and not by_size.apply(0.0, frame(1414), None)
    by_content = Blackhole(lambda one: one[13] == 7)
    assert by_content.apply(0.0, frame(number=6), None) and not by_content.apply(0.0, frame(number=7), None)
    by_time = Blackhole(start=1.0, end=2.0)
    assert [bool(by_time.apply(at, frame(), None)) for at in (0.9, 1.0, 1.9, 2.0)] == [True, False, False, True]


@pytest.mark.parametrize("wrong", [lambda: Loss(1.1), lambda: Delay(-1), lambda: Rate(0, 1), lambda: BitFlip(-0.1)])
def test_senseless_rules_are_refused(wrong):
    with pytest.raises(ValueError):
        wrong()


def test_frames_are_held_until_they_are_due_and_no_longer():
    device, far = link(transmit=[Delay(0.1)], receive=[Delay(0.2)])
    assert device.next_deadline() is None
    send(device, 2, now=1.0)
    assert far.receive(1.0) == [] and device.next_deadline() == 1.1
    assert device.receive(1.1) == [] and numbers(far.receive(1.1)) == [0, 1]
    far.transmit([(frame(number=5),)], 1.1)
    assert device.next_deadline() == 0.0
    assert device.receive(1.1) == [] and device.next_deadline() == pytest.approx(1.3)
    assert numbers(device.receive(1.4)) == [5] and device.next_deadline() is None


def test_a_rule_behind_a_jitter_meets_frames_in_order_of_time():
    device, far = link(transmit=[Jitter(1.0), Rate(80000, 1 << 20)])
    send(device, 20)
    device.receive(10.0)
    order = numbers(far.receive(10.0))
    assert sorted(order) == list(range(20)) and order != sorted(order)


def test_reorder_lets_later_frames_overtake():
    device, far = link(transmit=[Reorder(0.1, 0.01)], seed=3)
    for number in range(100):
        send(device, 1, now=number * 0.001, first=number)
    device.receive(1.0)
    far_numbers = numbers(far.receive(1.0)) + numbers(far.receive(1.0))
    assert sorted(far_numbers) == list(range(100)) and far_numbers != sorted(far_numbers)
    assert device.counts["transmit_reorder"] > 0


def test_losses_are_counted_by_reason_and_by_rule():
    device, far = link(transmit=[Loss(1), Delay(1)], receive=[Blackhole()])
    send(device, 3)
    far.transmit([(frame(),)] * 2, 0.0)
    assert device.receive(0.0) == [] and far.receive(0.0) == []
    assert device.drops == {IMPAIRED: 5}
    assert device.counts == {"transmit_loss": 3, "transmit_delay": 0, "receive_blackhole": 2}


def test_held_frames_are_bounded():
    a, far = pair()
    device = Impaired(a, transmit=[Duplicate(1), Delay(1)], limit=10)
    send(device, 20)
    device.receive(2.0)
    assert len(far.receive(2.0)) == 10 and device.drops[QUEUE_FULL] > 0


def test_receive_keeps_to_its_budget_and_loses_nothing():
    device, far = link(receive=[Duplicate(1)])
    send(far, 100)
    sizes = []
    while device.next_deadline() is not None:
        sizes.append(len(device.receive(0.0)))
    assert sum(sizes) == 200 and max(sizes) <= 64


def test_super_segments_are_refused_through_every_wrapper():
    a, b = pair()
    device = Impaired(Impaired(a))
    assert not device.segment_offload and not b.segment_offload and device.checksum_offload


def test_rules_are_copied_per_direction_and_device():
    rules = [GilbertElliott(0.1, 0.1), Rate(1e6, 10000)]
    device, _ = link(transmit=rules, receive=rules)
    send(device, 50)
    assert rules[0].events == 0 and device.counts["receive_rate"] == 0


def test_closing_lets_go_of_held_frames():
    device, far = link(transmit=[Delay(1)])
    send(device, 3)
    device.close()
    device.close()
    assert device.next_deadline() is None and far.receive(9.0) == []


ALL_RULES = [
    GilbertElliott(0.02, 0.3),
    Rate(10e6, 20000),
    Delay(0.01),
    Jitter(0.005),
    Reorder(0.05, 0.02),
    Duplicate(0.05),
    BitFlip(0.05),
    Loss(0.02),
]


class Recorder(Device):
    """Keeps what is sent; receives nothing."""

    def __init__(self):
        super().__init__()
        self.sent = []

    def receive(self, now):
        return []

    def transmit(self, frames, now):
        self.sent += [b"".join(one) for one in frames]


def run(seed, polls):
    recorder = Recorder()
    device = Impaired(recorder, transmit=ALL_RULES, seed=seed)
    for number in range(500):
        now = number * 0.0005
        send(device, 1, now=now, first=number, size=200 + number)
        for part in range(polls):
            device.receive(now + part * 0.0001)
    device.receive(10.0)
    return recorder.sent


def test_same_seed_same_bytes_however_often_it_is_looked_after():
    assert run(1, 0) == run(1, 0) == run(1, 4)
    assert run(1, 0) != run(2, 0)


def test_the_two_directions_draw_independently():
    device, far = link(transmit=[Loss(0.5)], receive=[Loss(0.5)], seed=5)
    send(device, 64)
    send(far, 64)
    out, into = numbers(far.receive(0.0)), numbers(device.receive(0.0))
    assert out != into and 10 < len(out) < 54 and 10 < len(into) < 54
