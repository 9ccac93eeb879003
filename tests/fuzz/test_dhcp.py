"""Mutated answers of DHCP servers, in every state of both clients: nothing raises, nothing grows.

``PYSTACK_FUZZ_FRAMES`` sets how many; the default is the short form for every run.
"""

import os
from random import Random

from pystack.dhcp import client4, client6
from pystack.wire import dhcp, dhcp6

MESSAGES = int(os.environ.get("PYSTACK_FUZZ_FRAMES", "30000")) // 2
MAC = bytes.fromhex("021122334455")
SERVER, ADDRESS = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 77))
SERVER6, ADDRESS6 = bytes.fromhex("fe80") + bytes(13) + b"\x01", bytes.fromhex("20010db8") + bytes(11) + b"\x07"
OPTIONS = {
    dhcp.SERVER: SERVER,
    dhcp.MASK: bytes((255, 255, 255, 0)),
    dhcp.LEASE_TIME: (1000).to_bytes(4, "big"),
    dhcp.ROUTERS: SERVER,
    dhcp.NAME_SERVERS: SERVER + ADDRESS,
    dhcp.SEARCH: b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04",
    dhcp.ROUTES: bytes((0,)) + SERVER,
    dhcp.MTU: b"\x05\x78",
}
KINDS6 = (dhcp6.ADVERTISE, dhcp6.REPLY)


def damaged(data, random):
    """A copy, most of the time with up to four bytes changed, cut out, or put in."""
    damage = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 2, 4))):
        at = random.randrange(len(damage))
        kind = random.randrange(4)
        if kind == 0:
            damage[at] = random.choice((0, 1, 4, 0x7F, 0x80, 0xC0, 0xFF))
        elif kind == 1:
            damage[at] ^= 1 << random.randrange(8)
        elif kind == 2:
            del damage[at : at + random.randrange(1, 20)]
        else:
            damage[at:at] = random.randbytes(random.randrange(1, 20))
        damage = damage or bytearray(1)
    return bytes(damage)


def test_damaged_messages_of_dhcpv4_servers():
    random = Random(4)
    client, now = client4.Client4(MAC, random), 0.0
    client.start(now)
    asked, bound = None, 0
    for _ in range(MESSAGES):
        if client.messages:
            asked = dhcp.parse(client.messages[-1][0])
            client.messages.clear()
        kind = random.choice((dhcp.OFFER, dhcp.ACK, dhcp.ACK, dhcp.NAK))
        answer = dhcp.Message(kind, asked.transaction, MAC, yours=ADDRESS, options=OPTIONS)
        client.receive(damaged(dhcp.build(answer, dhcp.BOOTREPLY), random), SERVER, now)
        bound += client.state == client4.BOUND
        if client.state == client4.CHECKING:
            random.choice((client.address_clear, client.address_clear, client.address_conflict))(now)
        now += random.choice((0.0, 0.0, 1.0, 100.0, 700.0))
        client.expire(now)
        if random.random() < 0.02:  # the damage may have made a lease that never ends
            client.release(now)
            client.start(now)
        assert len(client.messages) < 8 and len(client.events) < 8
        client.events.clear()
    assert bound > MESSAGES // 50 and len(client.drops) > 5


def test_damaged_messages_of_dhcpv6_servers():
    random = Random(6)
    client, now = client6.Client6(MAC, random), 0.0
    client.start(True, now)
    asked, bound = None, 0
    for _ in range(MESSAGES):
        if client.messages:
            asked = dhcp6.parse(client.messages[-1])
            client.messages.clear()
        if asked is not None:
            address = dhcp6.Address(ADDRESS6, random.choice((100, 1000)), random.choice((1000, 2000)))
            ias = tuple(dhcp6.Ia(each.iaid, 300, 600, (address,)) for each in asked.ias)
            answer = dhcp6.Message(
                random.choice(KINDS6), asked.transaction, client=asked.client, server=b"\0\x03\0\x01server", ias=ias,
                preference=255, rapid_commit=asked.rapid_commit, dns=(ADDRESS6,), search=("example.org",),
            )  # fmt: skip
            client.receive(damaged(dhcp6.build(answer), random), SERVER6, now)
        bound += client.state == client6.BOUND
        for event in client.events:
            if type(event) is client6.Check:
                for each in event.addresses:
                    random.choice((client.address_clear, client.address_clear, client.address_duplicate))(each, now)
        now += random.choice((0.0, 0.5, 1.0, 100.0, 700.0))
        client.expire(now)
        if random.random() < 0.02:
            client.stop(now)
        if client.state == client6.IDLE:
            client.start(random.random() < 0.9, now)
        assert len(client.messages) < 8 and len(client.events) < 40
        client.events.clear()
    assert bound > MESSAGES // 50 and len(client.drops) > 5
