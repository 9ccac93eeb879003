"""Super-segments on devices that cannot cut them, and on those that can."""

from hypothesis import given
from hypothesis import strategies as st

from pystack.inet import segmentation
from pystack.packet import TxPacket
from pystack.wire import checksum, ipv4, tcp, vnet
from tests.support.frames import A, B
from tests.support.netsim import two_hosts


def super_segment(payload, size, flags=tcp.ACK | tcp.PSH | tcp.FIN | tcp.CWR, seq=0xFFFFFF00):
    packet = TxPacket(B, ipv4.TCP, tcp.build(1, 2, seq, 7, flags, 100), payload, source=A)
    packet.gso_size = size
    packet.checksum_at = tcp.CHECKSUM_AT
    packet.dont_fragment = True
    return packet


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=10), st.integers(1, 400))
def test_the_pieces_are_the_whole(buffers, size):
    """Numbers go on across 2^32; PSH and FIN are on the last alone, CWR on the first (RFC 3168 §6.1.2)."""
    whole = b"".join(buffers)
    cut = segmentation.segments(super_segment(buffers, size))
    assert b"".join(bytes(view) for packet in cut for view in packet.payload) == whole
    at = 0
    for index, packet in enumerate(cut):
        _, _, seq, ack, flags, window, _, _ = tcp.parse(packet.header, 0, len(packet.header))
        length = sum(map(len, packet.payload))
        assert (seq, ack, window) == ((0xFFFFFF00 + at) & 0xFFFFFFFF, 7, 100)
        assert bool(flags & tcp.CWR) == (index == 0)
        last = index == len(cut) - 1
        assert bool(flags & tcp.PSH) == bool(flags & tcp.FIN) == last
        assert length == size or last
        at += length


def sent_by(offload, payload=bytes(range(250)) * 20):
    """The frames that leave a host for one super-segment."""
    network = two_hosts(offload=offload)
    host = network.hosts[0]
    host.ping(B, 0.0)
    network.settle()
    packet = super_segment([payload], 1460)
    packet.source = bytes((10, 0, 0, 1))
    packet.destination = bytes((10, 0, 0, 2))
    frames = []
    device = host.layers.devices["eth0"]
    transmit = device.transmit
    device.transmit = lambda batch, now: (frames.extend(b"".join(frame) for frame in batch), transmit(batch, now))
    host.inet.transmit([packet], 0.0)
    network.settle()
    return [frame for frame in frames if len(frame) > 1000 or b"" in frame]


def test_the_segments_of_a_super_segment_are_right():
    """Each with its lengths and checksums; none larger than the MTU."""
    frames = sent_by(offload=False)
    assert [len(frame) - 64 for frame in frames] == [1460, 1460, 1460, 620]
    for frame in frames:
        packet = frame[24:]
        pseudo = checksum.pseudo_header(packet[12:16], packet[16:20], 6, len(packet) - 20)
        assert checksum.valid(packet[20:], pseudo) and checksum.valid(packet[:20])


def test_a_device_that_can_cut_gets_the_whole():
    (frame,) = sent_by(offload=True)
    flags, kind, header_length, size, start, offset = vnet.parse(frame)
    assert (flags, kind, header_length, size, start, offset) == (
        vnet.F_NEEDS_CSUM,
        vnet.GSO_TCPV4 | vnet.GSO_ECN,
        54,
        1460,
        34,
        16,
    )
    assert len(frame) == 64 + 5000


def test_a_super_segment_whose_segments_do_not_fit_is_refused_with_the_mtu():
    network = two_hosts()
    inet = network.hosts[0].inet
    packet = super_segment([bytes(5000)], 1461)
    inet.transmit([packet], 0.0)
    (message,) = inet.outboxes["tcp.control"]
    assert (message.cause, message.mtu) == ("packet_too_big", 1500)
