"""IPv6, its neighbour discovery, MLD and extension headers under mutated and forged frames: nothing raises, nothing
grows, nothing is lost without a reason.

``PYSTACK_FUZZ_FRAMES`` sets how many mutated frames; the default is the short form for every run.
"""

import os
import sys
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack import messages
from pystack.inet import multicast, routers
from pystack.link import neighbors
from pystack.wire import icmp6, igmp, ipv6, mld, ndp
from tests.support.accounts import assert_every_frame_is_accounted_for
from tests.support.frames import MAC_A, MAC_B, VNET
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
    listener,
    option,
    pieces,
    ping6,
    routing,
    udp6,
)
from tests.support.mutate import mutated
from tests.support.peer6 import ETH0, Peer6, config6, icmp_in

FRAMES = int(os.environ.get("PYSTACK_FUZZ_FRAMES", "30000"))
BATCH = 50
GROUP = address("ff05::1:2:3")
PREFIX = address("2001:db8:5::")
LIVELY = {"dad_transmits": 1, "accept_ra": True, "use_tempaddr": 2, "ip6frag_time": 5.0}


def advertisement(number=0, source=LINK_A, **fields):
    """A router advertisement with all options there are."""
    net = PREFIX[:4] + number.to_bytes(4, "big") + bytes(8)
    fields = {
        "lifetime": 1800,
        "hop_limit": 64,
        "reachable": 30.0,
        "retransmit": 1.0,
        "link_address": MAC_A,
        "mtu": 1400,
        "prefixes": (ndp.Prefix(net, 64, True, True, 86400, 14400), ndp.Prefix(net, 48, True, False, 600, 600)),
        "routes": (ndp.RouteInformation(net, 64, ndp.HIGH, 600), ndp.RouteInformation(bytes(16), 0, ndp.LOW, 900)),
        "resolvers": ((600, (net[:8] + bytes(7) + b"\x35",)),),
        "search": ((600, (f"n{number}.example",)),),
        **fields,
    }
    return discovery(ndp.RouterAdvertisement(**fields), source=source, destination=ALL_NODES)


def corpus():
    """Frames of each kind that IPv6 knows, and some combinations of headers."""
    quote = ping6(source=B6, destination=FAR6)[:88]
    alert = hop_by_hop(option(ipv6.ROUTER_ALERT, bytes(2)))
    record = igmp.Record(igmp.TO_EXCLUDE, GROUP, (FAR6,))
    packets = [
        discovery(ndp.NeighborSolicitation(B6, MAC_A), source=A6, destination=ipv6.solicited_node(B6)),
        discovery(ndp.NeighborSolicitation(LINK_B, MAC_A, b"abcdef")),
        discovery(
            ndp.NeighborSolicitation(B6, None, b"abcdef"), source=ipv6.UNSPECIFIED, destination=ipv6.solicited_node(B6)
        ),
        discovery(ndp.NeighborAdvertisement(A6, True, True, True, MAC_A), source=A6, destination=B6),
        discovery(ndp.NeighborAdvertisement(LINK_A, link_address=MAC_A), destination=ALL_NODES),
        discovery(ndp.RouterSolicitation(MAC_A), destination=ipv6.ALL_ROUTERS),
        advertisement(),
        advertisement(1, lifetime=0),
        advertisement(2, prefixes=(ndp.Prefix(PREFIX, 64, True, True, 0, 0),)),
        discovery(ndp.Redirect(address("fe80::c"), FAR6, MAC_A), destination=B6),
        listener(mld.build_query(mld.Query(2, mld.ANY_GROUP, 1.0, (), False, 2, 125))),
        listener(mld.build_query(mld.Query(2, GROUP, 1.0, (FAR6, A6), False, 2, 125)), destination=GROUP),
        listener(mld.build_query(mld.Query(1, mld.ANY_GROUP, 1.0))),
        listener(mld.build_report(GROUP), destination=GROUP),
        listener(mld.build_done(GROUP)),
        listener(mld.build_report_v2([record, record])),
        ping6(b"x" * 56),
        ping6(destination=ALL_NODES),
        ping6(source=LINK_A, destination=LINK_B),
        ip6(echo6(kind=icmp6.ECHO_REPLY)),
        ip6(udp6(b"data"), protocol=17),
        ip6(udp6(b"data", destination=GROUP), protocol=17, destination=GROUP),
        ping6(headers=(alert, destination_options(option(0x1E, b"abc")), routing(0, 0, bytes(20)))),
        ping6(headers=(hop_by_hop(option(0x9E, b"xy")), routing(0, 1, bytes(4) + FAR6), destination_options())),
        ping6(destination=ALL_NODES, headers=(destination_options(option(0x9E)), destination_options(option(0xDE)))),
        ping6(headers=(fragment(0, False, 5), destination_options())),
        ip6(bytes(16), protocol=ipv6.NO_NEXT_HEADER, headers=(destination_options(),)),
        ip6(bytes(16), protocol=123),
        *pieces(echo6(b"a" * 100), 24, 48, identification=7),
        *pieces(echo6(b"a" * 100), 40, identification=7, headers=(alert,)),
        *(
            ip6(icmp(kind, code, rest, quote, source=FAR6), source=FAR6)
            for kind, code, rest in (
                (1, 0, bytes(4)),
                (1, 4, bytes(4)),
                (2, 0, (1280).to_bytes(4, "big")),
                (3, 1, bytes(4)),
                (4, 1, (6).to_bytes(4, "big")),
            )
        ),
    ]
    return [frame6(packet) for packet in packets]


def assert_answers(peer):
    """A good ping is answered."""
    peer.introduce()
    assert [icmp_in(answer).kind for answer in peer.sends(ping6())] == [icmp6.ECHO_REPLY]


def assert_bounded(host):
    """Whatever has come, no table holds more than it may."""
    inet = host.inet
    interface = inet.interfaces[ETH0]
    assert len(host.link().neighbors()) <= neighbors.MAX_ENTRIES
    assert len(inet.v6.pmtu) <= 4096
    assert len(interface.addresses6) <= 2 + 1 + 16 + 16  # given, link-local, made of prefixes, and a temporary each
    most = routers.MAX_ROUTERS + routers.MAX_PREFIXES + routers.MAX_ROUTES
    assert len(inet.v6.addresses.routes.routes) <= most + 16
    assert len(interface.membership6.groups) <= multicast.MAX_GROUPS


def test_mutated_frames_do_no_harm():
    random = Random(6)
    frames = corpus()
    peer = Peer6(config6(**LIVELY))
    peer.after(5.0)
    network, host = peer.network, peer.host
    host.inet.control([messages.JoinGroup(ETH0, GROUP)], network.now)
    blocks = 0
    link = host.link()
    before = link.counts["InFrames"]
    for done in range(0, FRAMES, BATCH):
        peer.sends_frames(*(mutated(frames, random) for _ in range(BATCH)))
        if not done % 1000:
            host.ping(FAR6, network.now)
        host.echoes.clear()
        host.events.clear()
        network.run_for(random.choice((0.0, 0.001, 0.01, 1.0)))
        peer.frames()
        if done // BATCH == FRAMES // BATCH // 2:
            blocks = sys.getallocatedblocks()
    assert link.counts["InFrames"] - before == FRAMES
    assert_every_frame_is_accounted_for(host)
    assert_bounded(host)
    network.run_for(120)  # every assembly and every probe has timed out
    peer.frames()
    assert sys.getallocatedblocks() - blocks < 50_000
    assert_answers(peer)


FORGED = 5000


def forged(number, start=b"\xfd\x77" + bytes(6) + b"\x01"):
    """One of many addresses."""
    return start + number.to_bytes(16 - len(start), "big")


def router(number):
    return b"\xfe\x80" + bytes(6) + b"\x07" + number.to_bytes(7, "big")


FLOODS = {
    "solicitations from many": lambda n: discovery(
        ndp.NeighborSolicitation(B6, MAC_A[:3] + n.to_bytes(3, "big")), source=forged(n), destination=B6
    ),
    "solicitations without a MAC": lambda n: discovery(ndp.NeighborSolicitation(B6), source=forged(n), destination=B6),
    "advertisements of many": lambda n: discovery(
        ndp.NeighborAdvertisement(forged(n), False, True, True, MAC_A), source=forged(n), destination=B6
    ),
    "prefixes": lambda n: advertisement(n),
    "routers": lambda n: advertisement(n, router(n), link_address=MAC_A[:3] + n.to_bytes(3, "big")),
    "name servers": lambda n: advertisement(
        0,
        resolvers=((600, tuple(forged(100 * n + each) for each in range(20))),),
        search=((600, tuple(f"n{n}-{each}.example" for each in range(20))),),
    ),
    "lifetimes": lambda n: advertisement(n % 100, lifetime=n % 3, prefixes=(prefix_of(n),)),
    "redirects": lambda n: discovery(ndp.Redirect(router(n), forged(n, b"\x20\x01"), MAC_A), destination=B6),
    "probes of our addresses": lambda n: discovery(
        ndp.NeighborSolicitation(B6, None, n.to_bytes(6, "big")),
        source=ipv6.UNSPECIFIED,
        destination=ipv6.solicited_node(B6),
    ),
    "first fragments": lambda n: ip6(bytes(1000), protocol=99, headers=(fragment(0, True, n),)),
    "last fragments of many": lambda n: ip6(
        bytes(8), source=forged(n), protocol=99, headers=(fragment(800, False, n),)
    ),
    "echoes from many": lambda n: ping6(source=forged(n)),
    "unknown protocols from many": lambda n: ip6(bytes(8), source=forged(n, b"\x20\x01"), protocol=200),
    "queries of many groups": lambda n: listener(
        mld.build_query(mld.Query(2, forged(n, b"\xff\x05"), 10.0, (A6,), False, 7, 31))
    ),
    "queries of many sources": lambda n: listener(
        mld.build_query(mld.Query(2, GROUP, 10.0, tuple(forged(80 * n + each) for each in range(80)), False, 2, 125))
    ),
}


def prefix_of(number):
    net = PREFIX[:4] + (number % 100).to_bytes(4, "big") + bytes(8)
    return ndp.Prefix(net, 64, True, True, number % 5, number % 4)


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_bounded(name):
    """Thousands of forged messages, each with other names in it, in one second and over an hour."""
    make = FLOODS[name]
    peer = Peer6(config6(**LIVELY))
    peer.after(5.0)
    peer.introduce()
    peer.host.inet.control([messages.JoinGroup(ETH0, GROUP)], peer.network.now)
    blocks = []
    for pause in (1 / FORGED, 3600 / FORGED):
        for n in range(FORGED):
            peer.sends(make(n))
            peer.after(pause)
            if len(blocks) in (0, 2) and n == FORGED // 2:
                blocks.append(sys.getallocatedblocks())
        peer.host.echoes.clear()
        peer.host.events.clear()
        blocks.append(sys.getallocatedblocks())
        assert_bounded(peer.host)
    assert blocks[1] - blocks[0] < 150_000 and blocks[3] - blocks[2] < 50_000
    assert peer.host.inet.is_local(B6)
    assert_answers(peer)


@pytest.mark.parametrize("protocol", [0, 6, 17, 43, 44, 58, 60, 255])
def test_arbitrary_payloads_do_no_harm(protocol):
    peer = Peer6(config6(**LIVELY))

    @given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from((B6, LINK_B, ALL_NODES)))
    def check(payloads, destination):
        for payload in payloads:
            source = LINK_A if destination == LINK_B else A6
            peer.sends(ip6(payload, protocol=protocol, source=source, destination=destination, hop_limit=255))

    check()


def test_arbitrary_bytes_do_no_harm():
    peer = Peer6()

    @given(st.binary(max_size=200))
    def check(data):
        peer.sends_frames(VNET + MAC_B + MAC_A + b"\x86\xdd" + data)

    check()
