"""What an engine does with what earlier ones have left."""

import os
import socket
import time

import pytest

from pystack.engine import _remove_leftovers


@pytest.fixture
def folder(tmp_path):
    """``(where engines have their folders, one of these, a socket in it)``; the socket is older than a minute."""
    one = tmp_path / "pystack-one"
    one.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(str(one / "engine"))
        os.utime(one / "engine", (time.time() - 100,) * 2)
        yield tmp_path, one, sock


def test_of_an_engine_that_was_killed_the_folder_goes(folder):
    where, one, sock = folder
    sock.close()
    _remove_leftovers(str(where))
    assert not one.exists()


def test_an_engine_that_is_stopped_is_not_waited_for(folder):
    """Nobody takes what connects, and there is room for no more."""
    where, one, sock = folder
    sock.listen(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
        first.connect(str(one / "engine"))
        _remove_leftovers(str(where))
    assert one.exists()
