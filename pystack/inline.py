"""The engine in the program's own gevent hub: the control channel is a plain call."""

import atexit
import errno
import os
import sys

import gevent.monkey
from gevent.event import Event

from monkey.client import Unanswered, refusal, request
from monkey.engine import Engine
from pystack import engine, launch, options
from pystack.errors import StackError
from pystack.runtime.clock import MonotonicClock


class Inline:
    """The way to a `sockets.service.Service` in this process, for `monkey.engine.Engine`.

    A rendezvous answers before `call` returns from the service; where it does not, this greenlet waits. A forked child
    has no stack: its calls raise OSError (ENETDOWN).
    """

    def __init__(self, service):
        self._service = service
        self._pid = os.getpid()

    def call(self, operation, inode=0, body=b"", new=None, timeout=None):
        """As `monkey.client.Client.call`."""
        if os.getpid() != self._pid:
            raise refusal(errno.ENETDOWN)
        answer = []
        answered = Event()

        def reply(number, data=b"", sock=None):
            answer[:] = [number, data]
            if sock is not None:
                sock.close()
            answered.set()

        descriptors = [] if new is None else [new.sock.detach()]
        self._service.request(None, request(operation, inode, body, new), descriptors, reply)
        if not answer and not answered.wait(timeout):
            raise Unanswered
        number, data = answer
        if number:
            raise refusal(number)
        return data

    def close(self):
        """The program needs no more sockets; those that it has go on."""


def join(stack):
    """``(monkey.engine.Engine, function that takes leave)`` for `monkey.patch_all` on a running stack."""
    if not hasattr(stack, "service"):
        raise StackError(f"patch_all: {stack!r} is no pystack.Stack")
    way = Inline(stack.service())
    return Engine(way.call, in_process=True), way.close


def engine_of(service):
    """A `monkey.engine.Engine` for a service of this hub."""
    return Engine(Inline(service).call, in_process=True)


def run(argv):
    """For ``--engine inline``, in the program's process before its first import: patch gevent's way, and start the
    stack that the runner's arguments ask for. Python children join it as they join an engine of its own process.

    Raises StackError.
    """
    gevent.monkey.patch_all()
    asked = options.parse(argv, os.environ)
    running = engine.Engine(asked).start()
    for note in running.notes:
        sys.stderr.write(f"pystack.run: {note}\n")
    os.environ.update(launch.environment(running.path, running.nameservers, asked))
    atexit.register(_end, running, os.getpid())
    way = Inline(running.service)
    return Engine.from_environment(way.call, os.environ, in_process=True), way.close


def _end(running, pid):
    if os.getpid() == pid:  # else a forked child's, whose engine it is not
        running.drain(MonotonicClock.now() + running.options.linger)
        running.close()
