"""Every workload on pystack and on the kernel, alternating; as root, or where user namespaces are allowed.

``python -m benchmarks`` prints the table, and writes it, the figures as JSON and the plots to a folder; with
``--evaluation`` to docs/evaluation.md and what it shows.
"""

import argparse
import json
import logging
import os
import platform
import re
import shutil
import sys
import time
from datetime import date
from pathlib import Path

from integration.support import namespaces
from integration.support.install import PACKAGES, PATH

REFUSED = namespaces.enter()  # before gevent has threads

from benchmarks import measure, workloads, world  # noqa: E402
from compilation.__main__ import compile_tree  # noqa: E402

EVALUATION = Path(__file__).resolve().parent.parent / "docs" / "evaluation.md"


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a little of each, to see that all work (under 60 s)")
    parser.add_argument("--rounds", type=int, help="default: 5, with --quick 1")
    parser.add_argument("--only", help=f"workloads, by commas: {', '.join(workloads.ALL)}")
    parser.add_argument("--output", type=Path, default=Path("benchmark-results"), help="folder (%(default)s)")
    parser.add_argument("--compiled", action="store_true", help="of the compiled build, which is made first")
    parser.add_argument("--evaluation", action="store_true", help="renew the figures of docs/evaluation.md")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(workloads.ALL)
    unknown = [name for name in chosen if name not in workloads.ALL]
    if unknown:
        parser.error(f"there is no workload {', '.join(unknown)}")
    if REFUSED:
        raise SystemExit(f"benchmarks: {REFUSED}")
    lacking = [PACKAGES[command] for command in ("ip", "ethtool") if shutil.which(command, path=PATH) is None]
    if lacking:
        raise SystemExit(f"benchmarks: missing: {' '.join(lacking)} (as root: apt-get install)")
    logging.basicConfig(level=logging.WARNING)
    if options.compiled:
        world.tree = world.ROOT / "build" / "benchmarked"
        compile_tree(world.tree)
    scale = workloads.QUICK if options.quick else workloads.Scale()
    figures = run(chosen, scale, options.rounds or (1 if options.quick else 5))
    lines = measure.table(figures.rows.values())
    print("\n".join(lines))
    folder = EVALUATION.with_suffix("") if options.evaluation else options.output
    write(figures, folder / "compiled" if options.compiled and options.evaluation else folder)
    if options.evaluation:
        renew(EVALUATION, lines, "compiled " if options.compiled else "")


def run(chosen, scale, rounds):
    """Do the workloads, *rounds* times; progress goes to standard error. Returns the `Figures`."""
    figures = measure.Figures()
    for name in chosen:
        for number in range(rounds):
            began = time.monotonic()
            workloads.ALL[name](figures, scale)
            print(f"{name} {number + 1}/{rounds}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return figures


def write(figures, folder):
    """``figures.json`` and the plots; without matplotlib no plots, which one line says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps({"machine": machine(), "rows": figures.to_json()}, indent=1) + "\n")
    try:
        from benchmarks import plots
    except ImportError:
        print("benchmarks: no plots without matplotlib (pip install '.[bench]')", file=sys.stderr)
        return
    plots.draw(figures, folder)


def machine():
    """On what it was measured."""
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "congestion control of the kernel": congestion,
    }


def renew(path, lines, build):
    """Put the machine and the table between the marks of the document, which begin with the *build*."""
    text = path.read_text()
    facts = ", ".join(f"{name} {value}" for name, value in machine().items())
    for name, content in ((f"{build}machine", facts), (f"{build}table", "\n".join(lines))):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"benchmarks: {path} has no place for the {name}")
        block = f"{begin}\n\n{content}\n\n{end}"
        text = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: block, text, flags=re.DOTALL)  # noqa: B023
    path.write_text(text)


if __name__ == "__main__":
    main()
