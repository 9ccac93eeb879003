"""What a capture of a connection with the kernel shows, read by tshark and dpkt."""

import dpkt
import pytest

from integration.support.namespaces import has
from integration.support.stacks import STACK, on_tap
from integration.support.transfers import MB, transfer
from pystack.device.impair import Delay, Impaired, Loss
from pystack.device.pcap import Capture

needs_tshark = pytest.mark.skipif(not has("tshark"), reason="needs tshark")


def captured(namespace, path, *, size=3 * MB, towards_kernel=True, wrap=lambda device: device):
    with on_tap(namespace, wrap=lambda device: Capture(wrap(device), path)) as stack:
        transfer(namespace, stack, size, towards_kernel)


def tshark(namespace, path, display, *fields):
    """The rows of *fields* of the packets that the display filter lets through."""
    command = ["tshark", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-Y", display, "-T", "fields"]
    command += ["-d", "tcp.port==5001,echo"]  # else it guesses, by chance, what the random bytes may mean
    for field in fields:
        command += ["-e", field]
    done = namespace.run(command, check=True, stderr=-3)
    return [line.split("\t") for line in done.stdout.splitlines()]


def clean(device):
    """Packets as they are on a wire: no super-segments, so that checksums are in them."""
    return Impaired(device, transmit=[Delay(0.001)], receive=[Delay(0.001)])


@needs_tshark
def test_the_options_of_the_syn(namespace, tmp_path):
    """MSS, SACK-permitted, timestamps, window scale, as on Linux; and the scale is used afterwards."""
    path = tmp_path / "link.pcapng"
    captured(namespace, path, wrap=clean, towards_kernel=False)
    fields = ("ip.src", "tcp.options.mss_val", "tcp.options.wscale.shift", "tcp.options.sack_perm", "tcp.option_kind")
    rows = {row[0]: row[1:] for row in tshark(namespace, path, "tcp.flags.syn == 1", *fields)}
    assert rows[STACK][:2] == ["1460", "10"] and rows[STACK][3] == rows["10.77.0.1"][3] == "2,4,8,1,3"
    windows = [
        int(row[0]) for row in tshark(namespace, path, f"ip.src == {STACK} && tcp.flags.syn == 0", "tcp.window_size")
    ]
    assert max(windows) > 65_535


@needs_tshark
@pytest.mark.parametrize("towards_kernel", [True, False])
def test_a_clean_link_sees_no_retransmission_and_no_bad_checksum(namespace, tmp_path, towards_kernel):
    path = tmp_path / "link.pcapng"
    captured(namespace, path, wrap=clean, towards_kernel=towards_kernel)
    # A computed 0 may stand as 0xffff, the same number in one's complement: Linux sends it so (CSUM_MANGLED_0).
    mangled = "(tcp.checksum == 0xffff && tcp.checksum_calculated == 0x0000)"
    wrong = f"(tcp.checksum.status == Bad && !{mangled}) || ip.checksum.status == Bad"
    assert tshark(namespace, path, wrong, "frame.number") == []
    ours = f"ip.src == {STACK} && "
    assert tshark(namespace, path, ours + "tcp.analysis.retransmission", "frame.number") == []
    assert tshark(namespace, path, "tcp.len > 0", "frame.number")


@needs_tshark
def test_nothing_that_the_stack_sends_is_malformed(namespace, tmp_path):
    path = tmp_path / "link.pcapng"
    rules = [Loss(0.03), Delay(0.002)]
    captured(namespace, path, wrap=lambda device: Impaired(device, transmit=rules, receive=rules, seed=2))
    severe = f"ip.src == {STACK} && _ws.expert.severity == error"
    assert tshark(namespace, path, severe, "frame.number", "_ws.expert.message") == []


def test_sack_blocks_are_what_has_arrived(namespace, tmp_path):
    """Each block of the stack's lies above its ACK, and holds only what was seen to reach it (RFC 2018)."""
    path = tmp_path / "link.pcapng"
    rules = [Loss(0.05), Delay(0.002)]

    def wrap(device):
        return Impaired(Capture(device, path), receive=rules, seed=4)

    with on_tap(namespace, wrap=wrap) as stack:
        transfer(namespace, stack, 2 * MB, False)
    blocks, arrived = 0, set()
    with path.open("rb") as file:
        for _, frame in dpkt.pcapng.Reader(file):
            packet = dpkt.ethernet.Ethernet(frame).data
            if not isinstance(packet, dpkt.ip.IP) or not isinstance(packet.data, dpkt.tcp.TCP):
                continue
            segment = packet.data
            if segment.dport == 5001:
                end = segment.seq + len(segment.data)
                arrived.add(end + 1 if segment.flags & dpkt.tcp.TH_FIN else end)
                continue
            for kind, value in dpkt.tcp.parse_opts(segment.opts):
                if kind == dpkt.tcp.TCP_OPT_SACK:
                    edges = [int.from_bytes(value[at : at + 4], "big") for at in range(0, len(value), 4)]
                    for left, right in zip(edges[::2], edges[1::2], strict=True):
                        assert segment.ack < left < right or right <= segment.ack  # the latter: a D-SACK
                        assert right in arrived
                        blocks += 1
    assert blocks > 20
