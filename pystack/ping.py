"""The ping client: sends echo requests through the inet core and matches what comes back with who asked."""

from dataclasses import dataclass

from gevent.event import Event

from pystack.messages import EchoReply, EchoRequest
from pystack.text import format_address

MAX_SIZE = {4: 65507, 16: 65527}  # bytes of echo data: 65,535 less what of the headers counts; by length of address


@dataclass(frozen=True, slots=True)
class PingReply:
    """What became of one echo request. Without a reply in time, ``rtt`` and ``error`` are None."""

    sequence: int
    source: str | None  # who answered, or who sent the ICMP error; None if nobody did or the stack found it itself
    rtt: float | None  # seconds
    size: int  # bytes of echo data sent
    ttl: int | None = None  # of the reply
    error: str | None = (
        None  # a cause of `pystack.messages`, "packet_too_big" say; "corrupt" if the data came back wrong
    )
    mtu: int | None = None  # with "packet_too_big": the path's, bytes


class PingClient:
    """*send* takes a list of EchoRequests; replies and errors come in by `put`, as from any outbox."""

    def __init__(self, clock, send, random):
        self._clock = clock
        self._send = send
        self._next_identifier = random.getrandbits(16)
        self._waiting = {}  # identifier -> _Exchange
        self._failure = None

    def put(self, batch):
        """Take EchoReply and Unreachable messages; those that nobody waits for any more are late."""
        for message in batch:
            if type(message) is EchoReply:
                identifier, sequence = message.identifier, message.sequence
            else:
                identifier = int.from_bytes(message.quoted[4:6], "big")
                sequence = int.from_bytes(message.quoted[6:8], "big")
            exchange = self._waiting.get(identifier)
            if exchange is not None and exchange.sequence == sequence and exchange.message is None:
                exchange.message = message
                exchange.done.set()

    def ping(self, destination, count, size, interval, timeout, ttl, dont_fragment):
        """See `Stack.ping`; *destination* is 4 or 16 bytes. Yields PingReply."""
        identifier = self._claim()
        try:
            for sequence in range(1, count + 1):
                payload = _pattern(sequence, size)
                exchange = self._waiting[identifier] = _Exchange(sequence & 0xFFFF)
                sent_at = self._clock.now()
                alarm = self._clock.alarm(exchange.done.set)
                alarm.set(sent_at + timeout)
                try:
                    self._send(
                        [EchoRequest(destination, identifier, sequence & 0xFFFF, payload, ttl, 0, dont_fragment)]
                    )
                    exchange.done.wait()
                finally:
                    alarm.cancel()
                if self._failure is not None:
                    raise self._failure
                yield _result(sequence, exchange.message, sent_at, payload)
                if sequence < count:
                    self._sleep_until(sent_at + interval)
        finally:
            del self._waiting[identifier]

    def stop(self, failure):
        """Wake all that wait; their `ping` raises *failure*."""
        self._failure = failure
        for exchange in self._waiting.values():
            exchange.done.set()

    def _claim(self):
        for _ in range(0x10000):
            self._next_identifier = (self._next_identifier + 1) & 0xFFFF
            if self._next_identifier not in self._waiting:
                self._waiting[self._next_identifier] = _Exchange(-1)
                return self._next_identifier
        raise OSError("ping: 65,536 pings are running, no identifier is left")

    def _sleep_until(self, at):
        if at <= self._clock.now():
            return
        woken = Event()
        alarm = self._clock.alarm(woken.set)
        alarm.set(at)
        try:
            woken.wait()
        finally:
            alarm.cancel()


class _Exchange:
    __slots__ = ("done", "message", "sequence")

    def __init__(self, sequence):
        self.sequence = sequence
        self.message = None
        self.done = Event()


def _pattern(sequence, size):
    """Echo data that differs from one request to the next."""
    return (bytes(range(256)) * (size // 256 + 2))[sequence & 0xFF :][:size]


def _result(sequence, message, sent_at, payload):
    size = len(payload)
    if message is None:
        return PingReply(sequence, None, None, size)
    if type(message) is EchoReply:
        error = None if message.payload == payload else "corrupt"
        return PingReply(sequence, format_address(message.source), message.at - sent_at, size, message.ttl, error)
    reporter = format_address(message.reporter) if message.reporter else None
    return PingReply(sequence, reporter, None, size, None, message.cause, message.mtu or None)
