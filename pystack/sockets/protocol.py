"""What crosses the boundary between a program and the engine: the control channel's messages, and the records on pairs.

Loaded into every program, so it imports `struct` alone. A request is one SEQPACKET message, `REQUEST` and what belongs
to the operation; its reply is `REPLY` and the same. A socket is named by the inode of the program's end of its pair.
An endpoint is `ENDPOINT`: version of IP (0: none), port, scope id, address (IPv4: the first 4 bytes).

A socket is opened by the first request that names it: the operation has NEW added, and before what belongs to it come
the socket's family, type and protocol, its options so far, and as a descriptor the engine's end of the pair. If the
engine knows the socket already, another thread's request was faster, and all that is passed over.
"""

import struct

REQUEST = struct.Struct("!BQ")  # operation, inode
REPLY = struct.Struct("!i")  # errno, or 0
ENDPOINT = struct.Struct("!BHI16s")
INTS = struct.Struct("!iii")
COUNT = struct.Struct("!I")
SECONDS = struct.Struct("!d")

# Operations: what the request carries -> what the reply carries.
NEW = 0x80  # added: INTS(family, type, protocol), COUNT of options, for each INTS(level, name, value); a descriptor
OPEN = 1  # nothing: for what comes with NEW
BIND = 2  # ENDPOINT, and INTS(effective user id, 0, 0): groups of SO_REUSEPORT are of one user
CONNECT = (
    3  # ENDPOINT (none: undo, of a datagram socket), COUNT bytes of plug in the pair. EINPROGRESS: till it is gone
)
CONNECT_AND_WAIT = 20  # as CONNECT -> REPLY, when the connection stands or has failed; EINPROGRESS as there
GIVE_UP = 21  # COUNT, the plug: nobody waits for that answer any more, nor has had it, be it sent or not
LISTEN = 4  # INTS(backlog, 0, 0)
LOCAL = 5  # -> ENDPOINT
PEER = 6  # -> ENDPOINT
SET_OPTION = 7  # INTS(level, name, 0) and the value as setsockopt(2) has it
GET_OPTION = 8  # INTS(level, name, room) -> the value
STATUS = 9  # COUNT: whether to take the error -> STATE
ROUTE = 10  # ENDPOINT (none: the peer): may a datagram be sent there? -> COUNT: bytes of the largest
IDENTIFY = 11  # -> INTS(family, type, protocol)
INTERFACES = 12  # -> for each: COUNT(index), COUNT(length of the name), the name
NEW_CHANNEL = 13  # -> a descriptor: one more control channel for this process
NEW_LIFE = 14  # -> a descriptor: the first control channel of another process
LEAVE = 15  # SECONDS, and COUNT for each child that may yet join: this process ends. Answered when all is delivered
NAME_SERVERS = 17  # -> addresses, a line for each, NUL, and search domains likewise: what the network has told
SOURCE = 18  # ENDPOINT -> ENDPOINT: the address that what goes there would be sent from
VERSIONS = 19  # -> a byte, 4 or 6, for each version of IP of which an interface, the loopback aside, has an address
SHUTDOWN = 16  # both ways, of a stream; of a pair it would look as if nobody had it any more

STATE = struct.Struct("!Bi")  # state, errno
FRESH, CONNECTING, CONNECTED, LISTENING, OVER = range(5)

# One accepted connection, on the pair of its listener, with one descriptor: peer, local, its inode.
ACCEPTED = struct.Struct("!BHI16sBHI16sQ")
INODE = struct.Struct("!Q")
MARK = b"\0"  # what is first to be read from it: it has been accepted

# Before each datagram, both ways: version of IP (0: to the peer, or an error alone), TTL, TOS, which of the two and of
# `interface` and the last address mean something, port, errno, interface, the other's address, our address.
DATAGRAM = struct.Struct("!BBBBHHI16s16s")
HAS_TTL = 1
HAS_TOS = 2
HAS_PKTINFO = 4
HAS_PKTINFO6 = 8  # to the program only: it has asked for IPV6_PKTINFO

MAX_DATAGRAM = {4: 65_507, 6: 65_527}  # bytes of payload, by version of IP
MAX_MESSAGE = 4096  # of a control channel
MAX_OPTION = 1024  # bytes of an option's value

# Names of environment variables, by which a program finds its engine.
CONTROL = "PYSTACK_CONTROL"  # the path of its socket
LIFE = "PYSTACK_LIFE"  # the number of an inherited descriptor, a control channel


def pack_endpoint(address, port, scope=0):
    """ENDPOINT of an address of 4 or 16 bytes; of none if it is None."""
    if address is None:
        return ENDPOINT.pack(0, port, scope, b"")
    return ENDPOINT.pack(4 if len(address) == 4 else 6, port, scope, address)


def unpack_endpoint(data):
    """``(address or None, port, scope)``."""
    version, port, scope, address = ENDPOINT.unpack_from(data)
    if version == 0:
        return None, port, scope
    return address[:4] if version == 4 else address, port, scope
