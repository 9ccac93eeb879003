"""What happens to a program, its peer and the host when the engine or the program dies, or something runs short."""

import os
import signal

import gevent
import pytest

from integration.support.programs import FLAVOURS, Runner

PORT = 8095
LINKS = [flavour for flavour in FLAVOURS if not flavour.startswith("kernel")]


@pytest.fixture(params=LINKS)
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


def links(runner):
    return {line.split()[0] for line in runner.ip_here("-br link").splitlines()}


@pytest.mark.parametrize("what", ["pour", "listen"])
def test_the_engine_is_killed(runner, what):
    """The program gets an error, and hangs nowhere; nothing of the link is left."""
    runner.start_here("faulty.py", "echo" if what == "listen" else "sink", runner.any, PORT).until("ready")
    program = runner.start("faulty.py", what, runner.host, PORT)
    program.until("pouring" if what == "pour" else "listening")
    (engine,) = runner.engines()
    os.kill(engine, signal.SIGKILL)
    facts = program.wait(20).facts()
    assert facts.pop("error") in ("ENETDOWN", "ECONNRESET", "EPIPE")
    assert facts == ({"next": "ENETDOWN"} if what == "listen" else {})
    runner.until_no_engine()
    assert not any(name.startswith("pystack") for name in links(runner))


def test_the_engine_is_killed_with_a_datagram_unread(runner):
    """Which the kernel calls a reset of the pair: the program hears what became of its network."""
    runner.start_here("faulty.py", "hear", runner.any, PORT).until("ready")
    program = runner.start("faulty.py", "datagrams", runner.host, PORT)
    program.until("connected")
    (engine,) = runner.engines()
    os.kill(engine, signal.SIGSTOP)
    try:
        program.signal(signal.SIGUSR1)
        program.until("sent")
    finally:
        os.kill(engine, signal.SIGKILL)
    assert program.wait(20).facts() == {"sent_on": "ENETDOWN", "read_on": "ENETDOWN"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", ["sleep", "pour"])
def test_the_program_is_killed(runner, what, number):
    """Its peer sees the connection end, or reset; then the engine ends, with the TAP."""
    peer = runner.start_here("faulty.py", "sink", runner.any, PORT)
    peer.until("ready")
    program = runner.start("faulty.py", what, runner.host, PORT)
    program.until("connected" if what == "sleep" else "pouring")
    program.signal(number)
    assert program.wait(20).status == -number
    assert peer.until("ended=") in ("ended=", "ended=ECONNRESET")
    runner.until_no_engine()
    assert not any(name.startswith("pystack") for name in links(runner))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_at_any_moment_of_the_start_leaves_nothing(runner, number):
    for step in range(12):
        program = runner.start("-c", "print('up', flush=True); import time; time.sleep(600)")
        gevent.sleep(step * 0.03)  # this is what is tested: each time another moment
        assert program.end_by(number).status != 0
        runner.until_no_engine()
    assert not any(name.startswith("pystack") for name in links(runner))


def test_five_thousand_sockets_at_once(runner):
    count = 5_000 if runner.link == "tap" else 1_000  # the gateway relays at most 2,048 connections
    runner.start_here("faulty.py", "echo", runner.any, PORT).until("ready")
    facts = runner.run("faulty.py", "crowd", runner.host, PORT, count, timeout=120).facts()
    assert facts == {"open": str(count), "right": str(count)}


def test_a_server_without_descriptors_loses_no_connection(runner):
    """accept(2) says EMFILE; who waits meanwhile is accepted when one has been closed."""
    server = runner.start("faulty.py", "starve", runner.any, PORT, ports=[PORT])
    server.until("ready")
    facts = runner.run_here("faulty.py", "crowd", runner.guest, PORT, 150, timeout=60).facts()
    assert facts == {"open": "150", "right": "150"}
    assert "full" in server.out
