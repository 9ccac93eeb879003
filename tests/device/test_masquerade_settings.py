"""What a Masquerade refuses before it touches the host. The rest needs a kernel: integration/test_masquerade.py."""

import pytest

from pystack.device.masquerade import Masquerade
from pystack.errors import DeviceError


@pytest.mark.parametrize("network", ["", "10.77.0.0/33", "10.77.0.1/24", "fd00::/64", "x"])
def test_bad_network(network):
    with pytest.raises(DeviceError, match=r"cannot set up --nat: .* is not an IPv4 network"):
        Masquerade("pystack0", network)


def test_closing_what_was_never_open_is_harmless():
    masquerade = Masquerade("pystack0", "10.77.0.0/24")
    masquerade.close()
    masquerade.abandon()
    masquerade.close()
