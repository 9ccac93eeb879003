"""What a request and a megabyte cost in system calls, the program's and the engine's, against the real kernel.

Each is the difference of two runs under strace, one of which does more: starting and ending cancel out. The bounds are
what was seen and a tenth more for a trip, which goes its steps one by one; bulk data is read in as large pieces as the
scheduler lets it come in, so there the bound is wider.
"""

import re
import subprocess

import pytest

from benchmarks.world import PYSTACK, World, environment, started

MB = 1_000_000


@pytest.fixture(scope="module", params=["on", "off"], ids=["offload", "MTU 1500"])
def world(request):
    with World(request.param) as made:
        yield made


def calls(world, tmp_path, *arguments):
    """``{name: how often}`` of the program with *arguments* and its engine."""
    report = tmp_path / "strace"
    namespace, argv = world.command(PYSTACK, arguments)
    # It ends when the engine has, too.
    argv = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(report), *argv]
    if arguments[0] == "answer":
        with started(namespace, argv) as process:
            world.run_peer(PYSTACK, "connects", PYSTACK.addresses["program"], 60, arguments[1])
            assert process.wait(timeout=60) == 0
    else:
        with world.peer(PYSTACK, "answer" if arguments[0] == "connects" else "serve"):
            done = namespace.run(argv, timeout=120, env=environment(), stderr=subprocess.PIPE)
            assert done.returncode == 0, done.stderr
    rows = re.findall(r"^ *(\d+) (\w+)$", report.read_text(), re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


def cost(world, tmp_path, unit, less, more, *arguments):
    """System calls for each *unit* more, by name, and of all."""
    few, many = (calls(world, tmp_path, *(each if each is not ... else n for each in arguments)) for n in (less, more))
    found = {name: round((many[name] - few.get(name, 0)) * unit / (more - less), 2) for name in many}
    return sum(found.values()), {name: count for name, count in found.items() if abs(count) >= 0.1}


@pytest.mark.parametrize(("kind", "most"), [("tcp", 12), ("udp", 17)])
def test_a_round_trip(world, tmp_path, kind, most):
    peer = PYSTACK.addresses["peer"]
    total, found = cost(world, tmp_path, 1, 500, 1500, "trips", kind, peer, ...)
    assert total <= most, found


def test_a_connection(world, tmp_path):
    """Made, one request and its answer, and closed."""
    total, found = cost(world, tmp_path, 1, 100, 300, "connects", PYSTACK.addresses["peer"], 60, ...)
    assert total <= 66, found


def test_an_accepted_connection(world, tmp_path):
    total, found = cost(world, tmp_path, 1, 100, 300, "answer", ...)
    assert total <= 52, found


@pytest.mark.parametrize("role", ["d", "u"])
def test_a_megabyte(world, tmp_path, role):
    peer = PYSTACK.addresses["peer"]
    total, found = cost(world, tmp_path, MB, 20 * MB, 60 * MB, "bulk", role, peer, ..., 1)
    assert total <= (100 if world.offload == "on" else 1300), found
