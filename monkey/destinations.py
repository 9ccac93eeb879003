"""The order in which to try the addresses of a name: RFC 6724 §6, as glibc has it, with its /etc/gai.conf.

Addresses are 16 bytes here, IPv4 ones mapped (RFC 4291 §2.5.5.2). A table is a list of ``(prefix, length, value)``, the
longest prefix first.
"""

from _socket import AF_INET, AF_INET6, inet_pton

V4_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK = bytes(15) + b"\x01"
LINK_LOCAL, SITE_LOCAL, GLOBAL = 2, 5, 14  # scopes (RFC 4291 §2.7)


def _table(rows):
    packed = [(inet_pton(AF_INET6, prefix), length, value) for prefix, length, value in rows]
    return sorted(packed, key=lambda row: -row[1])


# glibc's, which are those of RFC 3484 and somewhat more.
_LABELS = _table(
    [("::1", 128, 0), ("::", 0, 1), ("2002::", 16, 2), ("::", 96, 3), ("::ffff:0:0", 96, 4)]
    + [("fec0::", 10, 5), ("fc00::", 7, 6), ("2001::", 32, 7)]
)
_PRECEDENCES = _table([("::1", 128, 50), ("::", 0, 40), ("2002::", 16, 30), ("::", 96, 20), ("::ffff:0:0", 96, 10)])
DEFAULT_POLICY = _LABELS, _PRECEDENCES


def parse_policy(lines):
    """``(labels, precedences)`` of the words of gai.conf's lines; glibc's where it has none."""
    found = {"label": [], "precedence": []}
    for words in lines:
        if len(words) == 3 and words[0] in found and words[2].isdecimal():
            prefix, _, length = words[1].partition("/")
            if length.isdecimal() and int(length) <= 128:
                try:
                    found[words[0]].append((inet_pton(AF_INET6, prefix), int(length), int(words[2])))
                except OSError:
                    continue
    return tuple(
        sorted(rows, key=lambda row: -row[1]) if rows else default
        for rows, default in zip(found.values(), DEFAULT_POLICY, strict=True)
    )


def packed(family, address):
    """An address's text as 16 bytes."""
    data = inet_pton(family, address)
    return V4_MAPPED + data if family == AF_INET else data


def order(candidates, source_of, policy=DEFAULT_POLICY):
    """Sort *candidates*, the best first; equals stay in their order (rule 10).

    Args:
        candidates: of addresses, 16 bytes, with anything behind: ``[(address, ...)]``.
        source_of: ``source_of(candidate)``, the address that a packet to it would be sent from; None if it cannot be
            reached.
        policy: ``(labels, precedences)``.

    Which sources are deprecated (rule 3) and which have a native transport (rule 7) nobody tells here. Rule 9 is for
    IPv6 alone: glibc minds the length of an IPv4 source's own prefix, too, which nobody tells either.
    """
    labels, precedences = policy

    def rank(candidate):
        address = candidate[0]
        source = source_of(candidate)
        scope = scope_of(address)
        alike = 0
        if source is not None and address[:12] != V4_MAPPED and source[:12] != V4_MAPPED:
            alike = 128 - (int.from_bytes(address, "big") ^ int.from_bytes(source, "big")).bit_length()
        return (
            source is None,  # rule 1
            source is None or scope != scope_of(source),  # rule 2
            source is None or _look_up(labels, address) != _look_up(labels, source),  # rule 5
            -_look_up(precedences, address),  # rule 6
            scope,  # rule 8
            -alike,  # rule 9
        )

    return sorted(candidates, key=rank)


def scope_of(address):
    """RFC 6724 §3.1, §3.2."""
    if address[:12] == V4_MAPPED:
        return LINK_LOCAL if address[12] == 127 or address[12:14] == b"\xa9\xfe" else GLOBAL
    if address[0] == 0xFF:
        return address[1] & 15
    if address == _LOOPBACK or (address[0] == 0xFE and address[1] & 0xC0 == 0x80):
        return LINK_LOCAL
    return SITE_LOCAL if address[0] == 0xFE and address[1] & 0xC0 == 0xC0 else GLOBAL


def _look_up(table, address):
    number = int.from_bytes(address, "big")
    for prefix, length, value in table:
        shift = 128 - length
        if number >> shift == int.from_bytes(prefix, "big") >> shift:
            return value
    return 0
