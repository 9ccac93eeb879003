"""The link layer: Ethernet framing, ARP and the neighbour table of one interface."""
