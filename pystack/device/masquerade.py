"""The way from a TAP to other hosts: the kernel forwards, and puts an address of its own on what leaves."""

import errno
import ipaddress
import logging

from pystack.device import forwarding, nftables
from pystack.device.rtnetlink import Rtnetlink
from pystack.errors import DeviceError

log = logging.getLogger("pystack.device")

_TABLE = "pystack_"  # and the interface's name; family ip
_SRCNAT = 100  # the priorities that nft(8) calls srcnat and filter
_FILTER = 0


class Masquerade:
    """Let what comes from a TAP reach beyond the host, in the network namespace of the calling thread.

    It turns on IPv4 forwarding for the TAP and for the other interfaces there are, save other TAPs, and masquerades in
    an nftables table ``ip pystack_<interface>``. The host does not become its neighbours' router by it: by an interface
    that had to be turned on, only replies come in. An interface that appears later is not turned on.

    `close` undoes all of it; several processes may each have one, and the last one restores the forwarding. If the
    process is killed instead, the kernel removes the table, the TAP's setting goes with the TAP, and the setting of the
    other interfaces stays until the next one closes.

    Both calls block, for a few milliseconds, and must come from the same namespace.

    Args:
        interface: the TAP's name; it must be there when `open` is called.
        network: "address/prefix length" of the IPv4 network behind it.
    """

    def __init__(self, interface, network):
        self._interface = interface
        try:
            self._network = ipaddress.IPv4Network(network)
        except ValueError as error:
            raise DeviceError(f"cannot set up --nat: {network!r} is not an IPv4 network: {error}") from None
        self._nftables = None  # the open connection: the table lives as long
        self._touched = False  # there may be something to restore
        self._was_off = False  # the TAP's own forwarding
        self._was_switched_on = False  # all interfaces' forwarding

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
            log.warning("--nat for %s: IPv4 forwarding is not restored: %s", self._interface, error)
        self.abandon()

    def abandon(self):
        """Let go without undoing anything: for a forked child, whose copy of the connection would keep the table."""
        self._touched = False
        held, self._nftables = self._nftables, None
        if held is not None:
            held.close()

    def _open(self):
        self._nftables = nftables.Nftables()
        tap, others = self._find_links()
        with forwarding.Record() as record:
            table = _TABLE + self._interface
            if table in self._nftables.tables():
                raise DeviceError(
                    f"cannot set up --nat for {self._interface!r}: there is a table 'ip {table}' already: another"
                    f" process has it; if not, remove it (nft delete table ip {table})"
                )
            self._touched = True
            record.drop_if_switched_on()
            record.turn_on(others)
            self._was_switched_on = forwarding.is_on("all")
            self._was_off = forwarding.is_on(self._interface) is False
            if self._was_off:
                forwarding.turn(self._interface, True)
            self._nftables.add_table(table, self._chains(tap, record.interfaces))
        for chain in self._nftables.chains_that_drop(nftables.FORWARD):
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

    def _chains(self, tap, turned_on):
        """What the table holds.

        There is no rule that accepts: a packet has to pass the chains of all tables, so an accept here would not save
        it from another one's policy to drop (docker's, a firewall's), and without one it passes here anyway.
        """
        masquerade = nftables.is_from(self._network) + nftables.leaves_by_another_than(tap) + nftables.masquerade()
        # Back by the same interface is let through: with br_netfilter all that a bridge carries looks like that.
        only_replies = [
            nftables.comes_in_by(index)
            + nftables.leaves_by_another_than(index)
            + nftables.is_no_reply()
            + nftables.drop()
            for index in turned_on
        ]
        return {
            "postrouting": ("nat", nftables.POSTROUTING, _SRCNAT, [masquerade]),
            "forward": ("filter", nftables.FORWARD, _FILTER, only_replies),
        }

    def _restore(self):
        """The forwarding. Our table still stands, so that nothing gets through in between."""
        with forwarding.Record() as record:
            own = _TABLE + self._interface
            others = [
                table
                for table, owned in self._nftables.tables().items()
                if owned and table.startswith(_TABLE) and table != own
            ]
            errors = record.turn_off() if not others else []
            # As in Record.drop_if_switched_on: now it is somebody else's.
            if self._was_off and (self._was_switched_on or not forwarding.is_on("all")):
                forwarding.turn(self._interface, False)
            self._was_off = False
            self.abandon()  # the table goes before the lock does: it tells the others that we are there
        for error in errors:
            log.warning("--nat for %s: IPv4 forwarding is not restored: %s", self._interface, error)


def _advice(error):
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS) and error.filename and "/sys/" in error.filename:
        return (
            f"cannot write {error.filename}: {error.strerror} (run as root; in a container: --privileged, or"
            " --sysctl net.ipv4.ip_forward=1)"
        )
    if error.errno in (errno.EPERM, errno.EACCES) and not error.filename:
        return "needs CAP_NET_ADMIN (run as root, or set up forwarding and NAT yourself and leave out --nat)"
    if error.errno in (errno.EPROTONOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT) and not error.filename:
        return f"{error.strerror}: it needs Linux 5.12 or later, with nftables and its NAT (modprobe nft_masq)"
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
