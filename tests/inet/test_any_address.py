"""An interface that takes every unicast address for the host's own (AnyIP)."""

import pytest

from pystack import errors, messages
from pystack.device import memory
from pystack.layers import Interface
from pystack.wire import icmp, ipv4
from tests.support.frames import A, B, echo, ethernet, ip, udp
from tests.support.netsim import Host
from tests.support.peer import Peer, parsed

FAR = bytes((192, 0, 2, 9))
NOBODYS = [bytes((10, 0, 0, 255)), bytes((224, 0, 0, 7)), bytes((255,) * 4), bytes((127, 0, 0, 1)), bytes((0, 0, 0, 1))]


def inet(accepts_any=True):
    device = memory.pair()[1]
    return Host([Interface(device=device, addresses=["10.0.0.2/24"], accepts_any=accepts_any)]).inet


def test_every_unicast_address_is_ours_where_that_is_asked_for():
    assert inet().is_local(FAR) and inet().is_local(B)
    assert not inet(accepts_any=False).is_local(FAR)
    layer = inet()
    states = layer.v4.addresses
    eth0 = next(state for state in layer.interfaces.values() if state.name == "eth0")
    assert states.is_local(FAR, eth0) and states.is_local(B, eth0)
    assert [states.is_local(address, eth0) for address in NOBODYS] == [False] * len(NOBODYS)
    lo = next(state for state in layer.interfaces.values() if state.loopback)
    assert not states.is_local(FAR, lo)


def test_a_path_goes_by_the_routes_all_the_same():
    """What is sent to an address is not for this host."""
    facts = inet().path(A, 0, FAR)
    assert (facts.source, facts.kind) == (FAR, messages.UNICAST)


@pytest.mark.parametrize("destination", [B, FAR])
def test_answers_and_errors_come_from_the_address_that_was_meant(destination):
    peer = Peer(accepts_any=True)
    (reply,) = peer.sends(ethernet(ip(echo(b"x"), destination=destination)))
    assert parsed(reply)[0][8:] == (destination, A)
    packet = ip(udp(b"data"), protocol=ipv4.UDP, destination=destination)
    (error,) = peer.sends(ethernet(packet))
    fields, payload = parsed(error)
    assert fields[8:] == (destination, A)
    assert icmp.parse(payload, 0)[:2] == (icmp.DESTINATION_UNREACHABLE, icmp.PORT_UNREACHABLE)
    assert payload[8:] == packet


def test_echoes_to_others_are_relayed_and_ours_answered():
    peer = Peer(accepts_any=True)
    core = peer.host.inet
    core.relay_echoes("echoes")
    assert peer.sends(ethernet(ip(echo(b"x"), destination=FAR))) == []
    (relayed,) = core.outboxes["echoes"]
    assert (relayed.destination, bytes(relayed.buf[relayed.at : relayed.end])) == (FAR, echo(b"x"))
    assert len(peer.sends(ethernet(ip(echo(b"x"))))) == 1
    broadcast = ethernet(ip(echo(), destination=bytes((10, 0, 0, 255))), destination=b"\xff" * 6)
    assert peer.sends(broadcast) == []
    assert peer.drops == {errors.ECHO_IGNORED: 1} and len(core.outboxes["echoes"]) == 1
