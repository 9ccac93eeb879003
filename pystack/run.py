"""``python -m pystack.run [OPTIONS] SCRIPT [ARGS...]``: run a Python program on a TCP/IP stack of its own.

It starts an engine and becomes ``python SCRIPT [ARGS...]``: arguments, tracebacks, signals and the exit status are
python's own. The program's sockets are replaced by `monkey/site/sitecustomize.py`, before its first import.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from pystack import launch, options
from pystack.errors import StackError
from pystack.sockets import protocol

SITE = str(Path(launch.ROOT) / "monkey" / "site")
INLINE = "PYSTACK_INLINE"  # for the program's process alone: the runner's arguments, as JSON
_PROGRAM = {options.SCRIPT: (), options.MODULE: ("-m",), options.CODE: ("-c",)}


def main(argv):
    """Become the program. Raises SystemExit if it cannot be."""
    asked = options.parse(argv, os.environ)
    _check_interpreter()
    environ = dict(os.environ)
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SITE, os.environ.get("PYTHONPATH"))))
    if asked.engine == "inline":
        environ[INLINE] = json.dumps(argv)
    else:
        environ.update(_start_engine(argv, asked))
    sys.stdout.flush()  # a sitecustomize of the user's may have written
    os.execve(sys.executable, command(asked), environ)


def _start_engine(argv, asked):
    """Returns the variables by which the program joins it."""
    try:
        started = launch.start(argv)
    except StackError as error:
        raise SystemExit(f"pystack.run: {error}") from None
    for note in started.notes:
        sys.stderr.write(f"pystack.run: {note}\n")
    sys.stderr.flush()
    os.set_inheritable(started.life, True)
    return {**launch.environment(started.path, started.nameservers, asked), protocol.LIFE: str(started.life)}


def command(asked):
    """The command line that runs the program by python alone."""
    flags = subprocess._args_from_interpreter_flags()
    return [sys.executable, *flags, *_PROGRAM[asked.program], asked.target, *asked.arguments]


def _check_interpreter():
    flags = sys.flags
    if flags.isolated or flags.ignore_environment or flags.no_site:
        raise SystemExit(
            "pystack.run: python's options -I, -E and -S keep the sockets from being replaced: leave them out"
        )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
