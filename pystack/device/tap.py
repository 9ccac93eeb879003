"""The TAP device: an Ethernet cable between the stack and the host's kernel (Documentation/networking/tuntap.rst).

With IFF_VNET_HDR and TUNSETOFFLOAD the kernel hands over super-segments up to 64 KB with unfinished checksums, and
takes the same: the stack moves few, large frames.
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import struct

from pystack.device.base import RECEIVE_BYTES, RECEIVE_FRAMES, VNET_HEADER, Device
from pystack.device.rtnetlink import Rtnetlink
from pystack.errors import DEVICE_BUSY, DEVICE_REFUSED, DeviceError

# <linux/if_tun.h>, as most architectures number ioctls (not mips, powerpc, sparc).
_TUNSETIFF = 0x400454CA
_TUNGETIFF = 0x800454D2
_TUNSETOFFLOAD = 0x400454D0
_TUNGETVNETHDRSZ = 0x800454D7
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_IFF_VNET_HDR = 0x4000
_IFF_PERSIST = 0x0800
_TUN_F_CSUM = 0x01
_TUN_F_TSO = 0x02 | 0x04 | 0x08  # TSO4, TSO6, TSO_ECN
_TUN_F_USO = 0x20 | 0x40  # USO4, USO6: since Linux 6.2

_IFREQ = struct.Struct("=16sH22x")
_INT = struct.Struct("=i")
_CLONE_NEWNET = 0x40000000
_IOV_MAX = 1024
_LITTLE = 512  # bytes: a frame that is no part of bulk data
_LULL = 0.01  # seconds
_CALM = 8  # as often as this many wakes with a frame each it is looked for a second one
_LARGEST_FRAME = VNET_HEADER + 14 + 4 + 65536  # a super-segment behind a VLAN tag


class Tap(Device):
    """A TAP interface, created, or attached to if one of that name exists.

    Args:
        name: up to 15 characters; "%d" in it becomes the first free number.
        mac: 6 bytes, the stack's end; a random locally administered address if None.
        mtu: bytes; set on the host's end too.
        host_addresses: "address/prefix length" strings, IPv4 or IPv6, for the host's end.
        offload: partial checksums and super-segments.
        netns: path or name of the network namespace to work in; None: the calling thread's.
        queue_length: frames that the kernel queues for the stack; an attached interface's is only ever raised.

    Attributes:
        host_mac: 6 bytes, the address of the host's end, once open.
    """

    def __init__(
        self, name="pystack%d", *, mac=None, mtu=1500, host_addresses=(), offload=True, netns=None, queue_length=10000
    ):
        super().__init__()
        self.name = name
        self.mac = _random_mac() if mac is None else bytes(mac)
        self.mtu = mtu
        self.host_mac = bytes(6)
        self.checksum_offload = offload
        self._asked_name = name
        self._host_addresses = host_addresses
        self._offload = offload
        self._netns = netns
        self._queue_length = queue_length
        self._fd = -1
        self._alone = 0  # frames in a row that came alone, as far as was looked
        self._read_at = 0.0
        self._netlink = None
        self._undo = []  # (function, arguments), latest last

    @property
    def segment_offload(self):
        return self._offload and self.segment_offload_allowed

    def open(self):
        """Create or attach the interface and set up its host's end. Whatever fails, nothing is left behind."""
        if self._fd >= 0:
            return
        self._check_name()
        if len(self.mac) != 6 or self.mac[0] & 1:
            raise DeviceError(f"TAP {self.name!r}: mac must be 6 bytes, and not a multicast address")
        addresses = self._parse_addresses()
        try:
            self._enter(self._attach)
            self._negotiate()
            self._configure(addresses)
        except ImportError as error:
            self.close()
            raise DeviceError("a TAP device needs pyroute2: pip install pyroute2") from error
        except BaseException:
            self.close()
            raise

    def fileno(self):
        return self._fd

    def receive(self, now):
        frames = []
        read = os.read
        fd = self._fd
        size = _LARGEST_FRAME
        budget = RECEIVE_BYTES
        # To find that there is no second frame takes a call that fails. Where each wake has brought a single short one
        # the next is for the hub to tell of; now and then it is looked whether they have become many, and after a lull:
        # who was late must have all that has come before its timers are heard.
        alone = self._alone % _CALM if now - self._read_at < _LULL else 0
        self._read_at = now
        try:
            for _ in range(RECEIVE_FRAMES):
                frame = read(fd, size)
                frames.append(frame)
                budget -= len(frame)
                if budget <= 0 or (alone and len(frame) < _LITTLE):
                    break
                alone = 0
        except BlockingIOError:
            pass
        except OSError as error:
            self._read_failed(error, frames)
        self._alone = self._alone + 1 if len(frames) <= 1 else 0
        return frames

    def transmit(self, frames, now):
        writev = os.writev
        fd = self._fd
        for frame in frames:
            try:
                writev(fd, frame)
            except BlockingIOError:
                self.drops[DEVICE_BUSY] += 1
            except OSError as error:
                self._write_failed(error, frame)

    def close(self):
        # One by one, so that what an interrupt leaves undone is there for the next call.
        while self._undo:
            function, arguments = self._undo[-1]
            try:
                function(*arguments)
            except OSError:
                pass  # the interface is gone, or we no longer may: there is nothing better to do
            del self._undo[-1:]
        self.abandon()

    def abandon(self):
        self._undo = []
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        netlink, self._netlink = self._netlink, None
        if netlink is not None:
            netlink.close()
        self.name = self._asked_name

    # Opening.

    def _check_name(self):
        name = self._asked_name
        plain = name.replace("%d", "0", 1)
        if (
            not 0 < len(os.fsencode(name)) < 16
            or name in (".", "..")
            or any(letter in "/:%" or letter.isspace() for letter in plain)
        ):
            raise DeviceError(
                f"cannot create TAP {name!r}: a name has 1 to 15 characters without '/', ':', '%' (save one %d), space"
            )

    def _parse_addresses(self):
        parsed = []
        for text in self._host_addresses:
            try:
                interface = ipaddress.ip_interface(text)
            except ValueError as error:
                raise DeviceError(f"TAP {self.name!r}: host address {text!r} is not address/length: {error}") from None
            if interface.ip.is_multicast or interface.ip.is_unspecified or interface.ip.is_loopback:
                raise DeviceError(f"TAP {self.name!r}: host address {text!r} is not a unicast address of a network")
            parsed.append(interface)
        return parsed

    def _enter(self, function):
        """Call *function* in the device's namespace. Only this thread changes over, and nothing yields meanwhile."""
        if self._netns is None:
            function()
            return
        path = os.fspath(self._netns)
        if "/" not in path:
            path = "/run/netns/" + path
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise DeviceError(f"TAP {self.name!r}: no network namespace {path}: {error.strerror}") from error
            try:
                try:
                    _setns(there)
                except OSError as error:
                    raise DeviceError(
                        f"TAP {self.name!r}: cannot enter the network namespace {path}: {error.strerror}"
                        " (needs CAP_SYS_ADMIN: run as root)"
                    ) from error
            finally:
                os.close(there)
            try:
                function()
            finally:
                _setns(home)
        finally:
            os.close(home)

    def _attach(self):
        """Open the two descriptors; each belongs for good to the namespace in which it was opened."""
        try:
            self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(_open_advice(self.name, error)) from error
        request = _IFREQ.pack(os.fsencode(self._asked_name), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        try:
            answer = fcntl.ioctl(self._fd, _TUNSETIFF, request)
        except OSError as error:
            raise DeviceError(_attach_advice(self.name, error)) from error
        self.name = os.fsdecode(_IFREQ.unpack(answer)[0].rstrip(b"\0"))
        self._netlink = Rtnetlink()

    def _negotiate(self):
        fd = self._fd
        persistent = _IFREQ.unpack(fcntl.ioctl(fd, _TUNGETIFF, bytes(_IFREQ.size)))[1] & _IFF_PERSIST
        if persistent:
            old_size = fcntl.ioctl(fd, _TUNGETVNETHDRSZ, bytes(4))
            self._undo.append((fcntl.ioctl, (fd, _TUNSETVNETHDRSZ, old_size)))
            # The offloads cannot be read back; none is what a TAP starts with.
            self._undo.append((fcntl.ioctl, (fd, _TUNSETOFFLOAD, 0)))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, _INT.pack(VNET_HEADER))
        if not self._offload:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, 0)
        elif not self.segment_offload_allowed:
            fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM)
        else:
            try:
                fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO | _TUN_F_USO)
            except OSError:
                fcntl.ioctl(fd, _TUNSETOFFLOAD, _TUN_F_CSUM | _TUN_F_TSO)

    def _configure(self, addresses):
        netlink = self._netlink
        try:
            index, self.host_mac, mtu, queue_length, up = netlink.link(self.name)
        except OSError as error:
            raise DeviceError(f"TAP {self.name!r} has gone while it was being opened: {error.strerror}") from error
        if self.host_mac == self.mac:
            raise DeviceError(f"TAP {self.name!r}: mac is the host's end's own; leave it out to have one chosen")
        if mtu != self.mtu:
            self._set(f"set MTU {self.mtu}", netlink.set_link, index, mtu=self.mtu)
            self._undo.append((_set_link, (netlink, index, {"mtu": mtu})))
        if queue_length < self._queue_length:
            try:
                netlink.set_link(index, queue_length=self._queue_length)
                self._undo.append((_set_link, (netlink, index, {"queue_length": queue_length})))
            except PermissionError:
                pass  # only slower under a burst: no reason to turn away the owner of an interface
        self._check_overlap(index, addresses)
        for interface in addresses:
            try:
                self._set(f"add the address {interface}", netlink.add_address, index, interface)
            except FileExistsError:
                continue  # it was there, so it stays
            self._undo.append((netlink.remove_address, (index, interface)))
        if not up:
            self._set("bring it up", netlink.set_link, index, up=True)
            self._undo.append((_set_link, (netlink, index, {"up": False})))

    def _set(self, what, function, *arguments, **settings):
        try:
            function(*arguments, **settings)
        except FileExistsError:
            raise
        except PermissionError as error:
            raise DeviceError(
                f"TAP {self.name!r}: cannot {what}: needs CAP_NET_ADMIN (run as root, or let root do it beforehand)"
            ) from error
        except OSError as error:
            raise DeviceError(f"TAP {self.name!r}: cannot {what}: {error.strerror}") from error

    def _check_overlap(self, index, addresses):
        """Refuse to take over traffic that the host now sends elsewhere."""
        if not addresses:
            return
        for other, text, length in self._netlink.addresses():
            if other == index:
                continue
            taken = ipaddress.ip_interface(f"{text}/{length}").network
            if taken.is_link_local:
                continue
            for interface in addresses:
                if interface.version == taken.version and interface.network.overlaps(taken):
                    raise DeviceError(
                        f"TAP {self.name!r}: host address {interface} overlaps {taken}, which another interface of this"
                        " host has: choose another network"
                    )

    # Failures of single frames, and of the device.

    def _read_failed(self, error, frames):
        if error.errno == errno.EINVAL:
            # The kernel could not describe the frame in a virtio-net header, and dropped it. More may wait: the
            # descriptor says so.
            self.drops[DEVICE_REFUSED] += 1
        elif error.errno != errno.EINTR and not frames:  # what was read before is delivered first
            raise DeviceError(
                f"TAP {self.name!r} has gone (deleted, or closed): {error.strerror}; open it again"
            ) from error

    def _write_failed(self, error, frame):
        if error.errno == errno.EINVAL and len(frame) > _IOV_MAX:
            self.transmit(((b"".join(frame),),), 0.0)
        elif error.errno in (errno.ENOBUFS, errno.ENOMEM):
            self.drops[DEVICE_BUSY] += 1
        else:  # EIO: the interface is down; EBADFD: it is gone, as the next receive will tell
            self.drops[DEVICE_REFUSED] += 1


def _set_link(netlink, index, settings):
    netlink.set_link(index, **settings)


def _random_mac():
    random = os.urandom(6)
    return bytes([random[0] & 0xFC | 0x02]) + random[1:]  # unicast, locally administered


def _setns(fd):
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _open_advice(name, error):
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return (
            f"cannot create TAP {name!r}: there is no /dev/net/tun (modprobe tun; in a container, pass the device in:"
            " --device /dev/net/tun)"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"cannot create TAP {name!r}: /dev/net/tun may not be opened (run as root; in a container, pass the device"
            " in: --device /dev/net/tun)"
        )
    return f"cannot create TAP {name!r}: cannot open /dev/net/tun: {error.strerror}"


def _attach_advice(name, error):
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"cannot create TAP {name!r}: needs CAP_NET_ADMIN (run as root, or attach to a TAP that you own)"
    if error.errno == errno.EBUSY:
        return f"cannot open TAP {name!r}: another process (or device) has it open; choose another name"
    if error.errno == errno.EINVAL:
        return f"cannot open TAP {name!r}: an interface of that name is no single-queue TAP; choose another name"
    return f"cannot open TAP {name!r}: {error.strerror}"
