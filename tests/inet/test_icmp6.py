"""ICMPv6 in and out: RFC 4443, RFC 8201."""

import pytest

from pystack import errors, messages, transport
from pystack.config import Ipv6Config, StackConfig
from pystack.wire import icmp6, ipv6, ndp
from tests.support.frames import MAC_A
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
    icmp,
    ip6,
    option,
    ping6,
    udp6,
)
from tests.support.peer6 import NEAR_A, NEAR_B, Peer6, config6, icmp_in, parsed6

UDP = 17
ROUTER = address("2001:db8:1::1")  # some router on the way
UNKNOWN = ip6(b"y" * 16, protocol=123)  # what is answered by an error


def error6(quote, kind=icmp6.DESTINATION_UNREACHABLE, code=icmp6.NO_ROUTE, rest=bytes(4), source=ROUTER):
    """The packet of an error about *quote*, the start of a packet that the host has sent."""
    destination = quote[8:24] if len(quote) >= 24 else B6
    return ip6(
        icmp(kind, code, rest, quote, source=source, destination=destination),
        source=source,
        destination=destination,
    )


def too_big(quote, mtu, **how):
    return error6(quote, icmp6.PACKET_TOO_BIG, 0, mtu.to_bytes(4, "big"), **how)


# -- echo --------------------------------------------------------------------------------------------------------------


def test_an_echo_is_answered_with_its_data_traffic_class_and_our_hop_limit():
    """RFC 4443 §4.2; Linux for the traffic class."""
    peer = Peer6()
    (reply,) = peer.sends(ip6(echo6(b"x" * 100, identifier=9, sequence=4), hop_limit=1, traffic_class=0x12))
    fields = parsed6(reply)
    assert fields.payload == echo6(
        b"x" * 100, identifier=9, sequence=4, kind=icmp6.ECHO_REPLY, source=B6, destination=A6
    )
    assert fields[:1] + fields[2:6] == (0x12, ipv6.ICMPV6, 64, B6, A6)
    assert peer.drops == {}


def test_a_link_local_echo_is_answered_from_the_address_it_was_sent_to():
    (reply,) = Peer6().sends(ping6(source=LINK_A, destination=LINK_B))
    assert (parsed6(reply).source, parsed6(reply).destination) == (LINK_B, LINK_A)


@pytest.mark.parametrize(("source", "own"), [(A6, B6), (LINK_A, LINK_B)])
def test_the_echo_of_a_group_is_answered_from_our_own_address(source, own):
    """RFC 4443 §4.2: a unicast address of the interface on which it came."""
    (reply,) = Peer6().sends(ping6(source=source, destination=ALL_NODES))
    assert icmp_in(reply).kind == icmp6.ECHO_REPLY
    assert (parsed6(reply).source, parsed6(reply).destination) == (own, source)


def test_the_echo_of_a_group_is_ignored_if_so_configured():
    peer = Peer6(config6(echo_ignore_multicast=True))
    assert peer.sends(ping6(destination=ALL_NODES)) == []
    assert peer.drops == {errors.ECHO_IGNORED: 1}
    assert len(peer.sends(ping6())) == 1


@pytest.mark.parametrize("at", [0, 2, 4, 9])
def test_a_wrong_checksum_is_counted_and_not_answered(at):
    message = bytearray(echo6())
    message[at] ^= 1
    peer = Peer6()
    assert peer.sends(ip6(bytes(message))) == []
    assert peer.drops == {errors.BAD_CHECKSUM: 1}


def test_the_checksum_covers_the_addresses():
    """RFC 8200 §8.1: a packet that has strayed is not taken."""
    peer = Peer6()
    assert peer.sends(ip6(echo6(destination=address("fd77::3")))) == []
    assert peer.sends(ip6(echo6(source=address("fd77::3")))) == []
    assert peer.drops == {errors.BAD_CHECKSUM: 2}


def test_our_echo_is_matched_by_who_answers_its_identifier_and_sequence():
    peer = Peer6()
    (request,) = peer.pings(FAR6, sequence=0x304)
    data = icmp_in(request).data

    def reply(source=FAR6, sequence=0x304, identifier=7):
        message = echo6(data, identifier=identifier, sequence=sequence, kind=icmp6.ECHO_REPLY, source=source)
        return ip6(message, source=source, hop_limit=50)

    peer.sends(reply(source=A6), reply(sequence=4), reply(identifier=8))
    assert peer.host.echoes == [] and peer.drops == {errors.ICMP_UNMATCHED: 3}
    assert peer.sends(reply()) == []
    (answer,) = peer.host.echoes
    assert (answer.source, answer.identifier, answer.sequence) == (FAR6, 7, 0x304)
    assert (answer.payload, answer.ttl, answer.at) == (data, 50, peer.network.now)


def test_our_echoes_are_remembered_up_to_a_bound():
    peer = Peer6()
    for sequence in range(4097):
        peer.pings(A6, size=0, sequence=sequence)
    for sequence in (0, 1, 4096):
        peer.sends(ip6(echo6(b"", identifier=7, sequence=sequence, kind=icmp6.ECHO_REPLY)))
    assert [reply.sequence for reply in peer.host.echoes] == [1, 4096]


def test_the_echo_of_a_group_is_matched_by_all_who_answer():
    peer = Peer6()
    peer.pings(ALL_NODES)
    for source in (LINK_A, A6):
        message = echo6(identifier=7, kind=icmp6.ECHO_REPLY, source=source)
        peer.sends(ip6(message, source=source))
    assert [reply.source for reply in peer.host.echoes] == [NEAR_A, A6]


# -- errors that come --------------------------------------------------------------------------------------------------


CAUSES = [
    (1, 0, "net_unreachable"),
    (1, 1, "prohibited"),
    (1, 2, "host_unreachable"),
    (1, 3, "host_unreachable"),
    (1, 4, "port_unreachable"),
    (1, 5, "prohibited"),
    (1, 6, "prohibited"),
    (3, 0, "ttl_exceeded"),
    (3, 1, "reassembly_exceeded"),
    (4, 0, "parameter_problem"),
    (4, 1, "parameter_problem"),
    (4, 2, "parameter_problem"),
]


@pytest.mark.parametrize(("kind", "code", "cause"), CAUSES)
def test_an_error_about_our_echo_is_handed_up(kind, code, cause):
    """RFC 4443 §3; causes are those of Linux's icmpv6_err_convert."""
    peer = Peer6()
    (request,) = peer.pings(FAR6)
    assert peer.sends(error6(request, kind, code)) == []
    (message,) = peer.host.echoes
    assert (message.cause, message.source, message.destination, message.reporter) == (cause, B6, FAR6, ROUTER)
    assert (message.protocol, message.type, message.code, message.mtu) == (ipv6.ICMPV6, kind, code, 0)
    assert peer.drops == {}


@pytest.mark.parametrize(("kind", "code", "cause"), CAUSES)
def test_an_error_about_a_datagram_goes_to_its_socket_alone(kind, code, cause):
    peer = Peer6()
    datagram = sent_datagram(peer)
    stray = bytearray(datagram)
    stray[41] ^= 1  # another source port
    peer.sends(error6(bytes(stray), kind, code))
    assert failures(peer) == [] and peer.drops == {errors.ICMP_UNMATCHED: 1}
    peer.sends(error6(datagram, kind, code))
    assert len(failures(peer)) == 1
    assert peer.host.echoes == [] and peer.drops == {errors.ICMP_UNMATCHED: 1}


def sent_datagram(peer, size=4):
    """Let a connected socket send to FAR6; returns the packet."""
    udp = peer.host.layers.cores["udp"]
    asked = [
        transport.Bind(1, bytes(16), 0),
        transport.SetOption(1, "v6.recv_error", True),
        transport.Connect(1, FAR6, 53),
        transport.Send(1, bytes(size), None, 0),
    ]
    udp.requests(asked, peer.network.now)
    peer.network.settle()
    udp.outboxes["sockets"].clear()
    (packet,) = peer.sees()
    return packet


def failures(peer):
    """What the socket was told."""
    box = peer.host.layers.cores["udp"].outboxes["sockets"]
    told, box[:] = list(box), []
    return told


def test_only_eight_bytes_of_the_datagram_need_be_quoted():
    """RFC 4443 §2.4 (c) has as much as fits; eight name the flow."""
    peer = Peer6()
    (request,) = peer.pings(FAR6)
    peer.sends(error6(request[:47]), error6(request[:39]), error6(b"\x45" + request[1:]), error6(b""))
    assert peer.host.echoes == [] and peer.drops == {errors.TRUNCATED_ICMP: 4}
    peer.sends(error6(request[:48]))
    assert len(peer.host.echoes) == 1


def test_the_flow_is_found_behind_extension_headers():
    peer = Peer6()
    (request,) = peer.pings(FAR6)
    with_headers = ip6(
        request[40:],
        source=B6,
        destination=FAR6,
        headers=(hop_by_hop(), destination_options(), fragment(0, True)),
    )
    peer.sends(error6(with_headers))
    assert [message.cause for message in peer.host.echoes] == ["net_unreachable"]
    later = ip6(request[40:], source=B6, destination=FAR6, headers=(fragment(8, True),))
    peer.sends(error6(later))
    cut = ip6(b"", source=B6, destination=FAR6, headers=(destination_options(bytes(30)),))[:50]
    peer.sends(error6(cut))
    assert len(peer.host.echoes) == 1
    assert peer.drops == {errors.ICMP_UNMATCHED: 1, errors.TRUNCATED_ICMP: 1}


def test_an_error_about_what_we_never_sent_is_counted():
    """Another sequence number, another source, a protocol that nobody speaks, a port that nobody has."""
    peer = Peer6()
    (request,) = peer.pings(FAR6)
    other = bytearray(request)
    other[47] ^= 1
    foreign = ip6(request[40:], source=address("fd77::3"), destination=FAR6)
    strange = ip6(bytes(8), source=B6, destination=FAR6, protocol=99)
    nobody = ip6(udp6(source=B6, destination=FAR6), source=B6, destination=FAR6, protocol=UDP)
    for quote in (bytes(other), foreign, strange, nobody):
        to_us = icmp(1, 0, bytes(4), quote, source=ROUTER)
        assert peer.sends(ip6(to_us, source=ROUTER)) == []
    assert peer.host.echoes == []
    assert peer.drops == {errors.ICMP_UNMATCHED: 4}


@pytest.mark.parametrize("kind", [0, 5, 100, 127, 138, 150, 200, 255])
def test_an_unknown_type_is_counted_and_not_answered(kind):
    """RFC 4443 §2.4 (b)."""
    peer = Peer6()
    assert peer.sends(ip6(icmp(kind, 0, bytes(4), bytes(48)))) == []
    assert peer.drops == {errors.UNKNOWN_ICMP: 1}


def test_an_unknown_code_of_unreachable_is_counted():
    peer = Peer6()
    (request,) = peer.pings(FAR6)
    peer.sends(error6(request, 1, 7))
    assert peer.host.echoes == [] and peer.drops == {errors.UNKNOWN_ICMP: 1}


def test_an_error_about_a_link_local_packet_is_matched_on_its_link():
    peer = Peer6()
    (request,) = peer.pings(NEAR_A)
    peer.sends(error6(request, 1, 3, source=LINK_A))
    (message,) = peer.host.echoes
    assert (message.source, message.destination, message.reporter) == (NEAR_B, NEAR_A, NEAR_A)


# -- errors that are sent ----------------------------------------------------------------------------------------------


def test_a_closed_udp_port_is_answered():
    """RFC 4443 §3.1: code 4."""
    packet = ip6(udp6(b"data"), protocol=UDP, traffic_class=0x13)
    (answer,) = Peer6().sends(packet)
    assert icmp_in(answer) == (icmp6.DESTINATION_UNREACHABLE, icmp6.PORT_UNREACHABLE, bytes(4), packet)
    fields = parsed6(answer)
    assert (fields.hop_limit, fields.source, fields.destination) == (64, B6, A6)
    assert fields.traffic_class & 3 == 0  # an error is not ECN-capable (RFC 6040)


@pytest.mark.parametrize("size", [1000, 1191, 1192, 1193, 1400])
def test_an_error_quotes_as_much_as_fits_in_the_minimum_mtu(size):
    """RFC 4443 §2.4 (c)."""
    packet = ip6(bytes(size), protocol=123)
    (answer,) = Peer6().sends(packet)
    assert len(answer) == min(1280, 48 + len(packet))
    assert icmp_in(answer).data == packet[: 1280 - 48]


def test_link_padding_is_not_quoted():
    (answer,) = Peer6().sends(UNKNOWN + bytes(20))
    assert icmp_in(answer).data == UNKNOWN


def bad_option(payload, kind=0x9E, **how):
    """A packet with an option that is answered, to groups too."""
    return ip6(payload, headers=(destination_options(option(kind)),), **how)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        # (e.1), (e.2): an error, a redirect; also behind the header that is at fault, and cut short
        *(
            (frame6(bad_option(icmp(kind, 0, bytes(4), bytes(48)))), errors.BAD_OPTION)
            for kind in (1, 2, 3, 4, 127, 137)
        ),
        (frame6(bad_option(b"")), errors.BAD_OPTION),
        # (e.3): to a group
        (frame6(ip6(bytes(16), protocol=123, destination=ALL_NODES)), errors.UNKNOWN_PROTOCOL),
        (frame6(ip6(udp6(destination=ALL_NODES), protocol=UDP, destination=ALL_NODES)), None),
        # (e.4), (e.5): to us, in the link's multicast or broadcast
        (frame6(UNKNOWN, to=b"\x33\x33\0\0\0\1"), errors.UNKNOWN_PROTOCOL),
        (frame6(UNKNOWN, to=b"\xff" * 6), errors.UNKNOWN_PROTOCOL),
        (frame6(ip6(udp6(), protocol=UDP), to=b"\xff" * 6), None),
        # (e.6): from what is nobody's own address
        (frame6(bad_option(bytes(8), source=ipv6.UNSPECIFIED, protocol=UDP)), errors.BAD_OPTION),
        (frame6(ip6(bytes(16), source=ALL_NODES, protocol=123)), None),
    ],
)
def test_an_error_that_must_not_be_sent_is_not(frame, reason):
    """RFC 4443 §2.4 (e)."""
    peer = Peer6()
    assert peer.sends_frames(frame) == []
    if reason is not None:
        assert peer.drops == {reason: 1, errors.ICMP_FORBIDDEN: 1}


@pytest.mark.parametrize("to", [None, b"\xff" * 6])
def test_of_an_option_that_says_so_who_sends_to_a_group_is_told(to):
    """RFC 4443 §2.4 (e.3): the exception."""
    packet = bad_option(icmp(128, destination=ALL_NODES), destination=ALL_NODES)
    (answer,) = Peer6().sends_frames(frame6(packet, to=to))
    assert icmp_in(answer)[:2] == (icmp6.PARAMETER_PROBLEM, icmp6.UNKNOWN_OPTION)


def test_an_informational_message_is_no_reason_not_to_tell():
    for kind in (128, 129, 130, 200):
        (answer,) = Peer6().sends(bad_option(icmp(kind, 0, bytes(4), bytes(16))))
        assert icmp_in(answer).kind == icmp6.PARAMETER_PROBLEM


def test_of_a_later_fragment_nobody_knows_what_it_is_of():
    """RFC 4443 §2.4 (e.1) speaks of what is known to be an error."""
    part = ip6(icmp(icmp6.TIME_EXCEEDED, data=bytes(7)), headers=(fragment(8, True),))
    (answer,) = Peer6().sends(part)
    assert icmp_in(answer)[:3] == (icmp6.PARAMETER_PROBLEM, icmp6.ERRONEOUS_FIELD, b"\0\0\0\4")


def test_errors_are_limited_per_destination_and_in_all():
    """RFC 4443 §2.4 (f), as Linux: a burst of 6 and then one a second to each; bursts of 50 to all together."""
    settings = Ipv6Config(dad_transmits=0, accept_ra=False)
    peer = Peer6(StackConfig(icmp_msgs_burst=8, ipv6=settings))
    assert sum(len(peer.sends(UNKNOWN)) for _ in range(20)) == 6
    assert peer.drops[errors.ICMP_RATE_LIMITED] == 14
    peer.after(1.0)
    assert sum(len(peer.sends(UNKNOWN)) for _ in range(20)) == 1
    peer.after(100.0)
    peer.introduce()
    others = [address(f"2001:db8::{n:x}") for n in range(1, 100)]
    assert sum(len(peer.sends(ip6(b"q" * 8, protocol=123, source=each))) for each in others) == 8


def test_echo_replies_are_not_limited():
    peer = Peer6()
    assert sum(len(peer.sends(ping6())) for _ in range(100)) == 100


def test_a_far_sources_error_goes_by_the_default_router():
    (answer,) = Peer6().sends(ip6(bytes(16), protocol=123, source=FAR6))
    assert parsed6(answer).destination == FAR6


# -- Packet Too Big ----------------------------------------------------------------------------------------------------


def test_the_path_mtu_is_learned_used_and_aged():
    """RFC 8201 §4, §5.2: after ten minutes the larger one is tried again."""
    peer = Peer6()
    (request,) = peer.pings(FAR6, size=1400, dont_fragment=True)
    assert len(request) == 1448
    peer.sends(too_big(request[:1232], 1300))
    assert (peer.host.echoes[-1].cause, peer.host.echoes[-1].mtu) == ("packet_too_big", 1300)
    assert peer.pings(FAR6, size=1400, sequence=2, dont_fragment=True) == []
    assert (peer.host.echoes[-1].mtu, peer.host.echoes[-1].reporter) == (1300, None)
    assert [len(part) for part in peer.pings(FAR6, size=1400, sequence=3)] == [1296, 208]
    assert len(peer.pings(A6, size=1400, sequence=3)) == 1  # of another path nothing is known
    peer.after(601)
    peer.introduce()
    assert [len(part) for part in peer.pings(FAR6, size=1400, sequence=4)] == [1448]
    assert len(peer.host.inet.v6.pmtu) == 0


@pytest.mark.parametrize("mtu", [0, 1, 68, 1000, 1279, 1448, 1500, 9000, 0xFFFFFFFF])
def test_an_implausible_path_mtu_is_not_believed(mtu):
    """RFC 8201 §4: below 1,280 it must be discarded, as on Linux; at 1,448 the packet would have passed."""
    peer = Peer6()
    (request,) = peer.pings(FAR6, size=1400)
    peer.sends(too_big(request[:1232], mtu))
    assert peer.host.echoes == [] and len(peer.host.inet.v6.pmtu) == 0
    assert peer.drops == {errors.ICMP_UNMATCHED: 1}
    assert len(peer.pings(FAR6, size=1452, sequence=2)) == 1


def test_the_least_mtu_is_believed():
    peer = Peer6()
    (request,) = peer.pings(FAR6, size=1400)
    peer.sends(too_big(request[:1232], 1280))
    assert [len(part) for part in peer.pings(FAR6, size=1400, sequence=2)] == [1280, 224]


def test_a_path_mtu_only_falls():
    peer = Peer6()
    requests = [peer.pings(FAR6, size=1400, sequence=n)[0] for n in (1, 2, 3)]
    for request, mtu in zip(requests, (1300, 1400, 1290), strict=True):
        peer.sends(too_big(request[:1232], mtu))
    assert [message.mtu for message in peer.host.echoes] == [1300, 1300, 1290]


def test_a_path_mtu_that_nobody_asked_for_is_not_believed():
    """RFC 8201 §6: it must quote what we have sent."""
    peer = Peer6()
    (request,) = peer.pings(FAR6, size=1400)
    other = bytearray(request)
    other[46] ^= 1
    foreign = ip6(request[40:], source=address("fd77::3"), destination=FAR6)
    to_us = ip6(icmp(2, 0, (1300).to_bytes(4, "big"), foreign, source=ROUTER), source=ROUTER)
    peer.sends(too_big(bytes(other[:1232]), 1300), to_us)
    assert len(peer.host.inet.v6.pmtu) == 0
    assert peer.drops == {errors.ICMP_UNMATCHED: 2}


def test_a_path_mtu_about_a_fragment_is_believed_if_that_did_not_fit():
    peer = Peer6()
    first, _ = peer.pings(FAR6, size=2000)
    peer.sends(too_big(first[:1232], 1400))
    assert max(map(len, peer.pings(FAR6, size=2000, sequence=2))) <= 1400


def test_a_sockets_path_mtu_is_learned():
    peer = Peer6()
    datagram = sent_datagram(peer, size=1400)
    peer.sends(too_big(datagram[:1232], 1300))
    assert peer.host.inet.path(FAR6).mtu == 1300
    assert peer.host.inet.path(A6).mtu == 1500


def test_path_mtus_are_bounded():
    peer = Peer6()
    for n in range(5000):
        destination = FAR6[:12] + n.to_bytes(4, "big")
        peer.host.inet.control([messages.PmtuChanged(destination, 1300)], 0.0)
    assert len(peer.host.inet.v6.pmtu) == 4096


# -- a neighbour that is not there -------------------------------------------------------------------------------------


def test_a_dead_neighbour_is_reported_for_each_waiting_packet():
    peer = Peer6()
    for sequence in (1, 2):
        peer.pings(address("fd77::50"), sequence=sequence, size=3000)
    assert peer.after(5) != []  # questions
    assert [message.cause for message in peer.host.echoes] == ["host_unreachable"] * 2
    assert icmp6.parse(peer.host.echoes[0].quoted, 0)[0] == icmp6.ECHO_REQUEST


def test_the_answer_to_an_unknown_neighbour_waits_for_its_address():
    peer = Peer6()
    stranger = address("fd77::33")
    (question,) = peer.sends(ping6(source=stranger))
    assert icmp_in(question).kind == icmp6.NEIGHBOR_SOLICITATION
    answer = ndp.NeighborAdvertisement(stranger, solicited=True, link_address=MAC_A)
    (reply,) = peer.sends(discovery(answer, source=stranger, destination=B6))
    assert icmp_in(reply).kind == icmp6.ECHO_REPLY
