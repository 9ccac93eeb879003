"""The end of the process: what stacks have made on the host is undone at exit and at SIGTERM, not by forked children.

Nothing is installed until the first stack starts.
"""

import atexit
import os
import signal
import threading

import gevent

_open = {}  # id -> stack: a thing with close(), release() and abandon()
_hooked = False


def watch(stack):
    """Look after *stack* until `forget`. SIGTERM is handled only where its disposition is still the default."""
    global _hooked
    if not _hooked:
        atexit.register(_close_all)
        os.register_at_fork(after_in_child=_abandon_all)
        _hooked = True
    _open[id(stack)] = stack
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def forget(stack):
    """*stack* is closed. With the last one the disposition of SIGTERM is the default again."""
    _open.pop(id(stack), None)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not _open and in_main_thread and signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _close_all():
    for stack in list(_open.values()):
        stack.close()


def _abandon_all():
    if _open:
        gevent.reinit()  # first of all: the child's loop shares the parent's epoll set until then
    for stack in list(_open.values()):
        stack.abandon()
    _open.clear()
    if signal.getsignal(signal.SIGTERM) is _terminate:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number, frame):
    """Release the devices and die of the signal, as the process would have without us."""
    for stack in list(_open.values()):
        stack.release()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
