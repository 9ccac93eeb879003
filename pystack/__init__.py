"""pystack: a TCP/IP stack in userspace, one greenlet per layer.

Importing this package does no work and imports no gevent: `Stack` and its companions are loaded on first use.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "Stack": "pystack.library",
    "Interface": "pystack.layers",
    "StackConfig": "pystack.config",
    "PingReply": "pystack.ping",
    "StackError": "pystack.errors",
    "StackStopped": "pystack.errors",
    "DeviceError": "pystack.errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name):
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pystack' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
