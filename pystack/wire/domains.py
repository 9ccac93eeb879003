"""Domain names that a router or a DHCP server tells: what may be searched, and may end in a resolv.conf."""

import re

MOST_BYTES = 253  # of a name as text, without the last dot (RFC 1035 §2.3.4)
# Host names, RFC 1123 §2.1, and the underscore of service names: no space, dot or line's end within a label.
_LABEL = re.compile(rb"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def host_name(labels):
    """The name of these labels (bytes) as text without the last dot; None of none, and of what is no host name."""
    name = b".".join(labels)
    if not 0 < len(name) <= MOST_BYTES or not all(map(_LABEL.fullmatch, labels)):
        return None
    return name.decode()
