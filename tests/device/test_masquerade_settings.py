"""What a Masquerade refuses before it touches the host. The rest needs a kernel: integration/test_masquerade*.py."""

import pytest

from pystack.device.masquerade import Masquerade
from pystack.errors import DeviceError


@pytest.mark.parametrize("networks", [[""], ["10.77.0.0/33"], ["10.77.0.1/24"], ["fd00::1/64"], ["10.77.0.0/24", "x"]])
def test_bad_network(networks):
    with pytest.raises(DeviceError, match=r"cannot set up --nat: .* (does not appear to be an|has host bits)"):
        Masquerade("pystack0", networks)


def test_no_network():
    with pytest.raises(DeviceError, match=r"cannot set up --nat: there is no network"):
        Masquerade("pystack0", [])


def test_closing_what_was_never_open_is_harmless():
    masquerade = Masquerade("pystack0", ["10.77.0.0/24", "fd00::/64"])
    masquerade.close()
    masquerade.abandon()
    masquerade.close()
