"""The benchmarks still work; what they measure is not judged here."""

import json
import sys

from benchmarks import workloads
from integration.support.programs import ROOT


def test_all_workloads_work(namespace, tmp_path):
    done = namespace.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path)], cwd=ROOT, timeout=300
    )
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "figures.json").read_text())
    assert {row["workload"] for row in found["rows"]} >= {"bulk TCP", "round trip", "HTTP", "goodput", "CSP"}
    assert len({row["workload"] for row in found["rows"]}) == len(workloads.ALL)
