import gc
import os
import socket

import pytest

from integration.support import namespaces

REFUSED = namespaces.enter()  # before anything here has a thread


@pytest.hookimpl(tryfirst=True)  # before a skipif of the test's own, which would hide the reason, and pass under CI
def pytest_runtest_setup(item):
    """Without namespaces every test here is skipped, saying why; under CI that is a failure."""
    if REFUSED is None:
        return
    reason = f"integration tests need a network namespace of their own: {REFUSED}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def namespace():
    """A network namespace for one test."""
    with namespaces.Namespace() as made:
        yield made


@pytest.fixture(scope="session")
def host_as_it_was():
    """At the end the host's own namespace is the one it was, with the interfaces that it had."""
    if REFUSED is not None:  # the test that asks is refused too
        yield
        return
    with namespaces.Namespace() as warm:
        warm.run(["true"])  # gevent's hub and its child watcher open their descriptors now, so none is a test's leak
    home, names = os.readlink("/proc/thread-self/ns/net"), socket.if_nameindex()
    yield
    assert os.readlink("/proc/thread-self/ns/net") == home
    assert socket.if_nameindex() == names


@pytest.fixture(autouse=True)
def nothing_left_open(host_as_it_was):
    """Every test closes the descriptors that it opened."""
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    left = {number: to for number, to in descriptors().items() if number not in before}
    assert not left, f"still open: {left}"


def descriptors():
    """This process's open descriptors: number -> what it leads to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def pytest_terminal_summary(terminalreporter):
    """How much of CPython's own tests passes on the stack: the figures that `test_cpython` has recorded."""
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.getreports(kind)]
    rows = sorted(value for report in reports for name, value in report.user_properties if name == "cpython")
    if not rows:
        return
    terminalreporter.section("CPython's own tests")
    total = ("together", *map(sum, zip(*(row[1:] for row in rows), strict=True)))
    for module, kernel, stack, skipped in [*rows, total]:
        share = skipped / max(kernel, 1)
        terminalreporter.line(
            f"{module:36} {kernel:5} pass on the kernel, {stack:5} on pystack, {skipped:3} are skipped ({share:.1%})"
        )
