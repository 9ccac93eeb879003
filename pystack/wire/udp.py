"""The UDP header (RFC 768)."""

import struct

HEADER = struct.Struct("!HHHH")
HEADER_LENGTH = 8

parse = HEADER.unpack_from
"""``parse(buf, at)`` gives ``(source_port, destination_port, length, checksum)``; a checksum of 0 means none."""

build = HEADER.pack
