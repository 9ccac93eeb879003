"""DHCP clients: pure state machines, for IPv4 (RFC 2131) and IPv6 (RFC 8415)."""
