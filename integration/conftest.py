import os

import pytest

from integration.support import namespaces

REFUSED = namespaces.enter()  # before anything here has a thread


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


@pytest.fixture(autouse=True)
def nothing_left_open():
    """Every test closes the descriptors that it opened."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    after = len(os.listdir("/proc/self/fd"))
    # The hub's own descriptors, and pytest's captures, come with the first test.
    assert after <= before + 8, f"{after - before} descriptors are still open"
