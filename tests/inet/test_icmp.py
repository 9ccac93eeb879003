"""ICMP in and out: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3.2."""

import struct

import pytest

from pystack import errors
from pystack.config import StackConfig
from pystack.wire import icmp, ipv4
from tests.support.frames import A, B, echo, ethernet, ip, udp
from tests.support.peer import Peer, parsed

BROADCAST_MAC = b"\xff" * 6


def quoted_error(packet):
    """(type, code, rest, quote) of the ICMP error in an IPv4 packet."""
    fields, payload = parsed(packet)
    assert fields[6] == ipv4.ICMP and fields[8] == B
    kind, code, _, rest = icmp.parse(payload, 0)
    return kind, code, rest, payload[8:]


def test_an_echo_is_answered_with_its_data_tos_and_our_ttl():
    peer = Peer()
    (reply,) = peer.sends(ethernet(ip(echo(b"x" * 100, identifier=9, sequence=4), ttl=1, tos=0x10)))
    fields, payload = parsed(reply)
    assert payload == echo(b"x" * 100, identifier=9, sequence=4, kind=icmp.ECHO_REPLY)
    assert (fields[1], fields[5], fields[8], fields[9]) == (0x10, 64, B, A)
    assert not fields[4]  # neither DF nor a fragment
    assert peer.drops == {}


def test_a_wrong_checksum_is_counted_and_not_answered():
    peer = Peer()
    wrong = bytearray(echo())
    wrong[2] ^= 1
    assert peer.sends(ethernet(ip(bytes(wrong)))) == []
    assert peer.drops == {errors.BAD_CHECKSUM: 1}


def test_a_broadcast_echo_is_ignored_unless_configured():
    everyone = bytes((10, 0, 0, 255))
    frame = ethernet(ip(echo(), destination=everyone), destination=BROADCAST_MAC)
    peer = Peer()
    assert peer.sends(frame) == []
    assert peer.drops == {errors.ECHO_IGNORED: 1}
    (reply,) = Peer(StackConfig(icmp_echo_ignore_broadcasts=False)).sends(frame)
    assert parsed(reply)[0][8] == B  # from our own address, not from the broadcast's


def test_an_unknown_protocol_is_answered():
    packet = ip(b"y" * 40, protocol=123)
    (error,) = Peer().sends(ethernet(packet))
    assert quoted_error(error) == (icmp.DESTINATION_UNREACHABLE, icmp.PROTOCOL_UNREACHABLE, bytes(4), packet)
    assert parsed(error)[0][1] == 0xC0  # precedence: internetwork control


def test_a_closed_udp_port_is_answered():
    packet = ip(udp(b"data"), protocol=ipv4.UDP)
    (error,) = Peer().sends(ethernet(packet))
    assert quoted_error(error) == (icmp.DESTINATION_UNREACHABLE, icmp.PORT_UNREACHABLE, bytes(4), packet)


def test_an_error_quotes_as_much_as_fits_in_576_bytes():
    """RFC 1812 §4.3.2.3."""
    packet = ip(b"z" * 1400, protocol=123)
    (error,) = Peer().sends(ethernet(packet))
    assert len(error) == 576
    assert quoted_error(error)[3] == packet[: 576 - 28]


@pytest.mark.parametrize(
    "frame",
    [
        ethernet(ip(b"q" * 8, protocol=123, destination=bytes((10, 0, 0, 255))), destination=BROADCAST_MAC),
        ethernet(ip(udp(), protocol=ipv4.UDP, destination=b"\xff" * 4), destination=BROADCAST_MAC),
        ethernet(ip(b"q" * 8, protocol=123, destination=bytes((224, 0, 0, 1))), destination=b"\x01\0\x5e\0\0\x01"),
        ethernet(ip(b"q" * 8, protocol=123), destination=BROADCAST_MAC),
        ethernet(ip(udp(), protocol=ipv4.UDP), destination=BROADCAST_MAC),
    ],
)
def test_no_error_about_a_broadcast_or_multicast(frame):
    """RFC 1122 §3.2.2: by its address or by the link's."""
    assert Peer().sends(frame) == []


def test_no_error_about_an_error_or_an_unknown_icmp_type():
    """RFC 1122 §3.2.2; a bad option is what would provoke one."""
    bad_option = b"\x07\x01\0\0"
    peer = Peer()
    for kind in (3, 4, 5, 11, 12, 200):
        assert peer.sends(ethernet(ip(icmp.build(kind, 0, bytes(4), bytes(28)), options=bad_option))) == []
    assert peer.drops[errors.ICMP_FORBIDDEN] == 6
    (error,) = peer.sends(ethernet(ip(echo(), options=bad_option)))
    assert quoted_error(error)[:3] == (icmp.PARAMETER_PROBLEM, 0, bytes((20, 0, 0, 0)))


def test_no_error_about_a_later_fragment():
    peer = Peer()
    assert peer.sends(ethernet(ip(b"q" * 16, protocol=123, flags_offset=2, options=b"\x07\x01\0\0"))) == []
    assert peer.drops[errors.ICMP_FORBIDDEN] == 1


def test_a_source_route_is_dropped_in_silence():
    """Linux with accept_source_route=0."""
    for kind in (ipv4.LOOSE_SOURCE_ROUTE, ipv4.STRICT_SOURCE_ROUTE):
        peer = Peer()
        assert peer.sends(ethernet(ip(echo(), options=bytes((kind, 7, 4, 10, 0, 0, 9, 0))))) == []
        assert peer.drops == {errors.SOURCE_ROUTED: 1}


def test_record_route_and_timestamp_come_back_with_us_in_them():
    """RFC 1122 §3.2.2.6."""
    record = b"\x07\x0b\x04" + bytes(8)
    stamp = b"\x44\x0c\x05\x01" + bytes(8)
    (reply,) = Peer().sends(ethernet(ip(echo(), options=ipv4.pad_options(record + stamp))))
    fields, payload = parsed(reply)
    assert fields[0] & 15 == 5 + 6
    assert reply[20:31] == b"\x07\x0b\x08" + B + bytes(4)
    assert reply[31:39] == b"\x44\x0c\x0d\x01" + B
    assert reply[39] & 0x80  # a non-standard time
    assert payload == echo(kind=icmp.ECHO_REPLY)


def test_a_timestamp_request_is_answered():
    request = icmp.build(icmp.TIMESTAMP_REQUEST, 0, b"abcd", bytes(range(12)))
    (reply,) = Peer().sends(ethernet(ip(request)))
    _, payload = parsed(reply)
    assert icmp.parse(payload, 0)[0] == icmp.TIMESTAMP_REPLY
    assert payload[4:12] == b"abcd" + bytes(range(4))


def test_errors_are_limited_per_destination_and_in_all():
    """Linux: a burst of 6 and then one a second to each; 1,000 a second with bursts of 50 to all together."""
    peer = Peer(StackConfig(icmp_msgs_burst=8))
    packet = ethernet(ip(b"q", protocol=123))
    assert sum(len(peer.sends(packet)) for _ in range(20)) == 6
    assert peer.drops[errors.ICMP_RATE_LIMITED] == 14
    peer.after(1.0)
    assert sum(len(peer.sends(packet)) for _ in range(20)) == 1
    peer.after(100.0)
    peer.introduce()
    sent = sum(
        len(peer.sends(ethernet(ip(b"q", protocol=123, source=bytes((172, 16, 0, last)))))) for last in range(1, 100)
    )
    assert sent == 8


def sent_echo(peer, destination=A, size=100, **how):
    """Let the host ping; returns the request as it left."""
    peer.host.ping(destination, peer.network.now, payload=bytes(size), **how)
    peer.network.settle()
    (request,) = peer.sees()
    return request


def icmp_error(quote, kind=icmp.DESTINATION_UNREACHABLE, code=icmp.HOST_UNREACHABLE, rest=bytes(4), source=A):
    return ethernet(ip(icmp.build(kind, code, rest, quote), source=source))


def test_an_error_about_our_echo_is_handed_up_and_others_are_not():
    peer = Peer()
    request = sent_echo(peer, bytes((192, 0, 2, 1)))
    peer.sends(icmp_error(request[:28]))
    (message,) = peer.host.echoes
    assert (message.cause, message.destination, message.reporter) == ("host_unreachable", bytes((192, 0, 2, 1)), A)
    peer.host.echoes.clear()
    other = bytearray(request[:28])
    other[27] ^= 1  # another sequence number
    not_ours = bytearray(request[:28])
    not_ours[12] ^= 1  # another source
    peer.sends(icmp_error(bytes(other)), icmp_error(bytes(not_ours)), icmp_error(ip(bytes(8), source=B, protocol=99)))
    assert peer.host.echoes == []
    assert peer.drops == {errors.ICMP_UNMATCHED: 3}


def test_a_reply_that_nobody_asked_for_is_counted():
    peer = Peer()
    peer.sends(ethernet(ip(echo(kind=icmp.ECHO_REPLY))))
    assert peer.host.echoes == []
    assert peer.drops == {errors.ICMP_UNMATCHED: 1}


def fragmentation_needed(quote, mtu):
    return icmp_error(quote, code=icmp.FRAGMENTATION_NEEDED, rest=struct.pack("!HH", 0, mtu))


def test_the_path_mtu_is_learned_used_and_aged():
    """RFC 1191 §6.3: after ten minutes the larger one is tried again."""
    far = bytes((192, 0, 2, 1))
    peer = Peer()
    request = sent_echo(peer, far, 1400, dont_fragment=True)
    assert len(request) == 1428
    peer.sends(fragmentation_needed(request[:28], 1280))
    assert peer.host.echoes[-1].mtu == 1280
    peer.host.ping(far, peer.network.now, sequence=2, payload=bytes(1400), dont_fragment=True)
    peer.network.settle()
    assert peer.sees() == []
    assert (peer.host.echoes[-1].cause, peer.host.echoes[-1].mtu) == ("packet_too_big", 1280)
    peer.host.ping(far, peer.network.now, sequence=3, payload=bytes(1400))
    peer.network.settle()
    assert [len(part) for part in peer.sees()] == [1276, 172]
    peer.after(601)
    peer.introduce()
    assert len(sent_echo(peer, far, 1400, sequence=4)) == 1428
    assert len(peer.host.inet.v4.pmtu) == 0


@pytest.mark.parametrize("mtu", [1500, 1428, 67, 1])
def test_an_implausible_path_mtu_is_not_believed(mtu):
    """It names a size at which the packet would have passed, or one that no link may have (RFC 791: 68)."""
    peer = Peer()
    request = sent_echo(peer, bytes((192, 0, 2, 1)), 1400, dont_fragment=True)
    peer.sends(fragmentation_needed(request[:28], mtu))
    assert peer.host.echoes == []
    assert len(peer.host.inet.v4.pmtu) == 0
    assert peer.drops == {errors.ICMP_UNMATCHED: 1}


def test_a_tiny_path_mtu_stops_at_the_minimum_and_turns_df_off():
    """Linux's min_pmtu of 552."""
    far = bytes((192, 0, 2, 1))
    peer = Peer()
    request = sent_echo(peer, far, 1400, dont_fragment=True)
    peer.sends(fragmentation_needed(request[:28], 100))
    peer.host.ping(far, peer.network.now, sequence=2, payload=bytes(1400), dont_fragment=True)
    peer.network.settle()
    fragments = peer.sees()
    assert [len(part) for part in fragments] == [548, 548, 372]
    assert not any(ipv4.parse(part, 0)[4] & ipv4.DONT_FRAGMENT for part in fragments)


def test_an_old_router_that_names_no_mtu_gets_the_next_plateau():
    """RFC 1191 §5."""
    peer = Peer()
    request = sent_echo(peer, bytes((192, 0, 2, 1)), 1400, dont_fragment=True)
    peer.sends(fragmentation_needed(request[:28], 0))
    assert peer.host.echoes[-1].mtu == 1006


def test_a_later_time_exceeded_for_reassembly():
    peer = Peer()
    first = ip(b"w" * 64, protocol=123, flags_offset=ipv4.MORE_FRAGMENTS, identification=5)
    assert peer.sends(ethernet(first)) == []
    assert peer.after(29.9) == []
    peer.introduce()
    (error,) = peer.after(0.2)
    kind, code, _, quote = quoted_error(error)
    assert (kind, code) == (icmp.TIME_EXCEEDED, icmp.REASSEMBLY_EXCEEDED)
    assert quote == first
    # without fragment 0 nobody is told
    later = ip(b"w" * 64, protocol=123, flags_offset=8, identification=6)
    assert peer.sends(ethernet(later)) == []
    assert peer.after(31) == []


def redirect(quote, gateway, source=A):
    return icmp_error(quote, kind=icmp.REDIRECT, code=1, rest=gateway, source=source)


FAR = bytes((192, 0, 2, 1))
OTHER_GATEWAY = bytes((10, 0, 0, 3))


def next_hop(peer, destination=FAR):
    return peer.host.inet.v4.addresses.path(destination).next_hop


def test_a_redirect_is_followed_until_its_gateway_is_dead():
    """RFC 1122 §3.2.2.2 and §3.3.1.4."""
    peer = Peer()
    request = sent_echo(peer, FAR)
    peer.sends(redirect(request[:28], OTHER_GATEWAY))
    assert next_hop(peer) == OTHER_GATEWAY
    assert next_hop(peer, bytes((192, 0, 2, 2))) == A
    peer.host.ping(FAR, peer.network.now, sequence=2)
    assert peer.after(5) == []
    assert peer.host.echoes[-1].cause == "host_unreachable"
    assert next_hop(peer) == A


@pytest.mark.parametrize(
    ("gateway", "source"),
    [
        (OTHER_GATEWAY, bytes((10, 0, 0, 9))),  # not from the gateway in use
        (A, A),  # to the gateway in use
        (B, A),  # to ourselves
        (bytes((172, 16, 0, 1)), A),  # not on the link
        (bytes((10, 0, 0, 255)), A),
        (bytes((224, 0, 0, 1)), A),
        (bytes(4), A),
    ],
)
def test_an_implausible_redirect_is_not_followed(gateway, source):
    peer = Peer()
    request = sent_echo(peer, FAR)
    peer.sends(redirect(request[:28], gateway, source))
    assert next_hop(peer) == A
    assert peer.drops == {errors.ICMP_UNMATCHED: 1}


def test_redirects_are_bounded():
    peer = Peer()
    for n in range(3000):
        quote = ip(echo(), source=B, destination=b"\xc0\0" + n.to_bytes(2, "big"))[:28]
        peer.sends(redirect(quote, OTHER_GATEWAY))
    addresses = peer.host.inet.v4.addresses
    followed = sum(addresses.path(b"\xc0\0" + n.to_bytes(2, "big")).next_hop == OTHER_GATEWAY for n in range(3000))
    assert followed == 1024


def test_an_error_about_a_packet_already_on_its_way_is_handed_up_too():
    """Two went out before the first error came; each sender is told, and the smaller claim later wins."""
    peer = Peer()
    requests = [sent_echo(peer, FAR, 1400, sequence=n, dont_fragment=True) for n in (1, 2, 3)]
    for request, mtu in zip(requests, (1300, 1300, 1400), strict=True):
        peer.sends(fragmentation_needed(request[:28], mtu))
    assert [message.mtu for message in peer.host.echoes] == [1300] * 3
    assert peer.drops == {}


def test_a_redirect_whose_quote_is_no_ipv4_packet_is_not_followed():
    peer = Peer()
    request = bytearray(sent_echo(peer, FAR)[:28])
    request[0] = 0x65
    peer.sends(redirect(bytes(request), OTHER_GATEWAY), redirect(bytes(request[:27]), OTHER_GATEWAY))
    assert next_hop(peer) == A
    assert peer.drops == {errors.TRUNCATED_ICMP: 2}
