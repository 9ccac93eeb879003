"""Replaces the standard library's sockets by pystack's, in the manner of `gevent.monkey`: early, and once.

`python -m pystack.run` does it before the program's first import. A program that uses pystack as a library calls
`patch_all` itself, best before it imports `socket`.
"""

import importlib
import json
import os
import warnings

from pystack.sockets import protocol

_patch = None  # the `patch.Patch` that is in place


class MonkeyPatchWarning(RuntimeWarning):
    """Something had been imported, or made, before it was patched."""


def is_patched():
    """Whether new sockets of this process are pystack's."""
    return _patch is not None


def patch_all(stack=None, **options):
    """From now on sockets are pystack's; again: nothing. Warns, once, of what came too late.

    Args:
        stack: a running `pystack.Stack` of this thread's gevent hub, which is to be used in place. None: the engine
            that this process was started under, or else a new one in a process of its own.
        options: for a new engine, the runner's by their names: ``link="user"``, ``address=["10.77.0.2/24"]``.

    Raises:
        StackError: no engine can be started.
    """
    if _patch is None:
        _install(*_join(stack, options))


def patch_inline(argv):
    """For the runner: patch for a stack in this process, which must not have begun; *argv*: its arguments, as JSON."""
    _install(*importlib.import_module("pystack.inline").run(json.loads(argv)))


def _install(engine, leave):
    global _patch
    from monkey.patch import Patch

    _patch = Patch(engine, leave)
    for message in _patch.install():
        warnings.warn(message, MonkeyPatchWarning, stacklevel=3)


def unpatch_all():
    """Sockets are the kernel's again. Those that were made meanwhile lose what a pair cannot do by itself."""
    global _patch
    if _patch is not None:
        patch, _patch = _patch, None
        patch.remove()


def _join(stack, options):
    """``(monkey.engine.Engine, function that takes leave of it)``."""
    if stack is not None:
        return importlib.import_module("pystack.inline").join(stack)
    from monkey.client import Client
    from monkey.engine import Engine

    settings = os.environ
    if protocol.CONTROL not in settings:
        settings = importlib.import_module("pystack.launch").start_for_library(options)
    life = settings.pop(protocol.LIFE, None)
    client = Client(settings[protocol.CONTROL], None if life is None else int(life))
    return Engine.from_environment(client.call, settings), client.close


__all__ = ["MonkeyPatchWarning", "is_patched", "patch_all", "unpatch_all"]
