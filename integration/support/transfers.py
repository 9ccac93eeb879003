"""Transfers of the tests between a stack and a kernel, whose side is `peer` in a process of its own."""

import hashlib
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from integration.support import peer
from integration.support.stacks import STACK

PEER = str(Path(peer.__file__))
PORT = 5001
MB = 1_000_000


def kernel(namespace, *arguments, **environment):
    """Start the kernel's side."""
    return namespace.popen(
        [sys.executable, PEER, *map(str, arguments)], stdout=-1, stderr=-1, env={**os.environ, **environment}
    )


@contextmanager
def ended(process):
    """Whatever happens, it has ended afterwards, and its pipes are closed."""
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def outcome(process, timeout=120):
    """What it has printed in the end."""
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err.decode()
    return json.loads(out.decode().splitlines()[-1])


def receive(stream):
    """Read to the end: (bytes, sha256)."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.recv(1 << 20):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()


def transfer(namespace, stack, size, towards_kernel, seed=1, **environment):
    """Move *size* bytes one way over a connection that the kernel opens; returns the kernel's report."""
    expected = size, peer.digest_of(size, seed)
    arguments = ("sink", STACK, PORT) if towards_kernel else ("source", STACK, PORT, size, seed)
    with stack.listen(PORT) as listener:
        with ended(kernel(namespace, *arguments, **environment)) as process, listener.accept() as stream:
            if towards_kernel:
                for piece in peer.stream(size, seed):
                    stream.sendall(piece)
                stream.shutdown()
                assert stream.recv(1) == b""
                report = outcome(process)
                assert (report["size"], report["sha256"]) == expected
            else:
                assert receive(stream) == expected
                stream.shutdown()
                report = outcome(process)
    return report
