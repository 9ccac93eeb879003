"""What a host sends by IPv6, read by tshark: nothing in it that Wireshark's experts call an error."""

import os
import shutil
import subprocess
from itertools import pairwise

import dpkt
import pytest

from pystack import messages
from pystack.wire import icmp6, mld, ndp
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
    icmp,
    ip6,
    listener,
    option,
    ping6,
    routing,
    udp6,
)
from tests.support.peer6 import ETH0, NEAR_A, Peer6, config6

GROUP = address("ff05::1:2:3")
PREFIX = address("2001:db8:5::")
needs_tshark = pytest.mark.skipif(not shutil.which("tshark") and os.environ.get("CI") != "true", reason="needs tshark")


class Recorded(Peer6):
    """Keeps every frame that the host has sent, with its time."""

    def __init__(self, *args, **how):
        self.recorded = []
        super().__init__(*args, **how)

    def frames(self):
        frames = super().frames()
        self.recorded += [(self.network.now, frame) for frame in frames]
        return frames


def of_a_start():
    """Duplicate address detection, reports, router solicitations, addresses by routers."""
    peer = Recorded(config6(dad_transmits=1, accept_ra=True, use_tempaddr=1), addresses=(), gateway=None, quiet=False)
    peer.after(30)
    offered = ndp.Prefix(PREFIX, 64, True, True, 8000, 4000)
    router = ndp.RouterAdvertisement(64, lifetime=1800, link_address=peer._wire.mac, prefixes=(offered,))
    peer.sends(discovery(router, destination=ALL_NODES))
    peer.after(9000)
    return peer


def of_an_answerer():
    """Advertisements, echo replies whole and in fragments, every error, reports in both versions."""
    peer = Recorded()
    question = ndp.NeighborSolicitation(B6)
    peer.sends(discovery(question, source=bytes(16), destination=address("ff02::1:ff00:2")))
    peer.sends(discovery(ndp.NeighborSolicitation(LINK_B, peer._wire.mac)))
    for size in (0, 1, 56, 1452, 4000):
        peer.sends(*echoes(size))
    peer.sends(ping6(destination=ALL_NODES), ping6(source=LINK_A, destination=LINK_B))
    peer.sends(
        ip6(bytes(16), protocol=123),
        ip6(bytes(1400), protocol=123, headers=(destination_options(),)),
        ip6(udp6(b"data"), protocol=17),
        ping6(headers=(routing(0, 1, bytes(4) + FAR6),)),
        ping6(headers=(destination_options(option(0x9E)),)),
    )
    peer.after(10)
    peer.sends(ip6(bytes(15), protocol=99, headers=(fragment(0, True),)), ip6(b"", headers=(fragment(0, True),)))
    peer.sends(ip6(bytes(64), protocol=17, headers=(fragment(0, True, 9),)))
    peer.after(60)
    peer.introduce()
    peer.after(10)
    peer.host.inet.control([messages.JoinGroup(ETH0, GROUP)], peer.network.now)
    peer.sends(listener(mld.build_query(mld.Query(2, mld.ANY_GROUP, 1.0, (), False, 2, 125))))
    peer.sends(listener(mld.build_query(mld.Query(2, GROUP, 1.0, (FAR6, A6), False, 2, 125)), destination=GROUP))
    peer.after(10)
    peer.sends(listener(mld.build_query(mld.Query(1, mld.ANY_GROUP, 1.0))))
    peer.after(10)
    peer.host.inet.control([messages.LeaveGroup(ETH0, GROUP)], peer.network.now)
    peer.after(300)
    peer.host.inet.control([messages.JoinGroup(ETH0, GROUP)], peer.network.now)
    peer.host.inet.control([messages.LeaveGroup(ETH0, GROUP)], peer.network.now)
    peer.after(10)
    return peer


def echoes(size):
    """An echo request of *size* bytes of data, in as many fragments as it needs."""
    if size <= 1452:
        return [ping6(bytes(size))]
    message = icmp(icmp6.ECHO_REQUEST, 0, bytes(4), bytes(size))
    cuts = [*range(0, len(message), 1024), len(message)]
    return [
        ip6(message[start:end], headers=(fragment(start, end < len(message), size),)) for start, end in pairwise(cuts)
    ]


def of_an_asker():
    """Solicitations, echo requests and datagrams of all sizes, to neighbours, far hosts and groups."""
    peer = Recorded()
    for sequence, size in enumerate((0, 100, 1452, 1453, 9000)):
        for destination in (A6, FAR6, NEAR_A, ALL_NODES):
            peer.pings(destination, size=size, sequence=sequence)
    peer.pings(address("fd77::77"))
    peer.after(60)
    peer.pings(A6)
    peer.after(60)
    return peer


def tshark(path, *more):
    argv = ["tshark", "-r", str(path), "-o", "udp.check_checksum:TRUE", *more]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@needs_tshark
@pytest.mark.parametrize("drive", [of_a_start, of_an_answerer, of_an_asker])
def test_no_packet_is_malformed_to_wireshark(drive, tmp_path):
    path = tmp_path / "sent.pcap"
    peer = drive()
    peer.frames()
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for at, frame in peer.recorded:
            writer.writepkt(frame[10:], at + 1.0)
    fields = ("frame.number", "_ws.expert.severity", "_ws.expert.message", "icmpv6.checksum.status", "icmpv6.type")
    columns = [part for field in fields for part in ("-e", field)]
    rows = [line.split("\t") for line in tshark(path, "-T", "fields", *columns).splitlines()]
    assert len(rows) == len(peer.recorded) > 10
    assert [row for row in rows if any(int(each) >= ERROR for each in row[1].split(",") if each)] == []
    assert {status for row in rows for status in row[3].split(",")} <= {
        "",
        "1",
        "2",
    }  # good, not there, or cut short in a quote
    kinds = {int(each) for row in rows for each in row[4].split(",") if each}
    assert kinds >= EXPECTED[drive]
    assert "Malformed" not in tshark(path, "-z", "expert,error", "-q")


ERROR = 0x800000  # PI_ERROR
EXPECTED = {
    of_a_start: {icmp6.NEIGHBOR_SOLICITATION, icmp6.ROUTER_SOLICITATION, icmp6.MLD_REPORT_V2},
    of_an_answerer: {1, 3, 4, icmp6.ECHO_REPLY, icmp6.NEIGHBOR_ADVERTISEMENT, icmp6.MLD_REPORT, icmp6.MLD_REPORT_V2},
    of_an_asker: {icmp6.ECHO_REQUEST, icmp6.NEIGHBOR_SOLICITATION},
}
