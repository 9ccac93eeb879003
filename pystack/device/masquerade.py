"""``--nat``: the kernel forwards what comes from a TAP, and lends it its own addresses (nftables, masquerade)."""

import fcntl
import ipaddress
import logging
import os
import tempfile

from pystack.errors import DeviceError

_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_IPV4 = 2  # NFPROTO_IPV4
_NETWORK_HEADER, _SOURCE_AT = 1, 12
_OIFNAME = 7  # NFT_META_OIFNAME
_IFNAMSIZ = 16
_EQUAL, _NOT_EQUAL = 0, 1
_REGISTER = 1
_SOURCE_NAT = 100  # NF_IP_PRI_NAT_SRC
_OWNED = 2  # NFT_TABLE_F_OWNER: the table goes with the socket that made it

log = logging.getLogger("pystack")


class Masquerade:
    """What a stack on a TAP needs to reach beyond the host, in this process's network namespace.

    The table is owned by a netlink socket, so it ends with the process, however that ends. Forwarding is one switch for
    the whole namespace: the last of several that use it puts back what the first has found. A firewall of the host's
    that drops what it forwards (as Docker's does) goes on to do so: no table of ours can overrule it.

    Args:
        interface: the TAP's name.
        network: its network, as text ("10.77.0.0/24").
    """

    def __init__(self, interface, network):
        self._interface = interface
        self._network = ipaddress.IPv4Network(network)
        self._nft = None
        self._lock = None  # a descriptor: all that use forwarding hold a shared lock

    def open(self):
        """Set it up. Raises DeviceError; then nothing is left behind."""
        try:
            self._share_forwarding()
            self._add_table()
        except PermissionError as error:
            self.close()
            raise DeviceError(f"cannot set up --nat: {error.strerror} (run as root)") from error
        except OSError as error:
            self.close()
            raise DeviceError(f"cannot set up --nat: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self):
        """Undo it. May be called twice."""
        nft, self._nft = self._nft, None
        if nft is not None:
            nft.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            try:
                self._leave_forwarding(lock)
            except OSError as error:
                log.error("net.ipv4.ip_forward could not be put back: %s", error)
            finally:
                os.close(lock)

    # -- forwarding ---------------------------------------------------------------------------------------------------

    def _share_forwarding(self):
        """Turn it on; the file says what it was before anybody did. What a killed process has left is found there."""
        namespace = os.stat("/proc/self/ns/net").st_ino
        folder = "/run" if os.access("/run", os.W_OK) else tempfile.gettempdir()
        path = os.path.join(folder, f"pystack-forward-{namespace}")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # held for moments only, or shared
        try:
            if not os.pread(self._lock, 1, 0):
                os.pwrite(self._lock, _read(_FORWARD), 0)
            _write(_FORWARD, b"1")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _leave_forwarding(self, lock):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # others need it
        before = os.pread(lock, 1, 0)
        if before:
            _write(_FORWARD, before)
        os.ftruncate(lock, 0)

    # -- nftables -----------------------------------------------------------------------------------------------------

    def _add_table(self):
        from pyroute2.netlink.exceptions import NetlinkError
        from pyroute2.nftables.expressions import genex, masq
        from pyroute2.nftables.main import NFTables

        def data(value):
            return {"attrs": [("NFTA_DATA_VALUE", value)]}

        mask = self._network.netmask.packed
        name = self._interface.encode().ljust(_IFNAMSIZ, b"\0")
        source = {"dreg": _REGISTER, "base": _NETWORK_HEADER, "offset": _SOURCE_AT, "len": 4}
        masked = {"sreg": _REGISTER, "dreg": _REGISTER, "len": 4, "mask": data(mask), "xor": data(bytes(4))}
        rule = [
            genex("payload", source),
            genex("bitwise", masked),
            genex("cmp", {"sreg": _REGISTER, "op": _EQUAL, "data": data(self._network.network_address.packed)}),
            genex("meta", {"key": _OIFNAME, "dreg": _REGISTER}),
            genex("cmp", {"sreg": _REGISTER, "op": _NOT_EQUAL, "data": data(name)}),
        ]
        table = f"pystack_{self._interface}"
        self._nft = nft = NFTables(nfgen_family=_IPV4)
        try:
            nft.begin()
            nft.table("add", name=table, NFTA_TABLE_FLAGS=_OWNED)  # "flags" would be the message's
            nft.chain("add", table=table, name="masquerade", hook="postrouting", type="nat", priority=_SOURCE_NAT)
            nft.rule("add", table=table, chain="masquerade", expressions=(rule, masq()))
            nft.commit()
        except NetlinkError as error:
            raise OSError(error.code, os.strerror(error.code)) from error


def _read(path):
    with open(path, "rb") as file:
        return file.read(1)


def _write(path, value):
    with open(path, "wb") as file:
        file.write(value)
