"""Two devices linked in memory: an Ethernet cable between two stacks of one process, in virtual time or real."""

from pystack.device.queued import QueuedDevice
from pystack.errors import DEVICE_REFUSED

MAX_BYTES = 64 << 20  # waiting at one end


class MemoryDevice(QueuedDevice):
    """One end of the cable. Made by `pair`, which sets ``peer``."""

    def __init__(self, name, mac, mtu, offload, limit):
        super().__init__(limit, MAX_BYTES)
        self.name = name
        self.mac = mac
        self.mtu = mtu
        self.checksum_offload = offload
        self.peer = None
        self._offload = offload
        self._closed = False

    @property
    def segment_offload(self):
        # A super-segment is received as it was sent, so both ends must be ready for it.
        return self._offload and self.segment_offload_allowed and self.peer.segment_offload_allowed

    def open(self):
        self._closed = False

    def transmit(self, frames, now):
        if self._closed:
            self.drops[DEVICE_REFUSED] += len(frames)
            return
        self.peer.deliver(frames)

    def deliver(self, frames):
        """Frames from the other end; those that it finds no room for are counted here, at the receiver."""
        if self._closed:
            self.drops[DEVICE_REFUSED] += len(frames)
            return
        self.enqueue(frames)

    def close(self):
        self._closed = True
        super().close()


def pair(mtu=1500, macs=None, offload=True, limit=10_000):
    """Two linked devices.

    Args:
        mtu: bytes of IP packet per frame.
        macs: the two 6-byte addresses; 02:00:00:00:00:01 and :02 if not given.
        offload: checksums stay partial and TCP super-segments whole on the cable.
        limit: frames that may wait at each end: as in a TAP's queue, since a whole window may leave at once.
    """
    macs = macs or (b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02")
    first = MemoryDevice("memory0", macs[0], mtu, offload, limit)
    second = MemoryDevice("memory1", macs[1], mtu, offload, limit)
    first.peer = second
    second.peer = first
    return first, second
