"""The walls of docs/architecture.md: who may import whom, read from the source, imports within functions included."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The level of a module is that of the longest prefix here. A module that is not listed fails: give it a level.
LEVELS = {
    "pystack": 0,  # __init__: the names in it are loaded on first use
    "pystack.counts": 0,
    "pystack.errors": 0,
    "pystack.config": 0,
    "pystack.packet": 0,
    "pystack.messages": 0,
    "pystack.transport": 0,
    "pystack.routes": 0,
    "pystack.scope": 0,
    "pystack.text": 0,
    "pystack.deadlines": 0,
    "pystack.ports": 0,
    "pystack.options": 0,
    "pystack.sysctl": 0,
    "pystack.wire": 0,
    "pystack.link": 1,
    "pystack.inet": 1,
    "pystack.udp": 1,
    "pystack.tcp": 1,
    "pystack.dhcp": 1,
    "pystack.runtime": 2,
    "pystack.device": 3,
    "pystack.sockets": 4,
    "pystack.gateway": 5,
    "pystack.ping": 5,
    "pystack.configuration": 5,
    "pystack.layers": 5,
    "pystack.leasing": 5,
    "pystack.stack": 5,
    "monkey": 6,
    "pystack.engine": 7,
    "pystack.inline": 7,
    "pystack.launch": 7,
    "pystack.library": 7,
    "pystack.run": 7,
}
# Beside what is of the same package, and, at levels 0, 5 and 7, of the same level.
MAY_IMPORT_LEVELS = {
    0: {0},
    1: {0},
    2: {0},
    3: {0},
    4: {0, 2},
    5: {0, 1, 2, 3, 4, 5},
    6: set(),
    7: {0, 2, 3, 4, 5, 6, 7},
}
MAY_IMPORT_LIBRARIES = {
    0: {"dpkt"},
    1: set(),
    2: {"gevent"},
    3: {"pyroute2", "dpkt"},
    4: {"gevent"},
    5: {"gevent"},
    6: {"dns", "sitecustomize"},
    7: {"gevent"},
}
# What a core must not know: time and randomness are given to it, input and output are somebody else's.
FORBIDDEN_IN_CORES = {"time", "os", "socket", "_socket", "random", "select", "threading", "signal", "subprocess"}
LOADED_INTO_EVERY_PROGRAM = "pystack.sockets.protocol"  # the one module of ours that monkey may import


def find_modules():
    """{dotted name: path} of all the project's modules."""
    modules = {}
    for package in ("pystack", "monkey"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = find_modules()


def imports_of(name, source, is_package, modules=MODULES):
    """The set of modules that the source imports, anywhere in it; ours by full name, others by their top name."""
    found = set()

    def add(module):
        top = module.partition(".")[0]
        found.add(module if top in ("pystack", "monkey") else top)

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *filter(None, [node.module])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                add(submodule if submodule in modules else base)
    return found


IMPORTS = {name: imports_of(name, path.read_text(), path.name == "__init__.py") for name, path in MODULES.items()}


def prefix_of(name):
    """The entry of LEVELS that *name* falls under, or None."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in LEVELS and (prefix != "pystack" or name == "pystack"):
            return prefix
    return None


def breach(name, imported):
    """Why module *name* may not import *imported*, or None if it may."""
    own = prefix_of(name)
    level = LEVELS[own]
    if imported.partition(".")[0] not in ("pystack", "monkey"):
        if imported in sys.stdlib_module_names:
            if level <= 1 and imported in FORBIDDEN_IN_CORES:
                return "cores read no clock, draw no random number and do no input or output"
            return None
        return None if imported in MAY_IMPORT_LIBRARIES[level] else f"not a library for level {level}"
    other = prefix_of(imported)
    if other is None:
        return "no such module"
    if other == own or LEVELS[other] in MAY_IMPORT_LEVELS[level]:
        return None
    if level == 6 and imported == LOADED_INTO_EVERY_PROGRAM:
        return None
    return f"level {level} may not import {other} of level {LEVELS[other]}"


def circle(graph):
    """A list of names that import each other in turn, or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in graph:
            return None
        path.append(name)
        for following in sorted(graph[name]):
            found = visit(following)
            if found:
                return found
        path.pop()
        done.add(name)
        return None

    for name in graph:
        found = visit(name)
        if found:
            return found
    return None


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_level_and_keeps_to_it(name):
    assert prefix_of(name) is not None, f"{name} is not in LEVELS"
    breaches = {imported: breach(name, imported) for imported in IMPORTS[name]}
    assert {imported: why for imported, why in breaches.items() if why} == {}


def test_there_is_no_circle():
    assert circle(IMPORTS) is None


@pytest.mark.parametrize(
    ("name", "source", "imported"),
    [
        ("pystack.inet.layer", "def f():\n    import time", "time"),
        ("pystack.wire.ipv4", "from os import path", "os"),
        ("pystack.link.layer", "from random import Random", "random"),
        ("pystack.inet.layer", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gevent", "gevent"),
        ("pystack.inet.layer", "from pystack.udp import layer", "pystack.udp.layer"),
        ("pystack.inet.layer", "from ..udp.layer import UdpLayer", "pystack.udp.layer"),
        ("pystack.link", "from ..udp import layer", "pystack.udp.layer"),
        ("pystack.runtime.stage", "import pystack.device.base", "pystack.device.base"),
        ("pystack.device.tap", "from pystack.runtime.clock import VirtualClock", "pystack.runtime.clock"),
        ("pystack.stack", "import numpy.linalg", "numpy"),
        ("pystack.errors", "from pystack import stack", "pystack.stack"),
        ("monkey.socket", "from pystack.errors import StackError", "pystack.errors"),
        ("monkey", "import gevent", "gevent"),
    ],
)
def test_a_breach_is_found(name, source, imported):
    found = imports_of(name, source, name in ("monkey", "pystack.link"))
    assert imported in found
    assert breach(name, imported)


def test_a_circle_is_found():
    assert circle({"a": {"b", "os"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_what_monkey_may_import_is_allowed():
    assert breach("monkey.client", LOADED_INTO_EVERY_PROGRAM) is None
    assert breach("monkey.client", "pystack.sockets.service")


def test_nothing_starts_or_is_loaded_by_the_import_of_the_package():
    script = (
        "import sys, threading\n"
        "import pystack\n"
        "loaded = {'gevent', 'greenlet', 'pyroute2', 'dpkt', 'asyncio', 'ssl', 'pystack.stack'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_no_greenlet_or_thread_starts_by_the_import_of_every_module():
    names = [name for name in MODULES if name != "monkey" and not name.startswith("monkey.") and name != "pystack.run"]
    script = (
        "import gc, importlib, signal, sys, threading\n"
        "term = signal.getsignal(signal.SIGTERM)\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "import gevent\n"
        "assert not [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet)]\n"
        "assert threading.active_count() == 1\n"
        "assert signal.getsignal(signal.SIGTERM) is term\n"
        "assert not {'pyroute2', 'dpkt'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
