"""CPython's own tests of its sockets, on the kernel and on the stack: what passes there passes here."""

from fnmatch import fnmatch
from pathlib import Path

import pytest
from gevent.pool import Pool

from integration.cpython.skips import OF_THE_HOST, SKIPS
from integration.support.namespaces import Namespace
from integration.support.programs import ROOT, Runner

pytest.importorskip("test.support", reason="this Python comes without its own tests")

MODULES = (
    "test_socket",
    "test_ssl",
    "test_select",
    "test_selectors",
    "test_poll",
    "test_epoll",
    "test_socketserver",
    "test_httplib",
    "test_ftplib",
    "test_smtplib",
    "test_xmlrpc",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_streams",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_events",
    "test_asyncio.test_server",
    "test_asyncio.test_sendfile",
    "test_asyncio.test_unix_events",
    "test_asyncio.test_ssl",
    "test_asyncio.test_sslproto",
)
DRIVER = ROOT / "integration" / "cpython" / "driver.py"
TIMEOUT = 300
AT_ONCE = 3  # modules, each on both sides
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


def run(module):
    """``(outcomes on the kernel, outcomes on the stack, its error output)`` of one module, side by side."""
    patterns = [*OF_THE_HOST, *left_out(module)]
    with Namespace() as namespace, Runner("tap", namespace) as runner:
        ours = runner.start(DRIVER, module, *patterns, options=LIMITS)
        kernels, _ = outcomes(runner.start_here(DRIVER, module, *OF_THE_HOST))
        return kernels, *outcomes(ours)


def left_out(module):
    return [pattern for pattern in SKIPS if pattern.startswith(f"{module}.")]


@pytest.fixture(scope="module")
def runs(request):
    """``{module: greenlet of run}`` of the modules that are asked for; they mostly wait, so several at once."""
    chosen = [item.callspec.params["module"] for item in request.session.items if item.path == Path(__file__).resolve()
              and hasattr(item, "callspec")]  # fmt: skip
    pool = Pool(AT_ONCE)
    running = {module: pool.spawn(run, module) for module in chosen}
    pool.join()
    return running


@pytest.mark.parametrize("module", MODULES)
def test_what_passes_on_the_kernel_passes_on_the_stack(module, runs, record_property):
    kernels, ours, errors = runs[module].get()
    passed = {name for name, outcome in kernels.items() if outcome == "ok"}
    skipped = {name for name in passed if any(fnmatch(name, pattern) for pattern in left_out(module))}
    wrong = {name: ours.get(name, "did not run") for name in passed - skipped if ours.get(name) != "ok"}
    record_property("cpython", (module, len(passed), len(passed) - len(skipped) - len(wrong), len(skipped)))
    assert not wrong, f"{wrong}\n{errors[-5000:]}"


def test_every_skip_is_of_a_module_that_is_run():
    assert [each for each in SKIPS if not each.startswith(tuple(f"{module}." for module in MODULES))] == []
