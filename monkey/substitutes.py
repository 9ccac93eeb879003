"""Modules that make system calls of their own, in C, and so would pass by the stack, and what takes their place.

uvloop has its sockets from libuv. Its place is taken by a module of the same names that gives asyncio's own loop.
"""

import importlib
import sys
import types
from importlib.machinery import ModuleSpec

_NAME = "uvloop"
_LINE = "pystack: uvloop makes its own system calls, which pass by the stack: asyncio's loop is used in its place\n"


class _Finder:
    """Finds uvloop where it is installed; elsewhere the import fails as it would."""

    def find_spec(self, name, path=None, target=None):
        if name != _NAME:
            return None
        for finder in sys.meta_path:
            if finder is not self and finder.find_spec(name, path, target) is not None:
                return ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return _Uvloop(spec.name)

    def exec_module(self, module):
        sys.stderr.write(_LINE)


class _Uvloop(types.ModuleType):
    """The public names of uvloop; asyncio is imported when one of them is used."""

    def __getattr__(self, name):
        import asyncio

        made = {
            "Loop": lambda: asyncio.SelectorEventLoop,
            "EventLoopPolicy": lambda: asyncio.DefaultEventLoopPolicy,
            "new_event_loop": lambda: asyncio.SelectorEventLoop,
            "install": lambda: _install,
            "run": lambda: asyncio.run,
            "__version__": lambda: importlib.import_module("importlib.metadata").version(_NAME),
        }.get(name)
        if made is None:
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        return made()


def _install():
    """asyncio's own policy is in place already."""


_finder = _Finder()


def install():
    """From now on imports give the substitutes."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall():
    """Undo `install`; what has been imported stays."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    if isinstance(sys.modules.get(_NAME), _Uvloop):
        del sys.modules[_NAME]


def too_late():
    """Names of the real modules that have been imported already."""
    module = sys.modules.get(_NAME)
    return [] if module is None or isinstance(module, _Uvloop) else [_NAME]
