"""A cable between two namespaces with an impairment in it, so that two kernels see the same link as a stack does."""

from contextlib import contextmanager

from pystack.device.tap import Tap
from pystack.runtime.clock import MonotonicClock
from pystack.runtime.driver import DeviceDriver
from pystack.runtime.supervisor import Supervisor

LEFT = "10.80.0.1"
RIGHT = "10.80.0.2"


class _Towards:
    """What one end has received leaves by the other."""

    def __init__(self, driver):
        self._driver = driver

    def put(self, frames):
        self._driver.put([(frame,) for frame in frames])


@contextmanager
def cable(left, right, wrap):
    """Join namespaces *left* (10.80.0.1) and *right* (10.80.0.2); *wrap* impairs the right end's device."""
    taps = [
        Tap("kk0", netns=left.path, host_addresses=[f"{LEFT}/24"], offload=False),
        Tap("kk0", netns=right.path, host_addresses=[f"{RIGHT}/24"], offload=False),
    ]
    devices = [taps[0], wrap(taps[1])]
    clock, failures = MonotonicClock(), []
    supervisor = Supervisor(failures.append)
    drivers = [DeviceDriver(f"cable{index}", device, clock, supervisor) for index, device in enumerate(devices)]
    for device in devices:
        device.open()
    # A relay that is late must not make a neighbour unreachable.
    left.ip(f"neigh replace {RIGHT} lladdr {taps[1].host_mac.hex(':')} dev kk0 nud permanent")
    right.ip(f"neigh replace {LEFT} lladdr {taps[0].host_mac.hex(':')} dev kk0 nud permanent")
    try:
        drivers[0].connect(_Towards(drivers[1]))
        drivers[1].connect(_Towards(drivers[0]))
        for driver in drivers:
            driver.start()
        yield
        assert not failures
    finally:
        for driver in drivers:
            driver.stop()
        for device in devices:
            device.close()
