"""Replaces the standard library's sockets by pystack's. Nothing is patched yet: see the README's status."""
