"""A bad network around any device, by rules; the same seed and traffic give the same bytes at the same times.

A rule is asked ``apply(at, frame, rng)`` once per frame, in order of time, and answers with a list of
``(deliver_at, frame)``: empty to lose it. ``at`` and ``deliver_at`` are the clock's seconds, ``frame`` is bytes that
start with the virtio-net header, ``rng`` a `random.Random`. ``events`` counts what the rule did, ``name`` is for the
statistics.
"""

import copy
import heapq
import random

from pystack.counts import Counts
from pystack.device.base import RECEIVE_FRAMES, VNET_HEADER, Wrapper
from pystack.errors import IMPAIRED, QUEUE_FULL
from pystack.wire import vnet

_ETHERNET_HEADER = 14


class Rule:
    """Base of the rules; itself lets everything pass."""

    name = "pass"

    def __init__(self):
        self.events = 0

    def apply(self, at, frame, rng):
        return [(at, frame)]


def _probability(value):
    if not 0 <= value <= 1:
        raise ValueError(f"a probability is from 0 to 1, not {value!r}")
    return value


def _not_negative(value):
    if value < 0:
        raise ValueError(f"must not be negative: {value!r}")
    return value


class _Chance(Rule):
    """Base of the rules that strike with probability *p*, each frame for itself."""

    def __init__(self, p):
        super().__init__()
        self.p = _probability(p)


class Loss(_Chance):
    """Lose each frame with probability *p*, independently."""

    name = "loss"

    def apply(self, at, frame, rng):
        if rng.random() < self.p:
            self.events += 1
            return []
        return [(at, frame)]


class GilbertElliott(Rule):
    """Loss in bursts: a link that is good or bad, and changes between two frames.

    Args:
        p: probability to turn bad, per frame.
        r: probability to turn good again; 1/r frames is the mean burst.
        loss_good, loss_bad: probability of loss in each state.
    """

    name = "burst_loss"

    def __init__(self, p, r, loss_good=0.0, loss_bad=1.0):
        super().__init__()
        self.p = _probability(p)
        self.r = _probability(r)
        self.loss_good = _probability(loss_good)
        self.loss_bad = _probability(loss_bad)
        self._bad = False

    def apply(self, at, frame, rng):
        if rng.random() < (self.r if self._bad else self.p):
            self._bad = not self._bad
        if rng.random() < (self.loss_bad if self._bad else self.loss_good):
            self.events += 1
            return []
        return [(at, frame)]


class Delay(Rule):
    """Deliver every frame *seconds* later."""

    name = "delay"

    def __init__(self, seconds):
        super().__init__()
        self.seconds = _not_negative(seconds)

    def apply(self, at, frame, rng):
        self.events += 1
        return [(at + self.seconds, frame)]


class Jitter(Rule):
    """Deliver each frame later by a time drawn evenly from 0 to *seconds*; closer frames may change places."""

    name = "jitter"

    def __init__(self, seconds):
        super().__init__()
        self.seconds = _not_negative(seconds)

    def apply(self, at, frame, rng):
        self.events += 1
        return [(at + rng.random() * self.seconds, frame)]


class Reorder(_Chance):
    """Hold each frame back for *hold* seconds with probability *p*, so that those behind overtake it."""

    name = "reorder"

    def __init__(self, p, hold):
        super().__init__(p)
        self.hold = _not_negative(hold)

    def apply(self, at, frame, rng):
        if rng.random() < self.p:
            self.events += 1
            return [(at + self.hold, frame)]
        return [(at, frame)]


class Duplicate(_Chance):
    """Deliver a frame twice with probability *p*."""

    name = "duplicate"

    def apply(self, at, frame, rng):
        if rng.random() < self.p:
            self.events += 1
            return [(at, frame), (at, frame)]
        return [(at, frame)]


class BitFlip(_Chance):
    """Invert one bit of the Ethernet frame with probability *p*.

    A partial checksum is finished first, and the frame no longer vouched for as valid: the receiver can tell.
    """

    name = "bit_flip"

    def apply(self, at, frame, rng):
        if rng.random() >= self.p or len(frame) <= VNET_HEADER:
            return [(at, frame)]
        self.events += 1
        flipped = bytearray(vnet.complete_checksum(frame))
        flipped[:VNET_HEADER] = vnet.ZERO
        bit = rng.randrange(VNET_HEADER * 8, len(flipped) * 8)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        return [(at, bytes(flipped))]


class Rate(Rule):
    """A link of *bits_per_second* behind a queue of *queue_bytes*; what finds it full is lost (drop tail).

    Sizes are of the Ethernet frame. A frame is delivered when its last bit has passed.
    """

    name = "rate"

    def __init__(self, bits_per_second, queue_bytes):
        super().__init__()
        if bits_per_second <= 0:
            raise ValueError(f"a rate must be more than 0 bit/s, not {bits_per_second!r}")
        self.bytes_per_second = bits_per_second / 8
        self.queue_bytes = _not_negative(queue_bytes)
        self._free_at = 0.0  # when the last queued bit has passed

    def apply(self, at, frame, rng):
        size = len(frame) - VNET_HEADER
        start = max(at, self._free_at)
        # An idle link takes any frame; else it has to fit in behind those that have not passed yet.
        if start > at and (start - at) * self.bytes_per_second + size > self.queue_bytes:
            self.events += 1
            return []
        self._free_at = start + size / self.bytes_per_second
        return [(self._free_at, frame)]


class Blackhole(Rule):
    """Lose every frame to which all the conditions apply.

    Args:
        predicate: called with the frame; None for every frame.
        min_size: bytes of IP packet, from which on frames vanish (a path MTU black hole).
        start, end: the time during which it does, in the clock's seconds.
    """

    name = "blackhole"

    def __init__(self, predicate=None, min_size=0, start=0.0, end=float("inf")):
        super().__init__()
        self.predicate = predicate
        self.min_frame = min_size + VNET_HEADER + _ETHERNET_HEADER if min_size else 0
        self.start = start
        self.end = end

    def apply(self, at, frame, rng):
        if (
            self.start <= at < self.end
            and len(frame) >= self.min_frame
            and (self.predicate is None or self.predicate(frame))
        ):
            self.events += 1
            return []
        return [(at, frame)]


class _Path:
    """One direction: its rules, its randomness, and the frames on their way.

    A frame waits in the heap for its next rule, not for the last one only: so each rule meets the frames in order of
    time, also behind one that reorders, and the outcome does not depend on how often it is looked after.
    """

    def __init__(self, rules, seed, limit, drops):
        self.rules = copy.deepcopy(list(rules))
        self._rng = random.Random(seed)
        self._limit = limit
        self._drops = drops
        self._held = []  # heap of (at, arrival, index of the next rule, frame)
        self._arrivals = 0

    def put(self, frame, now):
        if len(self._held) >= self._limit:
            self._drops[QUEUE_FULL] += 1
            return
        self._push(now, 0, frame)

    def due(self, now, limit):
        """Up to *limit* frames that are to be delivered by now, in order."""
        held = self._held
        rules = self.rules
        ready = []
        while held and held[0][0] <= now and len(ready) < limit:
            at, _, index, frame = heapq.heappop(held)
            if index == len(rules):
                ready.append(frame)
                continue
            outcome = rules[index].apply(at, frame, self._rng)
            if not outcome:
                self._drops[IMPAIRED] += 1
            for deliver_at, changed in outcome:
                if len(held) >= self._limit:  # duplicates
                    self._drops[QUEUE_FULL] += 1
                else:
                    self._push(max(at, deliver_at), index + 1, changed)
        return ready

    def next_deadline(self):
        return self._held[0][0] if self._held else None

    def clear(self):
        self._held.clear()

    def _push(self, at, index, frame):
        self._arrivals += 1
        heapq.heappush(self._held, (at, self._arrivals, index, frame))


class Impaired(Wrapper):
    """A device whose traffic goes through rules: *transmit* on the way out, *receive* on the way in, each in its order.

    Super-segments are refused on both ways, so that a rule meets packets as they are on a wire. Held frames are lost
    when it is closed.

    Args:
        device: any, not yet open.
        transmit, receive: rules; copied, so that one list can serve several devices.
        seed: whatever `random.Random` takes as text; each direction has its own sequence from it.
        limit: frames held per direction; more are dropped as QUEUE_FULL.
    """

    def __init__(self, device, transmit=(), receive=(), seed=0, limit=10000):
        super().__init__(device)
        device.segment_offload_allowed = False
        self._transmit = _Path(transmit, f"{seed}/transmit", limit, device.drops)
        self._receive = _Path(receive, f"{seed}/receive", limit, device.drops)

    @property
    def _counts(self):
        """`Counts` of what the rules did, by direction and name: ``{"transmit_loss": 3}``."""
        counts = Counts()
        for direction, path in (("transmit", self._transmit), ("receive", self._receive)):
            for rule in path.rules:
                counts[f"{direction}_{rule.name}"] += rule.events
        return counts

    def receive(self, now):
        self._send_due(now)
        path = self._receive
        ready = path.due(now, RECEIVE_FRAMES)
        if len(ready) < RECEIVE_FRAMES:  # else the inner device waits its turn
            for frame in self.inner.receive(now):
                path.put(frame, now)
            ready += path.due(now, RECEIVE_FRAMES - len(ready))
        return ready

    def transmit(self, frames, now):
        path = self._transmit
        for frame in frames:
            path.put(b"".join(frame), now)
        self._send_due(now)

    def next_deadline(self):
        times = (self.inner.next_deadline(), self._transmit.next_deadline(), self._receive.next_deadline())
        return min((at for at in times if at is not None), default=None)

    def close(self):
        self._clear()
        self.inner.close()

    def abandon(self):
        self._clear()
        self.inner.abandon()

    def _send_due(self, now):
        frames = self._transmit.due(now, float("inf"))
        if frames:
            self.inner.transmit([(frame,) for frame in frames], now)

    def _clear(self):
        self._transmit.clear()
        self._receive.clear()
