"""Transfers between the stack and the kernel, on links good and bad; what arrives is what was sent."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from integration.support import peer
from integration.support.stacks import STACK, on_tap
from pystack.device.impair import Delay, Duplicate, Impaired, Loss, Reorder

PEER = str(Path(peer.__file__))
PORT = 5001
MB = 1_000_000


def kernel(namespace, *arguments):
    """Start the kernel's side."""
    return namespace.popen([sys.executable, PEER, *map(str, arguments)], stdout=-1, stderr=-1)


def outcome(process):
    """What it has printed in the end."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


def receive(stream):
    """Read to the end: (bytes, sha256)."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.recv(1 << 20):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def transfer(namespace, stack, size, towards_kernel, seed=1):
    """Move *size* bytes one way over a connection that the kernel opens; returns the kernel's report."""
    with stack.listen(PORT) as listener:
        role = ("sink",) if towards_kernel else ("source",)
        process = kernel(namespace, *role, STACK, PORT, *(() if towards_kernel else (size, seed)))
        stream = listener.accept()
        with stream:
            if towards_kernel:
                for piece in peer.stream(size, seed):
                    stream.sendall(piece)
                stream.shutdown()
                assert stream.recv(1) == b""
                report = outcome(process)
                assert (report["size"], report["sha256"]) == (size, peer.digest_of(size, seed))
            else:
                assert receive(stream) == (size, peer.digest_of(size, seed))
                stream.shutdown()
                report = outcome(process)
    return report


@pytest.mark.parametrize("towards_kernel", [True, False])
def test_100_mb_on_a_clean_link(namespace, towards_kernel):
    with on_tap(namespace) as stack:
        report = transfer(namespace, stack, 100 * MB, towards_kernel)
        print(f"{800 / report['seconds']:.0f} Mbit/s", stack.counters()["tcp"])
        assert stack.counters()["tcp"].get("RetransSegs", 0) == 0


LINKS = {
    "1% loss": [Loss(0.01), Delay(0.002)],
    "5% loss": [Loss(0.05), Delay(0.002)],
    "20% loss": [Loss(0.2), Delay(0.001)],
    "30% reordering": [Reorder(0.3, 0.002), Delay(0.002)],
    "duplicates": [Duplicate(0.1), Delay(0.001)],
}


@pytest.mark.parametrize("towards_kernel", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_10_mb_on_a_bad_link(namespace, link, towards_kernel):
    def wrap(device):
        return Impaired(device, transmit=LINKS[link], receive=LINKS[link], seed=7)

    with on_tap(namespace, wrap=wrap) as stack:
        report = transfer(namespace, stack, 10 * MB, towards_kernel)
        print(f"{80 / report['seconds']:.1f} Mbit/s", stack.counters()["tcp"])
