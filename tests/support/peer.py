"""One host whose link the test itself sits on: it sends raw frames and sees every frame that comes back."""

from pystack.device import memory
from pystack.layers import Interface
from pystack.wire import arp, ipv4
from tests.support.frames import MAC_A, MAC_B, A, ethernet
from tests.support.netsim import Host, Network


class Peer:
    """The test is 10.0.0.1, the host 10.0.0.2/24 with a default route through the test. *more*: of its `Interface`."""

    def __init__(self, config=None, *, addresses=("10.0.0.2/24",), gateway="10.0.0.1", mtu=1500, **more):
        self._wire, device = memory.pair(mtu=mtu, offload=False, macs=(MAC_A, MAC_B))
        self._wire.open()
        self.host = Host([Interface(device=device, addresses=addresses, gateway=gateway, **more)], config)
        self.network = Network(self.host)
        self.introduce()

    def introduce(self):
        """Let the host learn the test's MAC address, and forget what it sent so far."""
        request = arp.build(arp.REQUEST, MAC_A, A, bytes(6), bytes((10, 0, 0, 2)))
        self.sends(ethernet(request, ethertype=0x0806, destination=b"\xff" * 6))

    def sends(self, *frames):
        """Send frames; returns the IPv4 packets (without link header) that the host answers at once."""
        self._wire.transmit([(frame,) for frame in frames], self.network.now)
        self.network.settle()
        return self.sees()

    def sees(self):
        """The IPv4 packets that the host has sent since the last look."""
        return [frame[24:] for frame in self.frames() if frame[22:24] == b"\x08\x00"]

    def frames(self):
        """All frames that the host has sent since the last look."""
        frames = []
        while more := self._wire.receive(self.network.now):
            frames += more
        return frames

    def after(self, seconds):
        """Let time pass; returns the IPv4 packets that the host sent meanwhile."""
        self.network.run_for(seconds)
        return self.sees()

    @property
    def drops(self):
        """Of the whole host."""
        return self.host.drops()


def parsed(packet):
    """The IPv4 fields and the payload of a packet."""
    fields = ipv4.parse(packet, 0)
    return fields, packet[(fields[0] & 15) * 4 :]
