"""The composition root: the only module that knows every layer, and the library's face."""

import ipaddress
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from random import Random

from gevent.queue import SimpleQueue

from pystack import messages
from pystack.config import StackConfig, check_setting
from pystack.device.base import Device
from pystack.device.loopback import Loopback
from pystack.errors import StackError, StackStopped
from pystack.inet.interfaces import InterfaceState
from pystack.inet.layer import InetLayer
from pystack.inet.multicast import MAX_GROUPS, Membership
from pystack.link.layer import LinkLayer
from pystack.ping import MAX_SIZE, PingClient, PingReply, text
from pystack.routes import Route
from pystack.runtime import lifetime, stats
from pystack.runtime.clock import MonotonicClock
from pystack.runtime.driver import DeviceDriver
from pystack.runtime.mailbox import Mailbox
from pystack.runtime.stage import Stage
from pystack.runtime.supervisor import Supervisor
from pystack.sockets.datagram import UdpSocket
from pystack.sockets.endpoints import Endpoints
from pystack.sockets.service import Service
from pystack.sockets.stream import TcpListener, TcpStream
from pystack.sockets.way import Way
from pystack.tcp import settings as tcp_settings
from pystack.tcp.layer import TcpLayer
from pystack.udp.bindings import Settings as UdpSettings
from pystack.udp.layer import UdpLayer
from pystack.wire import ipv4

MIN_MTU = 68  # RFC 791: a header with all options, and 8 bytes
MAX_MTU = 65536  # Linux's loopback

log = logging.getLogger("pystack")


@dataclass(kw_only=True)
class Interface:
    """One interface of a stack: a device that is not yet open, and what it is configured with.

    ``addresses`` are in CIDR form ("10.77.0.2/24"), the first is the primary one; ``gateway`` is the default router.
    With ``accepts_any`` the stack takes what comes in for itself, whatever the destination.
    """

    device: Device
    addresses: tuple = ()
    gateway: str | None = None
    name: str = "eth0"
    accepts_any: bool = False


@dataclass
class Layers:
    """The cores of one stack, and the wires between them; without greenlets, so that a test can step them."""

    cores: dict = field(default_factory=dict)  # name -> core
    devices: dict = field(default_factory=dict)  # name -> open device; its frames go to the core of its name
    wires: list = field(default_factory=list)  # (core, outbox, target core, inlet)
    interfaces: dict = field(default_factory=dict)  # name -> index


def compose(interfaces, config, random):
    """Make the cores for `Interface`s whose devices are open, and say how they are wired.

    What is left for the caller to connect: each link's outbox ``device``, and inet's ``echo`` and ``events``.
    """
    layers = Layers()
    inet = layers.cores["inet"] = InetLayer(config, random)
    layers.cores["udp"] = UdpLayer(config, random, inet)
    layers.cores["tcp"] = TcpLayer(config, random, inet)
    inet.add_transport(ipv4.UDP, "udp")
    inet.add_transport(ipv4.TCP, "tcp")
    for name in ("udp", "tcp"):
        layers.wires += [
            ("inet", name, name, "receive"),
            ("inet", f"{name}.control", name, "control"),
            (name, "inet", "inet", "transmit"),
            (name, "inet.control", "inet", "control"),
        ]
    for index, interface in enumerate(interfaces, 1):
        _add_interface(layers, index, interface, config, random)
    for index, interface in enumerate(interfaces, 1):
        if interface.gateway is not None:
            gateway = _parse(ipaddress.IPv4Address, interface.gateway, "gateway").packed
            try:
                inet.add_route(Route(bytes(4), 0, index, gateway))
            except ValueError as error:
                raise StackError(f"Stack: gateway {interface.gateway} is in no prefix of {interface.name}") from error
    return layers


def _add_interface(layers, index, interface, config, random):
    name, device, inet = interface.name, interface.device, layers.cores["inet"]
    loopback = not device.resolves
    if not MIN_MTU <= device.mtu <= MAX_MTU:
        raise StackError(f"Stack: the MTU of {name} must be within {MIN_MTU} and {MAX_MTU}, not {device.mtu}")
    inet.add_interface(
        InterfaceState(
            index,
            name,
            device.mtu,
            mac=device.mac,
            loopback=loopback,
            checksum_offload=device.checksum_offload,
            segment_offload=device.segment_offload,
            membership=None if loopback else Membership(random, device.mtu),
            accepts_any=interface.accepts_any,
        )
    )
    layers.cores[name] = LinkLayer(index, device.mac, random=random, resolves=device.resolves)
    layers.devices[name] = device
    layers.interfaces[name] = index
    for cidr in interface.addresses:
        address = _parse(ipaddress.IPv4Interface, cidr, "address")
        _check_assignable(address, loopback)
        try:
            inet.add_address(index, address.packed, address.network.prefixlen, config.probe_addresses)
        except ValueError as error:
            raise StackError(f"Stack: address {cidr} is given twice") from error
    layers.wires += [
        (name, "inet", "inet", "receive"),
        (name, "control", "inet", "control"),
        ("inet", name, name, "transmit"),
        ("inet", f"{name}.control", name, "control"),
    ]


def make_stages(layers, config, clock, supervisor):
    """Make, not yet started, what runs the cores, connected by their wires and to their devices.

    Returns:
        ``(stages, drivers, queues)``, each by name.
    """
    make_queue = SimpleQueue if config.queue == "gevent" else Mailbox
    queues = {name: make_queue(config.mailbox_limit) for name in layers.cores}
    stages, drivers = {}, {}
    for name, core in layers.cores.items():
        stages[name] = Stage(name, core, clock, supervisor, make_queue=partial(queues.get, name))
    for source, outbox, target, inlet in layers.wires:
        handler = getattr(layers.cores[target], inlet)
        stages[source].connect(outbox, stages[target].port(handler))
    for name, device in layers.devices.items():
        driver = drivers[name] = DeviceDriver(name, device, clock, supervisor)
        driver.connect(stages[name].port(layers.cores[name].receive))
        stages[name].connect("device", driver)
    return stages, drivers, queues


def way_to(core, stage, queue, config):
    """The `Way` of the sockets' requests to a transport's core, by its stage's queue."""
    way = Way(core.requests)
    limit = (config.mailbox_limit + 1) // 2  # the other half is for packets, which do not wait
    way.connect(stage.port(way.take).put, lambda: queue.qsize() < limit)
    return way


class Stack:
    """A TCP/IP stack: a greenlet per layer over the devices that it is given. Several can live in one process.

    Made, it is only a plan; `start` (or ``with``) opens the devices and `close` undoes whatever that did to the host.
    It must be used from the thread that started it. An interface ``lo`` with 127.0.0.1/8 is always there.

    Args:
        interfaces: `Interface`s.
        config: a `StackConfig`.
        clock: `MonotonicClock` by default, `VirtualClock` for tests.
        seed: makes every random choice of the stack repeatable.

    >>> from pystack.device.tap import Tap
    >>> eth0 = Interface(device=Tap(host_addresses=["10.77.0.1/24"]), addresses=["10.77.0.2/24"])
    >>> with Stack([eth0]) as stack:
    ...     print(stack.ping("10.77.0.1"))
    """

    def __init__(self, interfaces=(), config=None, *, clock=None, seed=None):
        names = ["lo", *(interface.name for interface in interfaces)]
        if len(set(names)) != len(names):
            raise StackError(f"Stack: interface names must differ, and 'lo' is taken: {', '.join(names[1:])}")
        reserved = {"inet", "udp", "stack", "echo", "events"}.intersection(names)
        if reserved or any(not name or "." in name for name in names):
            raise StackError(f"Stack: an interface cannot be named {', '.join(reserved) or 'with a dot or nothing'}")
        self._interfaces = [Interface(device=Loopback(), addresses=["127.0.0.1/8"], name="lo"), *interfaces]
        self._config = config or StackConfig()
        self._clock = clock
        self._random = Random(seed)
        self._layers = None
        self._stages = {}
        self._drivers = {}
        self._supervisor = Supervisor(self._fail)
        self._pings = None
        self._endpoints = None
        self._joined = defaultdict(Counter)  # interface index -> group -> joins by the stack's user
        self._state = "new"  # then "running", then "closed"
        self.failure = None  # the exception that stopped the stack, if one did

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self):
        """Open the devices and start the layers. Returns self. Raises DeviceError; then nothing is left behind."""
        if self._state != "new":
            raise StackStopped("Stack: it has been started before; make a new one")
        self._clock = self._clock or MonotonicClock()
        self._state = "running"
        lifetime.watch(self)
        try:
            for interface in self._interfaces:
                interface.device.open()
            self._layers = compose(self._interfaces, self._config, self._random)
            self._start_stages()
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        """Stop the layers and release the devices. May be called twice, and from any greenlet."""
        if self._state != "running":
            return
        self._stop()
        self.release()
        lifetime.forget(self)

    def release(self):
        """Undo what the devices did to the host, at once and without a greenlet switch: for the end of the process."""
        for interface in reversed(self._interfaces):
            try:
                interface.device.close()
            except Exception:
                log.exception("the device of %s did not close", interface.name)

    def abandon(self):
        """In a forked child: drop the descriptors; the parent's network goes on without this copy."""
        self._stop()
        for interface in self._interfaces:
            interface.device.abandon()

    def _stop(self):
        self._state = "closed"
        for part in (*self._drivers.values(), *self._stages.values()):
            part.stop()
        if self._pings is not None:
            self._pings.stop(self._stopped())
            self._endpoints.stop(self._stopped())

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc_info):
        self.close()

    # -- use ----------------------------------------------------------------------------------------------------------

    def ping(self, address, count=3, size=56, interval=1.0, timeout=1.0, ttl=None, dont_fragment=False):
        """Send ICMP echo requests one after another, as ping(8) does.

        Args:
            address: an IPv4 address as text.
            count, size: requests, and bytes of data in each (0 to 65507).
            interval, timeout: seconds from one request to the next, and to wait for each reply.
            ttl: 1 to 255, or None for the stack's default.
            dont_fragment: set DF; a packet too large for the path is then reported, not cut.

        Returns:
            a list of `PingReply`, one for each request, in order.

        Raises:
            StackStopped: the stack is not running, or stopped meanwhile. StackError: an argument is out of range.
        """
        destination = _parse(ipaddress.IPv4Address, address, "address").packed
        for name, value in (("count", count), ("size", size), ("ttl", 1 if ttl is None else ttl)):
            if not isinstance(value, int):
                raise StackError(f"ping: {name} must be an int, not {value!r}")
        if not 0 <= size <= MAX_SIZE:
            raise StackError(f"ping: size must be within 0 and {MAX_SIZE}, not {size!r}")
        if count < 1 or interval < 0 or timeout <= 0 or (ttl is not None and not 1 <= ttl <= 255):
            raise StackError("ping: count and timeout must be positive, interval not negative, ttl within 1 and 255")
        self._check_running()
        return list(self._pings.ping(destination, count, size, interval, timeout, ttl, dont_fragment))

    def connect(self, address, port, *, source=None, timeout=None, **settings):
        """Open a TCP connection.

        Args:
            address, port: of the peer; the address as text.
            source: ``(address, port)`` to connect from; an address of "0.0.0.0" and a port of 0 leave it to the stack.
            timeout: seconds, None: as TCP has it (about two minutes).
            settings: fields of `tcp.settings.Settings`.

        Returns:
            a `sockets.stream.TcpStream`.

        Raises:
            OSError, with Linux's numbers; TimeoutError; StackStopped.
        """
        self._check_running()
        stream = TcpStream(self._endpoints)
        try:
            for name, value in settings.items():
                stream.set_option(name, value)
            if source is not None:
                stream.bind(_parse(ipaddress.IPv4Address, source[0], "source").packed, source[1])
            stream.connect(_parse(ipaddress.IPv4Address, address, "address").packed, port, timeout)
        except BaseException:
            stream.close()
            raise
        return stream

    def listen(self, port=0, address="0.0.0.0", *, backlog=128, reuse_address=True, reuse_port=False, **settings):
        """Listen for TCP connections; on any free port if it is 0 (see ``local`` of what is returned).

        Returns:
            a `sockets.stream.TcpListener`; its connections inherit the *settings*, fields of `tcp.settings.Settings`.

        Raises:
            OSError, with Linux's numbers; StackStopped.
        """
        self._check_running()
        listener = TcpListener(self._endpoints)
        try:
            for name, value in settings.items():
                listener.set_option(name, value)
            packed = _parse(ipaddress.IPv4Address, address, "address").packed
            listener.bind(packed, port, reuse_address=reuse_address, reuse_port=reuse_port)
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    def udp(self, port=None, address="0.0.0.0", *, reuse_address=False, reuse_port=False, **settings):
        """A UDP socket, bound if *port* is given (0: a free one).

        Returns:
            a `sockets.datagram.UdpSocket` with these *settings*, fields of `udp.bindings.Settings`.

        Raises:
            OSError, with Linux's numbers; StackStopped.
        """
        self._check_running()
        made = UdpSocket(self._endpoints)
        try:
            for name, value in settings.items():
                made.set_option(name, value)
            if port is not None:
                packed = _parse(ipaddress.IPv4Address, address, "address").packed
                made.bind(packed, port, reuse_address=reuse_address, reuse_port=reuse_port)
        except BaseException:
            made.close()
            raise
        return made

    def service(self):
        """The `sockets.service.Service` through which programs in other processes have their sockets on this stack.

        Close it before the stack. Raises StackStopped.
        """
        self._check_running()
        cores = self._layers.cores
        defaults = {
            "tcp": tcp_settings.Settings.from_config(self._config.tcp),
            "udp": UdpSettings.from_config(self._config.udp),
        }
        return Service(self._endpoints, cores["inet"], defaults, cores["udp"].refusal, self._describe_interfaces)

    def join_group(self, group, interface="eth0"):
        """Receive an IPv4 multicast group (text) by an interface, and report it by IGMP; counted, see `leave_group`."""
        self._group_message(messages.JoinGroup, group, interface)

    def leave_group(self, group, interface="eth0"):
        """Undo one `join_group`."""
        self._group_message(messages.LeaveGroup, group, interface)

    def counters(self):
        """What was counted, by part: ``{"inet": {"InReceives": 3, "drop.bad_checksum": 1}, ...}``; no zeros.

        An interface's row holds its link layer's and its device's counts; "stack" holds ``bugs``: exceptions in a core.
        """
        self._check_started()
        layers = self._layers
        parts = {}
        for name, core in layers.cores.items():
            parts[name] = [core]
            if name in layers.devices:
                parts[name].append(layers.devices[name])
            if name in self._stages:
                parts[name].append(self._stages[name])
        bugs = self._supervisor.failures + layers.cores["tcp"].counts["bugs"]
        return {**stats.snapshot(parts), "stack": {"bugs": bugs}}

    def connections(self):
        """The TCP sockets: a list of ``(local, remote or None, state)``, as "10.77.0.2:80" and "ESTABLISHED"."""
        self._check_started()
        return [
            (_endpoint(local), _endpoint(remote) if remote else None, state)
            for local, remote, state, _ in self._layers.cores["tcp"].connections()
        ]

    def held(self):
        """What TCP holds now: ``{"connections": 2, "memory": 4096, ...}`` (`tcp.layer.TcpLayer.held`)."""
        self._check_started()
        return self._layers.cores["tcp"].held()

    def neighbors(self):
        """The neighbour tables: a list of ``(interface, address, MAC or None, state)``, all text."""
        self._check_started()
        found = []
        for name in self._layers.devices:
            for address, mac, state in self._layers.cores[name].neighbors():
                found.append((name, text(address), mac.hex(":") if mac else None, state))
        return found

    def addresses(self):
        """The usable addresses: a list of ``(interface, "10.77.0.2/24")``."""
        self._check_started()
        return [
            (state.name, f"{text(held.address)}/{held.prefix_length}")
            for state in self._layers.cores["inet"].interfaces.values()
            for held in state.addresses
            if held.usable
        ]

    def routes(self):
        """The IPv4 routes: a list of ``(prefix, gateway or None, interface)``, all text."""
        self._check_started()
        inet = self._layers.cores["inet"]
        return [
            (
                f"{text(route.network)}/{route.prefix_length}",
                text(route.gateway) if route.gateway else None,
                inet.interfaces[route.interface].name,
            )
            for route in inet.v4.addresses.routes.routes
        ]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _start_stages(self):
        layers = self._layers
        self._stages, self._drivers, queues = make_stages(layers, self._config, self._clock, self._supervisor)
        self._control = self._stages["inet"].port(layers.cores["inet"].control)
        self._pings = PingClient(self._clock, self._control.put, self._random)
        self._stages["inet"].connect("echo", self._pings)
        ways = {
            name: way_to(layers.cores[name], self._stages[name], queues[name], self._config) for name in ("tcp", "udp")
        }
        checks = {"tcp": tcp_settings.check_setting, "udp": partial(check_setting, UdpSettings)}
        self._endpoints = Endpoints(self._clock, ways, checks)
        for name in ways:
            self._stages[name].connect("sockets", self._endpoints.inlet(name))
        self._stages["inet"].connect("events", _EventLog(self._name_of))
        for part in (*self._stages.values(), *self._drivers.values()):
            part.start()

    def _describe_interfaces(self):
        states = self._layers.cores["inet"].interfaces
        return [(index, state.name, [held.address for held in state.addresses]) for index, state in states.items()]

    def _name_of(self, index):
        return self._layers.cores["inet"].interfaces[index].name

    def _group_message(self, kind, group, interface):
        address = _parse(ipaddress.IPv4Address, group, "group")
        self._check_running()
        index = self._layers.interfaces.get(interface)
        if index is None or not self._layers.devices[interface].resolves:
            raise StackError(f"Stack: no interface {interface!r} that multicasts")
        if not address.is_multicast:
            raise StackError(f"Stack: {group} is not a multicast group (224.0.0.0/4)")
        joined = self._joined[index]
        if kind is messages.LeaveGroup:
            if not joined[address]:
                raise StackError(f"Stack: {group} is not joined on {interface}")
            joined[address] -= 1
        else:
            if not joined[address] and len(+joined) >= MAX_GROUPS:
                raise StackError(f"Stack: {interface} has {MAX_GROUPS} groups already, leave some first")
            joined[address] += 1
        self._control.put([kind(index, address.packed)])

    def _fail(self, failure):
        """The supervisor's call: a part has failed, so all stop, loudly."""
        self.failure = failure
        self.close()

    def _stopped(self):
        if self.failure is not None:
            error = StackStopped(f"the stack has failed: {self.failure}")
            error.__cause__ = self.failure
            return error
        return StackStopped("the stack has been closed")

    def _check_running(self):
        self._check_started()
        if self._state != "running":
            raise self._stopped()

    def _check_started(self):
        if self._layers is None:
            raise StackStopped("the stack has not been started; use `with` or start()")


class _EventLog:
    """Where inet's ``events`` go: the log."""

    def __init__(self, name_of):
        self._name_of = name_of

    def put(self, batch):
        """Take AddressClaimed and AddressConflict."""
        for message in batch:
            address, name = text(message.address), self._name_of(message.interface)
            if type(message) is messages.AddressConflict:
                log.error("%s: %s is used by %s too and was given up", name, address, message.mac.hex(":"))
            else:
                log.info("%s: %s is ours", name, address)


def _check_assignable(address, loopback):
    """Raise StackError for an address that no host can have on such an interface."""
    ip, network = address.ip, address.network
    why = None
    if ip.is_multicast or ip.is_reserved or int(ip) >> 24 == 0:
        why = "is not a unicast address"
    elif ip.is_loopback != loopback:
        why = "belongs to lo alone" if ip.is_loopback else "cannot be given to a loopback"
    elif network.prefixlen < 31 and ip in (network.network_address, network.broadcast_address):
        why = "is its network's own, or its broadcast's"
    if why is not None:
        raise StackError(f"Stack: address {address} {why}")


def _endpoint(endpoint):
    address, port = endpoint
    return f"{text(address)}:{port}"


def _parse(kind, value, what):
    try:
        return kind(value)
    except ValueError as error:
        raise StackError(f"Stack: {what} {value!r} is not an IPv4 {what}: {error}") from error


__all__ = ["Interface", "Layers", "PingReply", "Stack", "compose", "make_stages", "way_to"]
