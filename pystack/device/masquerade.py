"""The way from a TAP to other hosts: the kernel forwards, and puts an address of its own on what leaves."""

import errno
import ipaddress
import logging

from pystack.device import nftables
from pystack.device.forwarding import Ipv4Forwarding
from pystack.device.forwarding6 import Ipv6Forwarding
from pystack.device.record import Record
from pystack.device.rtnetlink import Rtnetlink
from pystack.errors import DeviceError

log = logging.getLogger("pystack.device")

_TABLE = "pystack_"  # and the interface's name
_FORWARDING = {4: Ipv4Forwarding, 6: Ipv6Forwarding}
_SRCNAT = 100  # the priorities that nft(8) calls srcnat and filter
_FILTER = 0


class Masquerade:
    """Let what comes from a TAP reach beyond the host, in the network namespace of the calling thread.

    It turns on forwarding for the TAP and for the other interfaces there are, save other TAPs, and masquerades in the
    nftables tables ``ip pystack_<interface>`` and ``ip6 pystack_<interface>``. The host does not become its neighbours'
    router by it: by an interface that had to be turned on, only replies come in. An interface that appears later is not
    turned on.

    A host that has no IPv6 gets IPv4 alone; where it has, but what is needed cannot be set, a warning says so.

    `close` undoes all of it; several processes may each have one, and the last one restores the forwarding. If the
    process is killed instead, the kernel removes the table, the TAP's setting goes with the TAP, and the setting of the
    other interfaces stays until the next one closes.

    Both calls block, for a few milliseconds, and must come from the same namespace.

    Args:
        interface: the TAP's name; it must be there when `open` is called.
        networks: "address/prefix length" of those behind it, at least one.
    """

    def __init__(self, interface, networks):
        self._interface = interface
        self._networks = {}  # version -> `ipaddress` networks; IPv4 is the first that is set up
        try:
            for network in sorted(map(ipaddress.ip_network, networks), key=lambda network: network.version):
                self._networks.setdefault(network.version, []).append(network)
        except ValueError as error:
            raise DeviceError(f"cannot set up --nat: {error}") from None
        if not self._networks:
            raise DeviceError("cannot set up --nat: there is no network behind it")
        self._nftables = None  # the open connection: the tables live as long
        self._touched = {}  # version -> the forwarding of which there may be something to restore

    def open(self):
        """Set it up. Whatever fails, nothing is left behind. Raises DeviceError."""
        if self._nftables is not None:
            return
        try:
            self._open()
        except ImportError as error:
            self.close()
            raise DeviceError("cannot set up --nat: it needs pyroute2 (pip install pyroute2)") from error
        except OSError as error:
            self.close()
            if isinstance(error, DeviceError):
                raise
            raise DeviceError(f"cannot set up --nat for {self._interface!r}: {_advice(error)}") from error
        except BaseException:
            self.close()
            raise

    def close(self):
        """Undo it. Never raises; what could not be undone is logged. May be called again, and after an interrupt."""
        if self._nftables is None:
            return
        try:
            if self._touched:
                self._restore()
        except Exception as error:
            log.warning("--nat for %s: forwarding is not restored: %s", self._interface, error)
        self.abandon()

    def abandon(self):
        """Let go without undoing anything: for a forked child, whose copy of the connection would keep the tables."""
        self._touched = {}
        held, self._nftables = self._nftables, None
        if held is not None:
            held.close()

    def _open(self):
        self._nftables = nftables.Nftables()
        tap, others = self._find_links()
        with Record() as record:
            table = _TABLE + self._interface
            for version in self._networks:
                if table in self._nftables.tables(version):
                    name = f"{nftables.FAMILIES[version]} {table}"
                    raise DeviceError(
                        f"cannot set up --nat for {self._interface!r}: there is a table '{name}' already: another"
                        f" process has it; if not, remove it (nft delete table {name})"
                    )
            for version, networks in self._networks.items():
                forwarding = _FORWARDING[version](self._interface)
                if forwarding.possible:
                    self._set_up(record, version, networks, forwarding, tap, others)
                elif len(self._networks) == 1:
                    raise OSError(errno.EAFNOSUPPORT, f"the host has no IPv{version}")
        for version in self._touched:
            self._warn_of_firewalls(version)

    def _set_up(self, record, version, networks, forwarding, tap, others):
        """One version of IP. Without IPv6 there may still be IPv4: that it fails is told, and undone."""
        self._touched[version] = forwarding
        try:
            turned_on = forwarding.turn_on(record, others)
            self._nftables.add_table(version, _TABLE + self._interface, _chains(networks, tap, turned_on))
        except OSError as error:
            if len(self._touched) == 1:
                raise
            log.warning("--nat for %s: IPv4 alone, not IPv%d: %s", self._interface, version, _advice(error))
            self._turn_off(record, version)
            del self._touched[version]

    def _warn_of_firewalls(self, version):
        for chain in self._nftables.chains_that_drop(nftables.FORWARD, version):
            log.warning(
                "--nat for %s: the nftables chain '%s' drops what it has no rule for; it must accept what goes to and"
                " from %s (docker: iptables -I DOCKER-USER -i %s -j ACCEPT, and the same with -o)",
                *(self._interface, chain, self._interface, self._interface),
            )

    def _find_links(self):
        """The TAP's index, and ``[(index, name)]`` of the interfaces to turn on."""
        netlink = Rtnetlink()
        try:
            links = netlink.links()
        finally:
            netlink.close()
        own = [index for index, name, _ in links if name == self._interface]
        if not own:
            raise OSError(errno.ENODEV, "there is no such interface")
        # Another TAP may be another pystack's, which decides for itself whether it wants to be forwarded.
        others = [(index, name) for index, name, kind in links if kind not in ("loopback", "tap") and index != own[0]]
        return own[0], others

    def _restore(self):
        """The forwarding. Our tables still stand, so that nothing gets through in between."""
        with Record() as record:
            for version in self._touched:
                self._turn_off(record, version)
            self.abandon()  # the tables go before the lock does: they tell the others that we are there

    def _turn_off(self, record, version):
        own = _TABLE + self._interface
        tables = self._nftables.tables(version)
        last = not any(owned and table.startswith(_TABLE) and table != own for table, owned in tables.items())
        for error in self._touched[version].turn_off(record, last):
            log.warning("--nat for %s: IPv%d forwarding is not restored: %s", self._interface, version, error)


def _chains(networks, tap, turned_on):
    """What a table holds.

    There is no rule that accepts: a packet has to pass the chains of all tables, so an accept here would not save it
    from another one's policy to drop (docker's, a firewall's), and without one it passes here anyway.
    """
    masquerades = [
        nftables.is_from(network) + nftables.leaves_by_another_than(tap) + nftables.masquerade() for network in networks
    ]
    # Back by the same interface is let through: with br_netfilter all that a bridge carries looks like that.
    only_replies = [
        nftables.comes_in_by(index) + nftables.leaves_by_another_than(index) + nftables.is_no_reply() + nftables.drop()
        for index in turned_on
    ]
    return {
        "postrouting": ("nat", nftables.POSTROUTING, _SRCNAT, masquerades),
        "forward": ("filter", nftables.FORWARD, _FILTER, only_replies),
    }


def _advice(error):
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS) and error.filename and "/sys/" in error.filename:
        name = "net.ipv6.conf.all.forwarding" if "/ipv6/" in error.filename else "net.ipv4.ip_forward"
        return (
            f"cannot write {error.filename}: {error.strerror} (run as root; in a container: --privileged, or"
            f" --sysctl {name}=1)"
        )
    if error.errno in (errno.EPERM, errno.EACCES) and not error.filename:
        return "needs CAP_NET_ADMIN (run as root, or set up forwarding and NAT yourself and leave out --nat)"
    if error.errno in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT) and not error.filename:
        return f"{error.strerror}: it needs Linux 5.12 or later, with nftables and its NAT (modprobe nft_masq)"
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
