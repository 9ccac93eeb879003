"""The user datagram layer (RFC 768)."""
