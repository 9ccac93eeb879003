"""Where the workloads run: two namespaces, in which a program meets the kernel over a veth pair, or over pystack's TAP.

The peer is always the kernel of the namespace *far*. The program runs on the kernel of *near* behind the veth pair, or
on pystack in *far*, whose TAP leads to far's kernel: one peer, one program, one hop either way.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from integration.support.namespaces import Namespace, veth

ROOT = Path(__file__).resolve().parent.parent
tree = ROOT  # where the programs have pystack from
PROGRAMS = Path(__file__).with_name("programs.py")
OF_VETH = {"program": "10.78.0.1", "peer": "10.78.0.2"}
OF_TAP = {"program": "10.77.0.2", "peer": "10.77.0.1"}


class BenchmarkError(Exception):
    """A program did not do what it was started for; the message has its output."""


@dataclass(frozen=True)
class Side:
    """The kernel, or pystack with its engine ``inline`` or in a ``process``; *pinned* is one core for all, also for the
    peer.

    ``options`` are more of the runner's.
    """

    name: str
    engine: str = ""
    pinned: bool = False
    options: tuple = ()

    @property
    def addresses(self):
        return OF_TAP if self.engine else OF_VETH


KERNEL = Side("kernel")
PYSTACK = Side("pystack", "process")
INLINE = Side("pystack inline", "inline")


class World:
    """The two namespaces. *offload* as the runner's: without "on" there are no super-segments on either link, so that
    MTU 1500 is what counts; "checksums" are left to the device still, as veth always does, "off" not even these."""

    def __init__(self, offload="on"):
        self._exits = ExitStack()
        self.near, self.far = (self._exits.enter_context(Namespace()) for _ in range(2))
        veth(self.near, "near", self.far, "far")
        for namespace, name, address in (
            (self.near, "near", OF_VETH["program"]),
            (self.far, "far", OF_VETH["peer"]),
        ):
            namespace.ip(f"addr add {address}/24 dev {name}")
            namespace.sysctl("net.ipv4.ip_local_port_range", "1024 65535")
            namespace.sysctl("net.ipv4.tcp_tw_reuse", "1")
            if offload != "on":
                namespace.run(["ethtool", "-K", name, "tso", "off", "gso", "off", "gro", "off"], check=True)
        self.offload = offload

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._exits.close()

    def command(self, side, arguments, program=PROGRAMS):
        """``(namespace, argv)`` of a program on a side."""
        core = ["taskset", "-c", "0"] if side.pinned else []
        if not side.engine:
            return self.near, [*core, sys.executable, str(program), *map(str, arguments)]
        run = [sys.executable, "-m", "pystack.run", "--link", "tap", "--address", f"{OF_TAP['program']}/24"]
        run += ["--engine", side.engine, "--offload", self.offload, *side.options]
        return self.far, [*core, *run, str(program), *map(str, arguments)]

    def run(self, side, *arguments, timeout=300):
        """Run one of the programs on a side; returns what it has printed."""
        namespace, argv = self.command(side, arguments)
        return self._result(namespace, argv, timeout)

    def run_peer(self, side, *arguments, timeout=300):
        """Run one of the programs on the peer."""
        core = ["taskset", "-c", "0"] if side.pinned else []
        return self._result(self.far, [*core, sys.executable, str(PROGRAMS), *map(str, arguments)], timeout)

    def _result(self, namespace, argv, timeout):
        return result_of(namespace.run(argv, timeout=timeout, stderr=-1, env=environment()))

    @contextmanager
    def serving(self, side, *arguments):
        """Meanwhile one of the programs, a server, runs on the side; the Process."""
        namespace, argv = self.command(side, arguments)
        with started(namespace, argv) as process:
            yield process

    @contextmanager
    def peer(self, side, *arguments):
        """Meanwhile one of the programs, a server, runs on the peer."""
        core = ["taskset", "-c", "0"] if side.pinned else []
        with started(self.far, [*core, sys.executable, str(PROGRAMS), *map(str, arguments)]) as process:
            yield process


def result_of(done):
    """What a program has printed last. Raises BenchmarkError."""
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchmarkError(f"{done.args} ended with {done.returncode}:\n{done.stdout}{done.stderr}") from None


@contextmanager
def started(namespace, argv, **how):
    """A process in a namespace that has said that it is ready; it is ended afterwards."""
    process = namespace.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), **how)
    try:
        line = process.stdout.readline()
        if line != b"ready\n":
            raise BenchmarkError(f"{' '.join(argv)} said {line!r}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
            process.stdin.close()
            process.stdout.close()


def engine_of(process):
    """The process id of the engine of a program that runs under the runner."""
    wanted = os.stat(f"/proc/{process.pid}/ns/net").st_ino
    for entry in Path("/proc").iterdir():
        try:
            if b"from pystack import engine" in (entry / "cmdline").read_bytes():
                if (entry / "ns/net").stat().st_ino == wanted:
                    return int(entry.name)
        except (OSError, ValueError):
            continue
    raise BenchmarkError("there is no engine")


def memory(pid):
    """Bytes that a process has to itself (smaps_rollup's Private)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) << 10 for kib in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


def cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment():
    """That of the programs."""
    path = os.pathsep.join((str(tree), str(ROOT)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "LC_ALL": "C"}  # not the current folder's pystack
