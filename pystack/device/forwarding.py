"""Which interfaces of a network namespace forward IPv4 only because some pystack asked for it.

Linux forwards a packet if the interface by which it *came in* has ``forwarding`` on, so the replies need it on the
interface that leads out; which one that is, the routes say anew for each packet. ``net.ipv4.ip_forward`` is left alone:
it is a switch that overwrites the settings of all interfaces, so that they could not be restored; and as we never
touch it, its change tells that somebody else (docker, an administrator) wants forwarding now, and goes on wanting it.

The record is a file in /run, one for each network namespace. It outlives a process that was killed: the next one takes
over what that one has turned on, and restores it.
"""

import errno
import fcntl
import json
import os
import sys
import tempfile
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, if_indextoname, socket

_CONF = "/proc/sys/net/ipv4/conf/"
_SO_NETNS_COOKIE = 71  # since Linux 5.14; as most architectures number it


def is_on(name):
    """Whether the interface *name* ("all": the switch) forwards; None if it has no IPv4, or is gone. Raises OSError."""
    try:
        with open(_CONF + name + "/forwarding") as file:
            return file.read().strip() != "0"
    except FileNotFoundError:
        return None


def turn(name, on):
    """Set it; nothing happens if the interface has no IPv4, or is gone. Raises OSError, with a file name."""
    path = _CONF + name + "/forwarding"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(fd, b"1" if on else b"0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


class Record:
    """The record of the namespace that the calling thread is in, locked against other processes from ``with`` to the
    end of the block: short, for they wait. Opening and locking raises OSError.

    Attributes:
        interfaces: ``{index: name}`` of those that pystacks have turned on. The name is for the person who reads it.
        switch: whether all interfaces had been turned on when the first was recorded.
    """

    def __init__(self):
        self.interfaces = {}
        self.switch = False
        self._path = ""
        self._fd = -1

    def __enter__(self):
        self._path = os.path.join(_directory(), f"pystack-forwarding-{_namespace()}")
        while True:
            self._fd = _open(self._path)
            try:
                if _is_at(self._fd, self._path):
                    break
            except BaseException:
                self._release()
                raise
            self._release()  # another process has removed it while we waited for the lock
        self._read()
        return self

    def __exit__(self, *exc_info):
        try:
            if not self.interfaces:
                os.unlink(self._path)
        finally:
            self._release()

    def drop_if_switched_on(self):
        """Forget all if somebody has turned on forwarding for the whole namespace meanwhile: it is theirs now."""
        if self.interfaces and not self.switch and is_on("all"):
            self.interfaces = {}
            self.save()

    def turn_on(self, links):
        """Turn on those of *links*, ``(index, name)``, that are off. Raises OSError."""
        if not self.interfaces:
            self.switch = is_on("all")
        self.interfaces.update((index, name) for index, name in links if is_on(name) is False)
        self.save()  # first: what is killed in between has recorded too much rather than too little
        for index in self.interfaces:
            name = _name(index)
            if name is not None and not is_on(name):
                turn(name, True)

    def turn_off(self):
        """Turn off what was turned on. Returns the OSErrors; what could not be set stays recorded."""
        self.drop_if_switched_on()
        errors = []
        for index in list(self.interfaces):
            name = _name(index)
            try:
                if name is not None:
                    turn(name, False)
            except OSError as error:
                errors.append(error)
            else:
                del self.interfaces[index]
        self.save()
        return errors

    def save(self):
        text = json.dumps({"switch": self.switch, "interfaces": self.interfaces}).encode()
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def _read(self):
        try:
            found = json.loads(os.pread(self._fd, 1 << 20, 0))
            self.interfaces = {int(index): name for index, name in found["interfaces"].items()}
            self.switch = found["switch"]
        except (ValueError, KeyError):
            self.interfaces = {}  # new, or its writer was killed half-way, before it had turned on anything

    def _release(self):
        fd, self._fd = self._fd, -1
        os.close(fd)


def _open(path):
    """A locked descriptor of the file, which is made if it is not there."""
    # O_NOFOLLOW, and the owner, because the folder may be one in which everybody may put links and files.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "is of another user", path)
        fcntl.flock(fd, fcntl.LOCK_EX)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_at(fd, path):
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _directory():
    """/run; something else for who may not write there, like root in a user namespace."""
    for path in ("/run", os.environ.get("XDG_RUNTIME_DIR")):
        if path and os.access(path, os.W_OK | os.X_OK):
            return path
    return tempfile.gettempdir()


def _namespace():
    """Text that no other network namespace has had or will have; the inode's number would be used again soon."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    made = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        cookie = int.from_bytes(made.getsockopt(SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
    except OSError:
        cookie = os.stat("/proc/thread-self/ns/net").st_ino
    finally:
        made.close()
    return f"{boot[:8]}-{cookie}"


def _name(index):
    try:
        return if_indextoname(index)
    except OSError:
        return None  # it is gone, and its setting with it
