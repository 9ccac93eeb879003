"""RFC 9293 §3.1: the checksum. See docs/rfc9293.md."""

import pytest

from pystack import transport
from pystack.wire import checksum
from tests.support.segments import answers
from tests.tcp.test_layer import Server


def right(packet):
    """Whether the TCP checksum of an IPv4 packet is, by the definition."""
    segment = packet[20:]
    return checksum.valid(segment, checksum.pseudo_header(packet[12:16], packet[16:20], 6, len(segment)))


@pytest.mark.parametrize("cookies", [1, 2])
def test_every_segment_has_its_checksum(cookies):
    """MUST-2: also those that no connection sends: of cookies, TIME-WAIT and closed ports."""
    server = Server(tcp_syncookies=cookies)
    seen = []
    server.sees = lambda sees=server.sees: [seen.append(packet) or packet for packet in sees()]
    nxt, ack = server.opens()
    (socket,) = server.program.accepted()
    server.says("PA", nxt, ack, b"odd")
    server.program.send(socket, bytes(range(256)) * 10 + b"!")
    server.network.settle()
    sent = sum(each.length + ("F" in each.flags) for each in answers(server.sees()))
    server.says("FA", nxt + 3, ack + sent)
    server.says("FA", nxt + 3, ack + sent)
    server.says("A", nxt, 5, port=81)
    server.says("F", nxt, port=81)
    flags = {each.flags for each in answers(seen)}
    assert {"SA", "A", "PA", "R", "RA"} <= flags and any("F" in each for each in flags)
    assert all(right(packet) for packet in seen if packet[9] == 6)


@pytest.mark.parametrize("state", ["listening", "established"])
@pytest.mark.parametrize("flags", ["S", "A", "PA", "FA", "RA"])
def test_a_segment_with_a_wrong_checksum_is_dropped_in_silence(state, flags):
    """MUST-3: it changes nothing, and is not answered."""
    server = Server()
    nxt, ack = server.opens() if state == "established" else (100, 0)
    before = server.core.connections()
    assert server.says(flags, nxt, ack, b"text" if flags == "PA" else b"", corrupt=True) == []
    assert server.core.connections() == before and server.drops == {"bad_checksum": 1}
    assert not any(type(event) is transport.Failed for events in server.program.events.values() for event in events)
