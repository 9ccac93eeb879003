"""The workloads: each puts one round's figures of the kernel and of pystack into a `Figures`.

A `Scale` says how much is done: the whole, or `QUICK`, which only shows that all still works.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gevent.pool import Pool

from benchmarks.measure import LESS, MORE, quantile
from benchmarks.world import (
    INLINE,
    KERNEL,
    OF_TAP,
    PROGRAMS,
    PYSTACK,
    World,
    cpu,
    engine_of,
    environment,
    memory,
    result_of,
    started,
)
from integration.support.namespaces import Namespace
from integration.support.relay import RIGHT, cable
from pystack.device.impair import Delay, Impaired, Loss, Rate

COSTS = Path(__file__).with_name("costs.py")
CUBIC = ["env", "BENCHMARK_CONGESTION=cubic"]
LINK = 20e6  # bits in a second, of an impaired link: so that what is measured is TCP, not this machine
QUEUE = 100_000  # bytes
AT_ONCE = 4  # impaired links


@dataclass(frozen=True)
class Scale:
    """How much of each workload is one round."""

    bulk: int = 1_000_000_000  # bytes
    bulk_without_offload: int = 300_000_000
    streams: tuple = (("on", (1, 4)), ("checksums", (1, 4)), ("off", (1,)))  # at once, by offload
    pinned: tuple = (True, False)
    trips: int = 5_000
    seconds: float = 3.0  # of what is counted by the second
    datagram_rates: tuple = (10_000, 20_000)  # 1/s
    datagram_seconds: float = 10.0
    download: int = 100_000_000  # bytes
    connections: tuple = (1, 10, 100, 1_000, 10_000)
    rest: float = 1.0  # seconds, of connections that are open
    impaired: tuple = tuple((loss, delay) for loss in (0, 0.001, 0.01, 0.05) for delay in (10, 50, 100))  # share, ms
    impaired_seconds: float = 5.0
    greenlets: int = 1_000


QUICK = Scale(
    bulk=30_000_000,
    bulk_without_offload=5_000_000,
    streams=(("on", (1, 4)), ("checksums", (1,)), ("off", (1,))),
    pinned=(True,),
    trips=100,
    seconds=0.3,
    datagram_rates=(20_000,),
    datagram_seconds=0.5,
    download=5_000_000,
    connections=(1, 100),
    rest=0.3,
    impaired=((0.01, 10),),
    impaired_seconds=0.5,
    greenlets=100,
)


def bulk(figures, scale):
    """1: TCP in one direction."""
    for offload, size, how in (
        ("on", scale.bulk, "offload"),
        ("checksums", scale.bulk_without_offload, "MTU 1500"),
        ("off", scale.bulk_without_offload, "MTU 1500, no checksum offload"),
    ):
        with World(offload) as world:
            for streams in dict(scale.streams)[offload]:
                for role, name in (("d", "receive"), ("u", "send")):
                    found = []
                    for side in (KERNEL, PYSTACK):
                        with world.peer(side, "serve"):
                            found.append(world.run(side, "bulk", role, side.addresses["peer"], size, streams))
                    target = None if streams > 1 else 0.6 if offload == "on" else 0.2
                    kernel, stack = (each["gbit"] for each in found)
                    title = f"{name}, {streams} stream{'s' * (streams > 1)}, {how}"
                    figures.add("bulk TCP", title, "Gbit/s", MORE, kernel, stack, target)
                    if streams == 1 and offload == "on":
                        for side, each in zip((KERNEL, PYSTACK), found, strict=True):
                            slices = [moved * 8e-8 for moved in each["slices"]]
                            figures.samples.setdefault(f"throughput, {name}", {}).setdefault(side.name, []).append(
                                slices
                            )


def latency(figures, scale):
    """2: round trips of small messages."""
    with World() as world:
        for kind, title in (("tcp", "TCP, 1 byte"), ("udp", "UDP, 64 bytes")):
            for pinned in scale.pinned:
                where = "pinned" if pinned else "unpinned"
                sides = [replace(side, pinned=pinned) for side in (KERNEL, INLINE, PYSTACK)]
                times = []
                for side in sides:
                    with world.peer(side, "serve"):
                        times.append(world.run(side, "trips", kind, side.addresses["peer"], scale.trips))
                    figures.sample(f"round trip, {title}, {where}", side.name, times[-1])
                for side, each, target in zip(sides[1:], times[1:], (1.5, 3.0), strict=True):
                    _add_quantiles(
                        figures, f"{title}, {where}, engine {side.engine}", times[0], each, pinned and target
                    )
        for pinned in scale.pinned:
            where = "pinned" if pinned else "unpinned"
            times = []
            for side in (replace(KERNEL, pinned=pinned), replace(PYSTACK, pinned=pinned)):
                with world.serving(side, "serve"):
                    times.append(world.run_peer(side, "trips", "icmp", side.addresses["program"], scale.trips))
                figures.sample(f"round trip, ICMP echo, {where}", side.name, times[-1])
            _add_quantiles(figures, f"ICMP echo, {where}", *times, None)


def _add_quantiles(figures, title, kernel, stack, target):
    for share, name in ((0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")):
        wanted = target or None if share == 0.5 else None
        values = (quantile(each, share) for each in (kernel, stack))
        figures.add("round trip", f"{title}, {name}", "µs", LESS, *values, wanted)


def connections(figures, scale):
    """3: connect, one request, close; and the same accepted."""
    with World() as world:
        made, accepted = [], []
        for side in (KERNEL, PYSTACK):
            with world.peer(side, "answer"):
                made.append(world.run(side, "connects", side.addresses["peer"], scale.seconds))
            with world.serving(side, "answer"):
                accepted.append(world.run_peer(side, "connects", side.addresses["program"], scale.seconds))
        figures.add("connections", "connect, request, close", "1/s", MORE, *made, 0.5)
        figures.add("connections", "accept, answer, close", "1/s", MORE, *accepted)


def datagrams(figures, scale):
    """4: UDP at a fixed rate."""
    with World() as world:
        for rate in scale.datagram_rates:
            count = int(rate * scale.datagram_seconds)
            heard, spoken = [], []
            for side in (KERNEL, PYSTACK):
                with world.serving(side, "hear", count) as process:
                    world.run_peer(side, "speak", side.addresses["program"], rate, count)
                    heard.append(json.loads(process.stdout.readline()) * 100)
                with world.peer(side, "hear", count) as process:
                    world.run(side, "speak", side.addresses["peer"], rate, count)
                    spoken.append(json.loads(process.stdout.readline()) * 100)
            figures.add("UDP, 512 bytes", f"{rate:,}/s received: lost", "%", LESS, *heard, 1.0)
            figures.add("UDP, 512 bytes", f"{rate:,}/s sent: lost", "%", LESS, *spoken, 1.0)


def http(figures, scale):
    """5: HTTP both ways."""
    with World() as world:
        sessions, downloads, served = [], [], {1: [], 32: []}
        for side in (KERNEL, PYSTACK):
            with world.peer(side, "http"):
                sessions.append(world.run(side, "session", side.addresses["peer"], scale.seconds))
                downloads.append(world.run(side, "download", side.addresses["peer"], scale.download))
            with world.serving(side, "http"):
                for count, found in served.items():
                    found.append(world.run_peer(side, "browse", side.addresses["program"], count, scale.seconds))
        figures.add("HTTP", "requests, one session", "1/s", MORE, *sessions, 0.8)
        for count, target in ((1, 0.8), (32, 0.95)):
            title = f"http.server, {count} connection{'s' * (count > 1)}"
            figures.add("HTTP", title, "1/s", MORE, *served[count], target)
        figures.add("HTTP", f"download of {scale.download // 1_000_000} MB", "MB/s", MORE, *downloads)


def many(figures, scale):
    """6: connections at rest."""
    with World() as world:
        alone, before = {}, None
        for count in scale.connections:
            found = {}
            for side in (KERNEL, PYSTACK):
                with world.peer(side, "hold"):
                    arguments = ["among", side.addresses["peer"], count, scale.trips]
                    with _running(world, side, arguments) as (process, times):
                        found[side] = quantile(times, 0.5)
                        if side.engine:
                            time.sleep(scale.rest)  # delayed acknowledgements and the like
                            used = memory(engine_of(process))
                            began = cpu(engine_of(process))
                            time.sleep(scale.rest)
                            idle = (cpu(engine_of(process)) - began) / scale.rest
            figures.add("open connections", f"{count:,}: round trip, p50", "µs", LESS, found[KERNEL], found[PYSTACK])
            if before is None:
                before = used
                alone = found[PYSTACK]
            else:
                each = (used - before) / 1000 / (count - scale.connections[0])
                target = 10 if count >= 1000 else None
                figures.add("open connections", f"{count:,}: engine's memory each", "KB", LESS, None, each, target)
                if count == scale.connections[-1]:
                    title = f"{count:,}: round trip, by that with one open"
                    figures.add("open connections", title, "", LESS, None, found[PYSTACK] / alone, 1.2)
            title = f"{count:,}: engine's CPU in a second of idleness"
            figures.add("open connections", title, "ms", LESS, None, idle * 1000, 0)


@contextmanager
def _running(world, side, arguments):
    """A program that has printed its result, and waits for a line."""
    namespace, argv = world.command(side, arguments)
    process = namespace.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        yield process, json.loads(process.stdout.readline())
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait(timeout=60)
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()


def goodput(figures, scale):
    """7: one stream up through the same cable with loss each way, CUBIC on both sides.

    The cable carries frames between two namespaces; pystack's TAP leads to the near one's kernel, which forwards.
    """
    seed = random.getrandbits(32)
    for side in (KERNEL, PYSTACK):
        Pool(AT_ONCE).map(lambda way: _goodput(figures, side, *way, seed, scale.impaired_seconds), scale.impaired)  # noqa: B023


def _goodput(figures, side, loss, delay, seed, seconds):
    rules = [*([Loss(loss)] if loss else []), Delay(delay / 2000), Rate(LINK, QUEUE)]

    def impaired(device):
        return Impaired(device, transmit=rules, receive=rules, seed=seed)

    with Namespace() as near, Namespace() as far, cable(near, far, impaired):
        near.sysctl("net.ipv4.ip_forward", 1)
        far.ip("route add 10.77.0.0/24 via 10.80.0.1")
        with started(far, [*CUBIC, sys.executable, str(PROGRAMS), "serve"]):
            argv = [*CUBIC, sys.executable]
            if side.engine:
                argv += ["-m", "pystack.run", "--link", "tap", "--address", f"{OF_TAP['program']}/24"]
            found = near.run([*argv, str(PROGRAMS), "push", RIGHT, str(seconds)], stderr=-1, env=environment())
    name = f"{loss * 100:g} % loss, {delay} ms"
    figures.add_to("goodput", name, "Mbit/s", MORE, **{"stack" if side.engine else "kernel": result_of(found)})


def csp(figures, scale):
    """8: what greenlets and queues cost."""
    found = json.loads(
        subprocess.run(
            [sys.executable, str(COSTS), "csp", str(scale.greenlets)],
            check=True,
            capture_output=True,
            text=True,
            env=environment(),
        ).stdout
    )
    title = f"{scale.greenlets:,} that wait and hand back a value: CPU (threads as the kernel's)"
    figures.add("CSP", title, "ms", LESS, found["threads"] * 1e3, found["greenlets"] * 1e3)
    for name, unit in (("idle", "µs"), ("busy", "µs")):
        title = f"queue hop, {name} (gevent's SimpleQueue as the kernel's)"
        figures.add("CSP", title, unit, LESS, found[f"{name}_simple"] * 1e6, found[f"{name}_mailbox"] * 1e6)
    side = replace(PYSTACK, options=("--stats",))
    with World() as world:
        for role, name in (("d", "receive"), ("u", "send")):
            with world.peer(side, "serve"):
                arguments = ["bulk", role, side.addresses["peer"], scale.bulk, 1, "held"]
                turns, seconds = _hops(*world.command(side, arguments))
            share = turns * found["idle_mailbox"] / seconds * 100
            figures.add("CSP", f"bulk TCP, {name}: hops", "1/MB", LESS, None, turns / scale.bulk * 1e6)
            figures.add("CSP", f"bulk TCP, {name}: engine's CPU", "ms/GB", LESS, None, seconds / scale.bulk * 1e12)
            figures.add("CSP", f"bulk TCP, {name}: CPU spent in hops", "%", LESS, None, share)


def _hops(namespace, argv):
    """``(turns of all stages, the engine's CPU seconds)`` of a program that waits before and after its work."""
    with tempfile.TemporaryFile() as stats:
        with started(namespace, argv, stderr=stats) as process:
            engine = engine_of(process)
            before = cpu(engine)
            for _ in range(2):
                process.stdin.write(b"\n")
                process.stdin.flush()
                process.stdout.readline()
                seconds = cpu(engine) - before
            process.wait(timeout=60)
        stats.seek(0)
        lines = [line.split() for line in stats.read().decode().splitlines()]
    return sum(int(words[2]) for words in lines if words[1:2] == ["turns"]), max(seconds, 0.01)


def collector(figures, scale):
    """9: round trips, and the pauses meanwhile, with the collector as the engine has it, off, and as Python has it."""
    with World() as world:
        for mode in ("configured", "off", "default"):
            argv = ["taskset", "-c", "0", sys.executable, str(COSTS), "echo", mode]
            with started(world.far, argv) as process:
                times = world.run_peer(replace(PYSTACK, pinned=True), "trips", "tcp", OF_TAP["program"], scale.trips)
                process.stdin.write(b"\n")
                process.stdin.flush()
                pauses = [took for _, took in json.loads(process.stdout.readline())]
            figures.sample("round trip by collector", mode, times)
            for share, name in ((0.5, "p50"), (0.999, "p99.9")):
                title = f"{mode}: TCP, 1 byte, pinned, {name}"
                figures.add("collector", title, "µs", LESS, None, quantile(times, share))
            figures.add("collector", f"{mode}: pauses in {scale.trips:,} trips", "", LESS, None, len(pauses))
            figures.add("collector", f"{mode}: longest pause", "µs", LESS, None, max(pauses, default=0))


ALL = {
    "bulk": bulk,
    "latency": latency,
    "connections": connections,
    "datagrams": datagrams,
    "http": http,
    "many": many,
    "goodput": goodput,
    "csp": csp,
    "collector": collector,
}
