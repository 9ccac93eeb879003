"""Captures, read back by dpkt, tcpdump and tshark."""

import errno
import io
import os
import resource
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import dpkt
import pytest

from pystack.device.memory import pair
from pystack.device.pcap import Capture
from pystack.errors import DeviceError
from pystack.wire import checksum, vnet

START = 1_700_000_000_123_456_789
ADDRESSES = (b"\x0a\0\0\1", b"\x0a\0\0\2")


def udp(payload, partial=True):
    length = 8 + len(payload)
    ip = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, *ADDRESSES))
    ip[10:12] = checksum.checksum(ip).to_bytes(2, "big")
    datagram = struct.pack("!HHHH", 1000, 2000, length, checksum.pseudo_header(*ADDRESSES, 17, length)) + payload
    header = vnet.build(vnet.F_NEEDS_CSUM, csum_start=34, csum_offset=6) if partial else vnet.ZERO
    return header + b"\2\0\0\0\0\2\2\0\0\0\0\1\x08\0" + bytes(ip) + datagram


def capture(target, **options):
    a, b = pair()
    device = Capture(a, target, wall_clock=lambda: START, **options)
    device.open()
    return device, b


def traffic(target, **options):
    """One frame out at 5.0 s of the stack's clock, one in, one microsecond and one nanosecond later."""
    device, far = capture(target, **options)
    frame = udp(b"out")
    device.transmit([(frame[:10], frame[10:])], 5.0)
    far.transmit([(udp(b"in"),)], 5.0)
    device.receive(5.000001001)
    device.close()
    return device, far


def blocks(data):
    """Every block's (type, body) of a little-endian pcapng file."""
    found = []
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        found.append((kind, data[at + 8 : at + length - 4]))
        assert struct.unpack_from("<I", data, at + length - 4) == (length,)
        at += length
    return found


def test_dpkt_reads_frames_and_nanosecond_times_back():
    file = io.BytesIO()
    device, _ = traffic(file)
    packets = [body for kind, body in blocks(file.getvalue()) if kind == 6]
    stamps = [struct.unpack_from("<II", body, 4) for body in packets]
    assert [high << 32 | low for high, low in stamps] == [START, START + 1001]
    file.seek(0)
    frames = [frame for _, frame in dpkt.pcapng.Reader(file)]
    assert frames == [vnet.complete_checksum(udp(text))[10:] for text in (b"out", b"in")]
    assert device.counts == {"captured": 2}


def test_direction_is_recorded():
    """epb_flags: 1 inbound, 2 outbound."""
    file = io.BytesIO()
    traffic(file)
    packets = [body for kind, body in blocks(file.getvalue()) if kind == 6]
    assert [body[-12:] for body in packets] == [struct.pack("<HHIHH", 2, 4, flag, 0, 0) for flag in (2, 1)]


def test_the_frames_that_pass_keep_their_partial_checksum():
    device, far = capture(io.BytesIO())
    frame = udp(b"x")
    device.transmit([(frame,)], 0.0)
    assert far.receive(0.0) == [frame]
    far.transmit([(frame,)], 0.0)
    assert device.receive(0.0) == [frame]


def test_snaplen_cuts_the_copy_and_keeps_the_length():
    file = io.BytesIO()
    traffic(file, snaplen=20)
    packets = [body for kind, body in blocks(file.getvalue()) if kind == 6]
    assert [struct.unpack_from("<II", body, 12) for body in packets] == [(20, 45), (20, 44)]


def test_same_traffic_same_bytes():
    first, second = io.BytesIO(), io.BytesIO()
    traffic(first)
    traffic(second)
    assert first.getvalue() == second.getvalue()


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="no tcpdump")
@pytest.mark.skipif(
    os.geteuid() == 0 and Path("/proc/self/setgroups").read_text() == "deny\n",
    reason="tcpdump cannot give up root in this user namespace, and wants to",
)
def test_tcpdump_reads_it_and_finds_the_checksums_right(tmp_path):
    path = tmp_path / "a.pcapng"
    traffic(path)
    read = subprocess.run(["tcpdump", "-nvvr", path, "-tt"], capture_output=True, text=True, check=True)
    assert read.stdout.count("10.0.0.1.1000 > 10.0.0.2.2000: [udp sum ok]") == 2
    assert "bad" not in read.stdout


@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark")
def test_tshark_reads_times_direction_and_checksums(tmp_path):
    path = tmp_path / "a.pcapng"
    traffic(path)
    fields = ["frame.time_epoch", "frame.packet_flags_direction", "udp.checksum.status", "frame.interface_name"]
    argv = ["tshark", "-r", path, "-T", "fields", "-o", "udp.check_checksum:TRUE"]
    for field in fields:
        argv += ["-e", field]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == ["1700000000.123456789", "1700000000.123457790"]
    assert [int(row[1], 0) for row in rows] == [2, 1]
    assert [row[2:] for row in rows] == [["1", "memory0"], ["1", "memory0"]]


class FullDisk(io.BytesIO):
    def write(self, data):
        if self.tell() + len(data) > 400:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_full_disk_ends_the_capture_and_not_the_network():
    device, far = capture(FullDisk())
    for _ in range(5):
        device.transmit([(udp(b"x" * 50),)], 0.0)
    assert len(far.receive(0.0)) == 5
    far.transmit([(udp(b"x"),)], 0.0)
    assert len(device.receive(0.0)) == 1
    counts = device.counts
    assert counts["capture_failures"] == 1 and 0 < counts["captured"] < 5 and counts["capture_lost"] > 0
    device.close()


def test_a_write_that_fits_only_in_part_is_taken_back(tmp_path):
    path = tmp_path / "a.pcapng"
    device, _ = capture(path)
    device.transmit([(udp(b"first"),)], 0.0)
    whole = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 50, hard))
    try:
        device.transmit([(udp(b"second"),)], 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    device.close()
    assert path.stat().st_size == whole and device.counts["capture_failures"] == 1
    with path.open("rb") as file:
        assert len(list(dpkt.pcapng.Reader(file))) == 1


def test_every_block_is_in_the_file_at_once(tmp_path):
    """A killed process loses nothing."""
    path = tmp_path / "a.pcapng"
    device, _ = capture(path)
    device.transmit([(udp(b"x"),)], 0.0)
    with path.open("rb") as file:
        assert len(list(dpkt.pcapng.Reader(file))) == 1
    device.close()


def test_a_path_that_cannot_be_written_is_an_error_before_anything_is_opened(tmp_path):
    a, _ = pair()
    a.open = None  # would raise TypeError
    with pytest.raises(DeviceError, match="cannot write the capture"):
        Capture(a, tmp_path / "none" / "a.pcapng").open()


def test_a_device_that_cannot_be_opened_closes_the_file(tmp_path):
    a, _ = pair()

    def fail():
        raise DeviceError("no")

    a.open = fail
    device = Capture(a, tmp_path / "a.pcapng")
    with pytest.raises(DeviceError, match="no"):
        device.open()
    device.close()


def test_a_file_object_stays_open():
    file = io.BytesIO()
    device, _ = traffic(file)
    assert not file.closed
    device.close()


def test_dpkt_agrees_with_the_addresses():
    file = io.BytesIO()
    traffic(file)
    file.seek(0)
    for _, frame in dpkt.pcapng.Reader(file):
        ip = dpkt.ethernet.Ethernet(frame).data
        assert socket.inet_ntoa(ip.src) == "10.0.0.1" and ip.data.dport == 2000


def test_a_forked_child_writes_nothing_of_the_parents(tmp_path):
    path = tmp_path / "shared.pcapng"
    with path.open("wb") as file:
        inner, far = pair()
        far.open()
        device = Capture(inner, file)
        device.open()
        far.transmit([(vnet.ZERO + bytes(60),)], 0.0)
        device.receive(0.0)
        child = os.fork()
        if child == 0:
            device.abandon()
            file.flush()
            os._exit(0)
        os.waitpid(child, 0)
        device.close()
    with path.open("rb") as file:
        assert len(list(dpkt.pcapng.Reader(file))) == 1
