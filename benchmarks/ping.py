"""ICMP echo beside the kernel's: round trip and cost per packet, alternating in one run.

In namespaces of its own, the kernel's ``ping`` goes to another kernel namespace over a veth pair and to a stack on a
TAP. Run it as root or where user namespaces are allowed: ``python benchmarks/ping.py [--rounds N]``.
"""

import argparse
import os
import re
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from integration.support import namespaces

REFUSED = namespaces.enter()  # before gevent has threads

from pystack import Interface, Stack  # noqa: E402
from pystack.device.tap import Tap  # noqa: E402

VETH, TAP = "10.78.0.2", "10.77.0.2"
COUNT = 2000


def round_trips(namespace, address, prefix):
    """Run ping one packet at a time; returns its round trips in us, sorted."""
    done = namespace.run([*prefix, "ping", "-i", "0.001", "-c", str(COUNT), address], check=True)
    times = sorted(float(found) * 1000 for found in re.findall(r"time=([\d.]+) ms", done.stdout))
    if len(times) != COUNT:
        raise SystemExit(f"{COUNT - len(times)} of {COUNT} packets to {address} were lost")
    return times


def flood_cost(namespace, address):
    """Flood with 100 in flight; returns (this process's CPU, wall) in us per echo."""
    count = COUNT * 10
    cpu, wall = time.process_time(), time.monotonic()
    done = namespace.run(["ping", "-q", "-f", "-l", "100", "-c", str(count), address], check=True)
    if f" {count} received" not in done.stdout:
        raise SystemExit(f"the flood lost packets:\n{done.stdout}")
    return (time.process_time() - cpu) / count * 1e6, (time.monotonic() - wall) / count * 1e6


def percentile(values, share):
    """The value below which *share* of the sorted values lie."""
    return values[min(len(values) - 1, int(len(values) * share))]


def measure(namespace, rounds):
    """Alternate kernel and stack; returns rows of (name, kernel, stack), us."""
    rows = {}
    core = str(min(os.sched_getaffinity(0)))
    everywhere = os.sched_getaffinity(0)
    for _ in range(rounds):
        for where, prefix in (("unpinned", []), ("one core", ["taskset", "-c", core])):
            os.sched_setaffinity(0, {int(core)} if prefix else everywhere)
            kernel, stack = (round_trips(namespace, address, prefix) for address in (VETH, TAP))
            os.sched_setaffinity(0, everywhere)
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                pair = percentile(kernel, share), percentile(stack, share)
                rows.setdefault(f"round trip {name}, {where}", []).append(pair)
        (_, kernel), (cpu, stack) = flood_cost(namespace, VETH), flood_cost(namespace, TAP)
        rows.setdefault("flood, wall per echo", []).append((kernel, stack))
        rows.setdefault("flood, stack's CPU per echo", []).append((None, cpu))
    return rows


def show(rows):
    """Print medians and the ratio."""
    print(f"{'us':32}{'kernel':>10}{'pystack':>10}{'ratio':>8}")
    for name, pairs in rows.items():
        stack = statistics.median(pair[1] for pair in pairs)
        if pairs[0][0] is None:
            print(f"{name:32}{'':>10}{stack:10.1f}")
            continue
        kernel = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        print(f"{name:32}{kernel:10.1f}{stack:10.1f}{ratio:8.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if REFUSED:
        raise SystemExit(f"benchmarks/ping.py: {REFUSED}")
    with namespaces.Namespace() as near, namespaces.Namespace() as far:
        namespaces.veth(near, "near", far, "far")
        near.ip("addr add 10.78.0.1/24 dev near")
        far.ip(f"addr add {VETH}/24 dev far")
        tap = Tap("ps0", netns=near.path, host_addresses=["10.77.0.1/24"])
        with Stack([Interface(device=tap, addresses=[f"{TAP}/24"])]):
            show(measure(near, options.rounds))


if __name__ == "__main__":
    main()
