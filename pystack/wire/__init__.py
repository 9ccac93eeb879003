"""Bytes to fields and back. No state, no I/O, no exception for what a peer sent."""
