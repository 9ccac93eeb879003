"""Link-local addresses within the stack carry their link.

fe80::1 means another host on each link (RFC 4007). Here bytes 2 and 3 of such an address, which are zero on the wire,
hold the index of its interface, as in KAME: so two links' fe80::1 are two keys in every table, and nobody has to hand
an interface about beside an address. inet puts the index in when a packet comes and takes it out when one leaves; the
sockets turn it into sin6_scope_id and back.
"""


def is_link_local(address):
    """Whether it is one host's on one link (fe80::/10, RFC 4291 §2.5.6)."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def scoped(address, interface):
    """*address* as the stack has it: a link-local one with the index of its *interface*."""
    if address[0] == 0xFE and address[1] & 0xC0 == 0x80:
        return address[:2] + interface.to_bytes(2, "big") + address[4:]
    return address


def on_wire(address):
    """*address* as it is sent."""
    if address[0] == 0xFE and address[1] & 0xC0 == 0x80 and len(address) == 16:
        return address[:2] + b"\0\0" + address[4:]
    return address


def scope_of(address):
    """The index that a link-local address carries; 0 of any other, and of one that lacks it."""
    return int.from_bytes(address[2:4], "big") if is_link_local(address) else 0
