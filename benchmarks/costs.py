"""What greenlets, queues and the garbage collector cost, measured inside one process.

``python costs.py csp COUNT`` prints seconds by name; ``python costs.py echo MODE`` is an echo server on a stack on a
TAP, 10.77.0.2 port 5001, with the collector as *MODE* says: it prints ``ready``, and after a line of input the pauses.
"""

import gc
import json
import sys
import threading
import time
from queue import SimpleQueue as ThreadQueue

import gevent
from gevent.queue import SimpleQueue

from pystack.runtime.collector import configure
from pystack.runtime.mailbox import Mailbox

ROUNDS = 20
HOPS = 100_000


def csp(count):
    """CPU seconds of *count* greenlets, and as many threads, that each wait for a value and hand it back, ROUNDS times;
    and of one hop to a consumer that waits, or that is busy."""
    found = {"greenlets": _greenlets(count), "threads": _threads(count)}
    for name, make in (("mailbox", Mailbox), ("simple", SimpleQueue)):
        found[f"idle_{name}"] = _idle_hop(make)
        found[f"busy_{name}"] = _busy_hop(make)
    print(json.dumps(found))


def _greenlets(count):
    wants, gives = [SimpleQueue() for _ in range(count)], SimpleQueue()

    def work(queue):
        while (value := queue.get()) is not None:
            gives.put(value)

    greenlets = [gevent.spawn(work, queue) for queue in wants]
    return _hand_out(wants, gives, lambda: gevent.joinall(greenlets))


def _threads(count):
    wants, gives = [ThreadQueue() for _ in range(count)], ThreadQueue()

    def work(queue):
        while (value := queue.get()) is not None:
            gives.put(value)

    threads = [threading.Thread(target=work, args=(queue,)) for queue in wants]
    for each in threads:
        each.start()
    return _hand_out(wants, gives, lambda: [each.join() for each in threads])


def _hand_out(wants, gives, join):
    began = time.process_time()
    for number in range(ROUNDS):
        for queue in wants:
            queue.put(number)
        for _ in wants:
            gives.get()
    took = time.process_time() - began
    for queue in wants:
        queue.put(None)
    join()
    return took


def _idle_hop(make):
    """There and back, the consumer waiting each time."""
    there, back = make(), make()

    def consume():
        while (item := there.get()) is not None:
            back.put(item)

    greenlet = gevent.spawn(consume)
    gevent.sleep(0)
    began = time.process_time()
    for number in range(HOPS):
        there.put(number)
        back.get()
    took = time.process_time() - began
    there.put(None)
    greenlet.join()
    return took / HOPS / 2


def _busy_hop(make):
    queue = make()
    began = time.process_time()
    for number in range(HOPS):
        queue.put(number)
    for _ in range(HOPS):
        queue.get()
    return (time.process_time() - began) / HOPS


def echo(mode):
    """Serve until a line comes; print ``[[generation, microseconds], ...]`` of the collections meanwhile."""
    from pystack import Interface, Stack
    from pystack.device.tap import Tap

    tap = Tap("pystack0", host_addresses=["10.77.0.1/24"])
    with Stack([Interface(device=tap, addresses=["10.77.0.2/24"])]) as stack:
        with stack.listen(5001, nodelay=True) as listener:
            server = gevent.spawn(_serve, listener)
            if mode == "configured":
                configure()
            elif mode == "off":
                gc.disable()
            pauses = []
            gc.callbacks.append(lambda phase, info: _note(pauses, phase, info["generation"]))
            print("ready", flush=True)
            gevent.get_hub().threadpool.apply(sys.stdin.readline)
            print(json.dumps([[generation, took * 1e6] for generation, took in pauses]), flush=True)
            server.kill()


def _note(pauses, phase, generation):
    if phase == "start":
        pauses.append([generation, -time.perf_counter()])
    elif pauses:
        pauses[-1][1] += time.perf_counter()


def _serve(listener):
    while True:
        with listener.accept() as stream:
            got = 0
            while data := stream.recv(100):
                got += len(data)
                if got > 9:  # what comes first says what is wanted: trips
                    stream.sendall(data)


if __name__ == "__main__":
    {"csp": lambda text: csp(int(text)), "echo": echo}[sys.argv[1]](sys.argv[2])
