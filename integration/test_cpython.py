"""CPython's own tests of its sockets, on the kernel and on the stack: what passes there passes here."""

from fnmatch import fnmatch

import pytest

from integration.cpython.skips import OF_THE_HOST, SKIPS
from integration.support.programs import ROOT, Runner

pytest.importorskip("test.support", reason="this Python comes without its own tests")

MODULES = (
    "test_socket",
    "test_select",
    "test_selectors",
    "test_poll",
    "test_epoll",
    "test_socketserver",
    "test_httplib",
    "test_ssl",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_streams",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_events",
    "test_asyncio.test_server",
    "test_asyncio.test_ssl",
    "test_asyncio.test_sslproto",
)
DRIVER = ROOT / "integration" / "cpython" / "driver.py"
TIMEOUT = 300
# Linux's own limits: pystack's are higher, and some tests write until nothing more fits.
LIMITS = ("--sysctl", "net.ipv4.tcp_wmem=4096 16384 4194304", "--sysctl", "net.ipv4.tcp_rmem=4096 131072 6291456")


def outcomes(process):
    """``{test: outcome}`` of a run of the driver; the test in which it ended early has ``failed``."""
    found = {}
    completed = process.wait(TIMEOUT)
    for line in completed.out.splitlines():
        outcome, _, name = line.partition(" ")
        if outcome in ("runs", "ok", "skipped", "failed"):
            found[name] = outcome
    for name, outcome in found.items():
        if outcome == "runs":
            found[name] = "failed"
    assert found, completed
    return found, completed.err


@pytest.mark.parametrize("module", MODULES)
def test_what_passes_on_the_kernel_passes_on_the_stack(module, namespace, figures):
    left_out = [pattern for pattern in SKIPS if pattern.startswith(f"{module}.")]
    with Runner("tap", namespace) as runner:
        namespace.ip("link set lo up")
        ours = runner.start(DRIVER, module, *OF_THE_HOST, *left_out, options=LIMITS)
        kernels, _ = outcomes(runner.start_here(DRIVER, module, *OF_THE_HOST))
        ours, errors = outcomes(ours)
    passed = {name for name, outcome in kernels.items() if outcome == "ok"}
    skipped = {name for name in passed if any(fnmatch(name, pattern) for pattern in left_out)}
    wrong = {name: ours.get(name, "did not run") for name in passed - skipped if ours.get(name) != "ok"}
    figures.append((module, len(passed), len(passed) - len(skipped) - len(wrong), len(skipped)))
    assert not wrong, f"{wrong}\n{errors[-5000:]}"


def test_every_skip_is_of_a_module_that_is_run():
    assert [each for each in SKIPS if not each.startswith(tuple(f"{module}." for module in MODULES))] == []
