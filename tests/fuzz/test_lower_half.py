"""Mutated frames through a whole stack: nothing raises, nothing grows, nothing is lost without a reason.

``PYSTACK_FUZZ_FRAMES`` sets how many; the default is the short form for every run.
"""

import os
import sys
from pathlib import Path
from random import Random

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.device import memory
from pystack.layers import Interface
from pystack.wire import arp, ipv4, tcp, vnet
from tests.support.accounts import assert_every_frame_is_accounted_for
from tests.support.frames import MAC_A, MAC_B, VNET, A, B, echo, ethernet, ip, udp
from tests.support.mutate import mutated, repair
from tests.support.netsim import Host
from tests.support.peer import Peer

FRAMES = int(os.environ.get("PYSTACK_FUZZ_FRAMES", "30000"))
BATCH = 50
GROUP = bytes((239, 1, 2, 3))
CORPUS = Path(__file__).parent / "kernel.pcap"  # an exchange between a Linux kernel and a stack at 10.0.0.2


def corpus():
    """Frames recorded from a kernel, and some that it would not send unasked."""
    frames = [VNET + bytes(frame) for _, frame in dpkt.pcap.Reader(CORPUS.open("rb"))]
    fragment = {"identification": 7, "protocol": 99}
    frames += [
        ethernet(arp.build(arp.REQUEST, MAC_A, A, bytes(6), B), ethertype=0x0806, destination=b"\xff" * 6),
        ethernet(arp.build(arp.REPLY, MAC_A, A, MAC_B, B), ethertype=0x0806),
        ethernet(ip(echo(b"x" * 56))),
        ethernet(ip(echo(b"x" * 56), options=b"\x07\x0b\x04" + bytes(9))),
        ethernet(ip(echo(b"x" * 56), options=b"\x44\x0c\x05\x01" + bytes(8))),
        ethernet(ip(echo(), destination=bytes((10, 0, 0, 255))), destination=b"\xff" * 6),
        ethernet(ip(udp(b"data"), protocol=ipv4.UDP)),
        ethernet(ip(b"a" * 64, flags_offset=ipv4.MORE_FRAGMENTS, **fragment)),
        ethernet(ip(b"b" * 64, flags_offset=ipv4.MORE_FRAGMENTS | 8, **fragment)),
        ethernet(ip(b"c" * 10, flags_offset=16, **fragment)),
        ethernet(ip(bytes((3, 4, 0, 0, 0, 0, 5, 0)) + ip(echo(), source=B, destination=A)[:28])),
        ethernet(ip(bytes((11, 0, 0, 0, 0, 0, 0, 0)) + ip(echo(), source=B, destination=A)[:28])),
        ethernet(ip(bytes((5, 1, 0, 0, 10, 0, 0, 3)) + ip(echo(), source=B, destination=A)[:28])),
        ethernet(
            ip(bytes((0x11, 50, 0, 0)) + GROUP + bytes(4), protocol=ipv4.IGMP, destination=GROUP, ttl=1),
            destination=igmp_mac(),
        ),
    ]
    return frames


def run(random):
    """Three TCP segments, or super-segments, that are joined, unless one of them is damaged."""
    made = []
    head = random.choice((vnet.ZERO, vnet.build(vnet.F_DATA_VALID, vnet.GSO_TCPV4, 54, 50)))
    for number in range(3):
        segment = bytes(tcp.build(1, 2, 100 * number, 5, tcp.ACK, 100)) + bytes(100)
        frame = bytearray(ethernet(ip(segment, protocol=ipv4.TCP)))
        repair(frame)
        made.append(head + bytes(frame)[vnet.SIZE :])
    if random.random() < 0.5:
        made[random.randrange(3)] = mutated(made, random)
    return made


def igmp_mac():
    """The link-layer address of GROUP."""
    return b"\x01\x00\x5e" + GROUP[1:]


def held(host):
    """What the host's tables hold: (neighbours, path MTUs)."""
    return len(host.link().neighbors()), len(host.inet.v4.pmtu)


def test_mutated_frames_do_no_harm():
    random = Random(20)
    frames = corpus()
    peer = Peer()
    network, host = peer.network, peer.host
    host.inet.interfaces[2].membership.join(GROUP, 0.0)
    blocks = 0
    link = host.link()
    before = link.counts["InFrames"]
    for done in range(0, FRAMES, BATCH):
        peer.sends(*(mutated(frames, random) for _ in range(BATCH - 3)), *run(random))
        host.echoes.clear()
        host.events.clear()
        network.run_for(random.choice((0.0, 0.001, 0.01, 1.0)))
        peer.frames()
        if done // BATCH == FRAMES // BATCH // 2:
            blocks = sys.getallocatedblocks()
    assert link.counts["InFrames"] - before == FRAMES and link.counts["Joined"] > FRAMES // BATCH
    assert_every_frame_is_accounted_for(host)
    neighbors, paths = held(host)
    assert neighbors <= 1024 and paths <= 4096
    network.run_for(120)  # every assembly and every probe has timed out
    peer.frames()
    peer.introduce()
    assert sys.getallocatedblocks() - blocks < 50_000
    assert len(peer.sends(ethernet(ip(echo())))) == 1


@pytest.mark.parametrize("prefix", [b"", VNET + MAC_B + MAC_A + b"\x08\x00", VNET + MAC_B + MAC_A + b"\x08\x06"])
def test_arbitrary_bytes_do_no_harm(prefix):
    wire, device = memory.pair(offload=False, macs=(MAC_A, MAC_B))
    wire.open()
    host = Host([Interface(device=device, addresses=["10.0.0.2/24"])])

    @given(st.lists(st.binary(max_size=200), max_size=5))
    def check(frames):
        wire.transmit([(prefix + frame,) for frame in frames], 0.0)
        for _ in range(20):
            if not host.turn(0.0):
                break
        while wire.receive(0.0):
            pass

    check()
