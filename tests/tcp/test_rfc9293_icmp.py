"""RFC 9293 §3.9.2: what IP brings besides segments: its options and ICMP errors. See docs/rfc9293.md."""

import pytest

from pystack import transport
from pystack.wire import icmp
from tests.support.frames import ethernet, ip
from tests.support.segments import answers, segment
from tests.support.tcp import established, half_open, opening
from tests.tcp.test_layer import SYN_OPTIONS, Server

CAUSES = {
    "net_unreachable": "net_unreachable",
    "host_unreachable": "host_unreachable",
    "protocol_unreachable": "no_protocol",
    "port_unreachable": "refused",
    "source_route_failed": "not_supported",
    "prohibited": "host_unreachable",
    "ttl_exceeded": "host_unreachable",
    "reassembly_exceeded": "host_unreachable",
    "parameter_problem": "protocol_error",
}
"""What inet calls an error, and what the program is told, as Linux's icmp_err_convert."""


# -- IP options -------------------------------------------------------------------------------------------------------


def with_options(frame, options):
    """The same segment behind these IP options."""
    packet = frame[24:]
    return ethernet(ip(packet[20:], protocol=6, options=options))


@pytest.mark.parametrize(
    "options",
    [
        b"\x01\x01\x01\x00",
        b"\x07\x07\x04\0\0\0\0\x00",  # record route
        b"\x44\x08\x05\x00\0\0\0\0",  # timestamp
        b"\x94\x04\0\0",  # router alert
        b"\xde\x04ab",  # nobody's
    ],
)
def test_ip_options_do_not_matter(options):
    """MUST-50; MAY-10, MAY-11: whatever there is before a segment, the segment counts, and no option comes back."""
    server = Server()
    (packet,) = server.sends(with_options(segment("S", 100, options=SYN_OPTIONS), options))
    (syn_ack,) = answers([packet])
    assert (syn_ack.flags, syn_ack.ack) == ("SA", 101) and packet[0] == 0x45


@pytest.mark.parametrize("kind", [0x83, 0x89])
def test_a_source_routed_segment_is_dropped(kind):
    """MUST-51 to MUST-53, SHLD-24 are not there: inet takes no source routes, as Linux by default (RFC 7126 §4.3)."""
    server = Server()
    route = bytes((kind, 7, 4, 10, 0, 0, 9, 0))
    assert server.sends(with_options(segment("S", 100, options=SYN_OPTIONS), route)) == []
    assert server.core.held()["connections"] == 0


# -- ICMP errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", CAUSES)
def test_an_error_ends_an_open(cause):
    """MUST-54, SHLD-25, SHLD-26: the program is told at once. MUST-56 as Linux: soft errors end an open too, and save
    the program two minutes (RFC 5461 §3.1)."""
    made = opening()
    made.does("unreachable", cause, 0)
    assert made.state == "CLOSED" and made.events() == [transport.Failed(1, CAUSES[cause])]
    assert made.after(1000) == []


def test_an_error_ends_a_half_open_connection_and_nobody_hears_of_it():
    """As Linux's tcp_req_err."""
    made = half_open()
    made.does("unreachable", "host_unreachable", 0)
    assert made.state == "CLOSED" and made.after(1000) == []


@pytest.mark.parametrize("cause", CAUSES)
def test_no_error_ends_a_connection_that_stands(cause):
    """MUST-56. SHLD-26 as Linux: not even Destination Unreachable 2 to 4, which anybody can forge (RFC 5927 §5.2)."""
    made = established()
    made.write(b"x")
    made.does("unreachable", cause, 0)
    assert made.state == "ESTABLISHED" and made.events() == []
    made.arrives("PA", 1, 2, b"y")
    assert made.received() == b"y"


@pytest.mark.parametrize("cause", CAUSES)
def test_an_error_is_what_a_later_timeout_is_called(cause):
    """SHLD-25, MUST-47: the program learns why nothing comes; unless something has come since."""
    made = established()
    made.write(b"x")
    made.does("unreachable", cause, 0)
    made.after(2000)
    assert made.events() == [transport.Failed(1, CAUSES[cause])]
    made = established()
    made.write(b"x")
    made.does("unreachable", cause, 0)
    made.arrives("A", 1, 2)
    made.write(b"y")
    made.after(2000)
    assert made.events() == [transport.Failed(1, "timed_out")]


@pytest.mark.parametrize("opened", [False, True])
def test_a_source_quench_is_dropped_in_silence(opened):
    """MUST-55 (RFC 6633)."""
    server = Server(listen=opened)
    if opened:
        server.opens()
        (socket,) = server.program.accepted()
        server.program.send(socket, b"x" * 100, end=False)
    else:
        server.program.connect(bytes((10, 0, 0, 1)), 99)
    server.network.settle()
    (packet,) = server.sees()
    (connection,) = server.core.flows.values()
    before = connection.state, connection.sender.congestion.cwnd, connection.due_at
    assert server.sends(ethernet(ip(icmp.build(4, 0, bytes(4), packet[:28])))) == []
    assert before == (connection.state, connection.sender.congestion.cwnd, connection.due_at)
    assert connection.soft_cause is None
