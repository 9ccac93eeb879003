"""The end of the process: what stacks have made on the host is undone at exit and at SIGTERM, not by forked children.

Nothing is installed until the first stack starts.
"""

import atexit
import ctypes
import os
import signal

import gevent

_open = {}  # id -> stack: a thing with close(), release() and abandon()
_hooked = False
_ours = None  # the C handler of SIGTERM when we had installed ours


def watch(stack):
    """Look after *stack* until `forget`. SIGTERM is handled only where its disposition is still the default."""
    global _hooked, _ours
    if not _hooked:
        atexit.register(_close_all)
        os.register_at_fork(after_in_child=_abandon_all)
        _hooked = True
    _open[id(stack)] = stack
    if _c_handler() == 0:
        try:
            signal.signal(signal.SIGTERM, _terminate)
        except ValueError:
            return  # not in the main thread: then SIGTERM ends the process as before
        _ours = _c_handler()


def forget(stack):
    """*stack* is closed. With the last one the disposition of SIGTERM is the default again."""
    _open.pop(id(stack), None)
    if not _open:
        _restore()


def _restore():
    if signal.getsignal(signal.SIGTERM) is _terminate and _c_handler() == _ours:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            pass  # not in the main thread: the handler stays, and does what the default does


def _c_handler():
    """The address that the kernel has as SIGTERM's handler; 0 is the default.

    `signal.getsignal` does not know it: libev, with ``gevent.signal_handler``, installs its own beside Python's back.
    """
    old = (ctypes.c_void_p * 32)()  # struct sigaction, whose first field it is, is shorter than that everywhere
    ctypes.CDLL(None).sigaction(int(signal.SIGTERM), None, old)
    return old[0] or 0


def _close_all():
    for stack in list(_open.values()):
        stack.close()
        stack.release()  # again, in case an interrupt has cut a close short


def _abandon_all():
    if _open:
        gevent.reinit()  # first of all: the child's loop shares the parent's epoll set until then
    for stack in list(_open.values()):
        stack.abandon()
    _open.clear()
    _restore()


def _terminate(number, frame):
    """Release the devices and die of the signal, as the process would have without us."""
    for stack in list(_open.values()):
        stack.release()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
