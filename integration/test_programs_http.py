"""Unmodified programs that speak HTTP, on the stack, with the kernel on the other side."""

import hashlib

import pytest

from integration.programs.content import content, sha256
from integration.support.namespaces import has
from integration.support.programs import FLAVOURS, Runner, authority

PORT, ELSEWHERE = 8080, 8081  # what is served there, and here


@pytest.fixture(params=FLAVOURS)
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


@pytest.fixture
def origin(runner):
    """The URL of an HTTP server of the kernel's side."""
    runner.start_here("http_origin.py", runner.any, ELSEWHERE).until("ready")
    return f"http://{authority(runner.host, ELSEWHERE)}"


def test_requests_sends_a_thousand_gets_over_one_connection(runner, origin):
    facts = runner.run("requests_client.py", "session", origin).facts()
    every = b"".join(content(size) for size in range(1000))
    assert facts == {"statuses": "{200}", "connections": "1", "sha256": sha256(every)}


def test_requests_downloads_100_megabytes(runner, origin):
    facts = runner.run("requests_client.py", "download", origin).facts()
    assert facts == {"size": "100000000", "sha256": sha256(content(100_000_000))}


def test_requests_uploads_100_megabytes(runner, origin):
    facts = runner.run("requests_client.py", "upload", origin).facts()
    assert facts == {"sha256": sha256(content(100_000_000))}


def test_requests_with_chunks_both_ways(runner, origin):
    whole = sha256(content(3_000_000))
    assert runner.run("requests_client.py", "chunked", origin).facts() == {"got": whole, "sent": whole}


def test_requests_follows_redirects(runner, origin):
    facts = runner.run("requests_client.py", "redirects", origin).facts()
    assert facts == {"hops": "9", "status": "200", "endless": "TooManyRedirects"}


def test_requests_gives_up_in_time(runner, origin):
    facts = runner.run("requests_client.py", "timeout", origin).facts()
    assert facts["error"].startswith("ReadTimeout")
    assert (facts["in_time"], facts["after"]) == ("True", "200")


def test_requests_notices_an_answer_cut_short(runner, origin):
    facts = runner.run("requests_client.py", "short", origin).facts()
    assert facts["error"].startswith("ChunkedEncodingError") and "IncompleteRead" in facts["error"]


def test_requests_to_a_port_that_refuses(runner):
    facts = runner.run("requests_client.py", "failing", f"http://{authority(runner.host, ELSEWHERE)}/").facts()
    assert facts["error"].startswith("ConnectionError") and "ConnectionRefusedError(111)" in facts["error"]


def test_requests_to_a_host_that_is_not_there(runner):
    if runner.link == "user":
        pytest.skip("with --link user there is no neighbour to be missing: every address but the gateway's is remote")
    facts = runner.run("requests_client.py", "failing", f"http://{authority(runner.nobody, ELSEWHERE)}/").facts()
    assert facts["error"].startswith("ConnectionError") and "OSError(113)" in facts["error"]


def test_requests_over_tls(runner):
    ca, chain = runner.certificates()
    runner.start_here("http_origin.py", runner.any, ELSEWHERE, chain).until("ready")
    facts = runner.run("requests_client.py", "tls", f"https://{authority(runner.host, ELSEWHERE)}", ca).facts()
    whole = sha256(content(5_000_000))
    assert (facts["sha256"], facts["sent"]) == (whole, whole)
    assert facts["distrusted"].startswith("SSLError") and "SSLCertVerificationError" in facts["distrusted"]


@pytest.mark.skipif(not has("curl"), reason="needs curl (Debian: curl)")
def test_http_server_with_64_curls_at_once(runner):
    served = runner.folder / "served"
    served.mkdir()
    (served / "file").write_bytes(content(300_000))
    (served / "file").chmod(0o644)
    arguments = ["-m", "http.server", str(PORT), "--bind", runner.any, "--directory", str(served)]
    runner.start(*arguments, ports=[PORT]).until("Serving HTTP")
    url = f"http://{authority(runner.guest, PORT)}"
    paths = [runner.folder / f"got{number}" for number in range(64)]
    curls = [runner.start_command_here("curl", "-sS", "--fail", "-o", path, f"{url}/file") for path in paths]
    for curl in curls:
        done = curl.wait()
        assert done.status == 0, done.err
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths} == {sha256(content(300_000))}
    missing = runner.run_command_here("curl", "-sS", "--fail", f"{url}/missing")
    assert missing.status == 22 and "404" in missing.err  # curl's exit status for an HTTP error


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_threading_http_server(runner, secure):
    ca, chain = runner.certificates()
    server = runner.start("http_origin.py", runner.any, PORT, *([chain] if secure else []), ports=[PORT])
    server.until("ready")
    url = f"{'https' if secure else 'http'}://{authority(runner.guest, PORT)}"
    if secure:
        facts = runner.run_here("requests_client.py", "tls", url, ca).facts()
        assert facts["sha256"] == facts["sent"] == sha256(content(5_000_000))
        return
    clients = {what: runner.start_here("requests_client.py", what, url) for what in ("session", "chunked", "upload")}
    facts = {what: client.wait().facts() for what, client in clients.items()}
    assert facts["session"]["statuses"] == "{200}"
    assert facts["chunked"]["got"] == facts["chunked"]["sent"] == sha256(content(3_000_000))
    assert facts["upload"]["sha256"] == sha256(content(100_000_000))
