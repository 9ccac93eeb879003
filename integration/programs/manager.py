"""manager.py local|serve|join METHOD ADDRESS PORT: `multiprocessing.managers.BaseManager` over TCP.

``local``: a manager in a process of its own, and workers that reach it, all started by METHOD (fork, spawn).
``serve`` and ``join``: the manager in this process, and workers of another one, on the other side.
"""

import multiprocessing
import sys
from multiprocessing.managers import BaseManager, DictProxy, SyncManager

from content import content, sha256

KEY, SIZE, WORKERS, ROUNDS = b"secret", 1_000_000, 3, 100
shared = {}


class Manager(BaseManager):
    pass


Manager.register("shared", callable=lambda: shared, proxytype=DictProxy)


def work(kept, number):
    for each in range(ROUNDS):
        kept[number, each] = content(each)
    kept[number] = content(SIZE)


def report(kept):
    print(f"small={sum(len(kept[number, each]) for number in range(WORKERS) for each in range(ROUNDS))}")
    print(f"large={ {sha256(kept[number]) for number in range(WORKERS)} }")


def run_workers(context, kept):
    workers = [context.Process(target=work, args=(kept, number)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"exits={[worker.exitcode for worker in workers]}")


def local(context, address, port):
    with SyncManager((address, port), authkey=KEY, ctx=context) as manager:
        print(f"address={manager.address}", flush=True)
        kept = manager.dict()
        run_workers(context, kept)
        report(kept)


def serve(context, address, port):
    server = Manager((address, port), authkey=KEY, ctx=context).get_server()
    print("ready", flush=True)
    server.serve_forever()


def join(context, address, port):
    multiprocessing.current_process().authkey = KEY  # for the proxies that the workers get
    manager = Manager((address, port), authkey=KEY, ctx=context)
    manager.connect()
    kept = manager.shared()
    run_workers(context, kept)
    report(kept)


if __name__ == "__main__":
    what, method, address, port = sys.argv[1:]
    globals()[what](multiprocessing.get_context(method), address, int(port))
