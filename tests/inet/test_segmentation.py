"""What inet does with super-segments; tests/link/test_segmentation.py has how they are cut."""

from hypothesis import given
from hypothesis import strategies as st

from pystack import messages
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


def sends(inet, *buffers, size=1460, options=b"", **fields):
    """The link's TxPackets for one super-segment from 10.0.0.1 to 10.0.0.2, without the queue in between."""
    packet = super_segment(list(buffers), size)
    packet.source, packet.destination, packet.options = A, B, options
    for name, value in fields.items():
        setattr(packet, name, value)
    inet.transmit([packet], 0.0)
    sent, inet.outboxes["eth0"] = inet.outboxes["eth0"], []
    return sent


def identifications(packets):
    return [int.from_bytes(packet.header[4:6], "big") for packet in packets]


@given(st.integers(1461, 60_000))
def test_the_identifications_that_the_segments_will_have_are_not_given_again(length):
    """Who cuts it counts on from the super-segment's (Linux's ip_select_ident_segs)."""
    inet = two_hosts(offload=True).hosts[0].inet
    (first,) = identifications(sends(inet, bytes(length), dont_fragment=False))
    (after,) = identifications(sends(inet, bytes(500), dont_fragment=False))
    assert (after - first) & 0xFFFF == -(-length // 1460)


def test_a_packet_that_fits_is_an_ordinary_one_whatever_its_gso_size():
    for offload in (True, False):
        inet = two_hosts(offload=offload).hosts[0].inet
        (packet,) = sends(inet, bytes(1460))
        assert packet.gso_size == 0
        assert packet.vnet is None if not offload else vnet.parse(packet.vnet)[1:4] == (vnet.GSO_NONE, 0, 0)


def test_a_super_segment_may_be_as_long_as_ip_can_tell_and_no_longer():
    inet = two_hosts(offload=True).hosts[0].inet
    (packet,) = sends(inet, bytes(65535 - 40))
    assert packet.header[2:4] == b"\xff\xff"
    assert sends(inet, bytes(65535 - 39)) == []
    (message,) = inet.outboxes["tcp.control"]
    assert (message.cause, message.mtu) == ("packet_too_big", 1500)


def test_a_device_is_told_of_ecn_only_where_the_first_segment_has_cwr():
    """Linux's SKB_GSO_TCP_ECN."""
    inet = two_hosts(offload=True).hosts[0].inet
    (packet,) = sends(inet, bytes(5000), header=tcp.build(1, 2, 3, 4, tcp.ACK, 5))
    assert vnet.parse(packet.vnet)[1] == vnet.GSO_TCPV4


def test_when_the_path_shrinks_each_super_segment_is_refused_once():
    """RFC 1191 §6.4: the transport must know, so that it cuts anew; nothing leaves."""
    for offload in (True, False):
        inet = two_hosts(offload=offload).hosts[0].inet
        inet.control([messages.PmtuChanged(B, 1000)], 0.0)
        assert sends(inet, bytes(5000)) == []
        (message,) = inet.outboxes["tcp.control"]
        assert (message.cause, message.protocol, message.mtu) == ("packet_too_big", ipv4.TCP, 1000)
        assert (message.source, message.destination, message.quoted[:8]) == (
            A,
            B,
            bytes((0, 1, 0, 2, 255, 255, 255, 0)),
        )
        assert sends(inet, bytes(5000), size=960) != []


class Taking:
    """In the place of a core: keeps what it receives."""

    def __init__(self, core):
        self.taken = []
        self._core = core

    def receive(self, batch, now):
        self.taken += batch

    def __getattr__(self, name):
        return getattr(self._core, name)


def test_a_received_super_segment_comes_up_whole():
    """Linux's GRO and a virtual machine's neighbour give such: one packet, its gso_size, its checksum unfinished."""
    network = two_hosts(offload=True)
    left, right = network.hosts
    taking = right.layers.cores["tcp"] = Taking(right.layers.cores["tcp"])
    payload = bytes(range(256)) * 255
    packet = super_segment([payload], 1460)
    packet.source, packet.destination = A, B
    left.inet.transmit([packet], network.now)
    network.settle()
    (up,) = taking.taken
    assert (up.gso_size, up.checksum_trusted, up.source, up.destination) == (1460, True, A, B)
    assert up.buf[up.at + 20 : up.end] == payload
    assert left.drops() == right.drops() == {}


def test_to_ourselves_a_super_segment_goes_whole():
    """The loopback device has an MTU of 65,536, so that it needs no cutting at all."""
    host = two_hosts().hosts[0]
    packet = super_segment([bytes(60_000)], 1460)
    packet.source = packet.destination = A
    host.inet.transmit([packet], 0.0)
    (sent,) = host.inet.outboxes["lo"]
    assert sent.gso_size == 0 and sum(map(len, sent.payload)) == 60_000
