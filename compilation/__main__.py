"""``python -m compilation``: compile this tree in place, so that whatever runs from it uses the extension modules;
``--remove`` takes them away again, ``--into FOLDER`` leaves the tree alone and makes a compiled copy of it there;
``--quick`` is for tests: built in half the time, not as fast."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from compilation.names import MODULES

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(prog="python -m compilation", description=__doc__)
    parser.add_argument("--remove", action="store_true")
    parser.add_argument("--into", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.remove:
        remove()
    else:
        compile_tree(options.into, options.quick)


def compile_tree(folder=None, quick=False):
    """In place, or into *folder*; if it is to be *quick*, not optimized. Raises subprocess.CalledProcessError."""
    how = ["build_ext", "--inplace"] if folder is None else ["build", "--build-lib", os.path.abspath(folder)]
    environment = {**os.environ, "PYSTACK_COMPILE": "quick" if quick else "1"}
    subprocess.run([sys.executable, "setup.py", "-q", *how], cwd=ROOT, env=environment, check=True)


def remove():
    """Delete the extension modules from this tree."""
    for path in MODULES:
        for made in (ROOT / path).parent.glob(f"{Path(path).stem}.*.so"):
            made.unlink()


if __name__ == "__main__":
    main()
