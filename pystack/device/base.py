"""What a device is: something that frames are read from and written to, in virtual time and without blocking."""

from pystack.counts import Counts

VNET_HEADER = 10  # bytes: struct virtio_net_hdr stands before every frame, in both directions

# What one call of `receive` takes at most, so that one busy device does not keep the others waiting.
RECEIVE_FRAMES = 64
RECEIVE_BYTES = 1 << 20


class Device:
    """Base of all devices; also the interface that a wrapper (impairment, capture) passes on.

    A received frame is one ``bytes`` object: virtio-net header (10 bytes), Ethernet header, payload. A frame to send is
    a sequence of buffers that together are the same. A device made is not yet open: it touches nothing until `open`.

    Attributes:
        name: for people; what the host calls it, once it is open.
        mtu: bytes of IP packet that one frame carries on the wire (a super-segment may be larger).
        mac: 6 bytes, the address of the stack's end.
        checksum_offload: frames may leave with VIRTIO_NET_HDR_F_NEEDS_CSUM.
        segment_offload: TCP super-segments up to 64 KB may leave and arrive.
        segment_offload_allowed: cleared, before `open`, by a wrapper that must see packets as they are on the wire.
        resolves: False if the link has no neighbours to resolve (loopback).
        drops: `Counts` of frames lost here, by reason (`pystack.errors`).
        wake: set by the driver: to be called with no argument when a device without a descriptor has frames to read.
    """

    name = ""
    mtu = 1500
    mac = bytes(6)
    checksum_offload = False
    segment_offload = False
    segment_offload_allowed = True
    resolves = True
    wake = None

    def __init__(self):
        self.drops = Counts()

    def open(self):
        """Acquire what is needed. Raises `pystack.errors.DeviceError`."""

    def fileno(self):
        """The descriptor that polls readable when `receive` has frames, or -1."""
        return -1

    def receive(self, now):
        """Take the frames that wait, up to the device's budget. If some may be left, the descriptor polls readable
        still, or `next_deadline` is in the past.

        Raises DeviceError if the device is gone.
        """
        raise NotImplementedError

    def transmit(self, frames, now):
        """Send the list of frames; never blocks, what cannot be sent is dropped and counted."""
        raise NotImplementedError

    def next_deadline(self):
        """The time at which `receive` (after which the rest is looked after too) must be called, or ``None``.

        Ask again after each `receive` and each `transmit`: both can make it earlier.
        """
        return

    def close(self):
        """Release everything, also what was made on the host. May be called twice."""

    def abandon(self):
        """In a forked child: close the descriptors and leave the host as it is."""


def _passed_on(attribute):
    def get(self):
        return getattr(self.inner, attribute)

    def put(self, value):
        setattr(self.inner, attribute, value)

    return property(get, put)


class Wrapper(Device):
    """A device around another, *inner*: passes everything on; a subclass overrides what it adds.

    Attributes of the device are the inner one's, ``drops`` included: one counter for the whole chain.
    """

    name = _passed_on("name")
    mtu = _passed_on("mtu")
    mac = _passed_on("mac")
    checksum_offload = _passed_on("checksum_offload")
    segment_offload = _passed_on("segment_offload")
    segment_offload_allowed = _passed_on("segment_offload_allowed")
    resolves = _passed_on("resolves")
    drops = _passed_on("drops")
    wake = _passed_on("wake")

    _counts = {}  # what this wrapper itself counts

    def __init__(self, inner):
        self.inner = inner  # Device.__init__ would replace the inner counter

    @property
    def counts(self):
        """What this wrapper and those within have counted: `Counts`."""
        return Counts({**getattr(self.inner, "counts", {}), **self._counts})

    def open(self):
        self.inner.open()

    def fileno(self):
        return self.inner.fileno()

    def receive(self, now):
        return self.inner.receive(now)

    def transmit(self, frames, now):
        self.inner.transmit(frames, now)

    def next_deadline(self):
        return self.inner.next_deadline()

    def close(self):
        self.inner.close()

    def abandon(self):
        self.inner.abandon()
