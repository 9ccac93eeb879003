"""Goodput on a lossy link, beside the kernel's through the same impairment."""

from contextlib import ExitStack

import gevent
from gevent.event import Event

from integration.support import peer
from integration.support.namespaces import Namespace
from integration.support.relay import RIGHT, cable
from integration.support.stacks import HOST, on_tap
from integration.support.transfers import PORT, ended, kernel, outcome
from pystack.device.impair import Delay, Impaired, Loss

SIZE = 2_000_000
SEEDS = range(24)


def impaired(seed):
    rules = [Loss(0.01), Delay(0.025)]
    return lambda device: Impaired(device, transmit=rules, receive=rules, seed=seed)


class Start:
    """To be called by so many: none goes on before all are there. Setting up keeps everybody from the hub, for seconds
    altogether, in which a neighbour would become unreachable to those that had begun."""

    def __init__(self, count):
        self._left = count
        self._go = Event()

    def __call__(self):
        self._left -= 1
        if not self._left:
            self._go.set()
        self._go.wait()


def of_the_stack(seed, start):
    """Seconds for SIZE bytes from the stack to a kernel."""
    with Namespace() as namespace, on_tap(namespace, wrap=impaired(seed)) as stack:
        with ended(kernel(namespace, "serve", PORT, "sink")) as sink:
            sink.stdout.readline()
            start()
            with stack.connect(HOST, PORT) as stream:
                for piece in peer.stream(SIZE, seed):
                    stream.sendall(piece)
                stream.shutdown()
                assert stream.recv(1) == b""
            return outcome(sink)["seconds"]


def of_the_kernel(seed, start):
    """The same from a kernel to a kernel."""
    with ExitStack() as stack:
        left, right = stack.enter_context(Namespace()), stack.enter_context(Namespace())
        stack.enter_context(cable(left, right, impaired(seed)))
        sink = stack.enter_context(ended(kernel(right, "serve", PORT, "sink")))
        sink.stdout.readline()
        start()
        source = kernel(left, "source", RIGHT, PORT, SIZE, seed, PEER_CONGESTION="cubic")
        stack.enter_context(ended(source))
        outcome(source)
        return outcome(sink)["seconds"]


def test_goodput_at_1_percent_loss_and_50_ms_is_the_kernels(namespace):
    """CUBIC both; all at once, so that whatever the machine does meets all."""
    start = Start(2 * len(SEEDS))
    running = {who: [gevent.spawn(who, seed, start) for seed in SEEDS] for who in (of_the_stack, of_the_kernel)}
    together = [each for some in running.values() for each in some]
    try:
        gevent.joinall(together, raise_error=True)
    finally:
        gevent.killall(together)
    goodput = {
        who.__name__: len(SEEDS) * SIZE * 8e-6 / sum(each.value for each in some) for who, some in running.items()
    }
    print({name: f"{value:.2f} Mbit/s" for name, value in goodput.items()})
    print({who.__name__: [round(each.value, 1) for each in some] for who, some in running.items()})
    assert goodput["of_the_stack"] >= goodput["of_the_kernel"]
