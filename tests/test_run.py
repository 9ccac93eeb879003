"""``python -m pystack.run`` is python: arguments, input, output, tracebacks, signals and the exit status."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNNER = ("-m", "pystack.run", "--link", "none")
SHOW = "import sys; print(__name__, sys.argv, sys.path[0], sys.flags.optimize, sorted(sys.modules)[:3])"


def python(*arguments, runner=(), flags=(), stdin="", cwd=ROOT, **environment):
    """Run python to its end. Returns ``(status, stdout, stderr)``."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    argv = [sys.executable, *flags, *runner, *map(str, arguments)]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, cwd=cwd, env=environ)
    return done.returncode, done.stdout, done.stderr


def both(*arguments, **how):
    """What plain python makes of it, and python under the runner."""
    return python(*arguments, **how), python(*arguments, runner=RUNNER, **how)


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        return path

    return write


def test_a_script_has_its_arguments_its_path_and_its_name(script):
    path = script(SHOW)
    plain, ours = both(path, "-x", "--link", "a b")
    assert ours == plain
    assert "--link" in ours[1]


def test_a_module_and_code(tmp_path):
    (tmp_path / "thing.py").write_text(SHOW)
    for arguments in (("-m", "thing", "1"), ("-c", SHOW, "2"), ("-m", "platform")):
        plain, ours = both(*arguments, cwd=tmp_path)
        assert ours == plain, arguments


def test_a_program_on_standard_input():
    plain, ours = both("-", "x", stdin="import sys\nprint(sys.argv, sys.stdin.read())")
    assert ours == plain
    assert ours[:2] == (0, "['-', 'x'] \n")


def test_input_output_and_status(script):
    path = script("import sys\nsys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('e'); sys.exit(3)")
    plain, ours = both(path, stdin="hello")
    assert ours == plain == (3, "HELLO", "e")


def test_a_traceback_shows_nothing_of_the_runner(script):
    plain, ours = both(script("def f():\n    raise KeyError('x')\nf()"))
    assert ours == plain
    assert ours[0] == 1 and "KeyError: 'x'" in ours[2]


def test_a_syntax_error_and_a_file_that_is_not_there(script, tmp_path):
    for path in (script("a b c"), tmp_path / "none.py"):
        plain, ours = both(path)
        assert ours == plain


def test_interpreter_flags_are_handed_on(script):
    path = script("import sys; print(sys.flags, sys.warnoptions, sys._xoptions)")
    plain, ours = both(path, flags=("-O", "-W", "error", "-X", "dev"))
    assert ours == plain


@pytest.mark.parametrize("flag", ["-I", "-E", "-S"])
def test_flags_that_keep_the_sockets_from_being_replaced_are_refused(flag):
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; sys.argv[0] = 'run'; "
    code += "runpy.run_module('pystack.run', run_name='__main__')"
    status, out, err = python("-c", code, ROOT, "--link", "none", "-c", "print(1)", flags=(flag,))
    assert (status, out) == (1, "")
    assert "keep the sockets from being replaced" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_that_a_signal_ends(script, number):
    path = script(f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_DFL); os.kill(os.getpid(), {number})")
    plain, ours = both(path)
    assert ours == plain == (-number, "", "")


def test_the_environment_says_how_to_join_and_modules_are_only_ours(script):
    path = script("import os, sys; print('PYSTACK_CONTROL' in os.environ, 'PYSTACK_LIFE' in os.environ); import socket")
    assert python(path, runner=RUNNER)[1] == "True False\n"


def test_a_sitecustomize_of_the_users_runs_too(script, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    path = script("import sitecustomize; print(sitecustomize.__file__)")
    paths = os.pathsep.join((str(tmp_path), str(ROOT)))
    _, out, _ = python(path, runner=RUNNER, PYTHONPATH=paths)
    assert out == f"mine\nmine\n{tmp_path}/sitecustomize.py\n"  # the runner's python has loaded it as well


def test_an_option_that_is_wrong_is_one_line():
    status, out, err = python("-c", "pass", runner=("-m", "pystack.run", "--mtu", "5"))
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1 and "--mtu" in err


def test_a_link_that_cannot_be_is_one_line():
    runner = ("-m", "pystack.run", "--link", "none", "--pcap", "/nowhere/x")
    assert python("-c", "print(1)", runner=runner)[0] == 0  # there is nothing to record
    runner = ("-m", "pystack.run", "--link", "user", "--pcap", "/nowhere/x")
    status, out, err = python("-c", "print(1)", runner=runner)
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1 and "/nowhere/x" in err


def test_what_killed_engines_have_left_is_removed(tmp_path):
    """But not the folder of one that lives, nor one that is being made."""
    old, new, alive = (tmp_path / f"pystack-{name}" for name in ("old", "new", "alive"))
    listening = []
    for folder in (old, new, alive):
        folder.mkdir()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.bind(str(folder / "engine"))
        listening.append(sock)
    listening[2].listen()
    for folder in (old, alive):
        os.utime(folder / "engine", (1, 1))
    assert python("-c", "pass", runner=RUNNER, TMPDIR=str(tmp_path))[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pystack-alive", "pystack-new"]
    for sock in listening:
        sock.close()


def test_counters_are_printed_at_the_end():
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
    status, _, err = python("-c", code, runner=(*RUNNER, "--stats"))
    assert status == 0
    assert "PassiveOpens" in err
    assert not any("bugs" in line and line.split()[-1] != "0" for line in err.splitlines())


def test_a_child_that_is_python_joins_and_one_that_is_not_has_nothing_of_it():
    child = "import socket, sys; print(type(socket.socket()).__mro__[1].__module__, sys.argv)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, 'x']); subprocess.run(['true'])"
    assert python("-c", code, runner=RUNNER)[1] == "monkey.socket ['-c', 'x']\n"


def test_gevent_patched_in_the_program_or_by_the_inline_engine():
    code = (
        "import gevent.monkey; gevent.monkey.patch_all(); import gevent, socket\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        "g = gevent.spawn(lambda: s.accept()[0].sendall(b'hello'))\n"
        "c = socket.create_connection(s.getsockname()); print(c.recv(100))"
    )
    for engine in ("process", "inline"):
        status, out, err = python("-c", code, runner=(*RUNNER, "--engine", engine))
        assert (status, out) == (0, "b'hello'\n"), err


def test_a_program_that_closes_every_descriptor_as_daemons_do(tmp_path):
    """Its next files have the numbers of the control channels: nothing is written there, the engine is joined anew."""
    code = (
        "import os, socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())\n"
        "kept = (0, 1, 2, s.fileno(), c.fileno())\n"
        "for fd in range(100):\n"
        "    if fd not in kept and os.path.exists(f'/proc/self/fd/{fd}'): os.close(fd)\n"
        "files = [open(f'{sys.argv[1]}/{number}', 'w+') for number in range(6)]\n"
        "d, _ = s.accept(); d.sendall(b'hi'); print(c.recv(10), [os.path.getsize(file.name) for file in files])"
    )
    assert python("-c", code, tmp_path, runner=RUNNER)[1] == f"b'hi' {[0] * 6}\n"


def test_a_program_that_becomes_another_one_joins_again(script):
    path = script(
        "import os, socket, sys\n"
        "if len(sys.argv) == 1:\n"
        "    socket.create_server(('127.0.0.1', 0)).close()\n"
        "    os.execv(sys.executable, [sys.executable, __file__, 'again'])\n"
        "print(socket.create_server(('127.0.0.1', 80)).getsockname())"
    )
    assert python(path, runner=RUNNER) == (0, "('127.0.0.1', 80)\n", "")


def test_a_child_may_join_when_its_parent_has_ended(script):
    """The parent's status comes at once; the pipe ends with the child."""
    child = "import sys; sys.stdin.read(); import socket; print(socket.create_server(('127.0.0.1', 80)).getsockname())"
    path = script(
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE)\n"
        "sys.exit(3)"
    )
    assert python(path, runner=RUNNER) == (3, "('127.0.0.1', 80)\n", "")


def test_a_signal_in_the_middle_of_a_fork_leaves_each_process_its_own_engine(script):
    path = script(
        "import os, signal, socket\n"
        "class Interrupt(Exception): pass\n"
        "def interrupt(*_): raise Interrupt\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "for step in range(100):\n"
        "    pid = None\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.00002 * (step % 10 + 1))\n"
        "        pid = os.fork()\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except Interrupt: pass\n"
        "    if pid == 0:\n"
        "        socket.socket().bind(('127.0.0.1', 0)); os._exit(0)\n"
        "    socket.socket().bind(('127.0.0.1', 0))\n"
        "    if pid: assert os.waitpid(pid, 0)[1] in (0, 256)\n"
        "print('done')"
    )
    status, out, _ = python(path, runner=RUNNER)
    assert (status, out) == (0, "done\n")
