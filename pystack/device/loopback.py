"""The device whose far end is the stack itself: what is sent is received, in order, by the next turn."""

from pystack.device.queued import QueuedDevice


class Loopback(QueuedDevice):
    """Linux's ``lo``: MTU 65536, checksums neither computed nor verified, super-segments never cut."""

    name = "lo"
    mtu = 65536
    checksum_offload = True
    resolves = False

    def __init__(self, max_frames=4096, max_bytes=16 << 20):
        super().__init__(max_frames, max_bytes)

    @property
    def segment_offload(self):
        return self.segment_offload_allowed

    def transmit(self, frames, now):
        self.enqueue(frames)
