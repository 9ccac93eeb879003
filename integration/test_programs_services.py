"""Unmodified clients of mail, files, calls, Redis and PostgreSQL, on the stack, with the kernel on the other side."""

import os
import shutil
from pathlib import Path

import pytest

from integration.programs.content import content, sha256
from integration.support.namespaces import has
from integration.support.programs import FLAVOURS, Runner, authority

PORT, PASSIVE = 8025, (8100, 8120)
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@pytest.fixture(params=FLAVOURS)
def runner(request, namespace):
    with Runner(request.param, namespace) as made:
        yield made


@pytest.mark.parametrize("side", ["client", "server"])
def test_smtplib_and_aiosmtpd(runner, side):
    ca, chain = runner.certificates()
    serving = ["smtp_server.py", runner.any, PORT, chain]
    if side == "server":
        server = runner.start(*serving, ports=[PORT])
        server.until("ready")
        sent = runner.run_here("smtp_client.py", runner.guest, PORT, ca).facts()
    else:
        server = runner.start_here(*serving)
        server.until("ready")
        sent = runner.run("smtp_client.py", runner.host, PORT, ca).facts()
    server.until("large=")
    taken = dict(line.split("=") for line in server.out.splitlines()[1:])
    assert sent == taken and taken["small"].startswith("False ") and taken["large"].startswith("True ")


@pytest.mark.parametrize("how", ["passive", "active"])
def test_ftplib(runner, how):
    if how == "active" and runner.link == "user":
        pytest.skip("with --link user nobody outside can connect to a port that the program has just made up")
    folder = runner.folder / "ftp"
    folder.mkdir()
    runner.start_here("ftp_server.py", runner.any, PORT, folder, *PASSIVE).until("ready")
    facts = runner.run("ftp_client.py", runner.host, PORT, how).facts()
    whole = content(10_000_000)
    assert facts == {
        "got": sha256(whole),
        "rest": sha256(whole[-1000:]),
        "list": "['file']",
        "size": "10000000",
        "missing": "550",
    }
    assert (folder / "file").read_bytes() == whole


@pytest.mark.parametrize("side", ["client", "server"])
def test_xmlrpc(runner, side):
    if side == "server":
        runner.start("xmlrpc_server.py", runner.any, PORT, ports=[PORT]).until("ready")
        facts = runner.run_here("xmlrpc_client.py", f"http://{authority(runner.guest, PORT)}/").facts()
    else:
        runner.start_here("xmlrpc_server.py", runner.any, PORT).until("ready")
        facts = runner.run("xmlrpc_client.py", f"http://{authority(runner.host, PORT)}/").facts()
    assert "'sha256'" in facts.pop("methods")
    many = str(sum(base**2 for base in range(100)))
    assert facts == {"pow": str(2**29), "many": many, "sha256": sha256(content(3_000_000)), "fault": "True"}


@pytest.mark.skipif(not has("redis-server"), reason="needs redis-server (Debian: redis-server)")
def test_redis(runner):
    options = ["--port", PORT, "--bind", runner.any, "--protected-mode", "no", "--save", "", "--dir", runner.folder]
    runner.start_command_here("redis-server", *options).until("Ready to accept connections")
    assert runner.run("redis_client.py", runner.host, PORT).facts() == {
        "ping": "True",
        "large": sha256(content(20_000_000)),
        "sum": str(sum(range(500))),
        "pushed": "5000",
        "last": "4999",
        "popped": "value",
        "heard": "first",
        "refused": "True",
    }


@pytest.mark.skipif(POSTGRES is None, reason="needs PostgreSQL's server (Debian: postgresql)")
def test_postgresql(runner):
    ca, chain = runner.certificates()
    become = as_postgres()
    data = runner.folder / "data"
    data.mkdir()
    key = shutil.copy(chain, runner.folder / "server.key")
    os.chmod(key, 0o600)
    if become:
        for path in (data, key):
            shutil.chown(path, "postgres", "postgres")
    initdb = [POSTGRES, "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
    assert runner.run_command_here(*become, *initdb).status == 0
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {runner.any}/0 trust\n")
    settings = {
        "listen_addresses": runner.any,
        "port": PORT,
        "unix_socket_directories": "",
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": chain,
        "ssl_key_file": key,
    }
    arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server = runner.start_command_here(*become, POSTGRES.with_name("postgres"), "-D", data, *arguments)
    server.until("ready to accept connections")
    facts = runner.run("postgres_client.py", runner.host, PORT, ca).facts()
    body = sha256(content(5_000_000))
    for name, encrypted in (("plain", "False"), ("tls", "True")):
        assert facts[f"{name}.kept"] == f"200 {sum(range(200))}"
        assert facts[f"{name}.body"] == f"{body} {body}"
        assert facts[f"{name}.error"] == "23505"  # unique_violation
        assert facts[f"{name}.copied"] == str(sum(range(50_000)))
        assert facts[f"{name}.heard"] == "first"
        assert facts[f"{name}.encrypted"] == encrypted
    assert len(facts) == 12


def as_postgres():
    """The command that becomes the user postgres: a server of PostgreSQL refuses to be root's."""
    if "4294967295" not in Path("/proc/self/uid_map").read_text():
        pytest.skip("PostgreSQL refuses to run as root, and this user namespace has nobody else")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
