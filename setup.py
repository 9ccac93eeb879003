"""setup.cfg says all but this: ``PYSTACK_COMPILE=1 pip install .`` makes the compiled build;
``quick`` for 1: in half the time, for tests, as the C compiler does not optimize."""

import os
import sys
from importlib.util import find_spec

from setuptools import setup

if os.environ.get("PYSTACK_COMPILE", "0") in ("", "0"):
    setup()
elif find_spec("Cython") is None:
    setup(setup_requires=["cython>=3.1"])  # pip installs that, and comes again
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from compilation.build import extensions, options

    setup(ext_modules=extensions(optimized=os.environ["PYSTACK_COMPILE"] != "quick"), options=options())
