"""Python's garbage collector, as a stack wants it."""

import gc

YOUNG, MIDDLE = 20_000, 50  # objects made and not freed before a young collection; such before an older one


def configure():
    """Tune it for a process that does nothing but be a stack; call it when all is set up.

    A packet makes no cycles: what it allocates is freed by its count of references, so nearly all that a collection
    finds is connections that live. What there is at the start is never looked at again (``gc.freeze``), and a
    collection comes after ten thousands of objects that stay, not after 700. It is not switched off: exceptions keep
    their frames, and closed connections their greenlets, in cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, MIDDLE)
