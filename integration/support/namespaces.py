"""Network namespaces that the tests make themselves, with the kernel as the peer in them.

`enter` is called once, before anything has threads: as root it does nothing; anybody else gets a user namespace and is
root in it. A `Namespace` is anonymous: it is held by a descriptor and gone with it, and with what was in it.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from gevent import subprocess as green

from integration.support.install import PATH

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """Get the right to make namespaces. Returns None, or the reason why there is none."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun is not there, or not for this user (modprobe tun; chmod 666 /dev/net/tun)"
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        # Its own network namespace too: nobody may come back into one that belongs to the outer user namespace.
        if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return f"no root, and no user namespace: {os.strerror(ctypes.get_errno())}"
        os.environ["LOGNAME"] = f"uid{uid}"  # pytest names its temporary folder by it, and /tmp may have root's already
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        except OSError as error:
            return f"no root, and none in a user namespace: {error}"
    try:
        Namespace().close()
    except OSError as error:
        return f"no network namespace: {error.strerror}"
    return None


class Namespace:
    """One network namespace with its loopback up. ``path`` can be given to ``Tap(netns=...)``."""

    def __init__(self):
        with _kept():
            _check(_libc.unshare(CLONE_NEWNET))
            self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        self.ip("link set lo up")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Let the namespace go; it ends when the last process and descriptor in it has gone too."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @contextmanager
    def entered(self):
        """This thread is in the namespace meanwhile; do not let another greenlet run."""
        with _kept():
            _check(_libc.setns(self._fd, CLONE_NEWNET))
            yield

    def has(self, pid):
        """Whether the process is in it. Raises OSError if there is no such process."""
        ours, its = os.fstat(self._fd), os.stat(f"/proc/{pid}/ns/net")
        return (ours.st_dev, ours.st_ino) == (its.st_dev, its.st_ino)

    def popen(self, argv, **how):
        """A `gevent.subprocess.Popen` in the namespace, so that this process's stack runs on beside it."""
        fd = self._fd
        how.setdefault("env", {**os.environ, "PATH": PATH, "LC_ALL": "C"})
        return green.Popen(argv, preexec_fn=lambda: _check(_libc.setns(fd, CLONE_NEWNET)), pass_fds=(fd,), **how)

    def run(self, argv, timeout=60, check=False, **how):
        """Run a command in the namespace to its end.

        Returns:
            `subprocess.CompletedProcess` with text output. One that takes longer than *timeout* seconds is killed and
            raises.
        """
        how = {"stdout": green.PIPE, "stderr": green.STDOUT, "stdin": green.DEVNULL, **how}
        how.pop("text", None)
        if how.pop("capture_output", False):
            how["stderr"] = green.PIPE
        process = self.popen(argv, **how)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        done = subprocess.CompletedProcess(argv, process.returncode, _text(out), _text(err))
        if check and process.returncode:
            raise AssertionError(f"{' '.join(argv)} ended with {process.returncode}:\n{done.stdout}{done.stderr or ''}")
        return done

    def ip(self, arguments):
        """``ip ARGUMENTS`` in the namespace, which must succeed; returns its output."""
        return self.run(["ip", *arguments.split()], check=True).stdout

    def sysctl(self, name, value):
        """Set a sysctl of the namespace (``net.ipv4.ip_forward``)."""
        path = "/proc/sys/" + name.replace(".", "/")
        with self.entered():
            Path(path).write_text(str(value))

    def socket(self, *kind):
        """A kernel socket that lives in the namespace."""
        with self.entered():
            return socket.socket(*kind)


def veth(left, left_name, right, right_name):
    """Join two namespaces by a veth pair, both ends up."""
    holder = right.popen(["sleep", "60"])  # ip(8) names a namespace by a process in it
    try:
        left.ip(f"link add {left_name} type veth peer name {right_name} netns {holder.pid}")
    finally:
        holder.kill()
        holder.wait()
    left.ip(f"link set {left_name} up")
    right.ip(f"link set {right_name} up")


def has(command):
    """Whether a command is installed."""
    return shutil.which(command, path=PATH) is not None


@contextmanager
def _kept():
    """This thread is back in its network namespace afterwards."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _text(output):
    return output.decode(errors="replace") if isinstance(output, bytes) else output
