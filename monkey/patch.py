"""Puts the seam in place, and takes it away again: what it replaces, and where copies of that are."""

import _socket
import atexit
import sys

from monkey import substitutes
from monkey.names import Names
from monkey.resolver import from_system
from monkey.socket import Socket

_CLASSES = ("socket", "SocketType")
# Modules that make subclasses of `_socket.socket` or copy its functions, and how: theirs are replaced in place.
_SUBCLASSES = (("socket", "socket"), ("gevent._socket3", "_wrefsocket"))


class Patch:
    """The replacement of `_socket`'s class and functions.

    Args:
        engine: a `engine.Engine`.
        leave: called with no argument at the end of the process, after all else.
    """

    def __init__(self, engine, leave):
        self._engine = engine
        self._leave = leave
        self._originals = {}  # name in `_socket` -> what was there
        self._bases = []  # (class, its bases)

    def install(self):
        """Patch. Returns messages about what came too late."""
        atexit.register(self._at_exit)
        engine = self._engine
        Socket.engine = engine
        engine.resolver = _resolver(engine)
        names = Names(engine)
        new = dict.fromkeys(_CLASSES, Socket)
        for name in ("getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
            new[name] = getattr(engine.resolver, name)
        for name in ("if_nameindex", "if_nametoindex", "if_indextoname"):
            new[name] = getattr(names, name)
        new["close"] = engine.close
        late = list(self._late())
        for name, value in new.items():
            self._originals[name] = getattr(_socket, name)
            setattr(_socket, name, value)
        self._replace_copies({id(old): new[name] for name, old in self._originals.items()})
        for module, name in _SUBCLASSES:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None and Socket not in kind.__mro__:
                self._bases.append((kind, kind.__bases__))
                kind.__bases__ = tuple(Socket if base is Socket.kernel_class else base for base in kind.__bases__)
        substitutes.install()
        return late

    def remove(self):
        """Undo `install`."""
        substitutes.uninstall()
        for kind, bases in self._bases:
            kind.__bases__ = bases
        self._replace_copies({id(getattr(_socket, name)): old for name, old in self._originals.items()})
        for name, old in self._originals.items():
            setattr(_socket, name, old)
        atexit.unregister(self._at_exit)
        self._leave()

    def _replace_copies(self, by_identity):
        """In `socket`, which has taken `_socket`'s names for its own."""
        for name in ("socket", "gevent._socket3", "gevent._socketcommon"):
            module = sys.modules.get(name)
            for key, value in list(vars(module).items()) if module is not None else ():
                replacement = by_identity.get(id(value))
                if replacement is not None and key in self._originals:
                    setattr(module, key, replacement)

    def _late(self):
        """Say what has copies of what is about to be replaced."""
        if "socket" not in sys.modules:
            return
        originals = {id(getattr(_socket, name)): name for name in ("gethostbyname", "gethostbyaddr", "getnameinfo")}
        for module_name, module in sorted(sys.modules.items()):
            if module_name in ("socket", "_socket") or module_name.startswith("gevent."):
                continue
            for key, value in list(getattr(module, "__dict__", {}).items()):
                if id(value) in originals:
                    yield f"{module_name}.{key} was imported before pystack's patch: it asks the kernel's resolver"
        for name in substitutes.too_late():
            yield f"{name} was imported before pystack's patch: its sockets are the kernel's"

    def _at_exit(self):
        try:
            self._engine.let_go()
            self._leave()
        except (OSError, KeyboardInterrupt):
            pass  # the engine has gone, or the user will not wait


def _resolver(engine):
    settings = {"families": lambda: (_socket.AF_INET,)}
    return from_system(engine.nameservers, **settings) if engine.nameservers else from_system(**settings)
