"""What a stack makes on the host goes away with it, however it ends."""

import os
import signal
import sys

import gevent
import pytest

from integration.support.namespaces import Namespace
from integration.support.stacks import HOST, STACK, on_tap
from pystack import DeviceError, Interface, Stack, StackError, StackStopped
from pystack.device import memory
from pystack.device.tap import Tap

PROGRAM = """
import gevent, sys
from pystack import Interface, Stack
from pystack.device.tap import Tap
device = Tap("ps0", host_addresses=["10.77.0.1/24"])
with Stack([Interface(device=device, addresses=["10.77.0.2/24"])]) as stack:
    print("up", flush=True)
    {body}
"""


def links(namespace):
    """The names of the interfaces."""
    return {line.split()[0].split("@")[0] for line in namespace.ip("-br link").splitlines()}


def start(namespace, body, program=PROGRAM):
    """A Python process with a stack in the namespace, that has come up."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = namespace.popen([sys.executable, "-c", program.format(body=body)], stdout=-1, stderr=-2, env=environment)
    assert process.stdout.readline() == b"up\n"
    return process


def finish(process):
    """Its exit status, once it has ended."""
    process.stdout.close()
    return process.wait(timeout=20)


def test_the_tap_goes_with_the_stack(namespace):
    with on_tap(namespace):
        assert "ps0" in links(namespace)
        assert HOST in namespace.ip("addr show dev ps0")
    assert "ps0" not in links(namespace)


def test_the_tap_goes_after_an_exception(namespace):
    with pytest.raises(ZeroDivisionError), on_tap(namespace):
        _ = 1 / 0
    assert "ps0" not in links(namespace)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_tap(namespace, end):
    process = start(namespace, "gevent.sleep(30)")
    process.send_signal(end)
    assert finish(process) == -end
    assert "ps0" not in links(namespace)


@pytest.mark.parametrize(
    ("body", "status"),
    [("gevent.sleep(30)", -signal.SIGTERM), ("import time; time.sleep(30)", -signal.SIGTERM), ("sys.exit(3)", 3)],
)
def test_an_attached_tap_is_as_it_was(namespace, body, status):
    namespace.ip("tuntap add ps0 mode tap vnet_hdr")
    namespace.ip("link set ps0 txqueuelen 777 mtu 1400")
    process = start(namespace, body)
    if status < 0:
        assert HOST in namespace.ip("addr show dev ps0")
        process.send_signal(signal.SIGTERM)
    assert finish(process) == status
    shown = namespace.ip("addr show dev ps0")
    assert HOST not in shown and "qlen 777" in shown and "mtu 1400" in shown and "UP" not in shown


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_programs_own_handler_of_sigterm_stays(namespace, when):
    """Also one that libev has, of which Python does not know."""
    handler = "gevent.signal_handler(15, lambda: (print('mine', flush=True), stack.close(), sys.exit(7)))"
    if when == "before":
        program = PROGRAM.replace("device = Tap", handler + "\ndevice = Tap")
        process = start(namespace, "gevent.sleep(30)", program)
    else:
        process = start(namespace, handler + "\n    print('set', flush=True)\n    gevent.sleep(30)")
        assert process.stdout.readline() == b"set\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == b"mine\n"
    assert finish(process) == 7


def test_an_interrupted_close_is_finished_at_exit(namespace):
    namespace.ip("tuntap add ps0 mode tap vnet_hdr")
    namespace.ip("link set ps0 txqueuelen 777 mtu 1400")
    body = """
    real, calls = device._netlink.set_link, []
    def interrupted(*arguments, **settings):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(*arguments, **settings)
    device._netlink.set_link = interrupted
    """
    process = start(namespace, body.strip())
    assert b"KeyboardInterrupt" in process.stdout.read()
    finish(process)
    shown = namespace.ip("addr show dev ps0")
    assert HOST not in shown and "qlen 777" in shown and "mtu 1400" in shown and "UP" not in shown


def test_a_forked_child_neither_keeps_the_tap_nor_disturbs_the_parent(namespace):
    body = """
    import os, signal
    child = os.fork()
    if child == 0:
        signal.pause()
    assert stack.ping("10.77.0.1", count=1, timeout=5)[0].error is None
    other = os.fork()
    if other == 0:
        gevent.sleep(0.05)
        sys.exit(0)
    os.waitpid(other, 0)
    assert stack.ping("10.77.0.1", count=1, timeout=5)[0].error is None
    stack.close()
    print(child, flush=True)
    """
    process = start(namespace, body.strip())
    child = int(process.stdout.readline())
    try:
        assert process.wait(timeout=20) == 0
        assert "ps0" not in links(namespace)
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_stacks_side_by_side(namespace):
    with Namespace() as other, on_tap(namespace) as one, on_tap(other) as two:
        left, right = memory.pair()
        with (
            Stack([Interface(device=left, addresses=["10.0.0.1/24"])]) as three,
            Stack([Interface(device=right, addresses=["10.0.0.2/24"])]) as four,
        ):
            for stack, address in ((one, HOST), (two, HOST), (three, "10.0.0.2"), (four, "10.0.0.1")):
                assert stack.ping(address, count=1, timeout=5)[0].error is None
        assert namespace.run(["ping", "-c", "1", STACK]).returncode == 0


def test_a_deleted_interface_stops_the_stack(namespace):
    with on_tap_that_fails(namespace) as stack:
        namespace.ip("link del ps0")
        for _ in range(100):
            if stack.failure is not None:
                break
            gevent.sleep(0.02)
        assert isinstance(stack.failure, DeviceError)
        with pytest.raises(StackStopped) as stopped:
            stack.ping(HOST)
        assert stopped.value.__cause__ is stack.failure


def test_a_ping_that_waits_is_woken_by_the_end(namespace):
    with on_tap_that_fails(namespace) as stack:
        waiting = gevent.spawn(stack.ping, "10.77.0.77", count=1, timeout=60)
        gevent.sleep(0.05)
        stack.close()
        with pytest.raises(StackStopped):
            waiting.get(timeout=5)


def on_tap_that_fails(namespace):
    """A stack whose end the test brings about itself."""
    device = Tap("ps0", netns=namespace.path, host_addresses=[f"{HOST}/24"])
    return Stack([Interface(device=device, addresses=[f"{STACK}/24"])])


def test_what_is_wrong_is_said_and_leaves_nothing(namespace):
    device = Tap("ps0", netns=namespace.path, host_addresses=[f"{HOST}/24"])
    with pytest.raises(StackError, match="gateway"):
        Stack([Interface(device=device, addresses=[f"{STACK}/24"], gateway="192.0.2.1")]).start()
    with pytest.raises(StackError, match="not an IP address"):
        Stack([Interface(device=device, addresses=["10.77.0.300/24"])]).start()
    assert "ps0" not in links(namespace)
    with on_tap(namespace), pytest.raises(DeviceError, match="ps0"):
        Stack([Interface(device=Tap("ps0", netns=namespace.path))]).start()
