"""What pystacks have changed in a network namespace, written down for whoever has to put it back.

The record is a file in /run, one for each network namespace. It outlives a process that was killed: the next one takes
over what that one has changed, and restores it.
"""

import errno
import fcntl
import json
import os
import sys
import tempfile
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET, socket  # what nobody patches in place

_SO_NETNS_COOKIE = 71  # since Linux 5.14; as most architectures number it


class Record:
    """The record of the namespace that the calling thread is in, locked against other processes from ``with`` to the
    end of the block: short, for they wait. Opening and locking raises OSError.

    Attributes:
        entries: what JSON can hold, by the name of whose it is. The file goes when there is none.
    """

    def __init__(self):
        self.entries = {}
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
            if not self.entries:
                os.unlink(self._path)
        finally:
            self._release()

    def save(self, name, entry):
        """Write down *entry*, a dict, as that of *name*; an empty one is none."""
        if entry:
            self.entries[name] = entry
        else:
            self.entries.pop(name, None)
        text = json.dumps(self.entries).encode()
        os.pwrite(self._fd, text, 0)
        os.ftruncate(self._fd, len(text))

    def _read(self):
        try:
            found = json.loads(os.pread(self._fd, 1 << 20, 0))
        except ValueError:
            found = None  # new, or its writer was killed half-way, before it had changed anything
        self.entries = found if isinstance(found, dict) else {}

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
