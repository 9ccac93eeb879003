"""Loaded by `site` in every Python process under the runner, by its folder in PYTHONPATH: joins the engine.

Then it makes way for a sitecustomize of the user's, and leaves no trace in `sys.path`.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(_HERE))


def _join():
    sys.path[:] = [entry for entry in sys.path if entry != _HERE]
    sys.path.insert(0, _ROOT)
    try:
        import monkey.patch
    finally:
        sys.path.remove(_ROOT)
    inline = os.environ.pop("PYSTACK_INLINE", None)
    try:
        if inline is None:
            monkey.patch_all()
        else:
            monkey.patch_inline(inline)
    except Exception as error:
        # What the engine was to carry must not go by the kernel unseen.
        sys.stderr.write(f"pystack.run: {error}\n")
        os._exit(1)


def _make_way():
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", ours)  # the import that is going on looks for it


if "PYSTACK_CONTROL" in os.environ or "PYSTACK_INLINE" in os.environ:
    _join()
_make_way()
