"""The gateway: a stack that takes every address for its own, and relays to the kernel what comes."""

import ipaddress
from random import Random

from pystack import messages
from pystack.config import Ipv6Config, StackConfig, TcpConfig
from pystack.errors import StackError, StackStopped
from pystack.gateway import kernel
from pystack.gateway.destinations import Destinations
from pystack.gateway.echo import EchoRelay
from pystack.gateway.gate import Gate
from pystack.gateway.streams import StreamRelay
from pystack.gateway.udp import UdpRelay
from pystack.layers import Interface, compose, make_stages, way_to
from pystack.runtime import lifetime, stats
from pystack.runtime.clock import MonotonicClock
from pystack.runtime.supervisor import Supervisor
from pystack.sockets.endpoints import Endpoints
from pystack.sockets.stream import TcpListener, TcpStream
from pystack.tcp import settings as tcp_settings

BACKLOG = 4096
# No SYN cookies: who comes has been decided on. No limit to errors: the one program there is may have an answer to
# each of its attempts. Nobody else is on the link who could have its addresses, or be its router.
CONFIG = StackConfig(
    icmp_ratelimit=0.0,
    icmp_msgs_burst=1000,
    tcp=TcpConfig(tcp_syncookies=0, tcp_max_syn_backlog=4 * BACKLOG),
    ipv6=Ipv6Config(icmp_ratelimit=0.0, dad_transmits=0, accept_ra=False),
)


ADDRESSES = ("10.77.0.1/24", "fdc5:77ab:1b4e::1/64")


class Gateway:
    """The other end of a `pystack.device.memory.pair`: whatever address the program connects to, the kernel does.

    Made, it is only a plan; `start` (or ``with``) opens the device and the published ports. It must be used from the
    thread that started it.

    Args:
        device: its end of the pair, not yet open.
        addresses: the host's in the program's network, in CIDR form, one for each version of IP. They stand for the
            kernel's 127.0.0.1 and ::1.
        guests: the program's, for published ports, the first of each version; without any of a version it is the next
            after the host's.
        clock: `MonotonicClock` by default. What waits for the kernel waits in real time.
        seed: makes the random choices of its TCP repeatable.
        publish: ``(host address, host port, port, "tcp" or "udp")``, each a port of the kernel's that leads to one of
            the program's, by the same version of IP if the program has it.
        nameservers: whom to ask for port 53 of *addresses*, as text; the host's own if there are none.

    Attributes:
        published: the kernel's ports, in the order of *publish*: 0 has become a free one.
    """

    def __init__(self, device, addresses=ADDRESSES, guests=(), *, clock=None, seed=None, publish=(), nameservers=()):
        self._hosts, self._guests = _read_addresses(addresses, guests)  # both by length of address
        for each in publish:
            if len(each) != 4 or each[3] not in ("tcp", "udp"):
                raise StackError(
                    f"Gateway: publish takes (host address, host port, port, 'tcp' or 'udp'), not {each!r}"
                )
        self._interface = Interface(device=device, addresses=tuple(addresses), accepts_any=True)
        self._publish = tuple(publish)
        self._clock = clock
        self._random = Random(seed)
        self._destinations = Destinations(self._hosts.values(), nameservers)
        self._supervisor = Supervisor(self._fail)
        self._layers = None
        self._stages = {}
        self._drivers = {}
        self._relays = []  # cores that have sockets of the kernel's
        self._streams = None
        self._endpoints = None
        self._state = "new"  # then "running", then "closed"
        self.published = ()
        self.failure = None  # the exception that stopped the gateway, if one did

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self):
        """Open the device and the published ports. Returns self. Raises StackError, OSError; then all is closed."""
        if self._state != "new":
            raise StackStopped("Gateway: it has been started before; make a new one")
        self._clock = self._clock or MonotonicClock()
        self._state = "running"
        lifetime.watch(self)
        try:
            self._interface.device.open()
            self._layers = self._compose()
            self._start_stages()
            self.published = tuple(map(self._open_published, self._publish))
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        """Reset what still goes on, and let go of every socket and the device. May be called twice."""
        if self._state != "running":
            return
        self._stop()
        self.release()
        lifetime.forget(self)

    def release(self):
        """Close the device."""
        self._interface.device.close()

    def abandon(self):
        """In a forked child: stop, and leave the connections to the parent."""
        self._state = "closed"
        for part in (*self._drivers.values(), *self._stages.values()):
            part.stop()
        if self._endpoints is not None:
            self._endpoints.stop(StackStopped("the gateway is the parent's"))
            self._streams.abandon()
        kernel.abandon()
        self._interface.device.abandon()

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.close()

    # -- use ----------------------------------------------------------------------------------------------------------

    @property
    def idle(self):
        """Whether no bytes wait to be passed on, and no connection to be made: a program that has ended is done."""
        return self._state != "running" or (self._streams.idle and not self._layers.cores["gate"].waiting)

    def counters(self):
        """What was counted, by part, as `Stack.counters`."""
        layers = self._layers
        parts = {name: [core] for name, core in layers.cores.items()}
        for name, device in layers.devices.items():
            parts[name].append(device)
        bugs = self._supervisor.failures + layers.cores["tcp"].counts["bugs"]
        return {**stats.snapshot(parts), "gateway": {"bugs": bugs}}

    # -- inside -------------------------------------------------------------------------------------------------------

    def _compose(self):
        layers = compose([self._interface], CONFIG, self._random)
        cores = layers.cores
        cores["gate"] = Gate(cores["tcp"].is_open)
        cores["udp"] = UdpRelay(self._destinations)
        cores["echoes"] = EchoRelay(self._destinations)
        cores["inet"].relay_echoes("echoes")
        layers.wires.remove(("inet", "tcp", "tcp", "receive"))
        layers.wires += [
            ("inet", "tcp", "gate", "receive"),
            ("gate", "tcp", "tcp", "receive"),
            ("gate", "inet", "inet", "transmit"),
            ("gate", "inet.control", "inet", "control"),
            ("inet", "echoes", "echoes", "receive"),
            ("echoes", "inet", "inet", "transmit"),
            ("echoes", "inet.control", "inet", "control"),
        ]
        return layers

    def _start_stages(self):
        stages, drivers, queues = make_stages(self._layers, CONFIG, self._clock, self._supervisor)
        self._stages, self._drivers = stages, drivers
        cores = self._layers.cores
        ways = {"tcp": way_to(cores["tcp"], stages["tcp"], queues["tcp"], CONFIG)}
        self._endpoints = Endpoints(self._clock, ways, {"tcp": tcp_settings.check_setting})
        self._relays = [cores[name] for name in ("udp", "echoes")]
        for name in ("udp", "echoes"):
            cores[name].on_readable = stages[name].port(cores[name].readable).put
        cores["udp"].on_arrival = stages["udp"].port(cores["udp"].arrived).put
        verdicts = stages["gate"].port(cores["gate"].decide)
        self._streams = StreamRelay(lambda verdict: verdicts.put([verdict]), self._connect, self._destinations)
        stages["gate"].connect("approaches", self._streams)
        stages["tcp"].connect("sockets", self._endpoints.inlet("tcp"))
        for name in ("echo", "events"):
            stages["inet"].connect(name, _Nobody)
        for part in (*stages.values(), *drivers.values()):
            part.start()
        stages["inet"].port(cores["inet"].control).put([messages.Start()])
        listener = TcpListener(self._endpoints)
        listener.set_option("nodelay", True)  # what comes has waited at its sender already
        listener.listen(BACKLOG, every_port=True)
        self._streams.serve(listener)

    def _open_published(self, each):
        address, port, to_port, protocol = each
        length = 16 if ":" in address else 4
        guest = self._guests.get(length) or next(iter(self._guests.values()))
        to = guest, to_port
        try:
            if protocol == "tcp":
                return self._streams.publish(address, port, to)
            return self._layers.cores["udp"].publish(address, port, to, self._hosts[len(guest)])
        except OSError as error:
            raise StackError(f"Gateway: cannot publish {address}:{port}/{protocol}: {error.strerror}") from error

    def _connect(self, to):
        guest, port = to
        stream = TcpStream(self._endpoints)
        try:
            stream.set_option("nodelay", True)
            stream.bind(self._hosts[len(guest)])
            stream.connect(guest, port)
        except BaseException:
            stream.close()
            raise
        return stream

    def _fail(self, failure):
        self.failure = failure
        if self._endpoints is not None:
            self._endpoints.stop(StackStopped("the gateway has failed"))  # no stage is there to be asked any more
        self.close()

    def _stop(self):
        self._state = "closed"
        if self._streams is not None:
            self._streams.close()
        for part in (*self._drivers.values(), *self._stages.values()):
            part.stop()
        for relay in self._relays:
            relay.close()
        if self._endpoints is not None:
            self._endpoints.stop(StackStopped("the gateway has been closed"))


def _read_addresses(addresses, guests):
    """The packed addresses of the host and of the program, each by its length. Raises StackError."""
    hosts, found = {}, {}
    try:
        for text in addresses:
            host = ipaddress.ip_interface(text).ip
            length = len(host.packed)
            if length in hosts:
                raise ValueError(f"{text} is the second address of IPv{host.version}")
            hosts[length] = host.packed
            found[length] = (host + 1).packed
        for text in reversed(guests):
            packed = ipaddress.ip_interface(text).ip.packed
            if len(packed) in hosts:
                found[len(packed)] = packed
    except ValueError as error:
        raise StackError(f"Gateway: {error}") from error
    if not hosts:
        raise StackError("Gateway: it needs an address in the program's network")
    return hosts, found


class _Nobody:
    """Where messages go that nobody waits for."""

    @staticmethod
    def put(batch):
        pass
