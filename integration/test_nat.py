"""``--nat``: a program on a TAP reaches what knows nothing of its network, and the host is afterwards as it was."""

import os
import signal
from pathlib import Path

import pytest

from integration.programs.content import content, sha256
from integration.support.namespaces import Namespace, veth
from integration.support.programs import Runner

PORT = 8097
BOTH = ("--address", "fdc5:77ab:1b4e::2/64")  # beside the IPv4 address
TABLES = (
    "from pyroute2.nftables.main import NFTables\n"
    "names = []\n"
    "for family in (2, 10):\n"
    "    with NFTables(nfgen_family=family) as nft:\n"
    "        names += [table.get_attr('NFTA_TABLE_NAME') for table in nft.get_tables()]\n"
    "print(names)"
)


@pytest.fixture
def outside(namespace):
    """A host beyond the test's, without a route back to the program's network."""
    with Namespace() as made:
        veth(namespace, "out0", made, "out1")
        namespace.ip("addr add 192.0.2.1/24 dev out0")
        made.ip("addr add 192.0.2.2/24 dev out1")
        namespace.ip("addr add 2001:db8::1/64 dev out0 nodad")
        made.ip("addr add 2001:db8::2/64 dev out1 nodad")
        yield made


@pytest.fixture
def runner(namespace):
    with Runner("tap", namespace) as made:
        yield made


def nat(runner):
    """``(tables, forwarding on the way out)`` of the host."""
    forwarding = runner.run_command_here("cat", "/proc/sys/net/ipv4/conf/out0/forwarding").out.strip()
    return runner.run_here("-c", TABLES).out.strip(), forwarding


def settings6(namespace):
    """``{file: text}`` of what IPv6 forwarding could change."""
    with namespace.entered():
        return {
            str(path): path.read_text()
            for name in ("forwarding", "force_forwarding", "accept_ra")
            for interface in ("all", "default", "out0")
            for path in Path(f"/proc/sys/net/ipv6/conf/{interface}").glob(name)
        }


def serve(runner, outside, address="0.0.0.0"):
    server = runner.start_in(outside, "bulk_peer.py", "serve", address, PORT, 0)
    server.until("ready")
    return server


def test_the_program_reaches_beyond_the_host(runner, outside):
    before = nat(runner)
    serve(runner, outside)
    facts = runner.run("bulk_peer.py", "send", "192.0.2.2", PORT, 1_000_000, options=["--nat"]).facts()
    assert facts == {"answer": f"1000000 {sha256(content(1_000_000))}"}
    assert nat(runner) == before == ("[]", "0")


def test_the_program_reaches_beyond_the_host_by_ipv6(runner, outside, namespace):
    before = nat(runner), settings6(namespace)
    serve(runner, outside, "2001:db8::2")
    facts = runner.run("bulk_peer.py", "send", "2001:db8::2", PORT, 1_000_000, options=["--nat", *BOTH]).facts()
    assert facts == {"answer": f"1000000 {sha256(content(1_000_000))}"}
    assert (nat(runner), settings6(namespace)) == before and before[0] == ("[]", "0")


def test_without_it_nothing_comes_back(runner, outside):
    serve(runner, outside)
    code = f"import socket; socket.create_connection(('192.0.2.2', {PORT}), timeout=1)"
    assert "TimeoutError" in runner.run("-c", code).err


def test_a_killed_engine_leaves_no_table_and_the_next_one_puts_forwarding_back(runner, outside):
    program = runner.start("-c", "import time; print('up', flush=True); time.sleep(600)", options=["--nat"])
    program.until("up")
    assert nat(runner) == ("['pystack_pystack0']", "1")
    (engine,) = runner.engines()
    os.kill(engine, signal.SIGKILL)
    runner.until_no_engine()
    assert nat(runner) == ("[]", "1")
    assert runner.run("-c", "pass", options=["--nat"]).status == 0
    assert nat(runner) == ("[]", "0")
