"""Real programs under the runner, and under the plain kernel as the oracle, with the test's kernel on the other side.

A test has two sides. *Here* is the test's namespace: 10.77.0.1, the kernel, plain Python. *There* is the program, at
10.77.0.2, by one of these links:

- ``kernel``: plain Python in a second namespace behind a veth pair. It says what the tests themselves are worth.
- ``tap``: ``python -m pystack.run --link tap`` in the test's namespace; the kernel has the TAP's other end.
- ``user``: ``python -m pystack.run --link user`` in the test's namespace, without any capability. There 10.77.0.1 is
  the host's 127.0.0.1, and what the program serves is published on 127.0.0.1.

A flavour is a link and the versions of IP: ``tap`` is by IPv4, ``tap6`` by IPv6 (fd77::1 and fd77::2, the host ::1),
``tap46`` has both. ``PYSTACK_FLAVOURS=kernel,tap,user,tap6`` in the environment says which ones run.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import gevent
import trustme
from gevent import subprocess

from integration.support.install import PATH
from integration.support.namespaces import Namespace, veth

FLAVOURS = tuple(os.environ.get("PYSTACK_FLAVOURS", "kernel,tap,user,tap6").split(","))
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"
ROOT = PROGRAMS.parents[1]
NOBODY = 65534
# As root of a user namespace there is nobody else to become, but what is not in the bounding set does not survive exec.
UNPRIVILEGED = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
# A mount namespace of its own, in which the file lies over /etc/hosts.
WITH_HOSTS = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']


@dataclass(frozen=True)
class Plan:
    """The addresses of one version of IP, on a link of *length*; ``nobody`` is on it and has no host."""

    host: str
    guest: str
    nobody: str
    length: int
    any: str
    loopback: str


PLANS = {
    4: Plan("10.77.0.1", "10.77.0.2", "10.77.0.99", 24, "0.0.0.0", "127.0.0.1"),
    6: Plan("fd77::1", "fd77::2", "fd77::99", 64, "::", "::1"),
}


def authority(address, port):
    """Both as a URL has them (RFC 3986 §3.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True)
class Completed:
    """How a program ended, with its output as text."""

    status: int
    out: str
    err: str

    def facts(self):
        """What it says in lines ``name=value``; it must have ended well."""
        assert self.status == 0, f"ended with {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        return dict(line.split("=", 1) for line in self.out.splitlines() if "=" in line)


class Process:
    """A program that runs, in a process group of its own, with its output in files so that it never waits for us."""

    def __init__(self, namespace, argv, folder, number, environment):
        self.argv = argv
        self._paths = folder / f"{number}.out", folder / f"{number}.err"
        with self._paths[0].open("wb") as out, self._paths[1].open("wb") as err:
            self._popen = namespace.popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    @property
    def out(self):
        return self._paths[0].read_text(errors="replace")

    @property
    def err(self):
        return self._paths[1].read_text(errors="replace")

    def until(self, text, timeout=20):
        """Wait until *text* is in a whole line of its output, on either stream. Returns that line."""
        deadline = time.monotonic() + timeout
        while True:
            ended = self._popen.poll() is not None  # before the output is read, which may have come last
            for stream in (self.out, self.err):
                for line in stream.splitlines(keepends=True):
                    if text in line and line.endswith("\n"):
                        return line.rstrip("\n")
            assert not ended, f"ended before it said {text!r}: {self}"
            assert time.monotonic() < deadline, f"has not said {text!r} in {timeout} s: {self}"
            gevent.sleep(0.01)

    def signal(self, number):
        """Send a signal to the program alone, not to its group."""
        self._popen.send_signal(number)

    def end_by(self, number, timeout=20):
        """Send a signal, and wait for the end that it means. Returns `Completed`.

        Python drops a KeyboardInterrupt in the callback of a weak reference, and says so: then it is sent again.
        """
        deadline = time.monotonic() + timeout
        self.signal(number)
        dropped = 0
        while self._popen.poll() is None and time.monotonic() < deadline:
            if number == signal.SIGINT and self.err.count("Exception ignored in") > dropped:
                dropped += 1
                self.signal(number)
            gevent.sleep(0.01)
        return self.wait(0)

    def wait(self, timeout=60):
        """Wait for its end. Returns `Completed`; one that takes longer is killed and fails the test."""
        try:
            status = self._popen.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"runs on after {timeout} s: {self}") from None
        return Completed(status, self.out, self.err)

    def kill(self):
        """End it with all that it has started in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def __str__(self):
        return f"{' '.join(map(str, self.argv))}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Runner:
    """Starts programs there (`start`, `run`) and here (`start_here`, `run_here`), and ends them all at the end.

    Args:
        flavour: ``kernel``, ``tap`` or ``user``, with ``6`` or ``46`` behind it.
        namespace: the test's own, without interfaces yet.

    Attributes:
        link: the flavour without the versions.
        versions: of IP.
        version: the last of them; what follows is by that one.
        host: the address at which a program there reaches what listens here on every address.
        guest: the address at which a program here reaches what listens there.
        local: the program's own address, to which it can bind.
        nobody: an address on the link that no host has.
        any, loopback: ``0.0.0.0`` or ``::``, ``127.0.0.1`` or ``::1``.
        folder: a folder that programs of every flavour can read. Their working directory.
    """

    def __init__(self, flavour, namespace):
        self.link = flavour.rstrip("46")
        self.versions = tuple(map(int, flavour.removeprefix(self.link) or "4"))
        self.version = self.versions[-1]
        plan = PLANS[self.version]
        self.host, self.local, self.nobody = plan.host, plan.guest, plan.nobody
        self.any, self.loopback = plan.any, plan.loopback
        self.guest = plan.loopback if self.link == "user" else plan.guest
        self._here = self._there = namespace
        self._processes = []
        self.folder = Path(tempfile.mkdtemp(prefix="pystack-programs-"))
        self.folder.chmod(0o755)
        without_duplicate_address_detection(self._here)
        if self.link == "kernel":
            self._there = Namespace()
            without_duplicate_address_detection(self._there)
            veth(self._here, "ps0", self._there, "eth0")
            for plan in map(PLANS.get, self.versions):
                self._here.ip(f"addr add {plan.host}/{plan.length} dev ps0")
                self._there.ip(f"addr add {plan.guest}/{plan.length} dev eth0")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        for process in reversed(self._processes):
            process.kill()
        if self._there is not self._here:
            self._there.close()
        shutil.rmtree(self.folder)

    def start(self, *arguments, ports=(), options=(), hosts=None):
        """Start a program there.

        Args:
            arguments: what follows ``python``. The first one is looked up in `PROGRAMS` if it ends in ``.py``.
            ports: the TCP ports on which it will listen and be reached from here.
            options: more options for the runner.
            hosts: what it finds in /etc/hosts; None: this host's own.
        """
        with_hosts = [] if hosts is None else [*WITH_HOSTS, self.file("hosts", hosts.encode())]
        return self._start(self._there, [*with_hosts, *self._prefix(ports, options), *_script(arguments)])

    def run(self, *arguments, timeout=60, **how):
        """Run a program there to its end. Returns `Completed`."""
        return self.start(*arguments, **how).wait(timeout)

    def start_here(self, *arguments):
        """Start a program by plain Python on the kernel's side."""
        return self._start(self._here, [sys.executable, *_script(arguments)])

    def start_in(self, namespace, *arguments):
        """Start a program by plain Python in another namespace."""
        return self._start(namespace, [sys.executable, *_script(arguments)])

    def run_here(self, *arguments, timeout=60):
        return self.start_here(*arguments).wait(timeout)

    def start_command_here(self, *argv):
        """Start any command on the kernel's side."""
        return self._start(self._here, list(argv))

    def run_command_here(self, *argv, timeout=60):
        return self.start_command_here(*argv).wait(timeout)

    def ip_here(self, arguments):
        """``ip ARGUMENTS`` on the kernel's side; returns its output."""
        return self._here.ip(arguments)

    def engines(self):
        """The process ids of the engines that run in the test's namespace."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if b"engine.main(" in (path / "cmdline").read_bytes() and self._here.has(int(path.name)):
                    found.append(int(path.name))
        return found

    def until_no_engine(self, timeout=20):
        """Wait until the engine has ended, and with it all that it had made."""
        deadline = time.monotonic() + timeout
        while self.engines():
            assert time.monotonic() < deadline, f"an engine runs on after {timeout} s: {self.engines()}"
            gevent.sleep(0.01)

    def certificates(self):
        """A certificate for the addresses of both sides, by an authority of its own: paths of PEM files.

        Returns:
            ``(ca, chain)``: what a client trusts; what a server loads, its key included.
        """
        ca, chain = self.folder / "ca.pem", self.folder / "chain.pem"
        if not chain.exists():
            authority = trustme.CA()
            names = [name for plan in PLANS.values() for name in (plan.host, plan.guest, plan.loopback)]
            issued = authority.issue_cert(*names, "localhost")
            authority.cert_pem.write_to_path(ca)
            issued.private_key_and_cert_chain_pem.write_to_path(chain)
            chain.chmod(0o644)
        return ca, chain

    def file(self, name, content):
        """A file in the folder. Returns its path."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o644)
        return path

    def _prefix(self, ports, options):
        if self.link == "kernel":
            return [sys.executable]
        runner = [sys.executable, "-m", "pystack.run", "--link", self.link]
        for plan in map(PLANS.get, self.versions):
            runner += ["--address", f"{plan.guest}/{plan.length}"]
        if self.link == "tap":
            return [*runner, *options]
        published = [word for port in ports for word in ("--publish", f"{authority(self.guest, port)}:{port}")]
        return [*_unprivileged(), *runner, *published, *options]

    def _start(self, namespace, argv):
        argv = [str(word) for word in argv]
        process = Process(namespace, argv, self.folder, len(self._processes), _environment())
        self._processes.append(process)
        return process


def without_duplicate_address_detection(namespace):
    """For the interfaces that are made in it from now on: a test need not wait for their addresses."""
    namespace.sysctl("net.ipv6.conf.default.accept_dad", 0)


def _script(arguments):
    first, *rest = arguments
    return [PROGRAMS / first if str(first).endswith(".py") else first, *rest]


def _unprivileged():
    """The command that gives up every capability, and root where there is somebody else to be."""
    somebody_else = "4294967295" in Path("/proc/self/uid_map").read_text()
    if somebody_else and all(map(_open_to_all, (sys.executable, sys.prefix, sys.base_prefix, ROOT))):
        return [*UNPRIVILEGED, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return UNPRIVILEGED


def _open_to_all(path):
    path = Path(path).resolve()
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


def _environment():
    # requests puts both proxies and REQUESTS_CA_BUNDLE above what a session says.
    foreign = ("_proxy", "_ca_bundle", "ssl_cert_file", "ssl_cert_dir")
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith(foreign)}
    return {
        **environment,
        "PATH": PATH,
        "LC_ALL": "C",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }
