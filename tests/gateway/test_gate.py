"""The gate by itself, in virtual time."""

from pystack import errors, messages
from pystack.gateway.gate import DECISION_TIME, DROP, MAX_PENDING, PASS, REFUSE, Approach, Gate, Verdict, Withdrawn
from pystack.packet import RxPacket
from pystack.scope import scoped
from pystack.wire import checksum, ipv4, ipv6, tcp

SOURCE, DESTINATION = bytes((10, 77, 0, 2)), bytes((192, 0, 2, 9))


def packet(flags=tcp.SYN, sport=1000, spoilt=False):
    header = bytearray(tcp.build(sport, 80, 7, 0, flags, 1000, 0, b""))
    pseudo = checksum.pseudo_header(SOURCE, DESTINATION, ipv4.TCP, len(header))
    header[16:18] = checksum.checksum(header, pseudo).to_bytes(2, "big")
    header[4] ^= spoilt
    head = ipv4.build(SOURCE, DESTINATION, ipv4.TCP, ipv4.HEADER_LENGTH + len(header))
    made = RxPacket(bytes(head + header), len(head), len(head) + len(header), 1)
    made.ip_at = 0
    made.source, made.destination, made.protocol = SOURCE, DESTINATION, ipv4.TCP
    return made


def flow(sport=1000):
    return SOURCE + DESTINATION + sport.to_bytes(2, "big") + (80).to_bytes(2, "big")


def taken(gate):
    """What is in the outboxes, without the empty ones."""
    found = {key: box for key, box in gate.outboxes.items() if box}
    for key in found:
        gate.outboxes[key] = []
    return found


def closed(key):
    return False


def test_a_syn_waits_and_comes_through_once():
    gate, syn = Gate(closed), packet()
    gate.receive([syn], 0.0)
    assert taken(gate) == {"approaches": [Approach(flow(), (SOURCE, 1000), (DESTINATION, 80))]}
    gate.receive([packet()], 1.0)
    assert taken(gate) == {} and gate.drops == {errors.DECISION_PENDING: 1}
    gate.decide([Verdict(flow(), PASS)], 2.0)
    assert taken(gate) == {"tcp": [syn]} and gate.waiting == 0
    gate.decide([Verdict(flow(), PASS)], 2.0)
    assert taken(gate) == {}


def test_all_else_passes():
    """What belongs to no connection is TCP's to refuse."""
    gate = Gate(closed)
    there = [packet(flags) for flags in (tcp.ACK, tcp.SYN | tcp.ACK, tcp.RST, tcp.FIN | tcp.ACK, tcp.SYN | tcp.FIN)]
    there.append(RxPacket(b"short", 0, 5))
    gate.receive(there, 0.0)
    assert taken(gate) == {"tcp": there}


def test_a_syn_of_an_open_connection_passes():
    gate, again = Gate({flow()}.__contains__), packet()
    gate.receive([again], 0.0)
    assert taken(gate) == {"tcp": [again]}


def test_a_refusal_is_a_reset_of_the_destination():
    """RFC 9293 §3.10.7.1."""
    gate = Gate(closed)
    gate.receive([packet()], 0.0)
    taken(gate)
    gate.decide([Verdict(flow(), REFUSE)], 0.0)
    ((answer,),) = taken(gate).values()
    fields = tcp.parse(answer.header, 0, len(answer.header))
    assert (answer.source, answer.destination) == (DESTINATION, SOURCE)
    assert fields[:5] == (80, 1000, 0, 8, tcp.RST | tcp.ACK)


def test_what_is_unreachable_is_told_by_icmp_and_a_drop_by_nothing():
    gate, syn = Gate(closed), packet()
    gate.receive([syn, packet(sport=2)], 0.0)
    taken(gate)
    gate.decide([Verdict(flow(), messages.HOST_UNREACHABLE), Verdict(flow(2), DROP)], 0.0)
    assert taken(gate) == {"inet.control": [messages.SendError(messages.HOST_UNREACHABLE, syn)]}
    assert gate.waiting == 0


def test_what_waits_is_bounded_in_number_and_time():
    gate = Gate(closed)
    gate.receive([packet(sport=port) for port in range(MAX_PENDING + 1)], 0.0)
    assert gate.waiting == MAX_PENDING and gate.drops == {errors.SYN_OVERFLOW: 1}
    taken(gate)
    gate.decide([Verdict(flow(0), DROP)], 1.0)
    gate.expire(DECISION_TIME - 1)
    assert taken(gate) == {}
    gate.expire(DECISION_TIME)
    assert taken(gate)["approaches"] == [Withdrawn(flow(port)) for port in range(1, MAX_PENDING)]
    assert gate.waiting == 0


def test_a_checksum_is_of_the_addresses_on_the_wire():
    """A link-local one has its interface within the stack (RFC 4007)."""
    near, far = bytes.fromhex("fe80" + "00" * 13 + "02"), bytes.fromhex("20010db8" + "00" * 11 + "09")
    header = bytearray(tcp.build(1000, 80, 7, 0, tcp.SYN, 1000, 0, b""))
    pseudo = checksum.pseudo_header(near, far, ipv4.TCP, len(header))
    header[16:18] = checksum.checksum(header, pseudo).to_bytes(2, "big")
    head = ipv6.build(near, far, ipv4.TCP, len(header))
    syn = RxPacket(head + header, len(head), len(head) + len(header), 1)
    syn.ip_at = 0
    syn.source, syn.destination, syn.protocol = scoped(near, 1), far, ipv4.TCP
    gate = Gate(closed)
    gate.receive([syn], 0.0)
    ((approach,),) = taken(gate).values()
    assert (approach.source, approach.destination) == ((scoped(near, 1), 1000), (far, 80))


def test_a_spoilt_syn_opens_nothing():
    gate = Gate(closed)
    gate.receive([packet(spoilt=True)], 0.0)
    assert taken(gate) == {} and gate.drops == {errors.BAD_CHECKSUM: 1}
