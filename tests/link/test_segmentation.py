"""`link.segmentation`: the frames for a super-segment on a device that cannot cut it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import messages
from pystack.device import memory
from pystack.layers import Interface
from pystack.link.segmentation import segments
from pystack.packet import TxPacket
from pystack.wire import checksum, ethernet, ipv4, ipv6, tcp, vnet
from tests.support.frames import A, B
from tests.support.netsim import Host

SIX = bytes(15) + b"\x01", bytes(15) + b"\x02"
MARKED = tcp.ACK | tcp.PSH | tcp.FIN | tcp.CWR
SEQ = 0xFFFFFF00


def super_frame(payload, size, *, six=False, options=b"", dont_fragment=True, identification=0xFFFE, flags=MARKED):
    """As `inet` and `link` have it for a device that cuts."""
    source, destination = SIX if six else (A, B)
    length = 20 + sum(map(len, payload))
    segment = tcp.build(1, 2, SEQ, 7, flags, 100)
    sum_ = checksum.pseudo_header(source, destination, ipv4.TCP, length)
    segment[tcp.CHECKSUM_AT : tcp.CHECKSUM_AT + 2] = sum_.to_bytes(2, "big")
    if six:
        ip = ipv6.build(source, destination, ipv4.TCP, length, hop_limit=9, traffic_class=0xBA)
    else:
        fields = {"flags_offset": ipv4.DONT_FRAGMENT} if dont_fragment else {"identification": identification}
        whole = 20 + len(options) + length
        ip = ipv4.build(source, destination, ipv4.TCP, whole, ttl=9, tos=0xBA, options=options, **fields)
    link = ethernet.build(b"\x02" * 6, b"\x04" * 6, ethernet.IPV6 if six else ethernet.IPV4)
    start = len(link) + len(ip)
    kind = vnet.GSO_TCPV6 if six else vnet.GSO_TCPV4
    head = vnet.build(vnet.F_NEEDS_CSUM, kind | vnet.GSO_ECN, start + 20, size, start, tcp.CHECKSUM_AT)
    return (head + link + ip + bytes(segment), *payload)


def ip_of(frame):
    """``(IP header, TCP segment, pseudo-header's sum)`` of a joined frame; its lengths are right."""
    packet = frame[24:]
    if packet[0] >> 4 == 6:
        assert int.from_bytes(packet[4:6], "big") == len(packet) - 40
        return packet[:40], packet[40:], checksum.pseudo_header(*SIX, ipv4.TCP, len(packet) - 40)
    at = (packet[0] & 15) * 4
    assert int.from_bytes(packet[2:4], "big") == len(packet) and checksum.valid(packet[:at])
    return packet[:at], packet[at:], checksum.pseudo_header(A, B, ipv4.TCP, len(packet) - at)


@given(
    st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=10),
    st.integers(1, 400),
    st.sampled_from(({}, {"six": True}, {"options": b"\x01" * 4}, {"options": b"\x01" * 20, "dont_fragment": False})),
    st.booleans(),
)
def test_the_pieces_are_the_whole(buffers, size, how, offload):
    """Numbers go on across 2^32; PSH and FIN are on the last alone, CWR on the first (RFC 3168 §6.1.2)."""
    whole = super_frame(buffers, size, **how)
    cut = [b"".join(frame) for frame in segments(whole, size, offload)]
    text = b""
    for index, frame in enumerate(cut):
        ip, segment, pseudo = ip_of(frame)
        _, _, seq, ack, flags, window, _, at = tcp.parse(segment, 0, len(segment))
        last = index == len(cut) - 1
        assert (seq, ack, window) == ((SEQ + len(text)) & 0xFFFFFFFF, 7, 100)
        assert bool(flags & tcp.CWR) == (index == 0)
        assert bool(flags & tcp.PSH) == bool(flags & tcp.FIN) == last
        assert len(segment) - at == size or last
        assert frame[10:24] == whole[0][10:24]
        fixed = slice(0, 4) if how.get("six") else slice(0, 2)  # version, and the class of traffic
        assert ip[fixed] == whole[0][24:][fixed] and ip[7 if how.get("six") else 8] == 9
        if offload:
            start = 14 + len(ip)
            assert vnet.parse(frame) == (vnet.F_NEEDS_CSUM, vnet.GSO_NONE, 0, 0, start, tcp.CHECKSUM_AT)
            frame = vnet.complete_checksum(frame)
        assert frame[:10] == vnet.ZERO
        assert checksum.valid(frame[24 + len(ip) :], pseudo)
        text += segment[at:]
    assert text == b"".join(buffers)


def identifications(cut):
    return [int.from_bytes(headers[28:30], "big") for headers, *_ in cut]


@pytest.mark.parametrize("offload", [True, False])
def test_each_segment_that_may_be_fragmented_has_an_identification_of_its_own(offload):
    """RFC 6864 §4.1, §4.3: with DF there is none to tell, without it no two are the same."""
    assert identifications(segments(super_frame([bytes(5000)], 1460), 1460, offload)) == [0, 0, 0, 0]
    cut = segments(super_frame([bytes(5000)], 1460, dont_fragment=False), 1460, offload)
    assert identifications(cut) == [0xFFFE, 0xFFFF, 0, 1]


def test_the_payload_is_not_copied():
    buffers = [bytearray(2000), bytes(3000)]
    cut = segments(super_frame(buffers, 1460), 1460, True)
    assert {id(view.obj) for _, *views in cut for view in views} == {id(buffer) for buffer in buffers}


def left_by(device, **fields):
    """What a host whose neighbour is known puts to its device for a super-segment of 5,000 bytes."""
    host = Host([Interface(device=device, addresses=["10.0.0.1/24"])])
    packet = TxPacket(B, ipv4.TCP, tcp.build(1, 2, SEQ, 7, tcp.ACK, 100), [bytes(5000)], source=A)
    packet.gso_size, packet.checksum_at, packet.dont_fragment = 1460, tcp.CHECKSUM_AT, True
    host.inet.transmit([packet], 0.0)
    link = host.layers.cores["eth0"]
    link.transmit(host.inet.outboxes["eth0"], 0.0)
    link.outboxes["device"].clear()  # the question for the neighbour
    link.control([messages.NeighborHeard(B, b"\x02" * 6)], 0.0)
    return link


def test_a_device_that_completes_checksums_alone_gets_segments():
    """As an impaired TAP."""
    left, right = memory.pair()
    right.segment_offload_allowed = False
    link = left_by(left)
    frames = [b"".join(frame) for frame in link.outboxes["device"]]
    assert [len(frame) - 64 for frame in frames] == [1460, 1460, 1460, 620]
    assert {vnet.parse(frame)[:2] for frame in frames} == {(vnet.F_NEEDS_CSUM, vnet.GSO_NONE)}
    assert link.counts["OutPackets"] == 4


def test_a_device_without_any_offload_gets_finished_segments():
    frames = [b"".join(frame) for frame in left_by(memory.pair(offload=False)[0]).outboxes["device"]]
    assert len(frames) == 4
    for frame in frames:
        _, segment, pseudo = ip_of(frame)
        assert frame[:10] == vnet.ZERO and checksum.valid(segment, pseudo)


def test_a_device_that_cuts_gets_the_whole():
    (frame,) = left_by(memory.pair()[0]).outboxes["device"]
    assert len(b"".join(frame)) == 64 + 5000
