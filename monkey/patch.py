"""Puts the seam in place, and takes it away again: what it replaces, and where copies of that are."""

import _posixsubprocess
import _socket
import atexit
import functools
import os
import posix
import sys

from monkey import substitutes, tls
from monkey.hostfiles import read_resolv_conf
from monkey.names import Names
from monkey.resolver import Resolver, from_system
from monkey.socket import Socket, raise_pending

_RESOLVER = ("getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
_STARTS = {
    posix: ("execv", "execve", "posix_spawn", "posix_spawnp", "system"),
    _posixsubprocess: ("fork_exec",),
}
_NAMES = ("if_nameindex", "if_nametoindex", "if_indextoname")


class Patch:
    """The replacement of `_socket`'s class and functions.

    Args:
        engine: a `engine.Engine`.
        leave: called with no argument at the end of the process, after all else.
    """

    def __init__(self, engine, leave):
        self._engine = engine
        self._leave = leave
        self._undo = []  # (function, arguments), latest last

    def install(self):
        """Patch. Returns messages about what came too late."""
        atexit.register(self._at_exit)
        engine = self._engine
        Socket.pystack_engine = engine
        engine.resolver = _resolver(engine)
        names = Names(engine)
        new = {"socket": Socket, "SocketType": Socket, "close": engine.close}
        new.update({name: getattr(engine.resolver, name) for name in _RESOLVER})
        new.update({name: getattr(names, name) for name in _NAMES})
        old = {name: getattr(_socket, name) for name in new}
        for name, value in new.items():
            self._set(_socket, name, value)
        late = [f"{name} is imported already, and its sockets are the kernel's" for name in substitutes.too_late()]
        if "socket" in sys.modules:
            # Not the class itself: what else uses it, such as the class in `socket`, is replaced below.
            self._replace({id(old[name]): new[name] for name in (*_RESOLVER, *_NAMES, "close", "SocketType")})
            for kind in Socket.kernel_class.__subclasses__():
                if not kind.__module__.startswith(("monkey", "pystack")):  # control channels stay the kernel's
                    self._graft(kind)
            if "ssl" in sys.modules:
                kind = sys.modules["ssl"].SSLSocket
                self._undo += [(setattr, (kind, name, method)) for name, method in tls.watch(kind, raise_pending)]
            late += _kernel_sockets()
        if "gevent" in sys.modules:
            # gevent asks in native threads, by the class that it has replaced; ours waits as its greenlets do.
            self._set(sys.modules["gevent"].get_hub(), "resolver", engine.resolver)
        self._watch_starts()
        substitutes.install()
        return late

    def remove(self):
        """Undo `install`."""
        substitutes.uninstall()
        while self._undo:
            function, arguments = self._undo.pop()
            function(*arguments)
        atexit.unregister(self._at_exit)
        self._leave()

    def _watch_starts(self):
        """A program that is executed, by this process or a child, may get sockets that the engine does not know yet."""
        for module, names in _STARTS.items():
            for name in names:
                old = getattr(module, name, None)
                if old is not None:
                    new = _after(self._engine.open_all, old)
                    self._set(module, name, new)
                    self._replace({id(old): new})
                    if old in os.supports_fd:
                        os.supports_fd.add(new)
                        self._undo.append((os.supports_fd.discard, (new,)))

    def _set(self, owner, name, value):
        self._undo.append((setattr, (owner, name, getattr(owner, name))))
        setattr(owner, name, value)

    def _replace(self, by_identity):
        """In every module that has copies, but ours: ``{id of the old one: the new one}``."""
        for name, module in list(sys.modules.items()):
            if module is not None and module is not _socket and not name.startswith(("monkey", "pystack")):
                for key, value in list(getattr(module, "__dict__", {}).items()):
                    replacement = by_identity.get(id(value))
                    if replacement is not None:
                        self._set(module, key, replacement)

    def _graft(self, kind):
        """Have a class that exists already, and its instances, do as `Socket` does.

        Its bases cannot be exchanged before Python 3.12: the kernel's class is not of the garbage collector's there.
        """
        for name, value in vars(Socket).items():
            if name not in vars(kind) and name not in ("__slots__", "__module__", "__doc__", "__init_subclass__"):
                setattr(kind, name, value)
                self._undo.append((delattr, (kind, name)))

    def _at_exit(self):
        try:
            self._engine.let_go()
            self._leave()
        except (OSError, KeyboardInterrupt):
            pass  # the engine has gone, or the user will not wait


def _after(before, function):
    """*function*, and ``before()`` before it."""

    @functools.wraps(function)
    def call(*arguments, **named):
        before()
        return function(*arguments, **named)

    return call


def _kernel_sockets():
    """A line for each network socket of the kernel's that is open already."""
    import gc

    families = (_socket.AF_INET, _socket.AF_INET6)
    found = [each for each in gc.get_objects() if isinstance(each, Socket.kernel_class) and each.fileno() >= 0]
    return [f"{each!r} was made already, and stays the kernel's" for each in found if each.family in families]


def _resolver(engine):
    """With the name servers that the user names, else those that the network has told of, else the host's."""
    settings = {"configured": engine.configured, "source_of": engine.source_of}
    if engine.nameservers:
        return from_system(engine.nameservers, **settings)
    hosts = read_resolv_conf("/etc/resolv.conf")
    servers, search = hosts.pop("nameservers"), hosts.pop("search", ())
    return Resolver(
        lambda: engine.name_servers()[0] or servers,
        search=lambda: engine.name_servers()[1] or search,
        **hosts,
        **settings,
    )
