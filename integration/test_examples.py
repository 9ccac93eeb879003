"""The examples do what they say."""

import pytest

from integration.support.programs import ROOT, Runner

EXAMPLES = ROOT / "examples"
PORT = 8099


@pytest.fixture(params=["tap", "user"])
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


def test_fetch_a_page(runner):
    runner.start_here("-m", "http.server", PORT, "--directory", EXAMPLES).until("Serving HTTP")
    done = runner.run(EXAMPLES / "fetch.py", f"http://{runner.host}:{PORT}/fetch.py")
    assert (done.status, done.out) == (0, (EXAMPLES / "fetch.py").read_text())
    assert done.err.startswith("200 OK ")


def test_serve_files(runner):
    runner.start(EXAMPLES / "serve.py", EXAMPLES, PORT, ports=[PORT]).until("serving")
    code = f"import requests; print(requests.get('http://{runner.guest}:{PORT}/serve.py').text, end='')"
    assert runner.run_here("-c", code).out == (EXAMPLES / "serve.py").read_text()


@pytest.mark.parametrize("example", ["two_hosts.py", "ping.py"])
def test_two_hosts_in_one_process(example, namespace):
    with Runner("user", namespace) as runner:
        done = runner.run_here(EXAMPLES / example)
    assert done.status == 0, done.err
    assert "240000 bytes there and back" in done.out or "seq=" in done.out
