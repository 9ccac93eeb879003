"""UDP sockets of the library."""

from collections import deque

from pystack import transport
from pystack.sockets.endpoints import Endpoint, failure


class UdpSocket(Endpoint):
    """Addresses are bytes, endpoints ``(address, port)``."""

    transport = "udp"

    def __init__(self, endpoints):
        super().__init__(endpoints)
        self.remote = None
        self._datagrams = deque()
        self._answer = None
        self._refusal = None  # why the stack itself did not send the last datagram

    def connect(self, address, port):
        """Fix the peer; an *address* of None undoes that. Raises OSError."""
        self._answer = None
        self._ask(transport.Connect(self.number, address, port), lambda: self._answer is not None)

    def join(self, group, interface=0):
        """Receive a multicast group. Raises OSError."""
        self._answer = None
        self._ask(transport.Join(self.number, group, interface), lambda: self._answer is not None)

    def leave(self, group, interface=0):
        """Undo one `join`. Raises OSError."""
        self._answer = None
        self._ask(transport.Leave(self.number, group, interface), lambda: self._answer is not None)

    def send(self, payload, address=None, port=0, **how):
        """Send one datagram, to the connected peer if no address is given; *how* as in `transport.Send`.

        Raises OSError, also for an ICMP error that has come about an earlier one.
        """
        self._raise_pending()
        self._refusal = None
        self._request(transport.Send(self.number, bytes(payload), address, port, **how))
        self._endpoints.settle(self.transport)  # success has no event
        if self._refusal is not None:
            raise failure(self._refusal)
        return len(payload)

    def receive(self):
        """The next `transport.Datagram`; waits for it. Raises OSError."""
        self._wait(lambda: self._datagrams or self._cause is not None)
        self._raise_pending()
        datagram = self._datagrams.popleft()
        self._request(transport.Read(self.number, datagram.charge))
        return datagram

    def event(self, event):
        kind = type(event)
        if kind is transport.Datagram:
            self._datagrams.append(event)
        elif kind is transport.SendFailed:
            if event.refused:
                self._refusal = event.cause
            else:
                self._cause = event.cause  # for the next call, as Linux's SO_ERROR
        elif kind is transport.Connected:
            self.local, self.remote = event.local, event.remote
            self._answer = event
        elif kind in (transport.Joined, transport.Left):
            self._answer = event
        else:
            super().event(event)
        self._waiting.wake()

    def _raise_pending(self):
        if self._cause is not None:
            cause, self._cause = self._cause, None
            raise failure(cause)
