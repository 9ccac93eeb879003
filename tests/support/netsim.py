"""Whole stacks of cores, stepped from deadline to deadline without greenlets: deterministic, and fast."""

from random import Random

from pystack.config import StackConfig
from pystack.device import memory
from pystack.device.loopback import Loopback
from pystack.layers import Interface, compose
from pystack.messages import EchoRequest

TURNS = 10_000  # more of them at one instant mean that something goes round in circles


class Host:
    """One stack. ``echoes`` and ``events`` collect what inet's outboxes of these names held."""

    def __init__(self, interfaces=(), config=None, seed=0):
        everything = [Interface(device=Loopback(), addresses=["127.0.0.1/8", "::1/128"], name="lo"), *interfaces]
        for interface in everything:
            interface.device.open()
        self.layers = compose(everything, config or StackConfig(), Random(seed))
        self.inet = self.layers.cores["inet"]
        self.echoes = []
        self.events = []

    def link(self, name="eth0"):
        """The link layer of an interface."""
        return self.layers.cores[name]

    def ping(self, destination, now, *, sequence=1, payload=b"", **how):
        """Hand inet one echo request; the answer will be in ``echoes``."""
        self.inet.control([EchoRequest(destination, 7, sequence, payload, **how)], now)

    def turn(self, now):
        """Move everything that waits, once; True if anything did."""
        moved = False
        for name, device in self.layers.devices.items():
            frames = device.receive(now)
            if frames:
                moved = True
                self.layers.cores[name].receive(frames, now)
        for core in self.layers.cores.values():
            due = core.next_deadline()
            if due is not None and due <= now:
                core.expire(now)
        for source, outbox, target, inlet in self.layers.wires:
            batch = self._take(source, outbox)
            if batch:
                moved = True
                getattr(self.layers.cores[target], inlet)(batch, now)
        for name, device in self.layers.devices.items():
            frames = self._take(name, "device")
            if frames:
                moved = True
                device.transmit(frames, now)
        self.echoes += self._take("inet", "echo")
        self.events += self._take("inet", "events")
        return moved

    def next_deadline(self):
        """The earliest of all cores' and devices'."""
        times = [part.next_deadline() for part in (*self.layers.cores.values(), *self.layers.devices.values())]
        return min((at for at in times if at is not None), default=None)

    def drops(self):
        """Every drop counter of the host in one dict, without zeros."""
        total = {}
        for part in (*self.layers.cores.values(), *self.layers.devices.values()):
            for reason, count in part.drops.items():
                if count:
                    total[reason] = total.get(reason, 0) + count
        return total

    def _take(self, core, outbox):
        outboxes = self.layers.cores[core].outboxes
        batch = outboxes[outbox]
        if batch:
            outboxes[outbox] = []
        return batch


class Network:
    """Hosts that share one virtual clock, ``now``."""

    def __init__(self, *hosts):
        self.hosts = hosts
        self.now = 0.0
        self.settle()

    def settle(self):
        """Let everything happen that happens at this instant."""
        for _ in range(TURNS):
            moved = False
            for host in self.hosts:
                moved |= host.turn(self.now)
            if not moved:
                return
        raise AssertionError("the network does not come to rest")

    def run_until(self, at):
        """Step from deadline to deadline up to the time *at*."""
        self.settle()
        while True:
            times = [due for due in (host.next_deadline() for host in self.hosts) if due is not None]
            due = min(times, default=None)
            if due is None or due > at:
                break
            self.now = max(self.now, due)
            self.settle()
        self.now = at

    def run_for(self, seconds):
        """`run_until` that long from now."""
        self.run_until(self.now + seconds)


def two_hosts(mtu=1500, config=None, wrap=lambda device: device, offload=True, limit=1000):
    """10.0.0.1 and 10.0.0.2 on one link; *wrap* may put an impairment or a capture around the first one's device."""
    left, right = memory.pair(mtu=mtu, offload=offload, limit=limit, macs=(b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"))
    a = Host([Interface(device=wrap(left), addresses=["10.0.0.1/24"])], config, seed=1)
    b = Host([Interface(device=right, addresses=["10.0.0.2/24"])], config, seed=2)
    return Network(a, b)
