"""Stops the stack, loudly, when a part of it fails."""

import logging

import gevent

log = logging.getLogger("pystack")


class Supervisor:
    """*on_failure* is called with the first exception, once, from a greenlet of its own."""

    def __init__(self, on_failure):
        self._on_failure = on_failure
        self.failures = 0  # exceptions in cores and devices
        self.failure = None  # the first of them

    def failed(self, who, exception):
        """Part *who* (a name) has raised *exception*."""
        self.failures += 1
        if self.failure is not None:
            return
        self.failure = exception
        log.critical("pystack stops: %s failed: %s", who, exception, exc_info=exception)
        gevent.spawn(self._on_failure, exception)
