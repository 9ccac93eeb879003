"""`tcp.coalescing` against the stream that the packets stand for: nothing is lost, moved or joined that differs."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.packet import BROADCAST, RxPacket
from pystack.tcp.coalescing import coalesce
from pystack.wire import checksum, ipv4, ipv6, tcp, tcp_options

HERE, THERE = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1))
SIX = bytes(15) + b"\x02", bytes(15) + b"\x01"
STAMP = tcp_options.timestamp(7, 9)


def packet(seq, text, *, flags=tcp.ACK, ack=5, window=1000, port=4000, options=STAMP, tos=0, six=False, ip_options=b""):
    """A received packet with a right checksum, 24 bytes of link headers before it."""
    source, destination = SIX[::-1] if six else (THERE, HERE)
    header = tcp.build(port, 80, seq & 0xFFFFFFFF, ack, flags, window, 0, options)
    segment = bytes(header) + text
    total = checksum.pseudo_header(source, destination, ipv4.TCP, len(segment))
    header[tcp.CHECKSUM_AT : tcp.CHECKSUM_AT + 2] = checksum.checksum(segment, total).to_bytes(2, "big")
    segment = bytes(header) + text
    if six:
        ip = ipv6.build(source, destination, ipv4.TCP, len(segment))
    else:
        ip = ipv4.build(source, destination, ipv4.TCP, 20 + len(ip_options) + len(segment), options=ip_options)
    frame = bytes(24) + ip + segment
    made = RxPacket(frame, 24 + len(ip), len(frame))
    made.ip_at = 24
    made.source, made.destination, made.protocol, made.tos = source, destination, ipv4.TCP, tos
    made.options = ip_options
    return made


def text(packet):
    """``(number of the first byte, flags, the text, gso_size)``."""
    _, _, seq, _, flags, _, _, at = tcp.parse(packet.buf, packet.at, packet.end)
    return seq, flags, bytes(packet.buf[at : packet.end]), packet.gso_size


@pytest.mark.parametrize("six", [False, True])
def test_a_run_becomes_one_packet(six):
    sent = [packet(1000 + 100 * n, bytes([n]) * 100, six=six) for n in range(5)]
    sent.append(packet(1500, b"end", flags=tcp.ACK | tcp.PSH, six=six))
    (joined,) = coalesce(sent)
    whole = b"".join(bytes([n]) * 100 for n in range(5)) + b"end"
    assert text(joined) == (1000, tcp.ACK | tcp.PSH, whole, 100)
    assert joined.checksum_trusted and joined.end == len(joined.buf)


def test_numbers_wrap():
    (joined,) = coalesce([packet(0xFFFFFFFF - 99 + 100 * n, bytes(100)) for n in range(3)])
    assert text(joined)[2:] == (bytes(300), 100)


@pytest.mark.parametrize(
    "odd",
    [
        {"ack": 6},
        {"window": 999},
        {"port": 4001},
        {"options": tcp_options.timestamp(8, 9)},
        {"options": b""},
        {"tos": 3},
        {"flags": tcp.ACK | tcp.FIN},
        {"flags": tcp.ACK | tcp.CWR},
        {"flags": tcp.ACK | tcp.URG},
        {"ip_options": b"\x01\x01\x01\x00"},
    ],
)
def test_what_differs_is_not_joined(odd):
    """Linux's tcp_gro_receive: flush if anything but number, checksum and text is another."""
    sent = [packet(1000 + 100 * n, bytes([n]) * 100, **(odd if n == 2 else {})) for n in range(4)]
    joined = coalesce(sent)
    assert [text(each)[0] for each in joined] == [1000, 1200, 1300]
    assert b"".join(text(each)[2] for each in joined) == b"".join(bytes([n]) * 100 for n in range(4))


def test_a_longer_segment_a_hole_another_cast_or_interface_begins_anew():
    assert len(coalesce([packet(0, bytes(10)), packet(10, bytes(20)), packet(30, bytes(20))])) == 2
    assert len(coalesce([packet(0, bytes(10)), packet(11, bytes(10)), packet(21, bytes(10))])) == 2
    sent = [packet(10 * n, bytes(10)) for n in range(3)]
    sent[2].cast = BROADCAST
    assert len(coalesce(sent)) == 2
    sent = [packet(10 * n, bytes(10), six=True) for n in range(3)]
    sent[2].interface = 2
    assert len(coalesce(sent)) == 2


def test_a_wrong_checksum_is_left_alone_and_not_trusted():
    bad = packet(1100, bytes(100))
    bad.buf = bad.buf[:-1] + b"\x01"
    joined = coalesce([packet(1000, bytes(100)), bad, packet(1200, bytes(100))])
    assert [each.checksum_trusted for each in joined] == [True, False, True] and joined[1] is bad


def test_ipv4_options_as_long_as_ipv6_are_no_addresses():
    sent = [packet(100 * n, bytes(100), ip_options=b"\x01" * 20) for n in range(3)]
    assert coalesce(sent) == sent and not any(each.gso_size for each in sent)


def test_no_packet_is_larger_than_ip_allows():
    joined = coalesce([packet(1400 * n, bytes(1400)) for n in range(60)])
    assert [len(text(each)[2]) for each in joined] == [1400 * 46, 1400 * 14]


@given(st.integers(0, 2**32), st.integers(3, 30), st.booleans())
def test_any_batch_keeps_every_byte_in_order(seed, count, six):
    random = Random(seed)
    sent, seq = [], random.getrandbits(32)
    for _ in range(count):
        size = random.choice((0, 100, 100, 100, 100, 7))
        how = {} if random.random() < 0.8 else random.choice(({"ack": 6}, {"flags": tcp.ACK | tcp.PSH}, {"port": 1}))
        sent.append(packet(seq, random.randbytes(size), six=six, **how))
        seq += size + (random.random() < 0.1)
    before = [text(each) for each in sent]
    joined = [text(each) for each in coalesce(sent)]
    assert b"".join(each[2] for each in joined) == b"".join(each[2] for each in before)
    pieces = iter(before)
    for first, flags, whole, gso_size in joined:
        at = 0
        while True:  # the packets of which it was made
            seq, own, piece, _ = next(pieces)
            assert seq == (first + at) & 0xFFFFFFFF
            at += len(piece)
            if at == len(whole):
                break
            assert len(piece) == gso_size and not own & tcp.PSH
        assert own & tcp.PSH == flags & tcp.PSH
