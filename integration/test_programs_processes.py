"""Unmodified programs of more than one process, on the stack, with the kernel on the other side."""

import pytest

from integration.programs.content import content, sha256
from integration.support.programs import FLAVOURS, PROGRAMS, Runner

PORT = 8090
SMALL = str(3 * sum(range(100)))  # three workers, values of 0 to 99 bytes
LARGE = str({sha256(content(1_000_000))})


@pytest.fixture(params=FLAVOURS)
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


def needs_managers(runner):
    if runner.version == 6:
        pytest.skip("multiprocessing.connection takes any (host, port) for AF_INET")


def echoed(size, clients):
    return {str(number): sha256(content(size + number)) for number in range(clients)}


def test_forking_tcp_server(runner):
    server = runner.start("forking_server.py", runner.any, PORT, ports=[PORT])
    server.until("ready")
    facts = runner.run_here("bulk_peer.py", "ask", runner.guest, PORT, 2_000_000, 16).facts()
    assert facts == echoed(2_000_000, 16)
    children = [line.split() for line in server.out.splitlines() if line.startswith("child")]
    assert len({pid for _, pid, *_ in children}) == 16, server.out
    assert len({parent for *_, parent in children}) == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_manager_and_its_workers(runner, method):
    """All of them on the stack: the manager listens on its loopback."""
    needs_managers(runner)
    facts = runner.run("manager.py", "local", method, runner.loopback, PORT).facts()
    address = str((runner.loopback, PORT))
    assert facts == {"address": address, "exits": "[0, 0, 0]", "small": SMALL, "large": LARGE}


@pytest.mark.parametrize("side", ["manager", "workers"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_manager_on_the_other_side(runner, method, side):
    needs_managers(runner)
    if side == "manager":
        runner.start("manager.py", "serve", method, runner.any, PORT, ports=[PORT]).until("ready")
        facts = runner.run_here("manager.py", "join", method, runner.guest, PORT).facts()
    else:
        runner.start_here("manager.py", "serve", method, runner.any, PORT).until("ready")
        facts = runner.run("manager.py", "join", method, runner.host, PORT).facts()
    assert facts == {"exits": "[0, 0, 0]", "small": SMALL, "large": LARGE}


def test_a_child_that_is_python_serves_on_an_inherited_listening_socket(runner):
    server = runner.start("inherited_listener.py", runner.any, PORT, 4, ports=[PORT])
    server.until("ready")
    facts = runner.run_here("bulk_peer.py", "ask", runner.guest, PORT, 1_000_000, 4).facts()
    assert facts == echoed(1_000_000, 4)
    family, name = {4: ("AF_INET", ("0.0.0.0", PORT)), 6: ("AF_INET6", ("::", PORT, 0, 0))}[runner.version]
    assert server.wait().facts() == {"status": "0", "child": f"{family} SOCK_STREAM {name}"}


def test_fork_in_the_middle_of_a_transfer(runner):
    """Both processes write on one connection; it ends when the last of them has closed it, and nothing is lost."""
    server = runner.start_here("bulk_peer.py", "serve", runner.any, PORT, 0)
    server.until("ready")
    facts = runner.run("fork_transfer.py", runner.host, PORT, 20_000_000).facts()
    whole = content(20_000_000)
    assert facts == {
        "status": "7",
        "child": f"1000 {sha256(whole[:1000])}",
        "parent": f"20000000 {sha256(whole)}",
    }


def test_a_program_that_ends_at_once_loses_nothing(runner):
    """Its last bytes are still on the way when the process has gone."""
    server = runner.start_here("bulk_peer.py", "serve", runner.any, PORT, 0)
    server.until("ready")
    code = (
        "import os, socket, sys; sys.path.insert(0, sys.argv[3]); from content import content; "
        "s = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.sendall(content(3_000_000)); os._exit(0)"
    )
    assert runner.run("-c", code, runner.host, PORT, PROGRAMS).status == 0
    assert server.until("took=") == f"took=3000000 {sha256(content(3_000_000))}"


def test_a_reset_under_tls(runner):
    """It is what this Python makes of it on the kernel: before 3.12.3 that was an end (gh-115627)."""
    ca, chain = runner.certificates()
    facts = runner.run("tls_reset.py", runner.loopback, chain, ca).facts()
    assert facts == runner.run_here("tls_reset.py", runner.loopback, chain, ca).facts()
    assert facts["first"] == "b'hello'"
