"""Whether a host without sockets knows what became of each frame."""

from collections import Counter


def assert_every_frame_is_accounted_for(host):
    """Each frame was dropped under a reason, was ARP, was joined to another, or went up; each packet that went up was
    dropped, delivered or is a fragment; and what was delivered to UDP or ICMP was answered or dropped there."""
    link, inet, udp = host.link(), host.inet, host.layers.cores["udp"]
    link_drops = sum(
        link.drops[reason] for reason in ("truncated_frame", "other_host", "unknown_ethertype", "bad_vnet_header")
    )
    known = sum(link.counts[name] for name in ("InPackets", "Joined", "ArpInMsgs"))
    assert link.counts["InFrames"] == known + link_drops
    counts = Counter()
    for name, count in inet.counts.items():
        counts[name.removeprefix("Ip6")] += count
    assert link.counts["InPackets"] + lo_packets(host) == counts["InReceives"] + inet.drops["not_ip"]
    before_delivery = (
        "truncated_header bad_version bad_header_length bad_total_length not_ours not_a_member martian_source "
        "bad_option source_routed unknown_protocol"
    )
    dropped = sum(inet.drops[reason] for reason in before_delivery.split()) + inet.drops["bad_ip_checksum"]
    merged = counts["ReasmReqds"] - counts["ReasmOKs"]
    assert counts["InReceives"] == dropped + merged + counts["InDelivers"]
    assert udp.counts["InReceives"] == sum(udp.drops.values()) - udp.drops["icmp_unmatched"]


def lo_packets(host):
    """Packets that came by the loopback."""
    return host.link("lo").counts["InPackets"]
