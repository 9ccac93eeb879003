"""The link layer: framing, ARP as Linux's arp_process, and what it does not send."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import errors, messages
from pystack.link.layer import LinkLayer
from pystack.packet import BROADCAST, HOST, MULTICAST, TxPacket
from pystack.wire import arp, ethernet, vnet

INDEX = 3
OUR_MAC = b"\x02\0\0\0\0\x02"
MAC = b"\x02\0\0\0\0\x01"
OTHER_MAC = b"\x02\0\0\0\0\x99"
ALL = b"\xff" * 6
OURS = bytes((10, 0, 0, 2))
SECOND = bytes((10, 0, 0, 3))
PEER = bytes((10, 0, 0, 1))
NET_BROADCAST = bytes((10, 0, 0, 255))
LIMITED = b"\xff" * 4
NONE = bytes(4)
IP = b"E" + bytes(39)


class Link:
    """A link layer with OURS claimed (unless told otherwise), its clock, and its outboxes emptied at each look."""

    def __init__(self, addresses=(OURS,), probe=False, **how):
        how = {"segment_offload": True, "checksum_offload": True, **how}
        self.core = LinkLayer(INDEX, OUR_MAC, random=Random(1), **how)
        self.now = 0.0
        if addresses:
            self.tells(messages.SetBroadcasts(frozenset((LIMITED, NET_BROADCAST))))
        for address in addresses:
            self.tells(messages.ClaimAddress(address, probe))
        if not probe:
            self.after(10)
            self.frames()
            self.events()

    def take(self, name):
        taken, self.core.outboxes[name] = self.core.outboxes[name], []
        return taken

    def receives(self, *frames):
        """Returns the frames that it sends at once."""
        self.core.receive(list(frames), self.now)
        return self.frames()

    def hears_arp(self, operation, mac, sender, target_mac, target, to=OUR_MAC):
        packet = arp.build(operation, mac, sender, target_mac, target)
        return self.receives(frame(packet, ethernet.ARP, source=mac, destination=to))

    def is_asked(self, sender=PEER, target=OURS, mac=MAC):
        return self.hears_arp(arp.REQUEST, mac, sender, bytes(6), target, to=ALL)

    def is_answered(self, sender=PEER, mac=MAC, to=OUR_MAC):
        return self.hears_arp(arp.REPLY, mac, sender, OUR_MAC, OURS, to=to)

    def sends(self, *packets):
        self.core.transmit(list(packets), self.now)
        return self.frames()

    def tells(self, *batch):
        self.core.control(list(batch), self.now)

    def after(self, seconds):
        """Let time pass; returns the frames sent meanwhile."""
        end = self.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= end:
            self.now = due
            self.core.expire(due)
        self.now = end
        return self.frames()

    def frames(self):
        return [b"".join(buffers) for buffers in self.take("device")]

    def events(self):
        return self.take("control")

    def packets(self):
        return self.take("inet")

    def state(self, address=PEER):
        return next(((mac, name) for held, mac, name in self.core.neighbors() if held == address), None)


def frame(payload=IP, ethertype=ethernet.IPV4, *, source=MAC, destination=OUR_MAC, head=vnet.ZERO):
    return head + ethernet.build(destination, source, ethertype) + payload


def packet(next_hop=PEER, header=IP, payload=(), *, source=OURS, head=None):
    made = TxPacket(next_hop, 17, header, payload, source=source)
    made.next_hop, made.vnet = next_hop, head
    return made


def arp_frame(operation, to, sender, target_mac, target):
    """One that we send."""
    packet = arp.build(operation, OUR_MAC, sender, target_mac, target)
    return frame(packet, ethernet.ARP, source=OUR_MAC, destination=to)


def request(target, sender=OURS, to=ALL):
    return arp_frame(arp.REQUEST, to, sender, bytes(6), target)


def sent(header=IP, to=MAC, ethertype=ethernet.IPV4):
    return frame(header, ethertype, source=OUR_MAC, destination=to)


# -- receiving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "destination, cast",
    [(OUR_MAC, HOST), (ALL, BROADCAST), (b"\x01\0\x5e\0\0\x01", MULTICAST), (b"\x33\x33" * 3, MULTICAST)],
)
@pytest.mark.parametrize("ethertype", [ethernet.IPV4, ethernet.IPV6])
def test_ip_goes_up_without_a_copy(destination, cast, ethertype):
    link = Link()
    raw = frame(destination=destination, ethertype=ethertype)
    assert link.receives(raw) == []
    (up,) = link.packets()
    assert up.buf is raw and (up.at, up.end, up.ip_at) == (24, len(raw), 24)
    assert (up.interface, up.cast, up.checksum_trusted, up.gso_size) == (INDEX, cast, False, 0)
    assert link.core.neighbors() == [] and link.core.drops == {}


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"", errors.TRUNCATED_FRAME),
        (frame()[:23], errors.TRUNCATED_FRAME),
        (frame(destination=OTHER_MAC), errors.OTHER_HOST),
        (frame(source=b"\x03" + MAC[1:]), errors.OTHER_HOST),
        (frame(source=ALL), errors.OTHER_HOST),
        (frame(ethertype=0x88CC), errors.UNKNOWN_ETHERTYPE),
        (frame(ethertype=0x8100), errors.UNKNOWN_ETHERTYPE),
        (frame(head=vnet.build(gso_type=9, gso_size=1)), errors.BAD_VNET_HEADER),
        (frame(head=vnet.build(gso_type=vnet.GSO_ECN, gso_size=1)), errors.BAD_VNET_HEADER),
        (frame(head=vnet.build(gso_type=vnet.GSO_TCPV4, gso_size=0)), errors.BAD_VNET_HEADER),
        (frame(head=vnet.build(1, csum_start=0xFFFF, csum_offset=0xFFFF)), errors.BAD_VNET_HEADER),
        (frame(head=vnet.build(1, csum_start=37, csum_offset=16)), errors.BAD_VNET_HEADER),
    ],
)
def test_bad_frame_is_dropped_under_its_reason(raw, reason):
    link = Link()
    assert link.receives(raw) == []
    assert link.core.drops == {reason: 1} and link.packets() == [] and link.events() == []


@pytest.mark.parametrize(
    "head, trusted, gso_size",
    [
        (vnet.build(vnet.F_NEEDS_CSUM, csum_start=34, csum_offset=16), True, 0),
        (vnet.build(vnet.F_DATA_VALID), True, 0),
        (vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_TCPV4, 54, 1448, 34, 16), True, 1448),
        (vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_TCPV4 | vnet.GSO_ECN, 54, 1448, 34, 16), True, 1448),
        (vnet.build(0, vnet.GSO_UDP_L4, 42, 1400), False, 1400),
        (vnet.build(0, vnet.GSO_TCPV6, 74, 1400), False, 1400),
    ],
)
def test_virtio_header_is_taken_over(head, trusted, gso_size):
    link = Link()
    link.receives(frame(head=head))
    (up,) = link.packets()
    assert (up.checksum_trusted, up.gso_size) == (trusted, gso_size)


def test_batch_keeps_its_order_and_loses_only_the_bad_frames():
    link = Link()
    good = [frame(IP + bytes((n,))) for n in range(5)]
    link.receives(good[0], b"", good[1], frame(ethertype=1), good[2], *good[3:])
    assert [up.buf for up in link.packets()] == good
    assert link.core.counts["InFrames"] == 7 and link.core.counts["InPackets"] == 5


@given(st.lists(st.binary(max_size=80), max_size=4), st.booleans())
def test_no_frame_raises(tails, as_arp):
    link = Link()
    head = frame(b"", ethernet.ARP) if as_arp else b""
    link.receives(*(head + tail for tail in tails))


# -- sending ----------------------------------------------------------------------------------------------------------


def test_packet_to_a_known_neighbour_is_one_list_of_buffers_that_are_not_copied():
    link = Link()
    link.is_asked()
    payload = memoryview(b"data")
    head = vnet.build(vnet.F_NEEDS_CSUM, csum_start=34, csum_offset=6)
    link.core.transmit([packet(header=bytearray(IP), payload=[payload, b"more"], head=head)], link.now)
    (buffers,) = link.take("device")
    assert buffers[0] == head + sent()[10:] and buffers[1] is payload and buffers[2] == b"more"


@pytest.mark.parametrize(
    "next_hop, mac, ethertype",
    [
        (LIMITED, ALL, ethernet.IPV4),
        (NET_BROADCAST, ALL, ethernet.IPV4),
        (bytes((239, 129, 2, 3)), b"\x01\0\x5e\x01\x02\x03", ethernet.IPV4),
        (b"\xff\x02" + bytes(13) + b"\x01", b"\x33\x33\0\0\0\x01", ethernet.IPV6),
    ],
)
def test_broadcast_and_multicast_need_no_question(next_hop, mac, ethertype):
    link = Link()
    assert link.sends(packet(next_hop)) == [sent(to=mac, ethertype=ethertype)]
    assert link.core.neighbors() == [] and link.after(10) == []


def test_limited_broadcast_is_one_whatever_the_addresses():
    link = Link(addresses=())
    assert link.sends(packet(LIMITED)) == [sent(to=ALL)]
    link.tells(messages.SetBroadcasts(frozenset()))
    assert link.sends(packet(LIMITED)) == [sent(to=ALL)]


def test_broadcast_address_is_no_neighbour_even_if_one_claims_it():
    link = Link()
    assert link.is_asked(sender=NET_BROADCAST) == []
    assert link.core.drops == {errors.BAD_ARP: 1} and link.core.neighbors() == []
    late = bytes((10, 0, 1, 255))
    link.is_asked(sender=late)
    link.tells(messages.SetBroadcasts(frozenset((late,))))
    assert link.sends(packet(late)) == [sent(to=ALL)]


def test_loopback_resolves_nothing():
    link = Link(addresses=(), resolves=False)
    six = bytes(15) + b"\x01"
    zero = {"source": bytes(6), "destination": bytes(6)}
    assert link.sends(packet(bytes((127, 0, 0, 1))), packet(six)) == [
        frame(**zero),
        frame(ethertype=ethernet.IPV6, **zero),
    ]
    assert link.core.neighbors() == [] and link.core.next_deadline() is None
    assert link.is_asked() == [] and link.core.drops == {errors.UNKNOWN_ETHERTYPE: 1}


def test_unknown_neighbour_is_asked_for_once_and_gets_its_packets_in_order():
    link = Link()
    packets = [packet(header=IP + bytes((n,))) for n in range(3)]
    assert link.sends(*packets[:2]) == [request(PEER)]
    assert link.sends(packets[2]) == []
    assert link.is_answered() == [sent(IP + bytes((n,))) for n in range(3)]
    assert link.state() == (MAC, "REACHABLE")
    assert link.core.counts["OutPackets"] == 3 and link.after(60) == [] and link.events() == []


def test_dead_neighbour_is_reported_with_its_packets_and_a_later_packet_asks_again():
    link = Link()
    waiting = packet()
    assert link.sends(waiting) == [request(PEER)]
    assert link.after(2.9) == [request(PEER)] * 2
    assert link.events() == []
    assert link.after(0.1) == []
    assert link.events() == [messages.SolicitFailed(INDEX, PEER, [waiting])]
    assert link.core.drops == {errors.NEIGHBOR_UNREACHABLE: 1}
    assert link.core.neighbors() == [] and link.core.next_deadline() is None
    assert link.sends(packet()) == [request(PEER)]


def test_question_comes_from_the_packets_source_if_that_is_ours():
    """Linux's arp_announce 0."""
    link = Link(addresses=(OURS, SECOND))
    assert link.sends(packet(source=SECOND)) == [request(PEER, sender=SECOND)]
    assert link.sends(packet(bytes((10, 0, 0, 8)), source=bytes((9, 9, 9, 9)))) == [request(bytes((10, 0, 0, 8)))]
    nobody = Link(addresses=())
    assert nobody.sends(packet()) == [request(PEER, sender=NONE)]


def test_ipv6_neighbour_is_asked_for_by_inet():
    """RFC 4861 §7.2.2: three times, a second apart; then its packets come back."""
    link = Link()
    address = bytes.fromhex("fe80000000000000000000000000abcd")
    waiting = packet(address)
    assert link.sends(waiting) == [] and link.after(3) == []
    *asked, failed = link.events()
    assert asked == [messages.Solicit(3, address, False, waiting.source)] * 3
    assert (failed.address, failed.packets) == (address, [waiting])


def test_used_stale_neighbour_is_probed_by_unicast_and_confirmed_by_its_answer():
    link = Link()
    link.is_asked()
    assert link.state() == (MAC, "STALE") and link.after(100) == []
    assert link.sends(packet()) == [sent()]
    assert link.after(5) == [request(PEER, to=MAC)]
    assert link.is_answered() == [] and link.state() == (MAC, "REACHABLE")
    assert link.after(14) == []


def test_transport_progress_spares_the_probe():
    link = Link()
    link.is_asked()
    link.sends(packet())
    link.tells(messages.NeighborConfirmed(PEER), messages.NeighborConfirmed(SECOND))
    assert link.state() == (MAC, "REACHABLE") and link.after(14) == [] and link.state(SECOND) is None


# -- ARP --------------------------------------------------------------------------------------------------------------


def test_request_for_us_is_answered_and_its_sender_remembered():
    """RFC 826."""
    link = Link()
    assert link.is_asked() == [arp_frame(arp.REPLY, MAC, OURS, MAC, PEER)]
    assert link.core.neighbors() == [(PEER, MAC, "STALE")]
    assert link.events() == [] and link.core.next_deadline() is None


def test_request_for_another_is_not_answered_nor_its_sender_remembered():
    link = Link()
    assert link.is_asked(target=SECOND) == []
    assert link.core.neighbors() == []


def test_arp_probe_is_answered_but_its_sender_not_remembered():
    """RFC 5227 §2.1.1."""
    link = Link()
    assert link.is_asked(sender=NONE) == [arp_frame(arp.REPLY, MAC, OURS, MAC, NONE)]
    assert link.core.neighbors() == [] and link.events() == []


def test_unasked_replies_and_gratuitous_packets_make_no_entry():
    """Linux's arp_accept 0."""
    link = Link()
    assert link.is_answered() == [] and link.is_asked(PEER, PEER) == [] and link.is_answered(to=ALL) == []
    assert link.core.neighbors() == [] and link.core.drops == {}


@pytest.mark.parametrize(
    "sender", [bytes((127, 0, 0, 1)), bytes((224, 0, 0, 1)), LIMITED, NET_BROADCAST, bytes((0, 1, 2, 3))]
)
@pytest.mark.parametrize("operation", [arp.REQUEST, arp.REPLY])
def test_impossible_sender_is_dropped(operation, sender):
    link = Link()
    assert link.hears_arp(operation, MAC, sender, bytes(6), OURS) == []
    assert link.core.drops == {errors.BAD_ARP: 1} and link.core.neighbors() == []


@pytest.mark.parametrize("operation", [0, 3, 8, 9, 65535])
def test_unknown_operation_is_dropped_and_no_conflict(operation):
    link = Link()
    assert link.hears_arp(operation, MAC, OURS, bytes(6), OURS) == []
    assert link.core.drops == {errors.BAD_ARP: 1} and link.events() == []


def test_malformed_arp_is_dropped():
    link = Link()
    good = arp.build(arp.REQUEST, MAC, PEER, bytes(6), OURS)
    group = arp.build(arp.REQUEST, ALL, PEER, bytes(6), OURS)
    for bad in (b"", good[:27], b"\0\x06" + good[2:], group):
        assert link.receives(frame(bad, ethernet.ARP)) == []
    assert link.core.drops == {errors.BAD_ARP: 4} and link.core.neighbors() == []


def test_our_own_words_reflected_are_no_conflict():
    link = Link()
    assert link.is_asked(OURS, OURS, mac=OUR_MAC) == [] and link.events() == []
    probing = Link(probe=True)
    (probe,) = probing.after(1)
    assert probing.receives(probe) == [] and probing.events() == []
    assert probing.after(100) != [] and probing.events() == [messages.AddressClaimed(INDEX, OURS)]


def test_broadcast_reply_updates_but_does_not_confirm():
    link = Link()
    link.sends(packet())
    assert link.is_answered(to=ALL) == [sent()]
    assert link.state() == (MAC, "DELAY")


def test_gratuitous_arp_moves_a_neighbour_at_once_and_a_plain_reply_only_after_the_lock_time():
    link = Link()
    link.sends(packet())
    link.is_answered()
    assert link.is_answered(mac=OTHER_MAC) == []
    assert link.state() == (MAC, "REACHABLE")
    link.is_asked(PEER, PEER, mac=OTHER_MAC)
    assert link.state() == (OTHER_MAC, "STALE")
    assert link.sends(packet()) == [sent(to=OTHER_MAC)]
    link.after(1)
    link.is_answered(mac=MAC)
    assert link.state() == (MAC, "REACHABLE")


def test_gratuitous_reply_overrides_only_if_it_is_one_to_linux():
    """arp_is_garp: the target's MAC address must be the sender's."""
    link = Link()
    link.is_asked()
    link.hears_arp(arp.REPLY, OTHER_MAC, PEER, ALL, PEER, to=ALL)
    assert link.state() == (MAC, "STALE")
    link.hears_arp(arp.REPLY, OTHER_MAC, PEER, OTHER_MAC, PEER, to=ALL)
    assert link.state() == (OTHER_MAC, "STALE")


def test_request_for_us_moves_a_neighbour_within_the_lock_time():
    """Linux's neigh_event_ns; the answer goes where the question came from."""
    link = Link()
    link.is_asked()
    assert link.is_asked(mac=OTHER_MAC) == [arp_frame(arp.REPLY, OTHER_MAC, OURS, OTHER_MAC, PEER)]
    assert link.state() == (OTHER_MAC, "STALE")


def test_flood_of_forged_senders_is_bounded_and_keeps_the_gateway():
    link = Link()
    link.sends(packet())
    link.is_answered()
    for start in range(0, 5000, 50):
        batch = [
            frame(arp.build(arp.REQUEST, OTHER_MAC, (0x0A010000 + n).to_bytes(4, "big"), bytes(6), OURS), ethernet.ARP)
            for n in range(start, start + 50)
        ]
        assert len(link.receives(*batch)) == 50
    assert len(link.core.neighbors()) == 1024 and link.state() == (MAC, "REACHABLE")
    assert link.core.next_deadline() is None or link.after(10) == []


# -- claims -----------------------------------------------------------------------------------------------------------


def test_claim_without_probe_is_announced_twice_and_usable_at_once():
    link = Link(addresses=())
    link.tells(messages.ClaimAddress(OURS, False))
    assert link.frames() == [request(OURS)]  # a gratuitous request: sender and target are ours
    assert link.events() == [messages.AddressClaimed(INDEX, OURS)]
    assert link.after(100) == [request(OURS)] and link.events() == []


def test_probed_claim_is_not_answered_for_until_it_is_won():
    link = Link(probe=True)
    assert link.is_asked() == [] and link.core.neighbors() == []
    frames = link.after(9)
    assert frames == [request(OURS, sender=NONE)] * 3 + [request(OURS)] * (len(frames) - 3)
    assert link.events() == [messages.AddressClaimed(INDEX, OURS)]
    assert len(link.is_asked()) == 1


@pytest.mark.parametrize("sender", [OURS, NONE])
def test_probed_claim_is_lost_to_its_holder_or_another_prober(sender):
    link = Link(probe=True)
    link.after(2)
    link.is_asked(sender=sender)
    assert link.events() == [messages.AddressConflict(INDEX, OURS, MAC)]
    assert link.after(100) == [] and link.events() == [] and link.is_asked() == []


def test_held_address_is_defended_once_then_given_up():
    """RFC 5227 §2.4 (b)."""
    link = Link(probe=True)
    link.after(20)
    assert link.events() == [messages.AddressClaimed(INDEX, OURS)]
    assert link.is_asked(OURS, OURS) == [request(OURS)]
    assert link.events() == [] and link.core.neighbors() == []
    link.now += 9
    assert link.is_answered(sender=OURS) == []
    assert link.events() == [messages.AddressConflict(INDEX, OURS, MAC)]
    assert link.is_asked() == [] and link.core.neighbors() == []


def test_released_address_is_neither_answered_for_nor_defended():
    link = Link()
    link.tells(messages.ReleaseAddress(OURS))
    assert link.is_asked() == [] and link.is_asked(OURS, OURS) == []
    assert link.events() == [] and link.after(100) == []


# What inet tells of IPv6 neighbours.

ROUTER6 = bytes.fromhex("fe800003000000000000000000000001")


def test_who_has_asked_for_us_by_ipv6_is_known_without_a_question():
    """RFC 4861 §7.2.3."""
    link = Link()
    link.tells(messages.NeighborHeard(ROUTER6, MAC))
    assert link.core.neighbors() == [(ROUTER6, MAC, "STALE")]
    link.tells(messages.NeighborHeard(ROUTER6, OTHER_MAC))
    assert link.core.neighbors() == [(ROUTER6, OTHER_MAC, "STALE")]
    assert link.frames() == []


@pytest.mark.parametrize(
    ("mac", "override", "resigns", "told"),
    [
        (MAC, False, True, True),
        (None, True, True, True),
        (OTHER_MAC, True, True, True),
        (OTHER_MAC, False, True, False),  # another host by its name, perhaps
        (MAC, False, False, False),
    ],
)
def test_a_router_resigns_by_an_advertisement_that_is_believed(mac, override, resigns, told):
    """RFC 4861 §7.2.5."""
    link = Link()
    advertised = messages.NeighborAdvertised(ROUTER6, mac, False, override, resigns)
    link.tells(advertised)
    assert link.core.outboxes["control"] == []  # it is not known
    link.tells(messages.NeighborHeard(ROUTER6, MAC))
    link.tells(advertised)
    expected = [messages.RouterResigned(INDEX, ROUTER6)] if told else []
    assert link.core.outboxes["control"] == expected
