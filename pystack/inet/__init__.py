"""The internet layer: addresses, routes, IPv4, fragments, ICMP, multicast membership and path MTU."""
