"""Ping between two hosts in one process over a lossy link, or, with --tap, between a stack and the kernel."""

import argparse

from pystack import Interface, Stack, StackError
from pystack.device import memory
from pystack.device.impair import Delay, Impaired, Loss
from pystack.device.tap import Tap


def report(replies):
    """Print the replies as ping(8) does."""
    for reply in replies:
        if reply.rtt is not None:
            print(f"{reply.size} bytes from {reply.source}: seq={reply.sequence} time={reply.rtt * 1000:.2f} ms")
        else:
            print(f"seq={reply.sequence} {reply.error or 'lost'}")


def two_hosts(count):
    """Neither host needs a privilege: their link is memory. One in ten packets is lost each way."""
    left, right = memory.pair()
    lossy = Impaired(left, transmit=[Loss(0.1), Delay(0.005)], receive=[Loss(0.1), Delay(0.005)], seed=1)
    with (
        Stack([Interface(device=lossy, addresses=["10.0.0.1/24"])]) as stack,
        Stack([Interface(device=right, addresses=["10.0.0.2/24"])]),
    ):
        report(stack.ping("10.0.0.2", count=count, interval=0.05, timeout=0.5))


def on_tap(count):
    """The kernel is the peer."""
    tap = Tap(host_addresses=["10.77.0.1/24"])
    with Stack([Interface(device=tap, addresses=["10.77.0.2/24"], gateway="10.77.0.1")]) as stack:
        report(stack.ping("10.77.0.1", count=count, interval=0.2))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tap", action="store_true", help="use a TAP device (needs root)")
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    try:
        (on_tap if options.tap else two_hosts)(options.count)
    except StackError as error:
        raise SystemExit(f"ping: {error}") from error


if __name__ == "__main__":
    main()
