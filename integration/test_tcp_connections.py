"""Many connections, at once and one after another: all served, and nothing left of them."""

import gevent

from integration.support.stacks import STACK, on_tap
from integration.support.transfers import PORT, kernel, outcome
from pystack import StackConfig
from pystack.config import TcpConfig

NOTHING = {"connections": 0, "time_waits": 0, "sockets": 0, "ports": 0, "deadlines": 0, "memory": 0}


def serve(stack, count):
    """Echo one message on each of *count* connections."""

    def echo(stream):
        with stream:
            stream.sendall(stream.recv(4))
            assert stream.recv(4) == b""

    with stack.listen(PORT, backlog=4096) as listener:
        served = [gevent.spawn(echo, listener.accept()) for _ in range(count)]
        gevent.joinall(served, raise_error=True)


def left(stack):
    """What TCP holds, once TIME-WAITs of 0.1 s, and timeouts that were called off, are over."""
    for _ in range(400):
        held = stack.held()
        if held == NOTHING:
            break
        gevent.sleep(0.05)
    return held


def test_1_000_connections_at_once(namespace):
    with on_tap(namespace, StackConfig(tcp=TcpConfig(time_wait=0.1))) as stack:
        process = kernel(namespace, "many", STACK, PORT, 1000)
        serve(stack, 1000)
        assert outcome(process) == {"right": True}
        assert left(stack) == NOTHING
        assert stack.counters()["tcp"]["PassiveOpens"] == 1000


def test_10_000_connections_one_after_another(namespace):
    """The kernel opens and closes them, so the TIME-WAITs are its own; see the next for ours."""
    with on_tap(namespace, StackConfig(tcp=TcpConfig(time_wait=0.1))) as stack:
        namespace.sysctl("net.ipv4.tcp_tw_reuse", 1)
        process = kernel(namespace, "sequence", STACK, PORT, 10_000)
        serve(stack, 10_000)
        assert outcome(process) == {"right": 10_000}
        assert left(stack) == NOTHING


def test_2_000_connections_that_the_stack_opens_and_closes(namespace):
    with on_tap(namespace, StackConfig(tcp=TcpConfig(time_wait=0.1))) as stack, namespace.socket() as listener:
        listener.bind(("10.77.0.1", PORT))
        listener.listen(10)
        listener.setblocking(False)
        for number in range(2000):
            with stack.connect("10.77.0.1", PORT) as stream:
                accepted, _ = listener.accept()
                accepted.setblocking(True)
                stream.sendall(number.to_bytes(4, "big"))
                assert accepted.recv(4) == number.to_bytes(4, "big")
            accepted.close()
        assert left(stack) == NOTHING
