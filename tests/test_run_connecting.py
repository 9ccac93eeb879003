"""Sockets of a program under the runner from their making to their connection, as the engine gets to hear of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COUNTED = """\
import monkey.client
from pystack.sockets import protocol
asked = []
ask = monkey.client._ask
def counted(channel, message, *more):
    asked.append(message[0])
    return ask(channel, message, *more)
monkey.client._ask = counted
"""
# A listener with room for one connection, which has come already: the next one has to wait.
FULL = """\
import errno, os, select, signal, socket, threading, time
server = socket.create_server(("127.0.0.1", 0), backlog=0)
first = socket.create_connection(server.getsockname())
sock = socket.socket()
def writable(timeout): return bool(select.select([], [sock], [], timeout)[1])
def error(call, *arguments):
    try: return call(*arguments)
    except OSError as found: return type(found).__name__, *found.args
"""
USE = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.bind(('127.0.0.1', 0)); s.listen(); "
USE += "print(s.family.name, s.type.name, s.getsockname()[0], s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))"
USED = "AF_INET SOCK_STREAM 127.0.0.1 1\n"
SHARED = f"""\
import array, os, socket, subprocess, sys
USE = {USE!r}
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
number = str(sock.fileno())
argv = [sys.executable, '-c', USE, number]
"""


def run(code):
    """What a program prints under the runner; it must end well."""
    argv = [sys.executable, "-m", "pystack.run", "--link", "none", "-c", code]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# -- what the engine is asked ---------------------------------------------------------------------------------------


def test_a_connection_is_one_request():
    code = COUNTED + (
        "import socket, threading\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "address = server.getsockname()\n"
        "def serve():\n"
        "    for _ in range(3):\n"
        "        with server.accept()[0] as sock: sock.recv(100); sock.sendall(b'response')\n"
        "thread = threading.Thread(target=serve); thread.start()\n"
        "del asked[:]\n"
        "for timeout in (None, 5, 5):\n"
        "    with socket.create_connection(address, timeout) as sock:\n"
        "        sock.sendall(b'request')\n"
        "        while sock.recv(100): pass\n"
        "thread.join()\n"
        "print(asked == [protocol.NEW | protocol.CONNECT_AND_WAIT] * 3)"
    )
    assert run(code) == "True\n"


def test_a_connection_of_asyncio_asks_no_more_than_it_must():
    """Once to connect, once for SO_ERROR, and for its names; the rest is the pair's."""
    code = COUNTED + (
        "import asyncio\n"
        "async def serve(reader, writer): writer.write(await reader.read(100)); writer.close()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    address = server.sockets[0].getsockname()\n"
        "    del asked[:]\n"
        "    reader, writer = await asyncio.open_connection(*address)\n"
        "    writer.write(b'x'); assert await reader.read() == b'x'\n"
        "    print(asked[:2] == [protocol.NEW | protocol.CONNECT, protocol.STATUS], asked.count(protocol.STATUS))\n"
        "asyncio.run(main())"
    )
    assert run(code) == "True 1\n"


def test_a_socket_that_is_only_made_set_and_closed_is_no_request():
    code = COUNTED + (
        "import socket\n"
        "for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM) * 10:\n"
        "    with socket.socket(type=kind) as sock:\n"
        "        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0\n"
        "print(asked)"
    )
    assert run(code) == "[]\n"


def test_few_sockets_have_a_second_descriptor():
    """Also where nobody says that they are closed; and a socket that there is no descriptor for is EMFILE at once."""
    code = (
        "import errno, os, resource, socket\n"
        "def count(): return len(os.listdir('/proc/self/fd'))\n"
        "socket.socket().bind(('127.0.0.1', 0)); before = count()\n"
        "for _ in range(50): os.close(socket.socket().detach())\n"
        "assert count() <= before + 4, count() - before\n"
        "kept = [socket.socket() for _ in range(50)]\n"
        "assert count() <= before + 50 + 4, count() - before\n"
        "for sock in kept: sock.close()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "kept = []\n"
        "try:\n"
        "    while True: kept.append(socket.socket())\n"
        "except OSError as error: print(error.errno == errno.EMFILE, len(kept) > 40)\n"
        "kept.pop().close(); kept.pop().close()\n"
        "kept[-1].bind(('127.0.0.1', 0)); kept[0].bind(('127.0.0.1', 0))"
    )
    assert run(code) == "True True\n"


def test_options_that_wait_are_there_for_whoever_asks():
    code = (
        "import socket\n"
        "names = [(socket.SOL_SOCKET, socket.SO_REUSEADDR), (socket.SOL_SOCKET, socket.SO_KEEPALIVE),\n"
        "         (socket.SOL_SOCKET, socket.SO_REUSEPORT), (socket.IPPROTO_TCP, socket.TCP_NODELAY)]\n"
        "for name in names:\n"
        "    with socket.socket() as sock:\n"
        "        sock.setsockopt(*name, 7)\n"
        "        assert [sock.getsockopt(*each) for each in names] == [each == name for each in names]\n"
        "        sock.setsockopt(*name, 0); assert sock.getsockopt(*name) == 0\n"
        "with socket.socket(type=socket.SOCK_DGRAM) as sock:\n"
        "    try: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
        "    except OSError as error: print(error.strerror)"
    )
    assert run(code) == "Protocol not available\n"


def test_to_close_one_of_two_descriptors_does_not_fail():
    """Not even where the engine cannot be asked."""
    code = (
        "import os, socket\n"
        "sock = socket.socket(); other = os.dup(sock.fileno())\n"
        "engine = sock.pystack_engine; call = engine._call\n"
        "def fail(*_): raise OSError(24, 'none')\n"
        "engine._call = fail; sock.close(); engine._call = call\n"
        "with socket.socket(fileno=other) as sock: sock.bind(('127.0.0.1', 0)); print(sock.family.name)"
    )
    assert run(code) == "AF_INET\n"


def test_an_option_may_be_set_any_number_of_times():
    """All requests have room for one of each."""
    code = (
        "import socket\n"
        "with socket.socket() as sock:\n"
        "    for value in range(1000): sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, value % 2)\n"
        "    sock.bind(('127.0.0.1', 0)); print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))"
    )
    assert run(code) == "1\n"


# -- a socket that the engine does not know, in another's hands -----------------------------------------------------


@pytest.mark.parametrize(
    "way",
    [
        "print(subprocess.run(argv, pass_fds=[sock.fileno()], capture_output=True, text=True).stdout, end='')",
        "os.set_inheritable(sock.fileno(), True); os.execv(argv[0], argv)",
        "os.set_inheritable(sock.fileno(), True); os.waitpid(os.posix_spawn(argv[0], argv, os.environ), 0)",
        "os.set_inheritable(sock.fileno(), True); assert os.spawnv(os.P_WAIT, argv[0], argv) == 0",
        "sys.argv[1:] = [number]; os.waitpid(os.fork(), 0) if os.fork() else exec(USE)",
        "other = os.dup(sock.fileno()); sock.close(); sys.argv[1:] = [str(other)]; exec(USE)",
        "sys.argv[1:] = [str(sock.detach())]; exec(USE)",
    ],
    ids=["pass_fds", "exec", "posix_spawn", "spawn", "fork", "dup", "detach"],
)
def test_a_new_socket_is_one_for_whoever_gets_it(way):
    if "fork()" in way:
        way = "sys.argv[1:] = [number]\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nelse: exec(USE)"
    assert run(SHARED + way) == USED


def test_a_new_socket_is_one_for_a_process_that_it_is_sent_to():
    receive = (
        "import socket, sys\n"
        "at = socket.socket(fileno=int(sys.argv[1]))\n"
        "sys.argv[1] = str(socket.recv_fds(at, 1, 1)[1][0])\n"
    )
    code = SHARED + (
        f"receive = {receive!r}\n"
        "ours, theirs = socket.socketpair()\n"
        "argv = [sys.executable, '-c', receive + USE, str(theirs.fileno())]\n"
        "child = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True)\n"
        "sock = socket.socket()\n"
        "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        "socket.send_fds(ours, [b'x'], [sock.fileno()])\n"
        "print(child.communicate()[0], end='')"
    )
    assert run(code) == USED


def test_threads_may_all_be_the_first_to_use_a_socket():
    code = (
        "import socket, threading\n"
        "def use():\n"
        "    barrier.wait()\n"
        "    for _ in range(3): names.append(sock.getsockname())\n"
        "names = []\n"
        "for _ in range(50):\n"
        "    barrier = threading.Barrier(8)\n"
        "    with socket.socket() as sock:\n"
        "        threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "        for each in threads: each.start()\n"
        "        for each in threads: each.join()\n"
        "print(len(names), set(names))"
    )
    assert run(code) == f"{50 * 8 * 3} {{('0.0.0.0', 0)}}\n"


# -- waiting for a connection -----------------------------------------------------------------------------------------


def test_a_connect_that_nobody_waits_for_any_more_goes_on():
    """connect(2): when it stands, the next call says so once."""
    code = FULL + (
        "sock.settimeout(0.1)\n"
        "print(error(sock.connect, server.getsockname()), writable(0))\n"
        "print(error(sock.connect_ex, server.getsockname()) == errno.EALREADY)\n"
        "server.accept(); print(writable(10), sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))\n"
        "print(sock.connect_ex(server.getsockname()), sock.connect_ex(server.getsockname()) == errno.EISCONN)\n"
        "other, address = server.accept(); print(address == sock.getsockname())\n"
        "sock.sendall(b'x'); print(other.recv(10))"
    )
    assert run(code) == "('TimeoutError', 'timed out') False\nTrue\nTrue 0\n0 True\nTrue\nb'x'\n"


def test_connect_ex_says_that_its_time_is_over():
    code = FULL + (
        "sock.settimeout(0.1); print(sock.connect_ex(server.getsockname()) == errno.EAGAIN)\n"
        "server.close(); first.close(); print(writable(10))\n"
        "print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED)"
    )
    assert run(code) == "True\nTrue\nTrue\n"


def test_a_signal_in_the_middle_of_a_connect():
    """Its handler may use sockets; if it raises, even an OSError, connect raises that, and the attempt goes on."""
    code = FULL + (
        "def first_signal(*_):\n"
        "    names.append(sock.getsockname()); names.append(socket.create_server(('127.0.0.1', 0)).getsockname())\n"
        "    signal.signal(signal.SIGALRM, second_signal); signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "def second_signal(*_): raise OSError('mine')\n"
        "names = []\n"
        "signal.signal(signal.SIGALRM, first_signal); signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "print(error(sock.connect, server.getsockname()), writable(0), len(names))\n"
        "server.accept(); print(writable(10))\n"
        "print(sock.connect_ex(server.getsockname()), sock.connect_ex(server.getsockname()) == errno.EISCONN)"
    )
    assert run(code) == "('OSError', 'mine') False 2\nTrue\n0 True\n"


def test_a_socket_whose_connect_is_waited_for_is_not_writable():
    """Nor may what another thread sends leave before."""
    code = FULL + (
        "thread = threading.Thread(target=lambda: sock.connect(server.getsockname())); thread.start()\n"
        "while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b'\\2': pass  # TCP_SYN_SENT\n"
        "print(writable(0))\n"
        "sender = threading.Thread(target=lambda: sock.sendall(b'x')); sender.start()\n"
        "server.accept(); thread.join(); sender.join(); print(server.accept()[0].recv(10))"
    )
    assert run(code) == "False\nb'x'\n"


def test_a_connect_that_there_is_no_descriptor_for_may_be_made_again():
    """Nothing of the first attempt is in the stream then, and the second one need not wait."""
    code = FULL + (
        "import resource\n"
        "open_server = socket.create_server(('127.0.0.1', 0)); address = open_server.getsockname()\n"
        "thread = threading.Thread(target=error, args=(sock.connect, server.getsockname()), daemon=True)\n"
        "thread.start()\n"
        "while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b'\\2': pass  # TCP_SYN_SENT\n"
        "made = [socket.socket() for _ in range(3)]\n"
        "for each, timeout in zip(made, (None, 20, 0)): each.settimeout(timeout)\n"
        "import monkey.client\n"
        "for each in made: each.pystack_engine._call.__self__._free.clear()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "taken = []\n"
        "try:\n"
        "    while True: taken.append(os.open(os.devnull, os.O_RDONLY))\n"
        "except OSError: pass\n"
        "for each in made: print(each.connect_ex(address) == errno.EMFILE)\n"
        "for each in taken: os.close(each)\n"
        "for each in made:\n"
        "    each.connect_ex(address); each.settimeout(20)\n"
        "    other = open_server.accept()[0]; each.sendall(b'x'); print(other.recv(10))\n"
        "server.accept(); thread.join()"
    )
    assert run(code) == "True\nTrue\nTrue\nb'x'\nb'x'\nb'x'\n"


def test_connects_that_wait_leave_descriptors_for_others():
    """Few keep a channel to the engine until they are answered."""
    code = FULL + (
        "def connect(each): each.settimeout(20); results.append(each.connect(server.getsockname()))\n"
        "results, before = [], len(os.listdir('/proc/self/fd'))\n"
        "socks = [socket.socket() for _ in range(100)]\n"
        "threads = [threading.Thread(target=connect, args=(each,)) for each in socks]\n"
        "for each in threads: each.start()\n"
        "for each in socks:\n"
        "    while each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b'\\2': pass  # TCP_SYN_SENT\n"
        "time.sleep(0.2); print(len(os.listdir('/proc/self/fd')) - before <= 100 + 32 + 16 + 4)\n"
        "server.listen(100)\n"
        "for each in threads: each.join()\n"
        "print(results == [None] * 100)"
    )
    assert run(code) == "True\nTrue\n"
