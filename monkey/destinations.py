"""The order in which a program should try the addresses of a name: RFC 6724 §6, as glibc has it."""

import functools
from _socket import AF_INET, AF_INET6, inet_pton
from collections import namedtuple

_MAPPED = 0xFFFF << 32  # ::ffff:0:0, RFC 4291 §2.5.5.2

# A table is a list of (prefix, mask, value) of 128-bit integers, most specific first; the last one matches anything.
Policy = namedtuple("Policy", "labels precedences scopes")

# glibc's own: RFC 3484 §2.1, with site-local and unique local addresses and Teredo labelled apart; not RFC 6724 §2.1.
_DEFAULTS = {
    "label": "::1/128 0 2002::/16 2 ::/96 3 ::ffff:0:0/96 4 fec0::/10 5 fc00::/7 6 2001::/32 7 ::/0 1",
    "precedence": "::1/128 50 2002::/16 30 ::/96 20 ::ffff:0:0/96 10 ::/0 40",
    "scopev4": "169.254.0.0/16 2 127.0.0.0/8 2 0.0.0.0/0 14",  # RFC 6724 §3.2
}
_CATCH_ALL = {"label": 1, "precedence": 40, "scopev4": 14}


def order(candidates, source_of, policy, is_deprecated=None):
    """Sort destinations, the best first; a single one is not looked at.

    Args:
        candidates: ``(family, address text, scope id)`` each; an AF_INET6 one may be an IPv4-mapped address.
        source_of: ``source_of(address, scope id)``: the text of the source address that a connect would have, or None
            if there is no route. A prefix length may follow, "192.0.2.7/24": without one, rule 9 takes no two IPv4
            addresses to be of one subnet. A mapped address is asked for as the IPv4 address that it is.
        policy: a `Policy`.
        is_deprecated: ``is_deprecated(source address)``; None: none is.

    Returns:
        A new list of the same tuples.
    """
    if len(candidates) < 2:
        return list(candidates)
    judged = [(_judge(candidate, source_of, policy, is_deprecated), candidate) for candidate in candidates]
    judged.sort(key=functools.cmp_to_key(_compare))
    return [candidate for _, candidate in judged]


def parse_policy(lines):
    """gai.conf(5), its lines as words, as a `Policy`. What is said of one kind replaces all of that kind's defaults."""
    found = {kind: [] for kind in _DEFAULTS}
    for kind, *words in lines:
        row = _row(*words[:2]) if kind in found and len(words) >= 2 else None
        if row is not None and (kind != "scopev4" or _is_of_ipv4(*row)):
            found[kind].append(row)
    return Policy(*(_table(kind, rows or _default_rows(kind)) for kind, rows in found.items()))


def _default_rows(kind):
    words = _DEFAULTS[kind].split()
    return [_row(*pair) for pair in zip(words[::2], words[1::2], strict=True)]


def _table(kind, rows):
    """Most specific first, and of two that are alike the first in the file."""
    return [*sorted(rows, key=lambda row: -row[1]), (0, 0, _CATCH_ALL[kind])]


def _is_of_ipv4(prefix, mask, value):
    return prefix >> 32 == 0xFFFF and mask >> 32 == (1 << 96) - 1


def _row(prefix, value):
    """``(prefix, mask, value)``, or None if the text is not good."""
    address, slash, length = prefix.partition("/")
    try:
        number = number_of(address)
    except OSError:
        return None
    most = 128 if ":" in address else 32
    length = length if slash else str(most)
    if not (length.isdecimal() and value.isdecimal() and int(length) <= most and int(value) < 2**31):
        return None
    mask = (1 << 128) - (1 << most - int(length))
    return number & mask, mask, int(value)


def number_of(address):
    """The 128 bits of an address, IPv4 as mapped; a zone is left out. Raises OSError."""
    if ":" in address:
        return int.from_bytes(inet_pton(AF_INET6, address.partition("%")[0]), "big")
    return _MAPPED | int.from_bytes(inet_pton(AF_INET, address), "big")


def _judge(candidate, source_of, policy, is_deprecated):
    """``(key, family, bits)``: rules 1 to 8 as a key, the less the better, and what rule 9 compares within a family.

    The family is None if there is no route. Home addresses and native transport (rules 4 and 7) are not known here.
    """
    family, address, zone = candidate
    destination = number_of(address)
    mapped = family == AF_INET6 and destination >> 32 == 0xFFFF
    source = source_of(_ipv4(destination) if mapped else address, zone)
    scope = _scope(family, destination, policy)
    precedence = _look_up(policy.precedences, destination)
    if source is None:
        return (True, False, False, False, -precedence, scope), None, 0
    text, _, length = source.partition("/")
    origin = number_of(text)
    key = (
        False,
        scope != _scope(family, origin, policy),
        is_deprecated is not None and bool(is_deprecated(text)),
        _look_up(policy.labels, destination) != _look_up(policy.labels, origin),
        -precedence,
        scope,
    )
    differing = (destination ^ origin).bit_length()
    # glibc: outside of the subnet a common prefix of IPv4 addresses says nothing. Those of IPv6 it compares to the last
    # bit, where RFC 6724 §2.2 stops at the length of the source's prefix.
    near = family == AF_INET6 or differing <= 32 - int(length or 32)
    return key, family, 128 - differing if near else 0


def _compare(one, other):
    (key, family, bits), (other_key, other_family, other_bits) = one[0], other[0]
    if key != other_key:
        return -1 if key < other_key else 1
    return other_bits - bits if family is not None and family == other_family else 0  # rule 10: the sort is stable


def _look_up(table, number):
    return next(value for prefix, mask, value in table if number & mask == prefix)


def _scope(family, number, policy):
    """RFC 6724 §3.1 and §3.2. glibc takes a mapped address for global, as it is of AF_INET6."""
    if family == AF_INET:
        return _look_up(policy.scopes, number)
    if number >> 120 == 0xFF:
        return number >> 112 & 0xF
    if number >> 118 == 0xFE80 >> 6 or number == 1:  # RFC 4291 §2.5.3: the loopback address as if link-local
        return 2
    return 5 if number >> 118 == 0xFEC0 >> 6 else 14


def _ipv4(number):
    return ".".join(map(str, (number & 0xFFFFFFFF).to_bytes(4, "big")))


DEFAULT_POLICY = parse_policy(())
