"""Programs in virtual time: they use a stack of cores as the sockets do, by requests and events."""

from itertools import count

from pystack import transport as t
from tests.support.netsim import Network, two_hosts

SERVER = bytes((10, 0, 0, 2))
PORT = 80


class Program:
    """One program on a `netsim.Host`. It keeps to its Room, and reads all that comes unless ``reads`` is False.

    ``received`` is what came, ``events`` every event but Received and Room, by socket.
    """

    def __init__(self, network, host):
        self.network = network
        self.core = host.layers.cores["tcp"]
        self.reads = True
        self.received = {}
        self.events = {}
        self._unsent = {}  # socket -> [memoryview, whether FIN follows]
        self._room = {}
        self._numbers = count(1)

    def connect(self, address=SERVER, port=PORT, **settings):
        """Open a connection; returns its number."""
        socket = next(self._numbers)
        for name, value in settings.items():
            self.ask(t.SetOption(socket, name, value))
        self.ask(t.Connect(socket, address, port))
        return socket

    def listen(self, port=PORT, backlog=128, **settings):
        """Accept all that comes; returns the listener's number."""
        socket = next(self._numbers)
        for name, value in settings.items():
            self.ask(t.SetOption(socket, name, value))
        self.ask(t.Bind(socket, bytes(4), port))
        self.ask(t.Listen(socket, backlog))
        return socket

    def send(self, socket, data, end=True):
        """Write *data* as there is room, and then FIN if *end*."""
        self._unsent[socket] = [memoryview(data), end]
        self._write(socket)

    def ask(self, request):
        self.core.requests([request], self.network.now)

    def accepted(self):
        """The connections accepted so far."""
        return [socket for socket, events in self.events.items() if type(events[0]) is t.Accepted]

    def has(self, socket, kind):
        """Whether the socket has had an event of this kind."""
        return any(type(event) is kind for event in self.events.get(socket, ()))

    def turn(self):
        """Take the events that wait; True if there were any."""
        events = self.core.outboxes["sockets"]
        self.core.outboxes["sockets"] = []
        for event in events:
            self._take(event)
        return bool(events)

    def _take(self, event):
        socket = event.socket
        if type(event) is t.Received:
            into = self.received.setdefault(socket, bytearray())
            size = sum(map(len, event.buffers))
            for buffer in event.buffers:
                into += buffer
            if self.reads:
                self.ask(t.Consumed(socket, size))
            return
        if type(event) is t.Room:
            self._room[socket] = self._room.get(socket, 0) + event.size
            self._write(socket)
            return
        self.events.setdefault(socket, []).append(event)
        if type(event) is t.Accepted:
            self.ask(t.Taken(event.listener, 1))

    def _write(self, socket):
        pending = self._unsent.get(socket)
        room = self._room.get(socket, 0)
        if pending is None:
            return
        data, end = pending
        part = data[:room]
        if part:
            self._room[socket] = room - len(part)
            pending[0] = data = data[len(part) :]
            self.ask(t.Write(socket, [part]))
        if not data:
            del self._unsent[socket]
            if end:
                self.ask(t.Shutdown(socket))


class Playground(Network):
    """A `netsim.Network` with a program on each host, which have their turn whenever the network has settled."""

    def __init__(self, *hosts):
        self.programs = []
        super().__init__(*hosts)
        self.programs = [Program(self, host) for host in hosts]

    def settle(self):
        super().settle()
        while sum(program.turn() for program in self.programs):  # each has its turn, so not `any`
            super().settle()

    def run_while(self, condition, limit=3600.0):
        """Step from deadline to deadline while ``condition()``. Fails if nothing is due any more, or after *limit*."""
        self.settle()
        end = self.now + limit
        while condition():
            due = min((at for at in (host.next_deadline() for host in self.hosts) if at is not None), default=None)
            assert due is not None, "nothing is due, and it is not done"
            assert due < end, f"not done after {limit} s"
            self.now = max(self.now, due)
            self.settle()


def playground(**how):
    """`netsim.two_hosts`, with programs: (network, client, server)."""
    network = Playground(*two_hosts(**how).hosts)
    return network, *network.programs


def transfer(network, client, server, data, back=b"", **settings):
    """Send *data* from the client and *back* from the server over one connection, and close it both ways.

    Returns:
        the virtual seconds from the connect until all has arrived.
    """
    start = network.now
    server.listen()
    socket = client.connect(**settings)
    client.send(socket, data)
    network.run_while(lambda: not server.accepted())
    (other,) = server.accepted()
    server.send(other, back)

    def missing():
        return len(server.received.get(other, b"")) < len(data) or len(client.received.get(socket, b"")) < len(back)

    network.run_while(missing)
    seconds = network.now - start
    network.run_while(lambda: not (client.has(socket, t.Finished) and server.has(other, t.Finished)))
    assert bytes(server.received.get(other, b"")) == data
    assert bytes(client.received.get(socket, b"")) == back
    return seconds
