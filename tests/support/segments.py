"""Raw TCP segments for `peer.Peer`, and what the host answers."""

from collections import namedtuple

from pystack.wire import checksum, ipv4, tcp, tcp_options
from tests.support.frames import A, B, ethernet, ip
from tests.support.tcp import flags_of, letters

Answer = namedtuple("Answer", "destination flags seq ack length")


def segment(flags, seq=0, ack=0, payload=b"", *, port=80, source_port=40_000, source=A, destination=B, **how):
    """A frame with one segment; *how*: window, options (bytes), corrupt, mac (of the destination)."""
    header = tcp.build(
        source_port, port, seq, ack, flags_of(flags), how.get("window", 65_535), 0, how.get("options", b"")
    )
    whole = bytes(header) + payload
    pseudo = checksum.pseudo_header(source, destination, ipv4.TCP, len(whole))
    value = checksum.checksum(whole, pseudo) ^ (1 if how.get("corrupt") else 0)
    whole = whole[:16] + value.to_bytes(2, "big") + whole[18:]
    packet = ip(whole, source=source, destination=destination, protocol=ipv4.TCP)
    return ethernet(packet, **({"destination": how["mac"]} if "mac" in how else {}))


def answers(packets):
    """What TCP packets of the host (as `Peer.sends` returns them) say."""
    found = []
    for packet in packets:
        fields = ipv4.parse(packet, 0)
        if fields[6] != ipv4.TCP:
            continue
        at = (fields[0] & 15) * 4
        _, _, seq, ack, flags, _, _, payload_at = tcp.parse(packet, at, len(packet))
        found.append(Answer(fields[9], letters(flags), seq, ack, len(packet) - payload_at))
    return found


def options_of(packet):
    """The `tcp_options.Options` of a TCP packet."""
    at = (packet[0] & 15) * 4
    payload_at = tcp.parse(packet, at, len(packet))[7]
    return tcp_options.parse(packet, at + 20, payload_at)
