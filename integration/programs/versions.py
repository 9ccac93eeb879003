"""What an address written as text tells."""

from socket import AF_INET, AF_INET6


def family(address):
    return AF_INET6 if ":" in address else AF_INET
