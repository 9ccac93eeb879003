"""What UDP and ICMP echo have in common: flows of datagrams, each with a socket of the kernel's, until it is idle."""

import errno

from pystack import errors, messages
from pystack.counts import Counts
from pystack.deadlines import NEVER, Deadlines
from pystack.gateway import kernel
from pystack.gateway.destinations import UNREACHABLE_BY_ERRNO

MAX_FLOWS = 512  # each is a descriptor; beyond it the one that was silent longest ends
IDLE_TIME = 60.0  # seconds, for a flow that nobody has answered
ANSWERED_IDLE_TIME = 180.0
READ_BUDGET = 64  # datagrams of one socket in one turn

_CAUSES = {errno.ECONNREFUSED: messages.PORT_UNREACHABLE, **UNREACHABLE_BY_ERRNO}


class Flow:
    """Datagrams between one endpoint of the program's and one elsewhere.

    ``program`` and ``other`` are as the program sees them: ``(address, port)``.
    """

    __slots__ = ("answered", "due_at", "key", "other", "packet", "peer", "program", "queued_at", "sock", "target")

    def __init__(self, key, program, other):
        self.key = key
        self.program = program
        self.other = other
        self.sock = None  # a kernel.Datagrams
        self.target = None  # what it is connected to
        self.peer = None  # or to whom it sends, being a published port's
        self.packet = None  # the program's last, for errors to quote
        self.answered = False
        self.due_at = self.queued_at = NEVER


class DatagramRelay:
    """A core whose other end is the kernel. Inlets: `receive` (RxPackets from inet), `readable` (`Flow`s whose sockets
    have something). Outboxes: ``inet`` (TxPackets), ``inet.control`` (SendError).

    A protocol says what a packet is (`_parse`), where it goes (`_target`) and how an answer is built (`_build`).

    Attributes:
        on_readable: ``on_readable(flows)``, the way to `readable` from the hub; to be set before the first packet.
    """

    protocol = 0  # of `kernel.Datagrams`

    def __init__(self):
        self.outboxes = {"inet": [], "inet.control": []}
        self.drops = Counts()
        self.counts = Counts()
        self.on_readable = None
        self._flows = {}  # key -> Flow, the one used longest ago first
        self._deadlines = Deadlines()

    # -- inlets -------------------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Pass on what the program sends."""
        for packet in batch:
            parsed = self._parse(packet)
            if parsed is None:
                continue
            key, program, other, data = parsed
            flow = self._flows.pop(key, None)
            if flow is None:
                flow = Flow(key, program, other)
            flow.packet = packet
            self._keep(flow, now)
            self._send(flow, data, now)

    def readable(self, flows, now):
        """Pass on what the kernel has for these."""
        for flow in flows:
            if flow.sock is not None:
                self._read(flow, now)

    def expire(self, now):
        """End idle flows."""
        for flow in self._deadlines.due(now):
            self.counts["idle"] += 1
            self._forget(flow)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def close(self):
        """End all flows."""
        for flow in list(self._flows.values()):
            self._forget(flow)

    def __len__(self):
        return len(self._flows)

    # -- flows --------------------------------------------------------------------------------------------------------

    def _keep(self, flow, now):
        """It is in use, and so the last to be evicted."""
        if len(self._flows) >= MAX_FLOWS and flow.key not in self._flows:
            self.counts["evicted"] += 1
            self._forget(next(iter(self._flows.values())))
        self._flows[flow.key] = flow
        self._deadlines.set(flow, now + (ANSWERED_IDLE_TIME if flow.answered else IDLE_TIME))

    def _forget(self, flow):
        del self._flows[flow.key]
        self._deadlines.cancel(flow)
        flow.packet = None
        if flow.peer is None and flow.sock is not None:
            flow.sock.close()
        flow.sock = None

    def _send(self, flow, data, now):
        try:
            if flow.peer is None:
                self._connect(flow, now)
            try:
                flow.sock.send(data, flow.peer)
            except ConnectionRefusedError as error:  # this is of an earlier datagram
                self._failed(flow, error)
                flow.sock.send(data, flow.peer)
        except OSError as error:
            self._failed(flow, error)
        else:
            self.counts["sent"] += 1

    def _connect(self, flow, now):
        """Have a socket to where the flow leads now."""
        target = self._target(flow, now)
        if flow.sock is not None and flow.target == target:
            return
        if flow.sock is not None:
            flow.sock.close()
            flow.sock = None
        flow.sock = kernel.Datagrams(self.protocol, lambda: self.on_readable([flow]), remote=target)
        flow.target = target
        self.counts["flows"] += 1

    def _read(self, flow, now):
        for _ in range(READ_BUDGET):
            try:
                got = flow.sock.recv()
            except OSError as error:
                self._failed(flow, error)
                continue
            if got is None:
                return
            flow.answered = True
            self._deadlines.set(flow, now + ANSWERED_IDLE_TIME)
            packet = self._build(flow, got[0])
            if packet is not None:
                self.counts["received"] += 1
                self.outboxes["inet"].append(packet)

    def _failed(self, flow, error):
        cause = _CAUSES.get(error.errno)
        if cause is None or flow.packet is None:
            self.drops[errors.KERNEL_REFUSED] += 1
            return
        self.drops[cause] += 1
        self.outboxes["inet.control"].append(messages.SendError(cause, flow.packet))
