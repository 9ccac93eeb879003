"""Tests of CPython that do not run on pystack, each with the reason; what passes on the kernel and is not here, passes.

Patterns are of `fnmatch`, over ids without the leading ``test.``.
"""

UDP_LITE = "UDP-Lite (RFC 3828) is a transport of its own, which Linux itself has deprecated since 6.5"
SYNCHRONOUS = (
    "asserts that the peer has what was sent, or knows of the close, when the call returns; so it is on the kernel's "
    "loopback, but on no network, and here the engine has its turn first"
)
FILLS_BUFFERS = (
    "means to fill the socket's buffers by a few writes; the engine takes what is written meanwhile, and sendfile puts "
    "at least 64 KB into a pair"
)
A_CLASS = "asserts that `_socket.socket` is a type made in C, which none of Python's can change; the seam is a class"

SKIPS = {
    "test_socket.*UDPLITE*": UDP_LITE,
    "test_socket.GeneralModuleTests.test_socket_type": A_CLASS,
    "test_epoll.TestEPoll.test_control_and_wait": SYNCHRONOUS,
    "test_socket.*.testWriteNonBlocking": FILLS_BUFFERS,
    "test_socket.Sendfile*.testWithTimeoutTriggeredSend": FILLS_BUFFERS,
    "test_asyncio.test_sendfile.*.test_sendfile_close_peer_in_the_middle_of_receiving": FILLS_BUFFERS,
    # An earlier test leaves a connection that its server has not yet seen closed.
    "test_asyncio.test_streams.StreamTests.test_unclosed_resource_warnings": SYNCHRONOUS,
}

# Address families of the kernel's that some hosts hang in; they stay the kernel's. Left out of both runs.
OF_THE_HOST = ("*VSOCK*", "*Bluetooth*", "*RDS*", "*CAN*", "*ISOTP*", "*J1939*", "*Hyperv*")
