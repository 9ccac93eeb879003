"""What IPv6 takes and what it drops (RFC 8200), its extension headers, fragments both ways, scopes."""

import struct
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import errors, messages
from pystack.device import memory
from pystack.inet import ipv6 as ip_core
from pystack.layers import Interface
from pystack.packet import TxPacket
from pystack.scope import scoped
from pystack.wire import icmp6, ipv6, ndp
from tests.support.frames import MAC_A, MAC_B
from tests.support.frames6 import (
    A6,
    ALL_NODES,
    B6,
    FAR6,
    LINK_A,
    LINK_B,
    address,
    destination_options,
    discovery,
    echo6,
    fragment,
    frame6,
    hop_by_hop,
    ip6,
    option,
    options,
    pieces,
    ping6,
    routing,
    udp6,
)
from tests.support.netsim import Host, Network
from tests.support.peer6 import ETH0, NEAR_A, Peer6, config6, icmp_in, parsed6

PAD1 = b"\0"
SKIPPED, DROPPED, ANSWERED, ANSWERED_TO_ONE = 0x1E, 0x5E, 0x9E, 0xDE  # unknown options, by their two high bits
UDP = 17
GROUP = address("ff02::1:2:3")


def problem(answers):
    """(code, pointer) of the one Parameter Problem among *answers*, or None of none."""
    if not answers:
        return None
    (answer,) = answers
    message = icmp_in(answer)
    assert message.kind == icmp6.PARAMETER_PROBLEM
    return message.code, int.from_bytes(message.rest, "big")


def is_pong(answers):
    """Whether there is one answer, an echo reply."""
    return [icmp_in(answer).kind for answer in answers] == [icmp6.ECHO_REPLY]


# -- the fixed header --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (ping6()[:39], errors.TRUNCATED_HEADER),
        (b"\x50" + ping6()[1:], errors.NOT_IP),
        (ping6(payload_length=14), errors.BAD_TOTAL_LENGTH),
        (ping6(payload_length=7), errors.TRUNCATED_ICMP),
        (ping6(payload_length=0), errors.TRUNCATED_ICMP),
        (ping6(destination=address("fd77::77")), errors.NOT_OURS),
        (ping6(destination=ipv6.LOOPBACK), errors.NOT_OURS),
        (ping6(destination=ipv6.UNSPECIFIED), errors.NOT_OURS),
        (ping6(destination=address("::ffff:10.0.0.2")), errors.NOT_OURS),
        (ping6(destination=GROUP), errors.NOT_A_MEMBER),
        (ping6(destination=address("ff01::1")), errors.NOT_A_MEMBER),
        (ping6(destination=address("ff00::1")), errors.NOT_A_MEMBER),
        (ping6(source=ipv6.LOOPBACK), errors.MARTIAN_SOURCE),
        (ping6(source=address("ff02::1")), errors.MARTIAN_SOURCE),
        (ping6(source=address("::ffff:10.0.0.1")), errors.MARTIAN_SOURCE),
        (ping6(source=B6), errors.MARTIAN_SOURCE),
        (ping6(source=LINK_B), errors.MARTIAN_SOURCE),
        (ping6(source=ipv6.UNSPECIFIED), errors.MARTIAN_SOURCE),
        (ping6(source=ipv6.UNSPECIFIED, destination=ALL_NODES), errors.MARTIAN_SOURCE),
        (ip6(udp6(source=ipv6.UNSPECIFIED), source=ipv6.UNSPECIFIED, protocol=UDP), errors.MARTIAN_SOURCE),
    ],
)
def test_a_bad_packet_is_dropped_for_its_reason_and_not_answered(packet, reason):
    peer = Peer6()
    assert peer.sends(packet) == []
    assert peer.drops == {reason: 1}
    assert is_pong(peer.sends(ping6()))


def test_who_has_no_address_is_not_answered_behind_extension_headers_either():
    """RFC 4291 §2.5.2."""
    peer = Peer6()
    datagram = udp6(source=ipv6.UNSPECIFIED)
    for headers in ((hop_by_hop(),), (destination_options(),), (fragment(0, False),)):
        assert peer.sends(ip6(datagram, source=ipv6.UNSPECIFIED, protocol=UDP, headers=headers)) == []
    assert peer.sends(ip6(bytes(8), source=ipv6.UNSPECIFIED, protocol=200)) == []
    assert peer.drops == {errors.MARTIAN_SOURCE: 4}


def test_link_padding_is_no_part_of_the_packet():
    (reply,) = Peer6().sends(ping6(b"") + bytes(18))
    assert len(reply) == 48


@pytest.mark.parametrize("hop_limit", [0, 1, 255])
def test_a_host_takes_any_hop_limit(hop_limit):
    assert is_pong(Peer6().sends(ping6(hop_limit=hop_limit)))


def test_without_ipv6_a_packet_is_none_of_ours():
    peer = Peer6(config6(disable_ipv6=True), addresses=("10.0.0.2/24",), gateway=None, quiet=False)
    assert peer.sends(ping6(), ping6(destination=ALL_NODES)) == []
    assert peer.after(10) == [] and peer.drops == {errors.NOT_IP: 2}


def test_hop_limits_of_what_is_sent():
    """RFC 4861 §6.3.2 for what a router may say; RFC 8200 has no default."""
    peer = Peer6()
    (packet,) = peer.pings(A6)
    assert parsed6(packet).hop_limit == 64
    (packet,) = peer.pings(A6, ttl=3)
    assert parsed6(packet).hop_limit == 3
    (packet,) = peer.pings(ALL_NODES)
    assert parsed6(packet).hop_limit == 1
    (packet,) = Peer6(config6(hop_limit=99)).pings(A6)
    assert parsed6(packet).hop_limit == 99


# -- extension headers -------------------------------------------------------------------------------------------------


HARMLESS = {
    "destination": destination_options(option(SKIPPED, b"abc")),
    "routing": routing(0, 0, bytes(20)),
    "unknown routing": routing(253, 0),
    "atomic": fragment(0, False, 9),
}


@pytest.mark.parametrize("names", [order for n in range(5) for order in permutations(HARMLESS, n)])
@pytest.mark.parametrize("first", [(), (hop_by_hop(option(SKIPPED)),)])
def test_extension_headers_are_taken_in_any_order(first, names):
    """RFC 8200 §4.1: "must accept and attempt to process extension headers in any order"."""
    peer = Peer6()
    assert is_pong(peer.sends(ping6(headers=(*first, *(HARMLESS[name] for name in names)))))
    assert peer.drops == {}


def test_a_header_may_occur_many_times():
    assert is_pong(Peer6().sends(ping6(headers=(destination_options(),) * 100)))


@pytest.mark.parametrize("before", HARMLESS)
def test_hop_by_hop_options_are_first_or_nowhere(before):
    """RFC 8200 §4.3: else it is an unknown Next Header, also where the fragment header before it has gone."""
    peer = Peer6()
    answers = peer.sends(ping6(headers=(HARMLESS[before], hop_by_hop())))
    assert problem(answers) == (icmp6.UNKNOWN_NEXT_HEADER, 40)
    assert peer.drops == {errors.UNKNOWN_PROTOCOL: 1}


def test_hop_by_hop_options_in_fragments_are_not_first():
    peer = Peer6()
    inner = bytes((ipv6.ICMPV6,)) + hop_by_hop()[1][1:] + echo6(bytes(32))
    answers = peer.sends(*pieces(inner, 24, protocol=ipv6.HOP_BY_HOP))
    assert problem(answers) == (icmp6.UNKNOWN_NEXT_HEADER, 6)


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 253, 255])
def test_a_routing_header_with_segments_left_is_refused_whatever_its_type(kind):
    """RFC 8200 §4.4, RFC 5095: the pointer is at the Routing Type."""
    peer = Peer6()
    via = bytes(4) + FAR6
    for headers, at in (((routing(kind, 1, via),), 40), ((destination_options(), routing(kind, 1, via)), 48)):
        assert problem(peer.sends(ping6(headers=headers))) == (icmp6.ERRONEOUS_FIELD, at + 2)
    assert peer.sends(ping6(destination=ALL_NODES, headers=(routing(kind, 1, via),))) == []
    assert peer.drops == {errors.SOURCE_ROUTED: 3, errors.ICMP_FORBIDDEN: 1}


@pytest.mark.parametrize("make", [hop_by_hop, destination_options])
@pytest.mark.parametrize(
    ("kind", "to_us", "to_group"),
    [(SKIPPED, "pong", "pong"), (DROPPED, None, None), (ANSWERED, 43, 43), (ANSWERED_TO_ONE, 43, None)],
)
def test_an_unknown_option_is_treated_by_its_two_high_bits(make, kind, to_us, to_group):
    """RFC 8200 §4.2; the pointer is at the option type."""
    for destination, expected in ((B6, to_us), (ALL_NODES, to_group)):
        peer = Peer6()
        answers = peer.sends(ping6(destination=destination, headers=(make(PAD1, option(kind, b"x")),)))
        if expected == "pong":
            assert is_pong(answers) and peer.drops == {}
        else:
            assert problem(answers) == (expected and (icmp6.UNKNOWN_OPTION, expected))
            assert peer.drops[errors.BAD_OPTION] == 1


def test_the_problem_of_a_group_is_told_from_our_own_address():
    """RFC 4443 §2.2."""
    (answer,) = Peer6().sends(ping6(destination=ALL_NODES, headers=(hop_by_hop(option(ANSWERED)),)))
    assert (parsed6(answer).source, parsed6(answer).destination) == (B6, A6)


@pytest.mark.parametrize(
    "body, taken",
    [
        (PAD1 * 6, True),
        (PAD1 * 7 + option(SKIPPED, bytes(5)), True),
        (PAD1 * 8 + option(SKIPPED, bytes(4)), False),
        (option(ipv6.PADN, bytes(4)), True),
        (option(ipv6.PADN, bytes(5)) + option(SKIPPED, bytes(5)), True),
        (option(ipv6.PADN, bytes(6)) + option(SKIPPED, bytes(4)), False),
        (PAD1 + option(ipv6.PADN, bytes(5)) + option(SKIPPED, bytes(4)), False),
        (option(ipv6.PADN, b"\0\0\0\1"), False),
        (option(SKIPPED) + PAD1 * 7 + option(SKIPPED, bytes(3)), True),
        (option(SKIPPED) + PAD1 * 8 + option(SKIPPED, bytes(2)), False),
    ],
)
def test_padding_is_short_and_zero(body, taken):
    """Linux's ip6_parse_tlv, RFC 4942 §2.1.9.5: at most 7 bytes in a row, and no room for a message."""
    peer = Peer6()
    short = -(len(body) + 2) % 8
    header = destination_options(body + bytes(short), fill=False)
    assert is_pong(peer.sends(ping6(headers=(header,)))) == taken
    assert peer.drops == ({} if taken else {errors.BAD_OPTION: 1})


def test_a_header_has_eight_options_at_most():
    """Linux's max_hbh_opts_number and max_dst_opts_number."""
    for make in (hop_by_hop, destination_options):
        peer = Peer6()
        assert is_pong(peer.sends(ping6(headers=(make(*[option(SKIPPED)] * 8),))))
        assert peer.sends(ping6(headers=(make(*[option(SKIPPED)] * 9),))) == []
        assert peer.drops == {errors.BAD_OPTION: 1}


@pytest.mark.parametrize("body", [option(SKIPPED, bytes(4))[:1], b"\x1e\x05" + bytes(4), bytes(5) + b"\x1e"])
def test_an_option_that_passes_its_header_is_dropped_in_silence(body):
    peer = Peer6()
    header = destination_options(bytes(6 - len(body)) + body, fill=False)
    assert peer.sends(ping6(headers=(header,))) == []
    assert peer.drops == {errors.BAD_OPTION: 1}


def test_a_header_that_passes_the_packet_is_dropped_in_silence():
    long = bytes((0, 3)) + bytes(6)
    for kind in (ipv6.HOP_BY_HOP, ipv6.DESTINATION_OPTIONS, ipv6.ROUTING):
        peer = Peer6()
        assert peer.sends(ip6(bytes(16), headers=((kind, long),))) == []
        assert peer.sends(ip6(bytes(7), protocol=kind)) == []
        assert peer.drops == {errors.TRUNCATED_HEADER: 2}
    peer = Peer6()
    assert peer.sends(ip6(bytes(7), protocol=ipv6.FRAGMENT)) == []
    assert peer.drops == {errors.TRUNCATED_HEADER: 1}


def test_a_router_alert_is_no_concern_of_a_hosts():
    """RFC 2711; in destination options it is an unknown option to be skipped."""
    alert = option(ipv6.ROUTER_ALERT, b"\0\5")
    for make in (hop_by_hop, destination_options):
        assert is_pong(Peer6().sends(ping6(headers=(make(alert),))))


@pytest.mark.parametrize("protocol", [4, 41, 50, 51, 123, 135, 255])
def test_an_unknown_next_header_is_answered_where_it_is_named(protocol):
    """RFC 8200 §4: Parameter Problem, code 1; there is neither AH, ESP nor mobility here."""
    peer = Peer6()
    packet = ip6(bytes(16), protocol=protocol)
    (answer,) = peer.sends(packet)
    assert problem([answer]) == (icmp6.UNKNOWN_NEXT_HEADER, 6)
    assert icmp_in(answer).data == packet
    packet = ip6(bytes(16), protocol=protocol, headers=(hop_by_hop(), destination_options()))
    assert problem(peer.sends(packet)) == (icmp6.UNKNOWN_NEXT_HEADER, 48)
    assert peer.sends(ip6(bytes(16), protocol=protocol, destination=ALL_NODES)) == []
    assert peer.drops == {errors.UNKNOWN_PROTOCOL: 3, errors.ICMP_FORBIDDEN: 1}


def test_no_next_header_ends_the_packet_in_silence():
    """RFC 8200 §4.7: what follows is ignored."""
    peer = Peer6()
    for headers in ((), (destination_options(),), (fragment(0, False),)):
        assert peer.sends(ip6(bytes(9), protocol=ipv6.NO_NEXT_HEADER, headers=headers)) == []
    assert peer.drops == {}


# -- fragments in ------------------------------------------------------------------------------------------------------


WHOLE = echo6(bytes(range(256)) * 8)
CUTS = (512, 1024, 1536)


def reply_data(answers):
    """The data of the one echo reply, which may come in fragments of 1,500 bytes."""
    data = b""
    for answer in answers:
        fields = parsed6(answer)
        assert fields.protocol == ipv6.FRAGMENT and len(answer) <= 1500
        data += fields.payload[8:]
    return data[8:]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_fragments_are_put_together_in_any_order(order):
    """RFC 8200 §4.5."""
    peer = Peer6()
    packets = pieces(WHOLE, *CUTS)
    for at in order[:-1]:
        assert peer.sends(packets[at]) == []
    assert reply_data(peer.sends(packets[order[-1]])) == WHOLE[8:]
    assert peer.drops == {}


def test_fragments_of_two_packets_do_not_mix():
    """The key is source, destination and identification (RFC 8200 §4.5)."""
    peer = Peer6()
    one = pieces(echo6(b"1" * 64), 24, identification=5)
    two = pieces(echo6(b"2" * 64), 24, identification=6)
    near = pieces(echo6(b"3" * 64, source=LINK_A, destination=LINK_B), 24, source=LINK_A, destination=LINK_B)
    assert peer.sends(one[0], two[0], near[0]) == []
    answers = peer.sends(two[1], near[1], one[1])
    assert [icmp_in(answer).data[:1] for answer in answers] == [b"2", b"3", b"1"]


def test_the_headers_before_are_the_first_fragments_and_those_behind_are_walked():
    peer = Peer6()
    inner = bytes((ipv6.ICMPV6,)) + destination_options(option(SKIPPED))[1][1:] + echo6(bytes(40))
    before = (hop_by_hop(), destination_options())
    assert is_pong(peer.sends(*pieces(inner, 24, protocol=ipv6.DESTINATION_OPTIONS, headers=before)))
    inner = bytes((99,)) + destination_options()[1][1:] + bytes(24)
    answers = peer.sends(*pieces(inner, 16, protocol=ipv6.DESTINATION_OPTIONS, headers=before, identification=2))
    assert problem(answers) == (icmp6.UNKNOWN_NEXT_HEADER, 40 + 16)


def test_an_atomic_fragment_is_whole_by_itself():
    """RFC 6946 §4: whatever other fragments have its identification."""
    peer = Peer6()
    parts = pieces(echo6(b"x" * 40), 16, identification=7)
    assert peer.sends(parts[0]) == []
    assert is_pong(peer.sends(ping6(headers=(fragment(0, False, 7),))))
    assert is_pong(peer.sends(parts[1]))
    assert peer.drops == {}


OVERLAPS = {
    "the end of one before": (8, 32),
    "the start of one behind": (40, 56),
    "all of one and more": (16, 56),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlapping_fragments_end_the_packet_in_silence(name):
    """RFC 5722 §4, RFC 8200 §4.5: those not yet received as well; no error."""
    whole = echo6(bytes(64))
    first, second, third = pieces(whole, 24, 48)
    start, end = OVERLAPS[name]
    evil = ip6(whole[start:end], headers=(fragment(start, True),))
    peer = Peer6()
    assert peer.sends(second, evil, first, third) == []
    assert peer.drops == {errors.FRAGMENT_OVERLAP: 1, errors.FRAGMENT_DISCARDED: 2}
    peer.after(59)
    peer.introduce()
    assert not any(map(is_time_exceeded, peer.after(2)))
    assert is_pong(peer.sends(first, second, third))


def is_time_exceeded(packet):
    return parsed6(packet).protocol == ipv6.ICMPV6 and icmp_in(packet).kind == icmp6.TIME_EXCEEDED


def test_an_exact_duplicate_of_a_fragment_is_dropped_alone():
    """RFC 8200 §4.5."""
    peer = Peer6()
    first, second = pieces(echo6(bytes(64)), 24)
    assert peer.sends(first, first) == []
    assert is_pong(peer.sends(second))
    assert peer.drops == {errors.FRAGMENT_DUPLICATE: 1}


def test_a_fragment_of_a_bad_length_is_answered_at_the_payload_length():
    """RFC 8200 §4.5: not the last, and no multiple of 8."""
    peer = Peer6()
    answers = peer.sends(ip6(bytes(15), protocol=99, headers=(destination_options(), fragment(0, True))))
    assert problem(answers) == (icmp6.ERRONEOUS_FIELD, 4)
    assert peer.drops == {errors.BAD_FRAGMENT: 1}


@pytest.mark.parametrize(("headers", "length"), [((), 8), ((destination_options(),), 1)])
def test_a_fragment_beyond_the_longest_packet_is_answered_at_the_offset(headers, length):
    """RFC 8200 §4.5: the headers before count too."""
    peer = Peer6()
    packet = ip6(bytes(length), protocol=99, headers=(*headers, fragment(65528, False)))
    assert problem(peer.sends(packet)) == (icmp6.ERRONEOUS_FIELD, 40 + 8 * len(headers) + 2)
    assert peer.drops == {errors.BAD_FRAGMENT: 1}


def test_the_longest_packet_is_put_together():
    peer = Peer6()
    whole = echo6(bytes(65535 - 8))
    answers = peer.sends(*pieces(whole, *range(1024, 65535, 1024)))
    assert len(answers) == -(-65535 // 1448) and peer.drops == {}


INCOMPLETE = {
    "in the options": (ipv6.DESTINATION_OPTIONS, bytes((6, 3)) + bytes(14)),
    "before the options": (ipv6.DESTINATION_OPTIONS, b""),
    "in TCP": (6, bytes(16)),
    "behind the options": (ipv6.DESTINATION_OPTIONS, bytes((6, 0)) + bytes(6)),
    "in a second fragment header": (ipv6.FRAGMENT, b""),
    "nothing": (99, b""),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_a_first_fragment_without_all_headers_is_answered(name):
    """RFC 7112 §5, RFC 8200 §4.5: code 3, pointer 0."""
    protocol, start = INCOMPLETE[name]
    peer = Peer6()
    answers = peer.sends(ip6(start, protocol=protocol, headers=(fragment(0, True),)))
    assert problem(answers) == (icmp6.INCOMPLETE_CHAIN, 0)
    assert peer.drops == {errors.BAD_FRAGMENT: 1}
    assert peer.sends(ip6(bytes(8), protocol=protocol, headers=(fragment(16, False),))) == []


@pytest.mark.parametrize(("protocol", "size"), [(6, 24), (UDP, 8), (ipv6.ICMPV6, 8), (99, 8)])
def test_a_first_fragment_needs_no_more_than_the_upper_header(protocol, size):
    peer = Peer6()
    for headers in ((fragment(0, True),), (fragment(0, True, 2), destination_options(option(SKIPPED)))):
        assert peer.sends(ip6(bytes(size), protocol=protocol, headers=headers)) == []
    assert peer.drops == {}


def test_a_packet_that_stays_in_pieces_is_told_after_a_minute():
    """RFC 8200 §4.5: if the first fragment has come, which is quoted."""
    peer = Peer6()
    first, _ = pieces(echo6(bytes(64)), 24)
    peer.sends(first)
    assert not any(map(is_time_exceeded, peer.after(59.9)))
    peer.introduce()
    (answer,) = filter(is_time_exceeded, peer.after(0.2))
    message = icmp_in(answer)
    assert (message.code, message.rest, message.data) == (icmp6.REASSEMBLY_EXCEEDED, bytes(4), first)
    assert (parsed6(answer).source, parsed6(answer).destination) == (B6, A6)
    assert peer.drops == {errors.REASSEMBLY_TIMEOUT: 1}


@pytest.mark.parametrize(
    "part",
    [
        pieces(echo6(bytes(64)), 24)[1],  # not the first
        pieces(echo6(bytes(64), destination=ALL_NODES), 24, destination=ALL_NODES)[0],  # to a group
        pieces(echo6(bytes(64), kind=icmp6.TIME_EXCEEDED), 24)[0],  # of an error
        pieces(echo6(bytes(64), kind=icmp6.REDIRECT), 24)[0],
        pieces(echo6(bytes(64), source=ipv6.UNSPECIFIED), 24, source=ipv6.UNSPECIFIED)[0],
    ],
)
def test_of_other_packets_that_stay_in_pieces_nobody_is_told(part):
    """RFC 4443 §2.4 (e)."""
    peer = Peer6()
    peer.sends(part)
    assert not any(map(is_time_exceeded, peer.after(59.9)))
    peer.introduce()
    assert not any(map(is_time_exceeded, peer.after(1)))
    assert peer.drops[errors.REASSEMBLY_TIMEOUT] == 1


def test_congestion_marks_of_fragments_are_merged():
    """RFC 3168 §5.3: the reply, of its request's traffic class, shows it."""
    peer = Peer6()
    first, second = pieces(echo6(bytes(64)), 24)
    first, second = (bytes((0x60, mark << 4)) + part[2:] for part, mark in ((first, 2), (second, 3)))
    (answer,) = peer.sends(first, second)
    assert parsed6(answer).traffic_class == 3


# -- fragments out, flow labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1452, 1453, 9000, 65527])
@pytest.mark.parametrize("mtu", [1280, 1500])
def test_echoes_of_every_size_cross_in_fragments(size, mtu):
    network = two_hosts6(mtu)
    a, b = network.hosts
    data = bytes(range(256)) * 256
    a.ping(B6, network.now, payload=data[:size])
    network.run_for(1.0)
    assert [(reply.source, reply.payload, reply.ttl) for reply in a.echoes] == [(B6, data[:size], 64)]
    assert {*a.drops(), *b.drops()} == {errors.NOT_A_MEMBER}  # of what they told routers after their start


def two_hosts6(mtu=1500):
    """fd77::1 and fd77::2 on one link."""
    left, right = memory.pair(mtu=mtu, macs=(MAC_A, MAC_B))
    a = Host([Interface(device=left, addresses=["fd77::1/64"])], config6(), seed=1)
    b = Host([Interface(device=right, addresses=["fd77::2/64"])], config6(), seed=2)
    for host in (a, b):
        host.inet.control([messages.Start()], 0.0)
    network = Network(a, b)
    network.run_for(2.0)
    return network


@given(st.integers(1280, 1500), st.lists(st.binary(max_size=3000), max_size=3))
def test_fragments_fit_line_up_and_carry_the_whole(mtu, payload):
    packet = TxPacket(B6, 99, b"header!!", payload, source=A6, tos=5)
    whole = b"".join((b"header!!", *payload))
    at = 0
    for cut in ip_core.fragment(packet, mtu, 77, 64, 0xABCDE):
        raw = b"".join((cut.header, *cut.payload))
        fields = parsed6(raw)
        assert fields[:6] == (5, 0xABCDE, ipv6.FRAGMENT, 64, A6, B6) and len(raw) <= mtu
        protocol, reserved, bits, identification = ipv6.FRAGMENT_HEADER.unpack_from(fields.payload, 0)
        assert (protocol, reserved, bits & ~1, identification) == (99, 0, at, 77)
        assert fields.payload[8:] == whole[at : at + len(raw) - 48]
        at += len(raw) - 48
        assert bits & 1 == (at < len(whole))
    assert at == len(whole)


def test_what_must_not_be_fragmented_is_refused_and_the_sender_told():
    peer = Peer6()
    assert peer.pings(A6, size=1453, dont_fragment=True) == []
    (message,) = peer.host.echoes
    assert (message.cause, message.mtu, message.reporter) == ("packet_too_big", 1500, None)
    assert len(peer.pings(A6, size=1452, dont_fragment=True)) == 1


def labels(packets):
    return {parsed6(packet).flow_label for packet in packets}


def test_a_flow_has_one_label_and_fragments_have_it_too():
    """RFC 6437 §2, §3: uniformly distributed, so not 0 and not the same for all."""
    peer = Peer6()
    pings = [packet for n in range(4) for packet in peer.pings(A6, size=1000 * n, sequence=n)]
    assert len(labels(pings)) == 1 and labels(pings) != {0}
    others = [labels(peer.pings(address(f"2001:db8::{n:x}"))).pop() for n in range(1, 33)]
    assert len(set(others)) > 30
    assert any(label >> 16 for label in others)


def test_labels_can_be_left_out():
    assert labels(Peer6(config6(auto_flowlabels=False)).pings()) == {0}


# -- scopes ------------------------------------------------------------------------------------------------------------


class TwoLinks:
    """A host that is fe80::2 on both eth0 and eth1, and fe80::1 on each of them is another."""

    def __init__(self):
        self.wires = {}
        interfaces = []
        for number, name in enumerate(("eth0", "eth1")):
            macs = (bytes((2, 0, 0, 0, number, 1)), bytes((2, 0, 0, 0, number, 2)))
            self.wires[name], device = memory.pair(offload=False, macs=macs)
            self.wires[name].open()
            addresses = ["fe80::2/64", f"fd77:{number}::2/64"] if number == 0 else ["fd77:1::2/64"]
            interfaces.append(Interface(device=device, addresses=addresses, name=name))
        self.host = Host(interfaces, config6())
        self.host.inet.add_address(3, scoped(address("fe80::3"), 3), 64)
        self.host.inet.control([messages.Start()], 0.0)
        self.network = Network(self.host)
        self.network.run_for(3.0)
        self.sees()

    def sends(self, name, packet):
        wire = self.wires[name]
        wire.transmit([(frame6(packet, source=wire.mac, to=wire.peer.mac),)], self.network.now)
        self.network.settle()
        return self.sees()

    def sees(self):
        """Name -> packets that left there."""
        seen = {}
        for name, wire in self.wires.items():
            for frame in wire.receive(self.network.now):
                seen.setdefault(name, []).append(frame[24:])
        return seen


def test_the_same_link_local_neighbour_on_two_links_is_two_neighbours():
    """RFC 4007 §6."""
    links = TwoLinks()
    for name, own in (("eth0", LINK_B), ("eth1", address("fe80::3"))):
        wire = links.wires[name]
        question = ndp.NeighborSolicitation(own, wire.mac)
        (answer,) = links.sends(name, discovery(question, destination=own))[name]
        assert parsed6(answer).destination == LINK_A
        seen = links.sends(name, ping6(source=LINK_A, destination=own))
        assert list(seen) == [name] and is_pong(seen[name])
        ((known, mac, _),) = [each for each in links.host.link(name).neighbors() if each[0][:1] == b"\xfe"]
        assert (known, mac) == (scoped(LINK_A, 2 if name == "eth0" else 3), wire.mac)
    for index, name in ((2, "eth0"), (3, "eth1")):
        links.host.ping(scoped(LINK_A, index), links.network.now)
        links.network.settle()
        seen = links.sees()
        assert list(seen) == [name]
        assert parsed6(seen[name][0]).destination == LINK_A  # no scope on the wire


def test_a_link_local_address_is_ours_on_its_link_alone():
    links = TwoLinks()
    assert links.sends("eth1", ping6(source=LINK_A, destination=LINK_B)) == {}
    assert links.host.drops() == {errors.NOT_OURS: 1}
    assert links.sends("eth1", ping6(source=LINK_B, destination=address("fd77:1::2"))) != {}  # another's there


def test_a_link_local_destination_without_its_link_is_nowhere():
    links = TwoLinks()
    links.host.ping(LINK_A, links.network.now)
    links.network.settle()
    assert links.sees() == {}
    assert [message.cause for message in links.host.echoes] == ["net_unreachable"]
    inet = links.host.inet
    assert inet.path(scoped(LINK_A, 3), 2) is None
    assert inet.path(scoped(LINK_A, 3), 3).interface == 3


@pytest.mark.parametrize("scope", [2, 3, 4, 5, 8, 14])
def test_a_group_of_link_scope_or_wider_is_heard_by_members(scope):
    group = bytes((0xFF, scope)) + GROUP[2:]
    peer = Peer6()
    assert peer.sends(ping6(destination=group)) == []
    peer.host.inet.control([messages.JoinGroup(ETH0, group)], peer.network.now)
    peer.after(3)
    peer.introduce()
    assert is_pong(peer.sends(ping6(destination=group)))
    assert peer.drops == {errors.NOT_A_MEMBER: 1}


@pytest.mark.parametrize("scope", [0, 1])
def test_a_group_of_no_scope_or_one_node_is_never_heard_nor_sent(scope):
    """RFC 4291 §2.7."""
    group = bytes((0xFF, scope)) + GROUP[2:]
    peer = Peer6()
    peer.host.inet.control([messages.JoinGroup(ETH0, group)], peer.network.now)
    assert peer.sends(ping6(destination=group)) == []
    assert peer.drops == {errors.NOT_A_MEMBER: 1}
    packet = TxPacket(group, UDP, bytearray(udp6(destination=group)), source=B6)
    packet.interface = ETH0
    peer.host.inet.transmit([packet], peer.network.now)
    peer.network.settle()
    assert peer.sees() == []


def test_a_group_goes_by_the_interface_that_is_asked_for():
    links = TwoLinks()
    for index, source in ((2, LINK_B), (3, address("fe80::3"))):
        path = links.host.inet.path(GROUP, index)
        assert (path.interface, path.source, path.kind) == (index, scoped(source, index), messages.MULTICAST)
    wide = address("ff0e::1:2:3")
    assert links.host.inet.path(wide, 3).source == address("fd77:1::2")


def test_a_host_reaches_itself_by_its_loopback():
    peer = Peer6()
    for destination in (B6, ipv6.LOOPBACK, scoped(LINK_B, ETH0)):
        peer.host.echoes.clear()
        assert peer.pings(destination, size=3000) == []
        assert [reply.source for reply in peer.host.echoes] == [destination]


def test_without_a_route_the_sender_is_told():
    peer = Peer6(gateway=None)
    assert peer.pings(FAR6) == []
    (message,) = peer.host.echoes
    assert (message.cause, message.reporter) == ("net_unreachable", None)
    assert peer.drops == {errors.NO_ROUTE: 1}


def test_a_removed_address_is_no_longer_ours():
    other = address("fd77::9")
    peer = Peer6(addresses=("fe80::2/64", "fd77::2/64", "fd77::9/64"))
    assert is_pong(peer.sends(ping6(destination=other)))
    assert peer.host.inet.remove_address(ETH0, other, peer.network.now)
    assert not peer.host.inet.remove_address(ETH0, other, peer.network.now)
    peer.after(2)
    peer.introduce()
    assert peer.sends(ping6(destination=other)) == []
    assert is_pong(peer.sends(ping6()))


def test_a_far_destination_goes_to_the_default_router():
    peer = Peer6()
    (packet,) = peer.pings(FAR6)
    fields = parsed6(packet)
    assert (fields.source, fields.destination) == (B6, FAR6)
    assert peer.host.inet.v6.addresses.path(FAR6).next_hop == NEAR_A


def test_a_udp_datagram_without_checksum_is_dropped():
    """RFC 8200 §8.1."""
    datagram = bytearray(udp6(b"data"))
    datagram[6:8] = bytes(2)
    peer = Peer6()
    assert peer.sends(ip6(bytes(datagram), protocol=UDP)) == []
    assert peer.drops == {errors.BAD_CHECKSUM: 1}


def test_jumbograms_are_not_known():
    """RFC 2675: their option says that it must be understood."""
    jumbo = option(0xC2, struct.pack("!I", 70_000))
    peer = Peer6()
    packet = ip6(b"", protocol=UDP, payload_length=8, headers=(options(ipv6.HOP_BY_HOP, jumbo),))
    assert problem(peer.sends(packet)) == (icmp6.UNKNOWN_OPTION, 42)
