"""The composition root: the cores of a stack, the wires between them, and the stages that run them."""

import ipaddress
from dataclasses import dataclass, field
from functools import partial

from gevent.queue import SimpleQueue

from pystack.device.base import Device
from pystack.errors import StackError
from pystack.inet.interfaces import InterfaceState
from pystack.inet.layer import InetLayer
from pystack.inet.multicast import MLD, Membership
from pystack.link.layer import LinkLayer
from pystack.routes import Route
from pystack.runtime.driver import DeviceDriver
from pystack.runtime.mailbox import Mailbox
from pystack.runtime.stage import Stage
from pystack.scope import scoped
from pystack.sockets.way import Way
from pystack.tcp.layer import TcpLayer
from pystack.text import parse_address, parse_interface
from pystack.udp.layer import UdpLayer
from pystack.wire import ipv4

MIN_MTU = 68  # RFC 791: a header with all options, and 8 bytes
MAX_MTU = 65536  # Linux's loopback


@dataclass(kw_only=True)
class Interface:
    """One interface of a stack: a device that is not yet open, and what it is configured with.

    ``addresses`` are in CIDR form ("10.77.0.2/24", "fd77::2/64"), the first of each version is the primary one;
    ``gateway`` is the default router, or a tuple of one for each version. With ``dhcp`` an IPv4 address, routers
    and more come from a DHCP server; IPv6's come from routers unless the `StackConfig` says otherwise. With
    ``accepts_any`` the stack takes what comes in for itself, whatever the destination.
    """

    device: Device
    addresses: tuple = ()
    gateway: str | tuple | None = None
    name: str = "eth0"
    accepts_any: bool = False
    dhcp: bool = False


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
        for text in _gateways(interface):
            gateway = parse_address(text, "gateway", lambda name, index=index: index)
            try:
                inet.add_route(Route(bytes(len(gateway)), 0, index, gateway))
            except ValueError as error:
                raise StackError(f"Stack: gateway {text} is in no prefix of {interface.name}") from error
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
            membership=None if loopback else Membership(random, device.mtu, agenda=inet.agenda),
            membership6=None if loopback else Membership(random, device.mtu, protocol=MLD, agenda=inet.agenda),
            accepts_any=interface.accepts_any,
            disable_ipv6=config.ipv6.disable_ipv6,
        )
    )
    layers.cores[name] = LinkLayer(
        index,
        device.mac,
        random=random,
        resolves=device.resolves,
        segment_offload=device.segment_offload,
        checksum_offload=device.checksum_offload,
    )
    layers.devices[name] = device
    layers.interfaces[name] = index
    for cidr in interface.addresses:
        address, prefix_length = parse_interface(cidr)
        _check_assignable(cidr, loopback)
        probe = config.probe_addresses if len(address) == 4 else config.ipv6.dad_transmits > 0
        try:
            inet.add_address(index, scoped(address, index), prefix_length, probe)
        except ValueError as error:
            raise StackError(f"Stack: address {cidr} is given twice") from error
    layers.wires += [
        (name, "inet", "inet", "receive"),
        (name, "control", "inet", "control"),
        ("inet", f"{name}.control", name, "control"),  # first: who has asked need not be asked for
        ("inet", name, name, "transmit"),
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
    # What is read need not be told at once where it is little beside what a socket may hold.
    patient = min(config.tcp.tcp_rmem[1], config.udp.rmem_default) >= 65_536
    way = Way(core.requests, 16 if patient else 0)
    limit = (config.mailbox_limit + 1) // 2  # the other half is for packets, which do not wait
    way.connect(stage.port(way.take).put, lambda: queue.qsize() < limit)
    return way


def _gateways(interface):
    gateway = interface.gateway
    return () if gateway is None else (gateway,) if isinstance(gateway, str) else gateway


def _check_assignable(cidr, loopback):
    """Raise StackError for an address that no host can have on such an interface."""
    address = ipaddress.ip_interface(cidr)
    ip, network = address.ip, address.network
    why = None
    if ip.is_multicast or ip.is_unspecified or (ip.version == 4 and (ip.is_reserved or int(ip) >> 24 == 0)):
        why = "is not a unicast address"
    elif ip.is_loopback != loopback:
        why = "belongs to lo alone" if ip.is_loopback else "cannot be given to a loopback"
    elif ip.version == 6 and ip.ipv4_mapped is not None:
        why = "is an IPv4 address in disguise: give that one"
    elif ip.version == 4 and network.prefixlen < 31 and ip in (network.network_address, network.broadcast_address):
        why = "is its network's own, or its broadcast's"
    if why is not None:
        raise StackError(f"Stack: address {address} {why}")
