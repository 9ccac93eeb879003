"""Starts an engine in a process of its own, and tells how a program joins it."""

import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from pystack.errors import StackError
from pystack.options import parse
from pystack.sockets import protocol

ROOT = str(Path(__file__).resolve().parents[1])
# The engine's process is nobody's child: the program may wait for any child of its own.
_BOOT = (
    "import os, sys; os.fork() and os._exit(0); sys.path.insert(0, sys.argv[1]); from pystack import engine; "
    "sys.exit(engine.main(sys.argv[4:], int(sys.argv[2]), int(sys.argv[3])))"
)
_OF_PROGRAMS = (protocol.CONTROL, protocol.LIFE)
# mallopt(3), bytes: frames of 64 KB that come and go at the heap's end would have it shrunk and grown with each, and
# every page of every frame be faulted in anew: a quarter of the throughput.
_ALLOCATOR = {"MALLOC_TOP_PAD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(32 << 20)}


@dataclass(frozen=True)
class Started:
    """An engine that is ready.

    ``path``: where processes join. ``life``: a descriptor, this process's first control channel; the engine ends some
    time after it and all later ones are closed. ``notes``: lines for the user. ``nameservers``: addresses as text.
    """

    path: str
    life: int
    notes: tuple
    nameservers: tuple


def start(argv):
    """Start an engine with the runner's arguments. Returns `Started`. Raises StackError: what the engine says."""
    import _socket

    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    read, write = os.pipe()
    try:
        passed = (write, theirs.fileno())
        command = [sys.executable, "-P", "-c", _BOOT, ROOT, *map(str, passed), *argv]
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=passed,
            start_new_session=True,
            env=_environment(),
        )
        os.close(write)
        write = -1
        child.wait()
        return _read(read, ours)
    except OSError as error:
        raise StackError(f"cannot start the engine: {error}") from error
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
        ours.close()
        theirs.close()


def _environment():
    """The engine's: it uses the kernel's sockets, also where this process does not."""
    return _ALLOCATOR | {name: value for name, value in os.environ.items() if name not in _OF_PROGRAMS}


def _read(read, life):
    notes, nameservers = [], ()
    with open(read, encoding="utf-8", errors="replace", closefd=False) as lines:
        for line in lines:
            kind, _, text = line.rstrip("\n").partition(" ")
            if kind == "note":
                notes.append(text)
            elif kind == "dns":
                nameservers = tuple(text.split())
            elif kind == "error":
                raise StackError(text)
            elif kind == "ready":
                return Started(text, life.detach(), tuple(notes), nameservers)
    raise StackError("the engine ended before it was ready")


def start_for_library(settings):
    """Start an engine for this process, with the runner's options by name: ``{"link": "user", "address": [...]}``.

    Returns the variables by which this process and its children join, as `environment`. Raises StackError.
    """
    argv = []
    for name, value in settings.items():
        if isinstance(value, bool):
            value = "on" if value else "off"
            argv += [f"--{name}", value] if name == "offload" else [f"--{name}"] * (value == "on")
        else:
            for each in value if isinstance(value, (list, tuple)) else [value]:
                argv += [f"--{name}", str(each)]
    try:
        asked = parse([*argv, "-c", "pass"], os.environ)
    except SystemExit as refusal:
        raise StackError(f"patch_all: {settings} cannot be understood") from refusal
    started = start([*argv, "-c", "pass"])
    for note in started.notes:
        warnings.warn(f"pystack: {note}", RuntimeWarning, stacklevel=4)
    joined = environment(started.path, started.nameservers, asked)
    os.environ.update(joined)  # for children
    return {**joined, protocol.LIFE: str(started.life)}


def environment(path, nameservers, options):
    """The variables by which a program, and its children, join."""
    joined = {
        protocol.CONTROL: path,
        "PYSTACK_KERNEL": ",".join(options.kernel),
        "PYSTACK_DNS": ",".join(options.dns or nameservers),
        "PYSTACK_LINGER": str(options.linger),
    }
    return {name: value for name, value in joined.items() if value}
