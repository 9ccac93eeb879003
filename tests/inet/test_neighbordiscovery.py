"""Neighbour Discovery through a whole host: RFC 4861, 4862, 6980, 7527, 7559; and the MLD that goes with it."""

import pytest

from pystack import errors, messages
from pystack.scope import is_link_local, on_wire, scoped
from pystack.wire import icmp6, igmp, ipv6, mld, ndp
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
    fragment,
    frame6,
    hop_by_hop,
    ip6,
    listener,
    option,
    ping6,
    summed,
)
from tests.support.peer6 import ETH0, NEAR_A, NEAR_B, Peer6, config6, discovery_in, icmp_in, parsed6

OTHER_MAC = b"\x02\0\0\0\0\x99"
STRANGER = address("fd77::33")
PREFIX = address("2001:db8:5::")
SOLICITED_B = ipv6.solicited_node(B6)
ALL_MLD_ROUTERS = address("ff02::16")
LINK_C = address("fe80::c")  # another router
NEAR_C = scoped(LINK_C, ETH0)


def solicitation(target=B6, link_address=MAC_A, **how):
    nonce = how.pop("nonce", None)
    how.setdefault("source", A6)
    how.setdefault("destination", ipv6.solicited_node(target))
    return discovery(ndp.NeighborSolicitation(target, link_address, nonce), **how)


def kinds(packets):
    """Of the ICMPv6 messages in them."""
    return [icmp_in(packet).kind for packet in packets]


def events(peer, kind):
    return [event for event in peer.host.events if type(event) is kind]


# -- solicitations that come -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("destination", [B6, SOLICITED_B])
def test_who_asks_for_us_is_answered_and_known(destination):
    """RFC 4861 §7.2.3, §7.2.4."""
    peer = Peer6()
    (answer,) = peer.sends(solicitation(source=STRANGER, destination=destination))
    fields = parsed6(answer)
    assert (fields.source, fields.destination) == (B6, STRANGER)
    assert discovery_in(answer) == ndp.NeighborAdvertisement(
        B6, router=False, solicited=True, override=True, link_address=MAC_B
    )
    assert peer.neighbors[STRANGER] == (MAC_A, "DELAY")  # the answer was sent to it
    assert peer.drops == {}


def test_who_asks_without_an_address_is_told_with_all_others():
    """RFC 4861 §7.2.4, RFC 4862 §5.4.3: it probes for what is ours."""
    peer = Peer6()
    (answer,) = peer.sends(solicitation(link_address=None, source=ipv6.UNSPECIFIED))
    assert parsed6(answer).destination == ALL_NODES
    assert not discovery_in(answer).solicited and discovery_in(answer).override
    assert ipv6.UNSPECIFIED not in peer.neighbors


def test_who_asks_without_its_mac_is_asked_for_it():
    peer = Peer6()
    (question,) = peer.sends(solicitation(link_address=None, source=STRANGER))
    assert discovery_in(question) == ndp.NeighborSolicitation(STRANGER, MAC_B)
    (answer,) = peer.advertised(STRANGER)
    assert discovery_in(answer).target == B6


def test_a_solicitation_for_another_is_ignored():
    peer = Peer6()
    before = peer.neighbors
    for target in (address("fd77::77"), address("fd99::ff:2"), A6):
        assert peer.sends(solicitation(target, source=STRANGER, destination=SOLICITED_B)) == []
    assert peer.neighbors == before and peer.drops == {}


def test_another_mac_in_a_solicitation_replaces_the_old_one():
    """RFC 4861 §7.2.3: and it is STALE."""
    peer = Peer6()
    peer.sends(solicitation(source=STRANGER))
    peer.advertised(STRANGER)
    peer.sends(solicitation(link_address=OTHER_MAC, source=STRANGER, target=B6))
    assert peer.neighbors[STRANGER][0] == OTHER_MAC


BAD_SOLICITATIONS = {
    "hop limit 254": solicitation(hop_limit=254),
    "hop limit 1": solicitation(hop_limit=1),
    "code 1": ip6(
        summed(icmp6.build(135, 1, bytes(4), B6), A6, B6), hop_limit=255
    ),  # RFC 4861 §7.1.1, and so on to §7.1.2, §6.1.2 and §8.1 for the others
    "target a group": solicitation(target=ALL_NODES, destination=B6),
    "too short": ip6(summed(icmp6.build(135, 0, bytes(4), B6[:15]), A6, B6), hop_limit=255),
    "option of length 0": ip6(summed(icmp6.build(135, 0, bytes(4), B6 + bytes(8)), A6, B6), hop_limit=255),
    "option that passes the end": ip6(
        summed(icmp6.build(135, 0, bytes(4), B6 + b"\1\2" + MAC_A), A6, B6), hop_limit=255
    ),
    "no source, but a MAC": solicitation(source=ipv6.UNSPECIFIED),
    "no source, to us alone": solicitation(source=ipv6.UNSPECIFIED, link_address=None, destination=B6),
    "no source, to all": solicitation(source=ipv6.UNSPECIFIED, link_address=None, destination=ALL_NODES),
    "a group's MAC": solicitation(source=STRANGER, link_address=b"\x33\x33\0\0\0\1"),
    "fragmented": solicitation(headers=(fragment(0, False),)),
    "fragmented behind options": solicitation(headers=(destination_options(), fragment(0, False))),
}


@pytest.mark.parametrize("name", BAD_SOLICITATIONS)
def test_a_bad_solicitation_is_ignored(name):
    """RFC 4861 §7.1.1, RFC 6980 §5."""
    peer = Peer6()
    before = peer.neighbors
    assert peer.sends(BAD_SOLICITATIONS[name]) == []
    assert peer.drops == {errors.BAD_NDP: 1} and peer.neighbors == before
    assert kinds(peer.sends(solicitation())) == [icmp6.NEIGHBOR_ADVERTISEMENT]


def test_a_bad_checksum_is_no_solicitation():
    bad = bytearray(solicitation(source=STRANGER))
    bad[42] ^= 1
    peer = Peer6()
    assert peer.sends(bytes(bad)) == []
    assert peer.drops == {errors.BAD_CHECKSUM: 1} and STRANGER not in peer.neighbors


def test_discovery_in_fragments_is_ignored_whole_or_not():
    """RFC 6980 §5."""
    message = summed(ndp.build(ndp.NeighborSolicitation(B6, MAC_A)), STRANGER, B6)
    parts = [
        ip6(part, source=STRANGER, hop_limit=255, headers=(fragment(start, start == 0),))
        for start, part in ((0, message[:16]), (16, message[16:]))
    ]
    peer = Peer6()
    assert peer.sends(*parts) == []
    assert peer.drops == {errors.BAD_NDP: 1} and STRANGER not in peer.neighbors


def test_other_extension_headers_do_no_harm():
    peer = Peer6()
    assert kinds(peer.sends(solicitation(headers=(hop_by_hop(), destination_options())))) == [136]


def test_a_router_solicitation_is_not_for_hosts():
    """RFC 4861 §6.2.6."""
    peer = Peer6()
    packet = discovery(ndp.RouterSolicitation(MAC_A), source=A6, destination=ALL_NODES)
    assert peer.sends(packet) == [] and peer.drops == {}


# -- resolution and unreachability -------------------------------------------------------------------------------------


def test_an_unknown_neighbour_is_asked_for_and_its_packets_wait():
    """RFC 4861 §7.2.2."""
    peer = Peer6()
    (question,) = peer.pings(STRANGER)
    fields = parsed6(question)
    assert (fields.source, fields.destination) == (B6, ipv6.solicited_node(STRANGER))
    assert discovery_in(question) == ndp.NeighborSolicitation(STRANGER, MAC_B)
    assert peer.pings(STRANGER, sequence=2) == []
    answers = peer.advertised(STRANGER)
    assert kinds(answers) == [icmp6.ECHO_REQUEST] * 2
    assert [icmp_in(packet).rest[3] for packet in answers] == [1, 2]
    assert peer.neighbors[STRANGER] == (MAC_A, "REACHABLE")
    assert kinds(peer.pings(STRANGER, sequence=3)) == [icmp6.ECHO_REQUEST]


def test_the_question_goes_to_the_groups_mac():
    peer = Peer6()
    peer.host.ping(STRANGER, peer.network.now)
    peer.network.settle()
    (frame,) = peer.frames()
    assert frame[10:16] == b"\x33\x33\xff" + STRANGER[13:]


def test_the_question_is_asked_from_the_packets_own_source():
    """RFC 4861 §7.2.2: if it is one of the interface's."""
    peer = Peer6(addresses=("fe80::2/64", "fd77::2/64", "fd77::9/64"))
    (question,) = peer.sends(ping6(source=STRANGER, destination=address("fd77::9")))
    assert parsed6(question).source == address("fd77::9")


def test_a_link_local_neighbour_is_asked_for_from_our_link_local_address():
    peer = Peer6()
    (question,) = peer.pings(NEAR_C)
    assert parsed6(question).source == LINK_B
    assert discovery_in(question).target == LINK_C  # without scope


def test_a_neighbour_that_does_not_answer_is_given_up_after_three_questions():
    """RFC 4861 §7.2.2: a second apart; the sender is told."""
    peer = Peer6()
    peer.pings(STRANGER)
    assert kinds(peer.after(2.9)) == [135, 135] and peer.host.echoes == []
    assert peer.after(0.2) == []
    assert [message.cause for message in peer.host.echoes] == ["host_unreachable"]
    assert peer.drops == {errors.NEIGHBOR_UNREACHABLE: 1}
    assert peer.after(100) == []


def test_a_neighbour_in_use_is_probed_by_unicast_and_confirmed():
    """RFC 4861 §7.3.3: five seconds after it was used STALE."""
    peer = Peer6()
    peer.lapses()
    peer.sends(ping6())
    assert peer.neighbors[A6] == (MAC_A, "DELAY")
    assert peer.after(4.9) == []
    (probe,) = peer.after(0.2)
    assert discovery_in(probe) == ndp.NeighborSolicitation(A6, MAC_B)
    assert (parsed6(probe).source, parsed6(probe).destination) == (B6, A6)
    assert peer.advertised(A6, link_address=None, override=False) == []
    assert peer.neighbors[A6] == (MAC_A, "REACHABLE")
    assert peer.after(60) == []


def test_a_dead_neighbour_is_forgotten_and_asked_for_anew():
    peer = Peer6()
    peer.lapses()
    peer.sends(ping6())
    assert kinds(peer.after(30)) == [icmp6.NEIGHBOR_SOLICITATION] * 3
    assert A6 not in peer.neighbors
    (question,) = peer.pings(A6)
    assert parsed6(question).destination == ipv6.solicited_node(A6)


def test_a_transports_progress_spares_the_probe():
    """RFC 4861 §7.3.1."""
    peer = Peer6()
    peer.lapses()
    peer.sends(ping6())
    peer.after(4)
    peer.host.inet.control([messages.NeighborConfirmed(A6)], peer.network.now)
    assert peer.after(10) == []
    assert peer.neighbors[A6] == (MAC_A, "REACHABLE")


# RFC 4861 §7.2.5: state of STRANGER before, whether the advertisement has a MAC (the same, another, or none), is
# solicited, overrides -> MAC and state after; None: no entry.
SAME, OTHER = MAC_A, OTHER_MAC
ADVERTISEMENTS = [
    (None, SAME, True, True, None),
    (None, SAME, False, True, None),
    ("INCOMPLETE", None, True, True, (None, "INCOMPLETE")),
    ("INCOMPLETE", SAME, True, False, (SAME, "REACHABLE")),
    ("INCOMPLETE", SAME, True, True, (SAME, "REACHABLE")),
    ("INCOMPLETE", SAME, False, False, (SAME, "DELAY")),  # STALE, and then the packet that waited was sent
    ("INCOMPLETE", SAME, False, True, (SAME, "DELAY")),
    ("REACHABLE", OTHER, True, False, (SAME, "STALE")),
    ("REACHABLE", OTHER, False, False, (SAME, "STALE")),
    ("REACHABLE", OTHER, True, True, (OTHER, "REACHABLE")),
    ("REACHABLE", OTHER, False, True, (OTHER, "STALE")),
    ("REACHABLE", SAME, False, True, (SAME, "REACHABLE")),
    ("REACHABLE", SAME, False, False, (SAME, "REACHABLE")),
    ("REACHABLE", None, False, True, (SAME, "REACHABLE")),
    ("STALE", OTHER, True, False, (SAME, "STALE")),
    ("STALE", OTHER, False, False, (SAME, "STALE")),
    ("STALE", OTHER, True, True, (OTHER, "REACHABLE")),
    ("STALE", OTHER, False, True, (OTHER, "STALE")),
    ("STALE", SAME, True, False, (SAME, "REACHABLE")),
    ("STALE", SAME, False, False, (SAME, "STALE")),
    ("STALE", None, True, False, (SAME, "REACHABLE")),
    ("STALE", None, False, False, (SAME, "STALE")),
    ("DELAY", OTHER, True, False, (SAME, "DELAY")),
    ("DELAY", OTHER, False, True, (OTHER, "STALE")),
    ("DELAY", None, True, False, (SAME, "REACHABLE")),
    ("PROBE", OTHER, True, False, (SAME, "PROBE")),
    ("PROBE", OTHER, True, True, (OTHER, "REACHABLE")),
    ("PROBE", SAME, False, True, (SAME, "PROBE")),
    ("PROBE", SAME, True, False, (SAME, "REACHABLE")),
]


@pytest.mark.parametrize(("state", "mac", "solicited", "override", "after"), ADVERTISEMENTS)
def test_advertisements_are_taken_by_the_rules(state, mac, solicited, override, after):
    """RFC 4861 §7.2.5."""
    peer = Peer6()
    if state == "INCOMPLETE":
        peer.pings(STRANGER)
    elif state is not None:
        peer.sends(solicitation(source=STRANGER, target=address("fd77::99"), destination=B6))
        tell = messages.NeighborHeard(STRANGER, MAC_A)
        peer.host.link().control([tell], peer.network.now)
        if state == "REACHABLE":
            peer.advertised(STRANGER)
        elif state in ("DELAY", "PROBE"):
            peer.pings(STRANGER)
            peer.after(5.5 if state == "PROBE" else 0.1)
    assert peer.neighbors.get(STRANGER, (None, None))[1] == state
    peer.advertised(STRANGER, solicited=solicited, override=override, link_address=mac)
    assert peer.neighbors.get(STRANGER) == after
    assert peer.drops == {}


BAD_ADVERTISEMENTS = {
    "solicited, but to a group": {"destination": ALL_NODES, "solicited": True},
    "hop limit": {"hop_limit": 254},
    "target a group": {"target": ALL_NODES},
    "a group's MAC": {"link_address": b"\x33\x33\0\0\0\1"},
    "fragmented": {"headers": (fragment(0, False),)},
}


@pytest.mark.parametrize("name", BAD_ADVERTISEMENTS)
def test_a_bad_advertisement_is_ignored(name):
    """RFC 4861 §7.1.2."""
    peer = Peer6()
    peer.pings(STRANGER)
    how = {"target": STRANGER, "solicited": True, "link_address": MAC_A, **BAD_ADVERTISEMENTS[name]}
    flags = {key: how.pop(key) for key in ("target", "solicited", "link_address")}
    how.setdefault("destination", B6)
    assert peer.sends(discovery(ndp.NeighborAdvertisement(**flags), source=STRANGER, **how)) == []
    assert peer.drops == {errors.BAD_NDP: 1}
    assert peer.neighbors[STRANGER] == (None, "INCOMPLETE")


# -- redirects ---------------------------------------------------------------------------------------------------------


def redirect(target=LINK_C, destination=FAR6, link_address=OTHER_MAC, source=LINK_A, **how):
    message = ndp.Redirect(target, destination, link_address)
    return discovery(message, source=source, destination=B6, **how)


def next_hop(peer, destination=FAR6):
    return peer.host.inet.v6.addresses.path(destination).next_hop


@pytest.mark.parametrize("target", [LINK_C, FAR6])
def test_a_redirect_is_followed_until_its_target_is_dead(target):
    """RFC 4861 §8.3, §7.3.3: to a better router, or to the destination, which is on the link."""
    peer = Peer6()
    assert peer.sends(redirect(target)) == []
    expected = scoped(target, ETH0)
    assert next_hop(peer) == expected and next_hop(peer, address("2001:db8::2")) == NEAR_A
    assert peer.neighbors[expected] == (OTHER_MAC, "STALE")
    peer.host.ping(FAR6, peer.network.now)
    peer.network.settle()
    (frame,) = peer.frames()
    assert frame[10:16] == OTHER_MAC
    peer.after(9)  # probed, and forgotten
    assert expected not in peer.neighbors
    peer.pings(FAR6, sequence=2)
    peer.after(4)  # asked for in vain
    assert next_hop(peer) == NEAR_A


BAD_REDIRECTS = {
    "hop limit": redirect(hop_limit=64),
    "not from a link-local address": redirect(source=A6),
    "not from the router in use": redirect(source=address("fe80::d")),
    "target neither link-local nor the destination": redirect(target=address("fd77::9")),
    "target a group": redirect(target=ALL_NODES),
    "to ourselves": redirect(target=LINK_B),
    "of a group": redirect(destination=ALL_NODES),
    "of what is on the link": redirect(destination=address("fd77::9")),
    "of our own address": redirect(destination=B6),
    "fragmented": redirect(headers=(fragment(0, False),)),
    "code": ip6(summed(icmp6.build(137, 1, bytes(4), LINK_C + FAR6), LINK_A, B6), source=LINK_A, hop_limit=255),
    "too short": ip6(
        summed(icmp6.build(137, 0, bytes(4), LINK_C + FAR6[:15]), LINK_A, B6), source=LINK_A, hop_limit=255
    ),
    "a group's MAC": redirect(link_address=b"\xff" * 6),
}


@pytest.mark.parametrize("name", BAD_REDIRECTS)
def test_a_bad_redirect_is_not_followed(name):
    """RFC 4861 §8.1."""
    peer = Peer6()
    assert peer.sends(BAD_REDIRECTS[name]) == []
    assert next_hop(peer) == NEAR_A and NEAR_C not in peer.neighbors
    assert peer.drops == {errors.BAD_NDP: 1}


def test_redirects_can_be_refused():
    peer = Peer6(config6(accept_redirects=False))
    peer.sends(redirect())
    assert next_hop(peer) == NEAR_A and peer.drops == {errors.BAD_NDP: 1}


# -- duplicate address detection ---------------------------------------------------------------------------------------


def probing(**settings):
    """A host that has just started, with fe80::2 and fd77::2 to be probed for."""
    return Peer6(config6(dad_transmits=1, **settings), quiet=False)


def probes(packets):
    return [packet for packet in packets if icmp_in(packet).kind == icmp6.NEIGHBOR_SOLICITATION]


def test_an_address_is_used_when_nobody_else_has_it():
    """RFC 4862 §5.4: probed for without an address, within the first second; usable a second after that."""
    peer = probing()
    inet = peer.host.inet
    peer.frames()
    assert peer.sends(ping6()) == [] and peer.drops == {errors.NOT_OURS: 1}
    assert not inet.is_local(B6)
    asked = probes(peer.after(1.0))
    assert sorted(discovery_in(packet).target for packet in asked) == [B6, LINK_B]
    for packet in asked:
        fields, message = parsed6(packet), discovery_in(packet)
        assert (fields.source, fields.destination) == (ipv6.UNSPECIFIED, SOLICITED_B)
        assert message.link_address is None and len(message.nonce) == 6
    assert probes(peer.after(1.1)) == []
    assert inet.is_local(B6) and inet.is_local(NEAR_B)
    assert {event.address for event in events(peer, messages.AddressClaimed)} == {B6, NEAR_B}
    peer.introduce()
    assert kinds(peer.sends(ping6())) == [icmp6.ECHO_REPLY]


def test_the_group_of_a_probe_is_joined_before_it():
    """RFC 4862 §5.4.2, RFC 3810 §5.2.13: from no address yet."""
    peer = probing()
    seen = peer.after(0.0)
    (report,) = seen
    assert parsed6(report).source == ipv6.UNSPECIFIED and parsed6(report).destination == ALL_MLD_ROUTERS
    assert groups(report) == {SOLICITED_B}


def test_what_was_reported_without_an_address_is_reported_again_with_one():
    """RFC 3590 §4, RFC 3810 §5.2.13: routers ignore the first; Linux's ipv6_mc_dad_complete."""
    peer = probing()
    reports = [packet for packet in peer.after(10) if parsed6(packet).protocol == ipv6.HOP_BY_HOP]
    sources = [parsed6(report).source for report in reports]
    assert sources == [ipv6.UNSPECIFIED] * 2 + [LINK_B] * 2
    assert all(groups(report) == {SOLICITED_B} for report in reports)
    started = Peer6(quiet=False)
    reports = started.after(10)
    assert [parsed6(report).source for report in reports] == [LINK_B] * 2


def groups(packet):
    """Of an MLD version 2 report, which must have left as one; all of them joined."""
    fields = parsed6(packet)
    assert (fields.protocol, fields.hop_limit) == (ipv6.HOP_BY_HOP, 1)
    assert fields.payload[2:6] == b"\x05\x02\0\0"  # Router Alert: MLD
    icmp_in(packet)
    report = mld.parse(packet, 48, len(packet))
    assert all(record.type in (igmp.TO_EXCLUDE, igmp.IS_EXCLUDE) for record in report.records)
    return {record.group for record in report.records}


@pytest.mark.parametrize(
    "other",
    [
        discovery(ndp.NeighborAdvertisement(B6, link_address=OTHER_MAC), destination=ALL_NODES),
        discovery(ndp.NeighborAdvertisement(B6, override=True, link_address=OTHER_MAC), destination=ALL_NODES),
        solicitation(source=ipv6.UNSPECIFIED, link_address=None),
        solicitation(source=ipv6.UNSPECIFIED, link_address=None, nonce=b"others"),
    ],
)
def test_an_address_that_another_has_or_wants_is_given_up(other):
    """RFC 4862 §5.4.3, §5.4.4, RFC 7527 §4.2."""
    peer = probing()
    peer.after(1.0)
    peer.sends(other)
    (event,) = events(peer, messages.AddressConflict)
    assert event.address == B6
    peer.after(5)
    assert not peer.host.inet.is_local(B6) and peer.host.inet.is_local(NEAR_B)
    peer.introduce()
    assert peer.sends(solicitation(source=STRANGER)) == []


def test_our_own_probe_that_comes_back_is_no_conflict():
    """RFC 7527 §4.1: it has our nonce; three more follow."""
    peer = probing()
    (probe,) = (packet for packet in probes(peer.after(1.0)) if discovery_in(packet).target == B6)
    assert peer.sends(probe) == []
    assert events(peer, messages.AddressConflict) == []
    more = [packet for packet in probes(peer.after(10)) if parsed6(packet).source == ipv6.UNSPECIFIED]
    assert len(more) == 3 and peer.host.inet.is_local(B6)


def test_a_tentative_address_answers_nobody():
    """RFC 4862 §5.4.3: who has an address is not answered, and is no conflict."""
    peer = probing()
    peer.after(0.9)
    assert peer.sends(solicitation(), solicitation(source=STRANGER, destination=B6)) == []
    assert A6 not in peer.neighbors
    peer.after(2)
    assert peer.host.inet.is_local(B6)


def test_an_address_in_use_is_kept_whoever_claims_it():
    peer = Peer6()
    peer.sends(discovery(ndp.NeighborAdvertisement(B6, override=True, link_address=OTHER_MAC), destination=ALL_NODES))
    assert peer.host.inet.is_local(B6) and events(peer, messages.AddressConflict) == []
    assert B6 not in peer.neighbors and kinds(peer.sends(ping6())) == [icmp6.ECHO_REPLY]


def test_an_address_given_later_is_probed_for_too():
    peer = Peer6(config6(dad_transmits=1))
    peer.after(3)
    later = address("fd77::9")
    peer.host.inet.control([messages.AddAddress(ETH0, later, 64, True)], peer.network.now)
    packets = peer.after(3.0)
    (report, *_) = [packet for packet in packets if parsed6(packet).protocol == ipv6.HOP_BY_HOP]
    assert groups(report) == {ipv6.solicited_node(later)} and parsed6(report).source == LINK_B
    assert [discovery_in(each).target for each in packets if discovery_target(each)] == [later]
    assert peer.host.inet.is_local(later)


def discovery_target(packet):
    fields = parsed6(packet)
    return fields.protocol == ipv6.ICMPV6 and fields.source == ipv6.UNSPECIFIED


# -- routers -----------------------------------------------------------------------------------------------------------


def autoconf(**settings):
    """A host that has no address, and the test is its router; it has made its link-local address."""
    peer = Peer6(
        config6(**{"dad_transmits": 1, "accept_ra": True, **settings}), addresses=(), gateway=None, quiet=False
    )
    peer.after(3.0)
    return peer


def advertisement(source=LINK_A, destination=ALL_NODES, prefixes=(), hop_limit=255, headers=(), **fields):
    """A router advertisement; *prefixes* are `ndp.Prefix`es. The router's MAC is in it."""
    fields = {"lifetime": 1800, "link_address": MAC_A, **fields}
    fields["hop_limit"] = fields.pop("current_hop_limit", 0)
    message = ndp.RouterAdvertisement(prefixes=tuple(prefixes), **fields)
    return discovery(message, source=source, destination=destination, hop_limit=hop_limit, headers=headers)


def prefix(valid=86400, preferred=14400, *, at=PREFIX, on_link=True, autonomous=True):
    return ndp.Prefix(at, 64, on_link, autonomous, valid, preferred)


def own(peer, local=False):
    """The usable addresses of the host on its link."""
    held = peer.host.inet.interfaces[ETH0].addresses6
    return [each.address for each in held if each.usable and is_link_local(each.address) == local]


def test_routers_are_solicited_when_the_link_local_address_is_there():
    """RFC 4861 §6.3.7, RFC 7559: with its MAC, and less and less often."""
    peer = autoconf(router_solicitation_max_interval=30)
    (local,) = own(peer, local=True)
    peer.frames()
    seen = []
    for _ in range(12):
        seen += [(peer.network.now, packet) for packet in peer.after(10.0)]
    asked = [(at, packet) for at, packet in seen if parsed6(packet).destination == ipv6.ALL_ROUTERS]
    assert 4 <= len(asked) <= 6
    for _, packet in asked:
        assert parsed6(packet).source == on_wire(local)
        assert discovery_in(packet) == ndp.RouterSolicitation(MAC_B)


def test_a_router_ends_the_solicitations():
    peer = autoconf()
    peer.sends(advertisement())
    assert not [packet for packet in peer.after(300) if parsed6(packet).destination == ipv6.ALL_ROUTERS]


def test_without_accept_ra_nothing_is_asked_nor_believed():
    peer = autoconf(accept_ra=False)
    assert peer.after(30) == []
    peer.sends(advertisement(prefixes=[prefix()]))
    peer.after(5)
    assert own(peer) == [] and peer.host.inet.path(FAR6) is None


def test_a_prefix_becomes_an_address_that_is_used_when_nobody_else_has_it():
    """RFC 4862 §5.5, RFC 7217: the whole way from the advertisement to a ping."""
    peer = autoconf()
    assert own(peer) == []
    (report,) = peer.sends(advertisement(prefixes=[prefix()]))
    (group,) = groups(report)  # told before the address is probed for
    assert own(peer) == []
    packets = peer.after(3.0)
    (probe,) = [packet for packet in packets if discovery_target(packet)]
    (mine,) = own(peer)
    assert mine[:8] == PREFIX[:8] and ipv6.solicited_node(mine) == group
    assert discovery_in(probe).target == mine and parsed6(probe).destination == group
    assert [event.address for event in events(peer, messages.AddressClaimed)][-1] == mine
    assert kinds(peer.sends(solicitation(mine, source=FAR6))) == [icmp6.NEIGHBOR_ADVERTISEMENT]
    (reply,) = peer.sends(ping6(source=FAR6, destination=mine))
    assert (parsed6(reply).source, parsed6(reply).destination) == (mine, FAR6)


def test_a_router_is_the_default_route_while_its_lifetime_lasts():
    """RFC 4861 §6.3.4, §6.3.5."""
    peer = autoconf()
    peer.sends(advertisement(lifetime=1800, prefixes=[prefix(valid=90000, preferred=90000)]))
    peer.after(3)
    assert peer.host.inet.v6.addresses.path(FAR6).next_hop == NEAR_A
    peer.after(1790)
    assert peer.host.inet.path(FAR6) is not None
    peer.after(10)
    assert peer.host.inet.path(FAR6) is None
    peer.sends(advertisement(lifetime=600))
    assert peer.host.inet.path(FAR6) is not None
    peer.sends(advertisement(lifetime=0))
    assert peer.host.inet.path(FAR6) is None
    assert peer.host.inet.path(PREFIX[:15] + b"\x09") is not None  # the prefix is on the link still


def test_a_router_without_lifetime_gives_prefixes_all_the_same():
    """RFC 4861 §6.3.4."""
    peer = autoconf()
    peer.sends(advertisement(lifetime=0, prefixes=[prefix()]))
    peer.after(3)
    assert len(own(peer)) == 1 and peer.host.inet.path(FAR6) is None


def test_what_is_on_the_link_is_asked_for_and_what_is_not_goes_by_the_router():
    """RFC 4861 §6.3.4: an autonomous prefix need not be on the link."""
    peer = autoconf()
    off_link = address("2001:db8:6::")
    peer.sends(advertisement(prefixes=[prefix(), prefix(at=off_link, on_link=False)]))
    peer.after(3)
    addresses = peer.host.inet.v6.addresses
    near, far = PREFIX[:15] + b"\x09", off_link[:15] + b"\x09"
    assert (addresses.path(near).next_hop, addresses.path(far).next_hop) == (near, NEAR_A)
    assert [each[:8] for each in own(peer)] == [PREFIX[:8], off_link[:8]]
    assert addresses.path(far).source[:8] == off_link[:8]


def test_a_prefix_that_is_withdrawn_is_not_on_the_link_and_its_address_deprecated():
    """RFC 4862 §5.5.3 (e): but valid for two hours yet."""
    peer = autoconf()
    other = address("2001:db8:6::")
    peer.sends(advertisement(prefixes=[prefix(), prefix(at=other)]))
    peer.after(3)
    inet = peer.host.inet
    far = PREFIX[:15] + b"\x09"
    peer.sends(advertisement(prefixes=[prefix(valid=0, preferred=0)]))
    assert inet.v6.addresses.path(far).next_hop == NEAR_A
    assert inet.v6.addresses.path(far).source[:8] == other[:8]
    assert len(own(peer)) == 2
    peer.after(7201)
    assert [each[:8] for each in own(peer)] == [other[:8]]


def test_an_address_ends_and_its_group_is_left():
    peer = autoconf()
    peer.sends(advertisement(lifetime=9000, prefixes=[prefix(valid=7300, preferred=100)]))
    peer.after(3)
    (mine,) = own(peer)
    assert peer.host.inet.interfaces[ETH0].membership6.is_member(ipv6.solicited_node(mine))
    packets = peer.after(7299)
    assert own(peer) == []
    assert not peer.host.inet.interfaces[ETH0].membership6.is_member(ipv6.solicited_node(mine))
    reports = [packet for packet in packets if parsed6(packet).protocol == ipv6.HOP_BY_HOP]
    records = [mld.parse(packet, 48, len(packet)).records for packet in reports]
    assert [[record.type for record in each] for each in records][-1] == [igmp.TO_INCLUDE]


def test_parameters_of_the_link_are_taken():
    """RFC 4861 §6.3.4: MTU, hop limit, times."""
    peer = autoconf()
    peer.sends(advertisement(prefixes=[prefix()], mtu=1400, current_hop_limit=17, reachable=10.0, retransmit=0.25))
    peer.after(3)
    assert peer.host.inet.path(FAR6).mtu == 1400
    (packet,) = peer.pings(FAR6)
    assert parsed6(packet).hop_limit == 17
    peer.pings(PREFIX[:15] + b"\x09")
    peer.after(0.8)
    assert len(peer.host.echoes) == 1  # three questions in 0.75 s
    peer.sends(advertisement(mtu=1279), advertisement(mtu=1501))
    assert peer.host.inet.path(FAR6).mtu == 1400


def test_a_mtu_of_dhcps_is_not_ipv6s():
    """RFC 8200 §5: IPv6 has 1,280 at least, and a DHCP server speaks of IPv4."""
    peer = autoconf()
    peer.host.inet.control([messages.SetMtu(ETH0, 576)], peer.network.now)
    peer.sends(advertisement(prefixes=[prefix()], current_hop_limit=17))
    peer.after(3)
    assert peer.host.inet.path(FAR6).mtu == 1500


def test_name_servers_and_flags_are_told():
    """RFC 8106, RFC 4861 §4.2."""
    peer = autoconf()
    peer.host.events.clear()
    servers = (FAR6, LINK_A)
    peer.sends(advertisement(resolvers=((600, servers),), search=((600, ("example.org",)),), managed=True))
    assert events(peer, messages.NameServersLearned) == [
        messages.NameServersLearned(ETH0, (FAR6, NEAR_A), ("example.org",))
    ]
    assert events(peer, messages.RouterFlags) == [messages.RouterFlags(ETH0, True, False)]
    peer.host.events.clear()
    peer.after(601)
    assert events(peer, messages.NameServersLearned) == [messages.NameServersLearned(ETH0, (), ())]


BAD_ROUTERS = {
    "hop limit": advertisement(hop_limit=254),
    "not from a link-local address": advertisement(source=A6),
    "from nobody": advertisement(source=ipv6.UNSPECIFIED),
    "fragmented": advertisement(headers=(fragment(0, False),)),
    "a group's MAC": advertisement(link_address=b"\x33\x33\0\0\0\1"),
    "too short": ip6(
        summed(icmp6.build(134, 0, bytes(4), bytes(7)), LINK_A, ALL_NODES),
        source=LINK_A,
        destination=ALL_NODES,
        hop_limit=255,
    ),
}


@pytest.mark.parametrize("name", BAD_ROUTERS)
def test_a_bad_router_advertisement_is_ignored(name):
    """RFC 4861 §6.1.2, RFC 6980."""
    peer = autoconf()
    peer.sends(BAD_ROUTERS[name])
    assert peer.host.inet.path(FAR6) is None and peer.drops == {errors.BAD_NDP: 1}


def two_routers():
    peer = autoconf()
    peer.sends(advertisement(prefixes=[prefix()]), advertisement(LINK_C, link_address=OTHER_MAC))
    peer.after(3)
    return peer


def test_preferences_of_routers_count():
    """RFC 4191 §3.2."""
    peer = two_routers()
    assert next_hop(peer) == NEAR_A
    peer.sends(advertisement(LINK_C, link_address=OTHER_MAC, preference=ndp.HIGH))
    assert next_hop(peer) == NEAR_C
    peer.sends(advertisement(LINK_C, link_address=OTHER_MAC, preference=ndp.LOW))
    assert next_hop(peer) == NEAR_A
    more = (ndp.RouteInformation(address("2001:db8::"), 32, ndp.MEDIUM, 600),)
    peer.sends(advertisement(LINK_C, link_address=OTHER_MAC, preference=ndp.LOW, routes=more))
    assert next_hop(peer) == NEAR_C and next_hop(peer, address("2620::1")) == NEAR_A


def test_a_dead_router_is_replaced():
    """RFC 4861 §6.3.6, §7.3.3: at once when it is found dead, whether or not anything else comes."""
    peer = two_routers()
    peer.pings(FAR6)
    peer.after(9)  # probed in vain
    peer.pings(FAR6, sequence=2)
    peer.after(3.1)  # asked for in vain
    assert next_hop(peer) == NEAR_C


def test_a_router_that_has_become_a_host_is_no_router():
    """RFC 4861 §7.2.5: the R flag; if the advertisement is to be believed."""
    peer = two_routers()
    far_mac = b"\x02\0\0\0\0\x77"
    peer.advertised(LINK_A, ALL_NODES, solicited=False, override=False, link_address=far_mac)
    assert next_hop(peer) == NEAR_A  # a second host by its name
    peer.advertised(LINK_A, ALL_NODES, solicited=False, router=True)
    assert next_hop(peer) == NEAR_A
    peer.sends(redirect(target=LINK_A, destination=FAR6, source=LINK_C))
    peer.advertised(LINK_A, ALL_NODES, solicited=False, router=False)
    assert next_hop(peer) == NEAR_C


def test_without_room_for_groups_an_address_is_made_all_the_same():
    """A router cannot know how many groups programs have joined."""
    peer = autoconf()
    inet = peer.host.inet
    for n in range(1100):
        group = ALL_NODES[:12] + (0x01000000 + n).to_bytes(4, "big")
        inet.control([messages.JoinGroup(ETH0, group)], peer.network.now)
    refused = peer.drops[errors.MEMBERSHIP_REFUSED]
    peer.sends(advertisement(prefixes=[prefix()]))
    peer.after(3)
    (mine,) = own(peer)
    assert peer.drops[errors.MEMBERSHIP_REFUSED] == refused + 1
    assert inet.remove_address(ETH0, mine, peer.network.now)


# -- MLD ---------------------------------------------------------------------------------------------------------------


QUERY = mld.build_query(mld.Query(2, mld.ANY_GROUP, 1.0, (), False, 2, 125))


def test_a_query_is_answered_with_the_solicited_node_groups():
    """RFC 3810 §6; RFC 4291 §2.7.1."""
    peer = Peer6(addresses=("fe80::2/64", "fd77::2/64", "fd77::9:9/64"))
    assert peer.sends(listener(QUERY)) == []
    (report,) = peer.after(1.0)
    assert groups(report) == {SOLICITED_B, ipv6.solicited_node(address("::9:9"))}
    assert parsed6(report).source == LINK_B and parsed6(report).destination == ALL_MLD_ROUTERS
    assert peer.after(30) == []


NO_ALERT = (
    hop_by_hop(),
    hop_by_hop(option(0x1E, bytes(2))),
    hop_by_hop(option(ipv6.ROUTER_ALERT, b"\0\1")),
    hop_by_hop(option(ipv6.ROUTER_ALERT, bytes(1))),
    destination_options(option(ipv6.ROUTER_ALERT, bytes(2))),
)


@pytest.mark.parametrize(
    "packet",
    [
        listener(QUERY, hop_limit=2),
        listener(QUERY, hop_limit=255),
        listener(QUERY, source=A6),
        listener(QUERY, source=ipv6.UNSPECIFIED),
        listener(QUERY, headers=()),
        *(listener(QUERY, headers=(headers,)) for headers in NO_ALERT),
        listener(QUERY[:20]),
        listener(mld.build_query(mld.Query(2, FAR6, 1.0, (), False, 2, 125))),
    ],
)
def test_a_query_that_is_no_neighbours_is_ignored(packet):
    """RFC 3810 §6.2: hop limit 1, a link-local source, Router Alert with the value of MLD."""
    peer = Peer6()
    assert peer.sends(packet) == [] and peer.after(5) == []
    assert peer.drops == {errors.BAD_MLD: 1}


def test_messages_for_routers_are_ignored():
    peer = Peer6()
    record = igmp.Record(igmp.TO_EXCLUDE, address("ff02::5"))
    for message in (mld.build_report_v2([record]), mld.build_done(address("ff02::5"))):
        assert peer.sends(listener(message)) == []
    assert peer.drops == {}


def test_a_version_1_router_is_spoken_to_in_its_words():
    """RFC 3810 §8.2.1."""
    peer = Peer6()
    peer.sends(listener(mld.build_query(mld.Query(1, mld.ANY_GROUP, 1.0))))
    (report,) = peer.after(1.0)
    assert icmp_in(report).kind == icmp6.MLD_REPORT and parsed6(report).destination == SOLICITED_B
    assert parsed6(report).hop_limit == 1 and parsed6(report).protocol == ipv6.HOP_BY_HOP


def test_groups_of_programs_are_reported():
    peer = Peer6()
    group = address("ff05::5")
    peer.host.inet.control([messages.JoinGroup(ETH0, group)], peer.network.now)
    peer.network.settle()
    (report,) = peer.sees()
    assert groups(report) == {group}


def test_frames_to_us_in_a_group_are_taken():
    """A unicast packet in a link-layer multicast, as proxies send it: Linux takes it too."""
    peer = Peer6()
    assert kinds(peer.sends_frames(frame6(ping6(), to=b"\x33\x33\0\0\0\1"))) == [icmp6.ECHO_REPLY]
