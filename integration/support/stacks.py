"""A stack on a TAP in a namespace."""

from contextlib import contextmanager

from pystack import Interface, Stack, StackConfig
from pystack.config import Ipv6Config
from pystack.device.tap import Tap

HOST = "10.77.0.1"
STACK = "10.77.0.2"


HOST6, STACK6, LINK_LOCAL = "fd77::1", "fd77::2", "fe80::2"
# Nobody else is on the link: no time is spent on duplicate address detection, and there is no router.
QUIET = StackConfig(ipv6=Ipv6Config(dad_transmits=0, accept_ra=False))


@contextmanager
def on_tap6(namespace, config=QUIET, *, wrap=lambda device: device, **tap):
    """A running stack at fd77::2/64 and fe80::2 whose TAP's host side is fd77::1/64. It must have no bug."""
    device = Tap("ps0", netns=namespace.path, host_addresses=[f"{HOST6}/64"], **tap)
    interface = Interface(device=wrap(device), addresses=[f"{STACK6}/64", f"{LINK_LOCAL}/64"], gateway=HOST6)
    with Stack([interface], config) as stack:
        yield stack
        assert stack.counters()["stack"]["bugs"] == 0


@contextmanager
def on_tap(namespace, config=None, *, wrap=lambda device: device, gateway=HOST, **tap):
    """A running stack at 10.77.0.2/24 whose TAP's host side is 10.77.0.1/24 in *namespace*. It must have no bug."""
    device = Tap("ps0", netns=namespace.path, host_addresses=[f"{HOST}/24"], **tap)
    interface = Interface(device=wrap(device), addresses=[f"{STACK}/24"], gateway=gateway)
    with Stack([interface], config) as stack:
        yield stack
        assert stack.counters()["stack"]["bugs"] == 0


def drops(stack):
    """All drop counters of a stack in one dict."""
    found = {}
    for row in stack.counters().values():
        for key, value in row.items():
            if key.startswith("drop."):
                found[key[5:]] = found.get(key[5:], 0) + value
    return found
