"""UDP between the stack and the kernel."""

import errno
import socket

import gevent
import pytest

from integration.support.stacks import HOST, STACK, on_tap

KERNEL = socket.inet_aton(HOST)
GROUP = "239.1.2.3"


def kernel_socket(namespace, port=0):
    made = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("", port))
    made.setblocking(False)
    return made


def receive(kernel):
    """The kernel socket's next datagram, while the stack runs."""
    for _ in range(500):
        try:
            return kernel.recvfrom(70_000)
        except BlockingIOError:
            gevent.sleep(0.01)
    raise AssertionError("no datagram came")


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 9000, 65_507])
def test_datagrams_of_all_sizes_both_ways(namespace, size):
    payload = bytes(range(256)) * 256
    with on_tap(namespace) as stack, kernel_socket(namespace, 5000) as kernel, stack.udp(5001) as ours:
        kernel.sendto(payload[:size], (STACK, 5001))
        datagram = ours.receive()
        assert bytes(datagram.payload) == payload[:size] and datagram.ttl == 64
        assert datagram.source == (KERNEL, 5000) and datagram.destination == (socket.inet_aton(STACK), 5001)
        ours.send(datagram.payload, KERNEL, 5000)
        assert receive(kernel) == (payload[:size], (STACK, 5001))


def test_a_closed_port_of_the_kernel_refuses_a_connected_socket(namespace):
    with on_tap(namespace) as stack, stack.udp() as ours:
        ours.connect(KERNEL, 9)
        ours.send(b"anybody?")
        ours.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            ours.receive()


def test_broadcast_needs_leave(namespace):
    everybody = socket.inet_aton("10.77.0.255")
    with on_tap(namespace) as stack, kernel_socket(namespace, 5000) as kernel, stack.udp(5001) as ours:
        with pytest.raises(OSError) as refused:
            ours.send(b"hear, hear", everybody, 5000)
        assert refused.value.errno == errno.EACCES
        ours.set_option("broadcast", True)
        ours.send(b"hear, hear", everybody, 5000)
        assert receive(kernel) == (b"hear, hear", (STACK, 5001))
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        kernel.sendto(b"and back", ("10.77.0.255", 5001))
        assert bytes(ours.receive().payload) == b"and back"


def test_multicast_both_ways(namespace):
    with on_tap(namespace) as stack, kernel_socket(namespace, 5000) as kernel, stack.udp(5001) as ours:
        member = socket.inet_aton(GROUP) + socket.inet_aton(HOST)
        kernel.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        kernel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(HOST))
        ours.join(socket.inet_aton(GROUP))
        kernel.sendto(b"to all", (GROUP, 5001))
        datagram = ours.receive()
        assert bytes(datagram.payload) == b"to all" and datagram.destination[0] == socket.inet_aton(GROUP)
        assert datagram.ttl == 1
        ours.set_option("multicast_ttl", 7)
        ours.send(b"to all else", socket.inet_aton(GROUP), 5000)
        assert receive(kernel) == (b"to all else", (STACK, 5001))


def test_a_connected_socket_hears_its_peer_alone(namespace):
    with on_tap(namespace) as stack, stack.udp(5001) as ours:
        with kernel_socket(namespace, 5000) as peer, kernel_socket(namespace, 5002) as stranger:
            ours.connect(KERNEL, 5000)
            stranger.sendto(b"stranger", (STACK, 5001))
            peer.sendto(b"peer", (STACK, 5001))
            assert bytes(ours.receive().payload) == b"peer"


def test_without_a_checksum(namespace):
    with on_tap(namespace) as stack, kernel_socket(namespace, 5000) as kernel, stack.udp(5001, no_check=True) as ours:
        ours.send(b"unchecked", KERNEL, 5000)
        assert receive(kernel)[0] == b"unchecked"
        kernel.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        kernel.sendto(b"the same", (STACK, 5001))
        assert bytes(ours.receive().payload) == b"the same"


def test_a_queue_that_is_not_read_drops_and_counts(namespace):
    with on_tap(namespace) as stack, kernel_socket(namespace) as kernel, stack.udp(5001, receive_buffer=20_000) as ours:
        for _ in range(100):
            kernel.sendto(bytes(1000), (STACK, 5001))
        gevent.sleep(0.1)
        assert stack.counters()["udp"]["drop.receive_queue_full"] > 50
        assert len(bytes(ours.receive().payload)) == 1000
