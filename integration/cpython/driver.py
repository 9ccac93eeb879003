"""driver.py MODULE [PATTERN...]: run one of the interpreter's own test modules, leaving out what a pattern matches.

Each test's outcome is a line: ``ok``, ``skipped`` or ``failed``, and its id. A test that takes too long ends the run,
so that the line before, ``runs``, tells which one it was.
"""

import faulthandler
import os
import sys
import tempfile
import unittest
from fnmatch import fnmatch

from test import support

PATIENCE = 60  # seconds for one test


class Outcomes(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self._outcome = "ok"
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        say("runs", test.id())

    def stopTest(self, test):
        super().stopTest(test)
        say(self._outcome, test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._outcome = "skipped"

    def addError(self, test, error):
        super().addError(test, error)
        self._failed(test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._failed(test)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self._failed(test)

    def _failed(self, test):
        self._outcome = "failed"
        if not hasattr(test, "_testMethodName"):  # setUpModule or setUpClass
            say("failed", test.id())


def say(outcome, name):
    os.write(1, f"{outcome} {name.removeprefix('test.')}\n".encode())


def wanted(suite, patterns):
    """The tests of a suite, in its order, but those that a pattern matches."""
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from wanted(each, patterns)
        elif not any(fnmatch(each.id().removeprefix("test."), pattern) for pattern in patterns):
            yield each


def main(module, *patterns):
    # "network" is also what tests need that go to the Internet; all of this module's stay on the host.
    support.use_resources = ["network"] if module == "test_socketserver" else []
    support.verbose = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        suite = unittest.defaultTestLoader.loadTestsFromName(f"test.{module}")
        chosen = unittest.TestSuite(wanted(suite, patterns))
        unittest.TextTestRunner(resultclass=Outcomes, stream=sys.stderr, verbosity=0).run(chosen)
        faulthandler.cancel_dump_traceback_later()
        os.chdir("/")
    say("done", module)


if __name__ == "__main__":
    main(*sys.argv[1:])
