"""A byte mutator for frames, which repairs checksums half of the time so that the damage reaches the deeper layers."""

import struct

from pystack.wire import checksum, ipv6
from tests.support.frames import MAC_A, MAC_B

INTERESTING = (0, 1, 4, 6, 7, 8, 20, 21, 44, 45, 0x40, 0x45, 0x46, 0x4F, 0x7F, 0x80, 0xE0, 0xFE, 0xFF)
IP_AT = 24


def mutated(corpus, random):
    """One frame from *corpus* (bytes with virtio-net header), damaged; *random* decides all."""
    frame = bytearray(random.choice(corpus))
    for _ in range(random.randrange(1, 5)):
        _damage(frame, corpus, random)
    if random.random() < 0.9 and len(frame) >= IP_AT:
        # Most of the damage should be taken up: a frame that is not for us, or a senseless virtio header, ends early.
        frame[0:10] = bytes(10)
        if not frame[10] & 1:
            frame[10:16] = MAC_B
        frame[16:22] = MAC_A
    if random.random() < 0.5:
        repair(frame)
    return bytes(frame)


def _damage(frame, corpus, random):
    if not frame:
        frame += random.randbytes(60)
    at = random.randrange(len(frame))
    if random.random() < 0.7:  # most fields worth breaking are in the headers
        at %= 90
        at = min(at, len(frame) - 1)
    kind = random.randrange(7)
    if kind == 0:
        frame[at] ^= 1 << random.randrange(8)
    elif kind == 1:
        frame[at] = random.choice(INTERESTING)
    elif kind == 2:
        frame[at : at + 2] = random.choice((b"\0\0", b"\xff\xff", b"\x1f\xff", b"\x20\0", b"\x40\0", b"\0\x08"))
    elif kind == 3:
        del frame[at:]
    elif kind == 4:
        frame[at:at] = random.randbytes(random.randrange(1, 40))
    elif kind == 5:
        frame[at:] = random.choice(corpus)[at:]
    else:
        size = random.randrange(1, 32)
        frame[at : at + size] = random.randbytes(size)


def repair(frame):
    """Make the IP header, and the checksum of what is in it, right if there is room for them."""
    if frame[22:24] == b"\x86\xdd":
        _repair6(frame)
        return
    if len(frame) < IP_AT + 20 or frame[22:24] != b"\x08\x00":
        return
    at = IP_AT + (frame[IP_AT] & 15) * 4
    if not IP_AT + 20 <= at <= len(frame):
        return
    end = IP_AT + int.from_bytes(frame[IP_AT + 2 : IP_AT + 4], "big")
    if not at <= end <= len(frame):
        end = len(frame)
        frame[IP_AT + 2 : IP_AT + 4] = struct.pack("!H", min(end - IP_AT, 0xFFFF))
    if frame[IP_AT + 9] in (1, 2) and end - at >= 8:
        frame[at + 2 : at + 4] = bytes(2)
        frame[at + 2 : at + 4] = struct.pack("!H", checksum.checksum(bytes(frame[at:end])))
    field = {6: at + 16, 17: at + 6}.get(frame[IP_AT + 9])
    if field is not None and field + 2 <= end:
        frame[field : field + 2] = bytes(2)
        covered = memoryview(frame)
        pseudo = checksum.pseudo_header(
            covered[IP_AT + 12 : IP_AT + 16], covered[IP_AT + 16 : IP_AT + 20], frame[IP_AT + 9], end - at
        )
        frame[field : field + 2] = struct.pack("!H", checksum.checksum(bytes(frame[at:end]), pseudo) or 0xFFFF)
    frame[IP_AT + 10 : IP_AT + 12] = bytes(2)
    frame[IP_AT + 10 : IP_AT + 12] = struct.pack("!H", checksum.checksum(bytes(frame[IP_AT:at])))


def _repair6(frame):
    at, end = IP_AT + ipv6.HEADER_LENGTH, len(frame)
    if end < at:
        return
    frame[IP_AT] = 0x60 | frame[IP_AT] & 15
    frame[IP_AT + 4 : IP_AT + 6] = struct.pack("!H", min(end - at, 0xFFFF))
    protocol = frame[IP_AT + 6]
    while protocol in ipv6.EXTENSIONS and at + 8 <= end:
        size = 8 if protocol == ipv6.FRAGMENT else 8 * (frame[at + 1] + 1)
        protocol, at = frame[at], at + size
    field = {6: at + 16, 17: at + 6, ipv6.ICMPV6: at + 2}.get(protocol)
    if field is not None and field + 2 <= end:
        frame[field : field + 2] = bytes(2)
        covered = memoryview(frame)
        pseudo = checksum.pseudo_header(
            covered[IP_AT + 8 : IP_AT + 24], covered[IP_AT + 24 : IP_AT + 40], protocol, end - at
        )
        frame[field : field + 2] = struct.pack("!H", checksum.checksum(bytes(frame[at:end]), pseudo) or 0xFFFF)
