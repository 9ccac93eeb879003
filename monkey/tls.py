"""`ssl.SSLSocket`, whose OpenSSL reads and writes the descriptor itself: there a reset looks like an end.

On the kernel it is ECONNRESET; so whatever OpenSSL makes of an end, the engine is asked whether it was one. Older
Pythons take a reset under TLS for an end on the kernel as well (gh-115627), and programs for them may count on that.
"""

import functools
import sys

_TOLD = sys.version_info >= (3, 12, 3) or (3, 11, 9) <= sys.version_info < (3, 12)
_METHODS = ("read", "write", "do_handshake", "unwrap")


def watch(kind, raise_pending):
    """Wrap the methods of the class *kind*; ``raise_pending(sock)`` raises the error that a socket has pending.

    Returns ``[(name, method as it was)]``.
    """
    old = [(name, vars(kind)[name]) for name in _METHODS if _TOLD and name in vars(kind)]
    for name, method in old:
        setattr(kind, name, _watched(method, raise_pending))
    return old


def _watched(method, raise_pending):
    @functools.wraps(method)
    def call(self, *arguments, **named):
        try:
            result = method(self, *arguments, **named)
        except (ConnectionError, EOFError):
            raise_pending(self)
            raise
        except OSError as error:  # SSLError is one
            if "EOF" in type(error).__name__ or "EOF" in str(error):
                raise_pending(self)
            raise
        if method.__name__ == "read" and not result:  # b"" or 0: SSLSocket makes an end of it
            raise_pending(self)
        return result

    return call
