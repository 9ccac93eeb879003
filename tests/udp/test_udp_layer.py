from pystack import errors
from pystack.wire import checksum, ipv4
from tests.support.frames import A, B, ethernet, ip, udp
from tests.support.peer import Peer


def test_short_lying_and_corrupt_datagrams_are_dropped_in_silence():
    good = udp(b"data")
    summed = bytearray(good)
    pseudo = checksum.pseudo_header(A, B, ipv4.UDP, len(good))
    summed[6:8] = checksum.checksum(good, pseudo).to_bytes(2, "big")
    corrupt = bytes(summed[:-1]) + b"!"
    for datagram, reason in (
        (good[:7], errors.TRUNCATED_HEADER),
        (good[:4] + b"\x00\x07" + good[6:], errors.BAD_LENGTH),
        (good[:4] + b"\x00\x20" + good[6:], errors.BAD_LENGTH),
        (corrupt, errors.BAD_CHECKSUM),
    ):
        peer = Peer()
        assert peer.sends(ethernet(ip(datagram, protocol=ipv4.UDP))) == []
        assert peer.drops == {reason: 1}
    for datagram in (good, bytes(summed)):
        assert len(Peer().sends(ethernet(ip(datagram, protocol=ipv4.UDP)))) == 1
