"""What the runner adds to the start of a program: ``python -c pass`` alone and under it, alternating in one run.

``python benchmarks/startup.py [--rounds N] [--link none|user|tap]``; a TAP needs root.
"""

import argparse
import statistics
import subprocess
import sys
import time


def timed(argv):
    """Seconds of wall time."""
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--link", action="append", choices=["none", "user", "tap"])
    asked = parser.parse_args()
    plain = [sys.executable, "-c", "pass"]
    ways = {"plain python": plain}
    for link in asked.link or ["none", "user"]:
        ways[f"--link {link}"] = [sys.executable, "-m", "pystack.run", "--link", link, "-c", "pass"]
    times = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, argv in ways.items():
            times[name].append(timed(argv))
    base = statistics.median(times["plain python"])
    for name, found in times.items():
        median = statistics.median(found)
        least, more = min(found) * 1000, (median - base) * 1000
        print(f"{name:14} {median * 1000:6.0f} ms (least {least:.0f}), overhead {more:4.0f} ms")


if __name__ == "__main__":
    main()
