"""The gate before TCP: a SYN of a flow that TCP does not know waits here until it is known what lies behind."""

from dataclasses import dataclass

from pystack import errors, messages
from pystack.counts import Counts
from pystack.deadlines import NEVER, Deadlines
from pystack.tcp import replies
from pystack.tcp.segment import Segment
from pystack.wire import checksum, tcp

MAX_PENDING = 1024  # flows that wait for a decision; beyond it SYNs are dropped, and come again
DECISION_TIME = 150.0  # seconds: longer than Linux tries to connect (tcp_syn_retries = 6: 127)

# Verdicts on a flow.
PASS = "pass"  # TCP may have the SYN
REFUSE = "refuse"  # answer with RST
DROP = "drop"  # no answer: the SYN may come again
UNREACHABLE = frozenset((messages.NET_UNREACHABLE, messages.HOST_UNREACHABLE, messages.PROHIBITED))  # answer by ICMP

_FLAGS_AT = 13
_OPENING = tcp.SYN | tcp.ACK | tcp.RST | tcp.FIN


@dataclass(slots=True)
class Approach:
    """Somebody wants to connect; answered by a `Verdict` on the *flow*. Endpoints are ``(address, port)``."""

    flow: bytes
    source: tuple
    destination: tuple


@dataclass(slots=True)
class Withdrawn:
    """The flow has waited too long: no verdict is wanted any more."""

    flow: bytes


@dataclass(slots=True)
class Verdict:
    """What is to become of a flow: PASS, REFUSE, DROP, or one of UNREACHABLE."""

    flow: bytes
    verdict: str


class _Pending:
    __slots__ = ("due_at", "flow", "queued_at", "segment")

    def __init__(self, flow, segment):
        self.flow = flow
        self.segment = segment
        self.due_at = self.queued_at = NEVER


class Gate:
    """Inlets: `receive` (RxPackets from inet), `decide` (`Verdict`s). Outboxes: ``tcp`` (RxPackets), ``inet``
    (TxPackets: resets), ``inet.control`` (SendError), ``approaches`` (`Approach` and `Withdrawn`).

    Args:
        is_open: ``is_open(flow)``, whether TCP has a connection of that key (`tcp.layer.TcpLayer.is_open`).
    """

    def __init__(self, is_open):
        self.outboxes = {"tcp": [], "inet": [], "inet.control": [], "approaches": []}
        self.drops = Counts()
        self.counts = Counts()
        self._is_open = is_open
        self._pending = {}  # flow -> _Pending
        self._deadlines = Deadlines()

    # -- inlets -------------------------------------------------------------------------------------------------------

    def receive(self, batch, now):
        """Take TCP packets whose ``at`` is at the TCP header."""
        passed = self.outboxes["tcp"]
        for packet in batch:
            at = packet.at
            if packet.end - at < tcp.HEADER_LENGTH or packet.buf[at + _FLAGS_AT] & _OPENING != tcp.SYN:
                passed.append(packet)
                continue
            flow = packet.source + packet.destination + packet.buf[at : at + 4]
            if flow in self._pending:
                self.drops[errors.DECISION_PENDING] += 1
            elif self._is_open(flow):
                passed.append(packet)
            else:
                self._keep(flow, packet, now)

    def decide(self, batch, now):
        """Take verdicts; those on flows that do not wait are late."""
        for each in batch:
            pending = self._pending.pop(each.flow, None)
            if pending is None:
                continue
            self._deadlines.cancel(pending)
            verdict = each.verdict
            self.counts[verdict] += 1
            if verdict == PASS:
                self.outboxes["tcp"].append(pending.segment.packet)
            elif verdict == REFUSE:
                self.outboxes["inet"].append(replies.reset(pending.segment))
            elif verdict in UNREACHABLE:
                self.outboxes["inet.control"].append(messages.SendError(verdict, pending.segment.packet))

    def expire(self, now):
        """Forget what has waited too long."""
        for pending in self._deadlines.due(now):
            del self._pending[pending.flow]
            self.counts["withdrawn"] += 1
            self.outboxes["approaches"].append(Withdrawn(pending.flow))

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    @property
    def waiting(self):
        """Flows that wait for a verdict."""
        return len(self._pending)

    def _keep(self, flow, packet, now):
        if len(self._pending) >= MAX_PENDING:
            self.drops[errors.SYN_OVERFLOW] += 1
            return
        buf, at, end = packet.buf, packet.at, packet.end
        fields = tcp.parse(buf, at, end)
        if fields is None:
            self.drops[errors.BAD_OFFSET] += 1
            return
        if not packet.checksum_trusted:
            if not checksum.valid(memoryview(buf)[at:end], packet.pseudo_sum(end - at)):
                self.drops[errors.BAD_CHECKSUM] += 1
                return
        source_port, port, seq, ack, flags, window, urgent, payload_at = fields
        payload = memoryview(buf)[payload_at:end]
        pending = _Pending(flow, Segment(seq, ack, flags, window, urgent, payload, None, packet))
        self._pending[flow] = pending
        self._deadlines.set(pending, now + DECISION_TIME)
        self.counts["approaches"] += 1
        self.outboxes["approaches"].append(Approach(flow, (packet.source, source_port), (packet.destination, port)))
