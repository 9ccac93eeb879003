"""The virtio-net header (virtio 1.2 §5.1.6) and checksums left for the device to finish."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.wire import checksum, vnet

ETHERNET = bytes(12) + b"\x08\x00"


def udp_frame(payload, source=b"\x0a\0\0\1", destination=b"\x0a\0\0\2"):
    """A frame whose UDP checksum field holds the pseudo-header's sum, and the finished datagram's addresses."""
    length = 8 + len(payload)
    pseudo = checksum.pseudo_header(source, destination, 17, length)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 1, 0, 64, 17, 0, source, destination)
    udp = struct.pack("!HHHH", 1, 2, length, pseudo)
    header = vnet.build(vnet.F_NEEDS_CSUM, csum_start=34, csum_offset=6)
    return header + ETHERNET + ip + udp + payload, checksum.pseudo_header(source, destination, 17, length)


@pytest.mark.skipif(sys.byteorder != "little", reason="the expected bytes are little-endian")
def test_fields_are_packed_as_the_kernel_does():
    packed = vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_TCPV4 | vnet.GSO_ECN, 54, 1448, 34, 16)
    assert packed == bytes([1, 0x81, 54, 0, 0xA8, 0x05, 34, 0, 16, 0])


@given(st.tuples(*[st.integers(0, 255)] * 2, *[st.integers(0, 65535)] * 4))
def test_parse_returns_what_was_built(fields):
    assert vnet.parse(vnet.build(*fields) + b"frame") == fields


def test_no_arguments_build_the_zero_header():
    assert vnet.build() == vnet.ZERO == bytes(vnet.SIZE)


@given(st.binary(max_size=300))
def test_a_completed_checksum_is_valid_and_no_longer_partial(payload):
    frame, pseudo = udp_frame(payload)
    done = vnet.complete_checksum(frame)
    assert checksum.valid(done[44:], pseudo)
    assert done[50:52] != b"\0\0"  # RFC 768: 0 would mean that there is none
    assert vnet.parse(done) == (0, 0, 0, 0, 0, 0)
    assert done[10:50] == frame[10:50] and done[52:] == frame[52:]


def test_super_segment_stays_one():
    frame, _ = udp_frame(b"x" * 100)
    frame = vnet.build(vnet.F_NEEDS_CSUM, vnet.GSO_UDP_L4, 42, 50, 34, 6) + frame[10:]
    assert vnet.parse(vnet.complete_checksum(frame)) == (0, vnet.GSO_UDP_L4, 42, 50, 0, 0)


def test_complete_frame_is_returned_as_it_is():
    frame = vnet.build(vnet.F_DATA_VALID) + ETHERNET + b"payload"
    assert vnet.complete_checksum(frame) is frame


@given(st.binary(max_size=80), st.integers(0, 65535), st.integers(0, 65535))
def test_lying_offsets_touch_nothing_outside_the_frame(rest, start, offset):
    frame = vnet.build(vnet.F_NEEDS_CSUM, csum_start=start, csum_offset=offset) + rest
    done = vnet.complete_checksum(frame)
    assert len(done) == len(frame)
    if start + offset + 2 > len(rest):
        assert done is frame


def test_frame_shorter_than_the_header_is_returned_as_it_is():
    assert vnet.complete_checksum(b"\x01") == b"\x01"
