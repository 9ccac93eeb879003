"""Unmodified asyncio programs and web servers, on the stack, with the kernel on the other side."""

import signal

import pytest

from integration.programs.content import content, sha256
from integration.support.programs import FLAVOURS, PROGRAMS, Runner, authority

PORT, ELSEWHERE, NOBODY = 8080, 8081, 8082  # what is served there, what is served here, what refuses
ECHOED = {f"sha256.{number}": sha256(content(4_000_000 + number)) for number in range(8)}
PATHS = [f"bytes/{size}" for size in range(0, 3_000_000, 99_991)]
WEB = {str(number): sha256(content(int(path.split("/")[1]))) for number, path in enumerate(PATHS)}
UPLOADED = sha256(content(20_000_000))


@pytest.fixture(params=FLAVOURS)
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("how", ["plain", "tls", "starttls"])
def test_asyncio_echo(runner, how, side):
    ca, chain = ([path] for path in runner.certificates()) if how != "plain" else ([], [])
    serving = ["asyncio_echo.py", "server", how, runner.any, PORT, *chain]
    if side == "server":
        runner.start(*serving, ports=[PORT]).until("ready")
        facts = runner.run_here("asyncio_echo.py", "client", how, runner.guest, PORT, *ca).facts()
    else:
        runner.start_here(*serving).until("ready")
        facts = runner.run("asyncio_echo.py", "client", how, runner.host, PORT, *ca).facts()
    version = "None" if how == "plain" else "TLSv1.3"
    assert facts == {**ECHOED, **{f"version.{number}": version for number in range(8)}}


@pytest.mark.parametrize("side", ["client", "server"])
def test_asyncio_datagram_echo(runner, side):
    if side == "server" and runner.link == "user":
        pytest.skip("--publish is for TCP")
    serving = ["asyncio_datagrams.py", "server", runner.any, PORT]
    if side == "server":
        runner.start(*serving).until("ready")
        facts = runner.run_here("asyncio_datagrams.py", "client", runner.guest, PORT).facts()
    else:
        runner.start_here(*serving).until("ready")
        facts = runner.run("asyncio_datagrams.py", "client", runner.host, PORT).facts()
    largest = {4: 65507, 6: 65527}[runner.version]  # the length in an IPv6 header leaves the header out
    sizes = (*range(1, 1400, 7), 1452, 1453, 1472, 1473, 9000, largest)
    assert facts == {"sha256": sha256(b"".join(map(content, sizes))), "refused": "ConnectionRefusedError"}


@pytest.mark.parametrize("side", ["client", "server"])
def test_aiohttp(runner, side):
    serving = ["aiohttp_server.py", runner.any, PORT]
    if side == "server":
        runner.start(*serving, ports=[PORT]).until("Running on")
        url, refused = f"http://{authority(runner.guest, PORT)}", f"http://{authority(runner.guest, NOBODY)}"
        facts = runner.run_here("aiohttp_client.py", url, refused).facts()
    else:
        runner.start_here(*serving).until("Running on")
        url, refused = f"http://{authority(runner.host, PORT)}", f"http://{authority(runner.host, NOBODY)}"
        facts = runner.run("aiohttp_client.py", url, refused).facts()
    got = b"".join(content(10_000 * number) for number in range(100))
    assert facts == {"got": sha256(got), "sent": UPLOADED, "closed": "1000", "refused": "111"}


@pytest.mark.parametrize("loop", ["asyncio", "auto"])
def test_uvicorn(runner, loop):
    """``auto`` is uvloop, which makes its system calls in C: under the runner asyncio serves in its place."""
    pytest.importorskip("uvloop", reason="needs uvloop (pip install pystack[test])")
    arguments = ["-m", "uvicorn", "--app-dir", PROGRAMS, "--host", runner.any, "--port", PORT, "--loop", loop]
    server = runner.start(*arguments, "web_app:asgi", ports=[PORT])
    server.until("Uvicorn running on")
    facts = runner.run_here(
        "web_client.py", f"http://{authority(runner.guest, PORT)}", *PATHS, "upload", "loop"
    ).facts()
    assert facts.pop(str(len(PATHS))) == UPLOADED
    used = facts.pop(str(len(PATHS) + 1))
    assert facts == WEB
    server.signal(signal.SIGINT)
    assert server.wait(20).status in (
        0,
        -signal.SIGINT,
        128 + signal.SIGINT,
    )  # uvicorn raises what it was stopped by again, once it has stopped
    said = [line for line in server.err.splitlines() if "uvloop" in line]
    if runner.link == "kernel" or loop == "asyncio":
        assert used == ("uvloop" if loop == "auto" else "asyncio.unix_events") and said == []
    else:
        assert used == "asyncio.unix_events" and len(said) == 1 and "asyncio" in said[0]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorn_with_workers_forked_ahead(runner, worker):
    arguments = ["-m", "gunicorn", "--chdir", PROGRAMS, "--bind", authority(runner.any, PORT), "--workers", 3]
    server = runner.start(*arguments, "--worker-class", worker, "web_app:wsgi", ports=[PORT])
    server.until("Listening at")
    url = f"http://{authority(runner.guest, PORT)}"
    facts = runner.run_here("web_client.py", url, *PATHS, "upload", *["worker"] * 24).facts()
    answered = [facts.pop(str(len(PATHS) + 1 + number)).split() for number in range(24)]
    assert facts.pop(str(len(PATHS))) == UPLOADED
    assert facts == WEB
    workers = {pid for pid, _ in answered}
    assert len(workers) <= 3 and str(server.pid) not in workers
    assert {patched for _, patched in answered} == {str(worker == "gevent")}
    server.signal(signal.SIGTERM)
    assert server.wait(20).status == 0
