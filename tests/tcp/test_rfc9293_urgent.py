"""RFC 9293 §3.8.5 and RFC 6093: urgent data. See docs/rfc9293.md."""

from pystack import transport
from pystack.link import segmentation
from pystack.tcp.settings import Settings
from pystack.wire import ipv4, tcp, vnet
from pystack.wire.seq import MASK
from tests.support.tcp import ISS, Sent, established, options

MSS = 1460
LARGE = {"opts": options(mss=MSS, window_scale=7, sack_permitted=True), "window": 0xFFFF}


def segments(packet):
    """The TCP headers of the segments that a super-segment is cut into."""
    below = vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_TCPV4, 0, packet.gso_size, 34, tcp.CHECKSUM_AT) + bytes(14)
    below += ipv4.build(packet.source, packet.destination, ipv4.TCP, 20)
    return [
        bytes(headers[44:])
        for headers, *_ in segmentation.segments((below + packet.header, *packet.payload), packet.gso_size, True)
    ]


def pointers(made):
    """Where each segment that was just sent points as the wire has it, from our first byte on; None without URG."""
    found = []
    for packet in made.packets:
        for header in segments(packet) if packet.gso_size else [bytes(packet.header)]:
            _, _, seq, _, flags, _, urgent, _ = tcp.parse(header, 0, len(header))
            found.append((seq + urgent - ISS - 1 & MASK) if flags & tcp.URG else None)
    return found


def urgent_events(made):
    return [event for event in made.events() if type(event) is transport.UrgentReceived]


# -- sent -------------------------------------------------------------------------------------------------------------


def test_the_pointer_is_to_the_octet_behind_the_urgent_ones():
    """MUST-30, MUST-62 (RFC 6093 §2 is about what everybody, Linux too, takes the last urgent octet for)."""
    made = established()
    assert made.write(b"abc", True) == [Sent("PAU", 1, 1, 3)]
    assert pointers(made) == [3]


def test_urgent_data_is_sent_at_once_whatever_nagle_says():
    """As Linux, whose tcp_nagle_check is not asked in urgent mode."""
    made = established()
    made.write(b"a")
    assert made.write(b"b") == []
    assert made.write(b"!", True) == [Sent("PAU", 2, 1, 2)]


def test_all_that_is_before_the_urgent_data_says_where_it_is():
    """MUST-31, MUST-62: every segment on the wire points at the same place, however they were put together."""
    made = established(**LARGE)
    made.write(bytes(8 * MSS), True)
    assert pointers(made) == [8 * MSS] * 8


def test_a_pointer_that_is_too_far_for_its_field_is_the_farthest():
    """RFC 6093 §3.1, Linux's tcp_transmit_skb: 65,535 while the end is farther than that."""
    made = established(**LARGE)
    made.connection.sender.congestion.cwnd = 100 * MSS
    made.does("set_option", "send_buffer", 1 << 20)
    made.write(bytes(60 * MSS), True)
    found = pointers(made)
    assert found[0] == 0xFFFF and found[-1] == 60 * MSS and None not in found
    assert sorted(found) == found and max(found) == 60 * MSS


def test_no_segment_is_urgent_once_the_urgent_data_is_acknowledged():
    made = established()
    made.write(b"abc", True)
    made.arrives("A", 1, 4)
    assert made.write(b"d") == [Sent("PA", 4, 1, 1)]
    assert pointers(made) == [None]


def test_data_behind_the_urgent_data_has_no_pointer():
    made = established()
    made.does("set_option", "nodelay", True)
    made.write(b"abc", True)
    made.write(b"def")
    assert pointers(made) == [None]


def test_a_retransmission_points_at_the_same_place():
    made = established()
    made.write(b"abc", True)
    sent = made.after(1.5)
    assert sent[-1][1].flags == "PAU" and pointers(made) == [3]


def test_newer_urgent_data_takes_the_place_of_older():
    """SND.UP is one number: what was urgent before is urgent still, as all of it is before the mark."""
    made = established()
    made.does("set_option", "nodelay", True)
    made.write(b"abc", True)
    made.write(b"def", True)
    assert pointers(made) == [6]


# -- received ---------------------------------------------------------------------------------------------------------


def test_urgent_data_of_any_length_is_told_of_with_its_place():
    """MUST-31, MUST-32, MUST-33: the last octet is handed up by itself, and all before it is the stream, as on Linux:
    the mark says how much of that there is still to read."""
    made = established()
    made.arrives("PAU", 1, 1, b"x" * 999 + b"!", urgent=1000)
    assert made.events() == [
        transport.Received(1, [b"x" * 999]),
        transport.UrgentReceived(1, ord("!"), 999),
    ]


def test_the_pointer_may_be_far_ahead_of_its_text():
    """MUST-31: what is urgent may be longer than a segment, and than a window."""
    made = established()
    seq = 1
    for _ in range(100):
        made.arrives("AU", seq, 1, b"x" * 1000, urgent=min(100_001 - seq, 0xFFFF))
        made.does("consumed", 1000)
        seq += 1000
    assert urgent_events(made) == [transport.UrgentReceived(1, ord("x"), 99_999)]


def test_the_urgent_octet_is_told_of_once():
    made = established()
    segment = ("PAU", 1, 1, b"abc")
    made.arrives(*segment, urgent=3)
    assert len(urgent_events(made)) == 1
    made.arrives(*segment, urgent=3)
    assert made.events() == []


def test_urgent_data_in_line():
    """SO_OOBINLINE: it stays in the stream, and there is no event."""
    made = established(settings=Settings(urgent_inline=True))
    made.arrives("PAU", 1, 1, b"abc", urgent=3)
    assert made.received() == b"abc"


def test_a_pointer_without_urg_means_nothing():
    made = established()
    made.arrives("PA", 1, 1, b"abc", urgent=2)
    assert made.received() == b"abc"


def test_urg_after_the_end_of_the_stream_means_nothing():
    """RFC 9293 §3.10.7.4, sixth: ignored in CLOSE-WAIT and later."""
    made = established()
    made.arrives("FA", 1, 1)
    made.events()
    made.arrives("PAU", 2, 1, b"abc", urgent=3)
    assert made.events() == [] and made.state == "CLOSE-WAIT"
