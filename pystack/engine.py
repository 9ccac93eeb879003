"""The engine in a process of its own: the stack that `options.Options` ask for, and the programs' sockets on it.

`pystack.launch` starts it as ``main(argv)``. It ends when the last process that uses it has ended, no socket is open
any more, and what was written has been delivered, or `--linger` is over.
"""

import errno
import glob
import ipaddress
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import closing
from socket import SOCK_SEQPACKET

import gevent
from gevent.event import Event

from pystack import options as options_module
from pystack.config import Ipv6Config, StackConfig
from pystack.device import hostroutes, impairments, memory
from pystack.device.impair import Impaired
from pystack.device.pcap import Capture
from pystack.device.tap import Tap
from pystack.errors import DeviceError, StackError
from pystack.gateway.gateway import Gateway
from pystack.gateway.streams import StreamRelay
from pystack.layers import Interface
from pystack.options import AUTO, DHCP
from pystack.runtime import collector, stats
from pystack.runtime.clock import MonotonicClock
from pystack.sockets import kernel
from pystack.stack import Stack
from pystack.sysctl import apply

log = logging.getLogger("pystack")

_ATTEMPTS = 16  # at a network that no other runner takes at the same time
_FOLDER, _SOCKET = "pystack-", "engine"  # where processes join
_OLD = 60.0  # seconds
_POLL_PROCESSES = 0.05  # seconds, only while nobody is joined
_POLL = 0.01  # seconds, at the end only: is all delivered?
_FIN_WAIT_2 = 1.0  # seconds for a peer to end its own side, when the program has gone
# A connection in these states has nothing more to deliver, or is a peer's to end.
_DONE = frozenset(("LISTEN", "TIME-WAIT", "CLOSED"))
_DEFAULT_LINK_MTU = 1500
_PATIENCE = 15.0  # seconds until routers and DHCP servers have answered; probing for others takes 7 of them


class Engine:
    """A stack, its link and whatever the link needs. *options*: `options.Options`.

    Attributes:
        notes: lines for the user about what was chosen in the place of something else.
        nameservers: addresses, as text, that the link brings with it.
        path: where processes join.
    """

    def __init__(self, options):
        self.options = options
        self.notes = []
        self.nameservers = ()
        self.stack = None
        self.gateway = None
        self.service = None
        self.path = None
        self._folder = None
        self._masquerade = None
        self._published = None

    def start(self):
        """Bring the stack up, and let processes join. Raises StackError, OSError; then nothing is left behind."""
        options = self.options
        try:
            if options.link == "none":
                self._start_stack([])
            elif options.link == "user":
                self._start_user()
            else:
                self._start_tap_or_user()
            self._await_configuration()
            if options.publish and self.gateway is None:
                self._start_publishing()
            self.service = self.stack.service()
            _remove_leftovers(tempfile.gettempdir())
            self._folder = tempfile.mkdtemp(prefix=_FOLDER)
            self.path = os.path.join(self._folder, _SOCKET)
            self.service.listen(self.path)
        except BaseException:
            self.close()
            raise
        return self

    def close(self, before_last=lambda: None):
        """Undo `start`; print the counters if that was asked for. *before_last* is called when only the processes'
        channels are left."""
        text = self._summary() if self.options.stats and self.stack is not None else None
        if self._masquerade is not None:
            self._masquerade.close()
        if self._published is not None:
            self._published.close()
        if self.gateway is not None:
            self.gateway.close()
        if self.stack is not None:
            self.stack.close()
        if text is not None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        before_last()
        if self.service is not None:
            self.service.close()

    def drain(self, end):
        """Return when all that was written has been delivered, at the latest at *end* (`MonotonicClock`'s)."""
        half_closed_end = None
        while self.stack.failure is None:
            now = MonotonicClock.now()
            done, half_closed = self._drained()
            if not half_closed:
                half_closed_end = None
            elif half_closed_end is None:
                half_closed_end = now + _FIN_WAIT_2
            if done or now >= end or (half_closed_end is not None and now >= half_closed_end):
                return
            gevent.sleep(_POLL)

    def _drained(self):
        """Whether nothing waits to be delivered; and whether only peers that do not end their side are waited for."""
        states = {state for _, _, state in self.stack.connections()} - _DONE
        idle = all(relay is None or relay.idle for relay in (self.gateway, self._published)) and not self._resolving()
        return idle and not states, idle and states <= {"FIN-WAIT-2"}

    def _resolving(self):
        return any(state == "INCOMPLETE" for *_, state in self.stack.neighbors())

    def _summary(self):
        parts = [stats.format(self.stack.counters())]
        if self.gateway is not None:
            counters = self.gateway.counters()
            parts.append(stats.format({f"gateway.{name}": row for name, row in counters.items()}))
        return "\n".join(parts)

    # -- links --------------------------------------------------------------------------------------------------------

    def _start_tap_or_user(self):
        try:
            self._start_tap()
        except DeviceError as error:
            if self.options.link == "tap" or self.options.nat or self.options.link_name:
                raise
            self.notes.append(f"no TAP ({_reason(error)}): --link user is used in its place")
            self._start_user()

    def _networks(self):
        """``(number or None, host's side, addresses of the stack)``, one after the other until one can be had; the
        last two are tuples in CIDR form, IPv4 first."""
        options = self.options
        if options.addresses:
            static = [each for each in options.addresses if each not in (DHCP, AUTO)]
            first = {}
            for each in sorted(static, key=lambda each: ":" in each):
                first.setdefault(ipaddress.ip_interface(each).version, each)
            yield None, tuple(map(options_module.host_side, first.values())), tuple(static)
            return
        taken = hostroutes.taken_networks()
        for _ in range(_ATTEMPTS):
            number = options_module.default_network(taken)
            networks = options_module.default_networks(number)
            taken.update(networks)
            hosts, addresses = (
                tuple(f"{network[last]}/{network.prefixlen}" for network in networks) for last in (1, 2)
            )
            yield number, hosts, addresses

    def _start_tap(self):
        options = self.options
        failure = None
        for number, hosts, addresses in self._networks():
            hosts = [host for host in hosts if ":" not in host or hostroutes.has_ipv6()]
            name = options.link_name or ("pystack%d" if number is None else f"pystack{number}")
            tap = Tap(
                name,
                mac=options.mac,
                mtu=options.mtu or _DEFAULT_LINK_MTU,
                host_addresses=hosts,
                offload=options.offload != "off",
            )
            tap.segment_offload_allowed = options.offload == "on"
            try:
                self._start_stack([self._interface(tap, addresses, hosts)])
            except DeviceError as error:
                failure = error
                if number is None or options.link_name or not _is_taken(error):
                    raise
                continue
            log.info("TAP %s: the stack has %s, the host %s", tap.name, ", ".join(addresses), ", ".join(hosts))
            if options.nat:
                self._start_nat(tap.name, [str(ipaddress.ip_interface(host).network) for host in hosts])
            return
        raise failure

    def _start_nat(self, name, networks):
        from pystack.device.masquerade import Masquerade

        self._masquerade = Masquerade(name, networks)
        self._masquerade.open()

    def _start_publishing(self):
        """Relay ports of the host's where there is no gateway that does it."""
        self._published = StreamRelay(None, self._connect_published, None)
        for each in self.options.publish:
            if each.protocol != "tcp":
                raise StackError("--publish: a UDP port can be published with --link user alone")
            try:
                self._published.publish(each.host, each.host_port, each.port)
            except OSError as error:
                raise StackError(
                    f"--publish: cannot listen on {each.host}:{each.host_port}: {error.strerror}"
                ) from error

    def _connect_published(self, port):
        """A connection to the stack's own *port*. Raises OSError while the stack has no address but its loopback's."""
        for name, each in self.stack.addresses():
            own = ipaddress.ip_interface(each).ip
            if name != "lo" and not own.is_link_local:
                return self.stack.connect(str(own), port, nodelay=True)
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    def _start_user(self):
        options = self.options
        _, hosts, addresses = next(self._networks())
        macs = None if options.mac is None else (options.mac, bytes([options.mac[0] | 2]) + os.urandom(5))
        ours, theirs = memory.pair(options.mtu or _DEFAULT_LINK_MTU, macs, options.offload != "off")
        ours.segment_offload_allowed = options.offload == "on"
        gateway = Gateway(
            theirs,
            hosts,
            addresses,
            seed=options.seed,
            publish=[(each.host, each.host_port, each.port, each.protocol) for each in options.publish],
        )
        # The device that the stack wraps is opened first: a pair passes frames on as soon as both sides are.
        self._start_stack([self._interface(ours, addresses, hosts)])
        self.gateway = gateway
        gateway.start()
        log.info("gateway: the stack has %s, the host is %s", ", ".join(addresses), ", ".join(hosts))
        self.nameservers = (str(ipaddress.ip_interface(hosts[0]).ip),)

    def _interface(self, device, addresses, hosts):
        options = self.options
        if options.impair:
            rules = impairments.parse(options.impair)
            device = Impaired(device, transmit=rules, receive=rules, seed=options.seed or 0)
        if options.pcap:
            device = Capture(device, options.pcap)
        routers = {ipaddress.ip_interface(host).version: str(ipaddress.ip_interface(host).ip) for host in hosts}
        routers |= {ipaddress.ip_address(each).version: each for each in options.gateway}
        return Interface(
            device=device,
            addresses=list(addresses),
            gateway=tuple(routers.values()),
            dhcp=DHCP in options.addresses,
        )

    def _await_configuration(self):
        """Wait for the addresses that others are to give; the program begins without those that do not come."""
        wanted = {DHCP: 4, AUTO: 6}.keys() & set(self.options.addresses)
        if not wanted:
            return
        versions = {{DHCP: 4, AUTO: 6}[each] for each in wanted}
        if not self.stack.await_addresses(versions, _PATIENCE):
            self.notes.append(f"nobody has given an address within {_PATIENCE:.0f} s; it is waited for still")

    def _start_stack(self, interfaces):
        # Who else could have the stack's own addresses is the host alone, which has chosen others: nothing is to be
        # waited for. Nor is there another router, unless somebody means to find one.
        auto = AUTO in self.options.addresses
        config = StackConfig(ipv6=Ipv6Config(dad_transmits=int(auto), accept_ra=auto))
        config = apply(config, self.options.sysctl)
        stack = Stack(interfaces, config=config, clock=MonotonicClock(), seed=self.options.seed)
        stack.start()
        self.stack = stack


def _remove_leftovers(folder):
    """Folders of engines that were killed: their sockets refuse, and are older than any that is being made."""
    for path in glob.glob(os.path.join(folder, f"{_FOLDER}*", _SOCKET)):
        try:
            status = os.lstat(path)
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _OLD:
                with closing(kernel.socket(kernel.AF_UNIX, SOCK_SEQPACKET | kernel.SOCK_CLOEXEC)) as sock:
                    sock.setblocking(False)  # an engine that is stopped takes none: it is not waited for
                    sock.connect(path)
        except ConnectionRefusedError:
            shutil.rmtree(os.path.dirname(path), ignore_errors=True)
        except OSError:
            pass  # it is another's, or has gone just now


def _reason(error):
    """Of a `DeviceError` about a TAP, without its head and its advice."""
    text = str(error).partition(": ")[2] or str(error)
    return text.partition(" (")[0]


def _is_taken(error):
    return any(words in str(error) for words in ("has it open", "overlaps", "is no single-queue TAP"))


class Process:
    """The life of an engine process. *ready* is a descriptor: what `launch` reads."""

    def __init__(self, options, ready):
        self._ready = ready
        self._engine = Engine(options)
        self._changed = Event()
        self._leaving = None  # (when the patience ends, reply)
        self._terminated = False

    def run(self, life):
        """Serve until nobody needs the engine any more; *life* is the first process's channel. Returns the exit
        status."""
        engine = self._engine
        try:
            engine.start()
        except (StackError, OSError, ValueError) as error:
            self._say("error", str(error) or type(error).__name__)
            return 1
        try:
            engine.service.on_change = self._changed.set
            engine.service.on_leave = self._on_leave
            engine.service.add_life(life)
            gevent.signal_handler(signal.SIGTERM, self._terminate)
            self._tell()
            collector.configure()
            os.chdir("/")
            self._serve()
            if not self._terminated:
                end = self._leaving[0] if self._leaving else MonotonicClock.now() + engine.options.linger
                engine.drain(end)
        finally:
            engine.close(self._let_leave)
        if engine.stack.failure is not None:
            return 1
        return 128 + signal.SIGTERM if self._terminated else 0

    def _tell(self):
        for note in self._engine.notes:
            self._say("note", note)
        if self._engine.nameservers:
            self._say("dns", " ".join(self._engine.nameservers))
        self._say("ready", self._engine.path)
        os.close(self._ready)

    def _say(self, kind, text):
        os.write(self._ready, f"{kind} {text}\n".encode())

    def _terminate(self):
        self._terminated = True
        self._changed.set()

    def _on_leave(self, seconds, children, reply):
        self._engine.service.departed.update(children)
        if self._engine.service.lives > 1 or children:
            reply(0)
        else:
            self._leaving = MonotonicClock.now() + seconds, reply
            self._changed.set()

    def _let_leave(self):
        if self._leaving is not None:
            self._leaving[1](0)

    @property
    def _over(self):
        """Whether nobody will ask for anything any more."""
        service = self._engine.service
        if self._terminated or self._engine.stack.failure is not None:
            return True
        if service.lives > (self._leaving is not None) or service.open_ends:
            return False
        return self._leaving is not None or not self._may_join()

    def _may_join(self):
        """Whether a process that has left is alive still: it has become another program (execve), or is a child that
        has only begun."""
        departed = self._engine.service.departed
        departed.difference_update([pid for pid in departed if not _is_alive(pid)])
        return bool(departed)

    def _serve(self):
        while not self._over:
            self._changed.clear()
            if self._leaving is None:
                self._changed.wait(_POLL_PROCESSES if self._engine.service.lives == 0 else None)
                continue
            # The process has closed its sockets, but something that is no process of ours may have one, too.
            left = self._leaving[0] - MonotonicClock.now()
            if left <= 0 or not self._changed.wait(left):
                return


def _is_alive(pid):
    """Whether the process runs still, and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def main(argv, ready, life):
    """Be the engine of ``python -m pystack.run`` with these arguments.

    Args:
        argv: the runner's.
        ready: a descriptor for lines: "error WHY", or "note TEXT" and "dns ADDRESSES" and at last "ready PATH".
        life: the engine's end of the first control channel, a descriptor.
    """
    options = options_module.parse(argv, os.environ)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="pystack: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _raise_descriptor_limit()
    sock = kernel.socket(fileno=life)
    sock.setblocking(False)
    return Process(options, ready).run(sock)


def _raise_descriptor_limit():
    """Each of the programs' sockets is one here, whatever their own limits are."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
