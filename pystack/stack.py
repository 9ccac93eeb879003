"""A stack that runs: its life, and what a library's user can do with it."""

import logging
from collections import Counter, defaultdict
from functools import partial
from random import Random

import gevent

from pystack import messages
from pystack.config import StackConfig, check_setting
from pystack.configuration import Configuration
from pystack.device.loopback import Loopback
from pystack.errors import StackError, StackStopped
from pystack.inet.multicast import MAX_GROUPS
from pystack.layers import Interface, compose, make_stages, way_to
from pystack.leasing import Dhcp4, Dhcp6
from pystack.ping import MAX_SIZE, PingClient, PingReply
from pystack.runtime import lifetime, stats
from pystack.runtime.clock import MonotonicClock
from pystack.runtime.supervisor import Supervisor
from pystack.scope import is_link_local, on_wire
from pystack.sockets.datagram import UdpSocket
from pystack.sockets.endpoints import Endpoints
from pystack.sockets.service import Service
from pystack.sockets.stream import TcpListener, TcpStream
from pystack.tcp import settings as tcp_settings
from pystack.text import format_address, parse_address
from pystack.udp.settings import Settings as UdpSettings

_FAREWELL = 0.05  # seconds for what gives leases back to find its way; if it does not, they end by themselves

log = logging.getLogger("pystack")


class Stack:
    """A TCP/IP stack: a greenlet per layer over the devices that it is given. Several can live in one process.

    Made, it is only a plan; `start` (or ``with``) opens the devices and `close` undoes whatever that did to the host.
    It must be used from the thread that started it. An interface ``lo`` with 127.0.0.1/8 and ::1 is always there.

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
        self._interfaces = [Interface(device=Loopback(), addresses=["127.0.0.1/8", "::1/128"], name="lo"), *interfaces]
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
        self._configuration = Configuration(self._name_of)
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
        if self.failure is None and self._configuration.release():
            gevent.sleep(_FAREWELL)
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
            address: as text; a link-local one with its interface, "fe80::1%eth0".
            count, size: requests, and bytes of data in each (0 to 65507, by IPv6 65527).
            interval, timeout: seconds from one request to the next, and to wait for each reply.
            ttl: 1 to 255, or None for the stack's default: the hop limit of IPv6.
            dont_fragment: set DF; a packet too large for the path is then reported, not cut.

        Returns:
            a list of `PingReply`, one for each request, in order.

        Raises:
            StackStopped: the stack is not running, or stopped meanwhile. StackError: an argument is out of range.
        """
        self._check_running()
        destination = self._parse(address)
        for name, value in (("count", count), ("size", size), ("ttl", 1 if ttl is None else ttl)):
            if not isinstance(value, int):
                raise StackError(f"ping: {name} must be an int, not {value!r}")
        if not 0 <= size <= MAX_SIZE[len(destination)]:
            raise StackError(f"ping: size must be within 0 and {MAX_SIZE[len(destination)]}, not {size!r}")
        if count < 1 or interval < 0 or timeout <= 0 or (ttl is not None and not 1 <= ttl <= 255):
            raise StackError("ping: count and timeout must be positive, interval not negative, ttl within 1 and 255")
        return list(self._pings.ping(destination, count, size, interval, timeout, ttl, dont_fragment))

    def connect(self, address, port, *, source=None, timeout=None, **settings):
        """Open a TCP connection.

        Args:
            address, port: of the peer; the address as text.
            source: ``(address, port)`` to connect from; an address of "0.0.0.0" or "::" and a port of 0 leave it to the
                stack.
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
                stream.bind(self._parse(source[0], "source"), source[1])
            stream.connect(self._parse(address), port, timeout)
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
            packed = self._parse(address)
            listener.bind(packed, port, reuse_address=reuse_address, reuse_port=reuse_port)
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
        return listener

    def udp(self, port=None, address="0.0.0.0", *, reuse_address=False, reuse_port=False, **settings):
        """A UDP socket, bound if *port* is given (0: a free one).

        Returns:
            a `sockets.datagram.UdpSocket` with these *settings*, fields of `udp.settings.Settings`.

        Raises:
            OSError, with Linux's numbers; StackStopped.
        """
        self._check_running()
        made = UdpSocket(self._endpoints)
        try:
            for name, value in settings.items():
                made.set_option(name, value)
            if port is not None:
                packed = self._parse(address)
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
        return Service(
            self._endpoints,
            cores["inet"],
            defaults,
            cores["udp"].refusal,
            self._describe_interfaces,
            self._configuration.name_servers,
        )

    def join_group(self, group, interface="eth0"):
        """Receive a multicast group (text) by an interface, and report it (IGMP, MLD); counted, see `leave_group`."""
        self._group_message(messages.JoinGroup, group, interface)

    def leave_group(self, group, interface="eth0"):
        """Undo one `join_group`."""
        self._group_message(messages.LeaveGroup, group, interface)

    def counters(self):
        """What was counted, by part: ``{"inet": {"InReceives": 3, "drop.bad_checksum": 1}, ...}``; no zeros.

        An interface's row holds its link layer's and its device's counts. Segments that were joined, and ACKs that
        another of the same moment made needless (``Joined``), are one packet to what is above, and one that is cut
        leaves inet as one, as on Linux. "stack" holds ``bugs``: exceptions in a core, or in what a program has asked
        for.
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
        bugs = self._supervisor.failures + layers.cores["tcp"].counts["bugs"] + self._endpoints.bugs
        return {**stats.snapshot(parts), "stack": {"bugs": bugs}}

    def connections(self):
        """The TCP sockets: a list of ``(local, remote or None, state)``, as "10.77.0.2:80" and "ESTABLISHED"."""
        self._check_started()
        return [
            (self._endpoint(local), self._endpoint(remote) if remote else None, state)
            for local, remote, state, _ in self._layers.cores["tcp"].connections()
        ]

    def held(self):
        """What TCP holds now: ``{"connections": 2, "memory": 4096, ...}`` (`tcp.layer.TcpLayer.held`)."""
        self._check_started()
        return self._layers.cores["tcp"].held()

    def await_addresses(self, versions, timeout):
        """Wait until there is an address of each of these *versions* of IP (4, 6) that reaches beyond the link.

        Returns:
            False if that takes longer than *timeout* seconds.

        Raises StackStopped.
        """
        self._check_running()
        return self._configuration.wait(lambda: versions <= self._versions(), self._clock, timeout)

    def _versions(self):
        states = self._layers.cores["inet"].interfaces.values()
        held = [each for state in states if not state.loopback for each in (*state.addresses, *state.addresses6)]
        usable = [each.address for each in held if each.usable and not is_link_local(each.address)]
        return {4 if len(address) == 4 else 6 for address in usable}

    def name_servers(self):
        """``(servers, search)``: what routers and DHCP servers say, lists of text."""
        return self._configuration.name_servers()

    def neighbors(self):
        """The neighbour tables: a list of ``(interface, address, MAC or None, state)``, all text."""
        self._check_started()
        found = []
        for name in self._layers.devices:
            for address, mac, state in self._layers.cores[name].neighbors():
                found.append((name, self._text(address), mac.hex(":") if mac else None, state))
        return found

    def addresses(self):
        """The usable addresses: a list of ``(interface, "10.77.0.2/24")``."""
        self._check_started()
        return [
            (state.name, f"{format_address(on_wire(held.address))}/{held.prefix_length}")
            for state in self._layers.cores["inet"].interfaces.values()
            for held in (*state.addresses, *state.addresses6)
            if held.usable
        ]

    def routes(self):
        """The routes: a list of ``(prefix, gateway or None, interface)``, all text."""
        self._check_started()
        inet = self._layers.cores["inet"]
        return [
            (
                f"{format_address(on_wire(route.network))}/{route.prefix_length}",
                self._text(route.gateway) if route.gateway else None,
                inet.interfaces[route.interface].name,
            )
            for host in (inet.v4, inet.v6)
            for route in host.addresses.routes.routes
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
        self._stages["inet"].connect("events", self._configuration)
        for part in (*self._stages.values(), *self._drivers.values()):
            part.start()
        self._start_clients()
        self._control.put([messages.Start()])

    def _start_clients(self):
        """The DHCP clients. Each interface has one of IPv6, which waits for routers that tell of DHCPv6."""
        rest = self._clock, self._endpoints, self._control.put, self._configuration
        for name, index in self._layers.interfaces.items():
            device = self._layers.devices[name]
            if device.resolves and self._layers.cores["inet"].interfaces[index].has_ipv6:
                self._configuration.add_client(index, 16, Dhcp6(device.mac, self._random, index, name, *rest))
        for interface in self._interfaces:
            if interface.dhcp:
                index = self._layers.interfaces[interface.name]
                client = Dhcp4(interface.device.mac, self._random, None, index, interface.name, *rest)
                self._configuration.add_client(index, 4, client)
                client.start()

    def _describe_interfaces(self):
        states = self._layers.cores["inet"].interfaces
        return [
            (index, state.name, [held.address for held in (*state.addresses, *state.addresses6)])
            for index, state in states.items()
        ]

    def _parse(self, value, what="address"):
        return parse_address(value, what, self._layers.interfaces.get)

    def _text(self, address):
        return format_address(address, self._name_of)

    def _endpoint(self, endpoint):
        address, port = endpoint
        return f"[{self._text(address)}]:{port}" if len(address) == 16 else f"{self._text(address)}:{port}"

    def _name_of(self, index):
        return self._layers.cores["inet"].interfaces[index].name

    def _group_message(self, kind, group, interface):
        self._check_running()
        address = self._parse(group, "group")
        index = self._layers.interfaces.get(interface)
        if index is None or not self._layers.devices[interface].resolves:
            raise StackError(f"Stack: no interface {interface!r} that multicasts")
        if address[0] >> 4 != 14 if len(address) == 4 else address[0] != 0xFF:
            raise StackError(f"Stack: {group} is not a multicast group (224.0.0.0/4, ff00::/8)")
        joined = self._joined[index]
        if kind is messages.LeaveGroup:
            if not joined[address]:
                raise StackError(f"Stack: {group} is not joined on {interface}")
            joined[address] -= 1
        else:
            if not joined[address] and len(+joined) >= MAX_GROUPS:
                raise StackError(f"Stack: {interface} has {MAX_GROUPS} groups already, leave some first")
            joined[address] += 1
        self._control.put([kind(index, address)])

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


__all__ = ["Interface", "PingReply", "Stack"]
