"""`link.coalescing` against the stream that the frames stand for: nothing is lost, moved or joined that differs."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystack.link import coalescing
from pystack.wire import checksum, ethernet, ipv4, ipv6, tcp, tcp_options, vnet
from tests.support.netsim import two_hosts

HERE, THERE = bytes((10, 0, 0, 2)), bytes((10, 0, 0, 1))
SIX = bytes(15) + b"\x02", bytes(15) + b"\x01"
MAC, OTHER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
STAMP = tcp_options.timestamp(7, 9)


def frame(
    seq,
    text,
    *,
    flags=tcp.ACK,
    ack=5,
    window=1000,
    port=4000,
    options=STAMP,
    tos=0,
    ttl=64,
    six=False,
    to=MAC,
    head=vnet.ZERO,
    checksum_of=None,
    **ip_fields,
):
    """A frame with right checksums; TCP's is *checksum_of* the pseudo-header's sum, if that is given."""
    source, destination = SIX[::-1] if six else (THERE, HERE)
    header = tcp.build(port, 80, seq & 0xFFFFFFFF, ack, flags, window, 0, options)
    segment = bytes(header) + text
    total = checksum.pseudo_header(source, destination, ipv4.TCP, len(segment))
    value = checksum.checksum(segment, total) if checksum_of is None else checksum_of(total)
    header[tcp.CHECKSUM_AT : tcp.CHECKSUM_AT + 2] = value.to_bytes(2, "big")
    segment = bytes(header) + text
    if six:
        ip = ipv6.build(source, destination, ipv4.TCP, len(segment), hop_limit=ttl, traffic_class=tos)
    else:
        length = 20 + len(ip_fields.get("options", b"")) + len(segment)
        fields = {"identification": seq & 0xFFFF, **ip_fields}  # no two alike
        ip = ipv4.build(source, destination, ipv4.TCP, length, ttl=ttl, tos=tos, **fields)
    return head + ethernet.build(to, OTHER_MAC, ethernet.IPV6 if six else ethernet.IPV4) + ip + segment


def coalesce(frames):
    return coalescing.coalesce(frames, MAC)


def text(frame):
    """``(number of the first byte, flags, the text, gso_size)``."""
    at = 24 + (40 if frame[24] >> 4 == 6 else (frame[24] & 15) * 4)
    _, _, seq, _, flags, _, _, text_at = tcp.parse(frame, at, len(frame))
    return seq, flags, frame[text_at:], vnet.parse(frame)[3]


@pytest.mark.parametrize("six", [False, True])
def test_a_run_becomes_one_frame(six):
    """As a device with offload would have given it: its lengths, its checksums, its virtio-net header."""
    sent = [frame(1000 + 100 * n, bytes([n]) * 100, six=six) for n in range(5)]
    sent.append(frame(1500, b"end", flags=tcp.ACK | tcp.PSH, six=six))
    (joined,) = coalesce(sent)
    whole = b"".join(bytes([n]) * 100 for n in range(5)) + b"end"
    assert text(joined) == (1000, tcp.ACK | tcp.PSH, whole, 100)
    headers = 14 + (40 if six else 20) + 32
    kind = vnet.GSO_TCPV6 if six else vnet.GSO_TCPV4
    assert vnet.parse(joined) == (vnet.F_DATA_VALID, kind, headers, 100, 0, 0)
    if six:
        assert int.from_bytes(joined[28:30], "big") == len(joined) - 64
    else:
        assert int.from_bytes(joined[26:28], "big") == len(joined) - 24 and checksum.valid(joined[24:44])


def test_numbers_wrap():
    (joined,) = coalesce([frame(0xFFFFFFFF - 99 + 100 * n, bytes(100)) for n in range(3)])
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
        {"ttl": 63},
        {"to": OTHER_MAC},
        {"head": vnet.build(vnet.F_DATA_VALID)},
        {"flags_offset": ipv4.DONT_FRAGMENT},
    ],
)
def test_what_differs_is_not_joined(odd):
    """Linux's tcp_gro_receive: flush if anything but number, checksum and text is another."""
    sent = [frame(1000 + 100 * n, bytes([n]) * 100, **(odd if n == 2 else {})) for n in range(4)]
    joined = coalesce(sent)
    assert [text(each)[0] for each in joined] == [1000, 1200, 1300]
    assert b"".join(text(each)[2] for each in joined) == b"".join(bytes([n]) * 100 for n in range(4))


def test_a_longer_segment_or_a_hole_begins_anew():
    assert len(coalesce([frame(0, bytes(10)), frame(10, bytes(20)), frame(30, bytes(20))])) == 2
    assert len(coalesce([frame(0, bytes(10)), frame(11, bytes(10)), frame(21, bytes(10))])) == 2


@pytest.mark.parametrize(
    "how",
    [
        {"flags_offset": ipv4.MORE_FRAGMENTS},
        {"flags_offset": 1},
        {"head": vnet.build(vnet.F_DATA_VALID, vnet.GSO_UDP_L4, 66, 50)},
        {"head": vnet.build(vnet.F_DATA_VALID, vnet.GSO_TCPV6, 66, 50)},
        {"head": vnet.build(vnet.F_DATA_VALID, vnet.GSO_TCPV4 | vnet.GSO_ECN, 66, 50)},
    ],
)
def test_fragments_and_what_is_joined_otherwise_are_left_alone(how):
    sent = [frame(100 * n, bytes(100), **how) for n in range(3)]
    assert coalesce(sent) == sent


@pytest.mark.parametrize("length", [4, 20])
def test_ipv4_options_are_left_alone(length):
    """Also where they are as long as an IPv6 header."""
    sent = []
    for n in range(3):
        plain = frame(100 * n, bytes(100))
        ip = ipv4.build(THERE, HERE, ipv4.TCP, len(plain) - 24 + length, options=b"\x01" * length)
        sent.append(plain[:24] + ip + plain[44:])
    assert coalesce(sent) == sent


def super_head(six):
    """The virtio-net header of a super-segment."""
    return vnet.build(vnet.F_DATA_VALID, vnet.GSO_TCPV6 if six else vnet.GSO_TCPV4, 66, 50)


def super_frames(*sizes, six=False, **how):
    how = {"head": super_head(six), "six": six, **how}
    return [frame(sum(sizes[:n]), bytes([n]) * size, **how) for n, size in enumerate(sizes)]


@pytest.mark.parametrize("six", [False, True])
def test_a_run_of_super_segments_is_the_first_of_them_and_the_text_of_the_others(six):
    """Whatever their lengths; nothing is copied."""
    sent = super_frames(30_000, 60_000, 200, 60_000, six=six)
    ((first, following),) = coalesce(sent)
    assert first is sent[0]
    assert following == [text(each)[2] for each in sent[1:]]
    assert [view.obj for view in following] == sent[1:]


def test_a_super_segment_that_differs_begins_anew():
    sent = super_frames(100, 100, 100, 100)
    pushed = super_frames(100, 100, 100, 100, flags=tcp.ACK | tcp.PSH)
    assert [type(each) for each in coalesce(pushed)] == [tuple]
    ordinary = frame(200, bytes([2]) * 100)
    assert [type(each) for each in coalesce([*sent[:2], pushed[2], sent[3]])] == [tuple, bytes, bytes]
    assert [type(each) for each in coalesce([*sent[:2], ordinary, sent[3]])] == [tuple, bytes, bytes]
    assert [type(each) for each in coalesce([sent[0], sent[2], sent[3]])] == [bytes, tuple]
    assert coalesce([sent[0], spoilt(sent[1], 27), sent[2]]) == [sent[0], spoilt(sent[1], 27), sent[2]]


def spoilt(frame, at):
    made = bytearray(frame)
    made[at] ^= 0x10
    return bytes(made)


@pytest.mark.parametrize("six, at", [(False, -1), (False, 27), (False, 35), (False, 60), (True, -1), (True, 29)])
def test_what_is_wrong_is_left_alone(six, at):
    """The text, a length or a checksum: who reads it drops and counts it."""
    sent = [frame(1000 + 100 * n, bytes(100), six=six) for n in range(5)]
    sent[2] = spoilt(sent[2], at)
    joined = coalesce(sent)
    assert len(joined) == 3 and joined[1] == sent[2]
    assert [text(each)[2] for each in (joined[0], joined[2])] == [bytes(200)] * 2


def test_padding_is_no_text():
    sent = [frame(n, b"x", options=b"") + bytes(5) for n in range(4)]
    assert coalesce(sent) == sent


def partial(start):
    """A virtio-net header that leaves the checksum to the receiver."""
    return vnet.build(vnet.F_NEEDS_CSUM, csum_start=start, csum_offset=tcp.CHECKSUM_AT)


@pytest.mark.parametrize("six", [False, True])
def test_checksums_that_the_device_vouches_for_are_not_summed_up(six):
    start = 54 if six else 34
    for head in (partial(start), vnet.build(vnet.F_DATA_VALID)):
        sent = [frame(100 * n, bytes(100), six=six, head=head, checksum_of=lambda total: total) for n in range(4)]
        assert text(coalesce(sent)[0])[2:] == (bytes(400), 100)
    sent = [frame(100 * n, bytes(100), six=six, head=partial(start + 1)) for n in range(4)]
    assert coalesce(sent) == sent


@pytest.mark.parametrize("to, source", [(OTHER_MAC, OTHER_MAC), (MAC, b"\x03" + OTHER_MAC[1:])])
def test_what_the_link_layer_drops_is_left_alone(to, source):
    """Another host's frames, and those of a group: each is counted."""
    sent = [each[:16] + source + each[22:] for each in (frame(100 * n, bytes(100), to=to) for n in range(3))]
    assert coalesce(sent) == sent


def test_an_echo_of_congestion_is_joined_to_its_like():
    sent = [frame(100 * n, bytes(100), flags=tcp.ACK | tcp.ECE * (n > 1)) for n in range(4)]
    assert [text(each)[1:] for each in coalesce(sent)] == [
        (tcp.ACK, bytes(200), 100),
        (tcp.ACK | tcp.ECE, bytes(200), 100),
    ]


def test_extension_headers_are_left_alone():
    sent = []
    for n in range(3):
        plain = frame(100 * n, bytes(100), six=True)
        ip = ipv6.build(*SIX[::-1], 0, len(plain) - 64 + 8)
        sent.append(plain[:24] + ip + b"\x06\0\x01\x04\0\0\0\0" + plain[64:])
    assert coalesce(sent) == sent


def test_what_stays_alone_is_not_summed_up(monkeypatch):
    """Segments of several connections, one by one: TCP will look at the checksums."""
    sums = []
    monkeypatch.setattr(checksum, "total", lambda view, total=checksum.total: sums.append(view) or total(view))
    sent = [frame(100 * (n // 2), bytes(100), port=4000 + n % 2) for n in range(20)]
    sums.clear()
    assert coalesce(sent) == sent and not sums


@given(st.lists(st.binary(max_size=120), max_size=6), st.integers(0, 2**32))
def test_any_bytes_do_no_harm(frames, seed):
    random = Random(seed)
    for number in range(6):
        made = bytearray(frame(30 * number, bytes(30), six=random.random() < 0.2))
        for _ in range(random.randrange(3)):
            made[random.randrange(len(made))] = random.getrandbits(8)
        frames.insert(0, bytes(made[: random.randrange(len(made))] if random.random() < 0.2 else made))
    left = [each for each in coalesce(frames) if each not in frames]
    assert all(vnet.parse(each)[3] for each in left)


def bare(ack, stamp=7, seq=1000, **how):
    """An ACK without text."""
    how = {"options": tcp_options.timestamp(stamp, 9), "identification": ack & 0xFFFF, **how}
    if how.get("six"):
        del how["identification"]
    return frame(seq, b"", ack=ack & 0xFFFFFFFF, **how)


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("options", [{}, {"options": b""}])
def test_of_acks_that_come_together_the_last_is_left(six, options):
    """It says all that they say, and its window and its timestamps are the newest."""
    sent = [bare(2**32 - 4 + 2 * n, stamp=7 + n // 2, window=1000 - n, six=six, **options) for n in range(5)]
    assert coalesce(sent) == sent[-1:]
    start = 54 if six else 34
    sent = [bare(n, six=six, head=partial(start), checksum_of=lambda total: total, **options) for n in range(5)]
    assert coalesce(sent) == sent[-1:]


@pytest.mark.parametrize(
    "odd",
    [
        {"ack": 8},  # a duplicate
        {"ack": 7},  # an old one
        {"ack": 8 + 2**31},
        {"stamp": 6},  # PAWS may drop it
        {"seq": 1001},
        {"port": 4001},
        {"flags": tcp.ACK | tcp.ECE},
        {"flags": tcp.ACK | tcp.FIN},
        {"flags": tcp.ACK | tcp.RST},
        {"tos": 3},
        {"ttl": 63},
        {"to": OTHER_MAC},
        {"options": b""},
        {"options": tcp_options.timestamp(7, 9) + tcp_options.sack([(20, 30)])},
        {"head": vnet.build(vnet.F_DATA_VALID)},
        {"checksum_of": lambda total: 0},
        {"flags_offset": 1},
    ],
)
def test_what_an_ack_says_alone_is_left(odd):
    sent = [bare(**{"ack": 8, **how}) for how in ({}, odd)]
    assert coalesce([*sent, sent[-1]])[:2] == sent


def test_text_between_acks_parts_them():
    sent = [bare(8), bare(9), frame(1000, bytes(100), ack=9), bare(10, seq=1100), bare(11, seq=1100)]
    assert coalesce(sent) == [sent[1], sent[2], sent[4]]


@given(st.integers(0, 2**32), st.integers(3, 40))
def test_what_is_left_out_of_any_acks_is_said_again_by_what_is_left(seed, count):
    """Each that is missing has one right behind it, of its flow, that acknowledges more; nothing else changes."""
    random = Random(seed)
    sent, ack, stamp = [], random.getrandbits(32), random.getrandbits(32)
    for _ in range(count):
        ack += random.choice((0, 1000, 1000, 1000, -1000))
        stamp += random.choice((0, 0, 1, -1))
        how = random.choice(({}, {}, {}, {}, {"port": 1}, {"seq": 1001}, {"flags": tcp.ACK | tcp.ECE}, {"window": 5}))
        each = bare(ack, stamp=stamp & 0xFFFFFFFF, **how)
        sent.append(spoilt(each, -30) if random.random() < 0.1 else each)
    left = iter(coalesce(sent))
    kept = next(left)
    for number, each in enumerate(sent):
        if each is kept:
            kept = next(left, None)
            continue
        fields, behind = (tcp.parse(frame, 44, len(frame)) for frame in (each, sent[number + 1]))
        assert fields[:3] == behind[:3] and fields[4] == behind[4]
        assert 0 < (behind[3] - fields[3]) & 0xFFFFFFFF < 2**31
    assert kept is None


def test_sack_blocks_are_each_acks_own():
    stamp = tcp_options.timestamp(7, 9)
    sent = [bare(8 + n, options=stamp + tcp_options.sack([(20, 30 + n)])) for n in range(4)]
    assert coalesce(sent) == sent


def test_a_host_gets_a_run_as_one_packet():
    host = two_hosts().hosts[1]
    link = host.layers.cores["eth0"]
    mac = host.layers.devices["eth0"].mac
    before = link.counts["InFrames"]
    link.receive([frame(1000 + 100 * n, bytes(100), to=mac) for n in range(4)], 0.0)
    (packet,) = link.outboxes["inet"]
    assert (packet.gso_size, packet.checksum_trusted) == (100, True)
    assert (link.counts["InFrames"] - before, link.counts["Joined"]) == (4, 3)
    host.inet.receive([packet], 0.0)
    assert packet.end - packet.at == 32 + 400 and host.drops() == {}


def test_no_packet_is_larger_than_ip_allows():
    joined = coalesce([frame(1400 * n, bytes(1400)) for n in range(60)])
    assert [len(text(each)[2]) for each in joined] == [1400 * 46, 1400 * 14]


@given(st.integers(0, 2**32), st.integers(3, 30), st.booleans())
def test_any_batch_keeps_every_byte_in_order(seed, count, six):
    random = Random(seed)
    sent, seq = [], random.getrandbits(32)
    for _ in range(count):
        size = random.choice((0, 100, 100, 100, 100, 7))
        how = {} if random.random() < 0.8 else random.choice(({"window": 6}, {"flags": tcp.ACK | tcp.PSH}, {"port": 1}))
        sent.append(frame(seq, random.randbytes(size), six=six, **how))
        seq += size + (random.random() < 0.1)
    before = [text(each) for each in sent]
    joined = [text(each) for each in coalesce(sent)]
    assert b"".join(each[2] for each in joined) == b"".join(each[2] for each in before)
    large = coalesce([super_head(six) + each[vnet.SIZE :] for each in sent])
    kept = [each if type(each) is tuple else (each, []) for each in large]
    assert b"".join(text(first)[2] + b"".join(following) for first, following in kept) == b"".join(
        each[2] for each in before
    )
    assert sum(1 + len(following) for _, following in kept) == count
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
