"""ICMP errors as the kernel's sockets see them."""

import errno
import socket

import gevent

from integration.support.stacks import STACK, drops, on_tap


def icmp_listener(namespace):
    """A raw socket that sees the ICMP that reaches the kernel."""
    listener = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    listener.setblocking(False)
    return listener


def received(listener, kind, code):
    """Wait for an ICMP message of this type and code from the stack."""
    for _ in range(200):
        try:
            packet, (source, _) = listener.recvfrom(2048)
        except BlockingIOError:
            gevent.sleep(0.01)
            continue
        if source == STACK and packet[20:22] == bytes((kind, code)):
            return packet[20:]
    raise AssertionError(f"no ICMP message of type {kind} and code {code} came")


def test_an_unknown_protocol(namespace):
    protocol = 123
    with on_tap(namespace), icmp_listener(namespace) as listener:
        with namespace.socket(socket.AF_INET, socket.SOCK_RAW, protocol) as sender:
            sender.sendto(b"\x12\x34\x00\x50" + bytes(16), (STACK, 0))
            message = received(listener, 3, 2)
            assert message[8 + 9] == protocol and message[8 + 16 : 8 + 20] == socket.inet_aton(STACK)


def test_a_closed_udp_port_refuses_a_connected_socket(namespace):
    with on_tap(namespace), namespace.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((STACK, 9999))
        client.setblocking(False)
        client.send(b"anybody?")
        for _ in range(200):
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                break
            gevent.sleep(0.01)
        assert error == errno.ECONNREFUSED


def test_a_broadcast_is_not_answered(namespace):
    with on_tap(namespace) as stack:
        done = namespace.run(["ping", "-b", "-c", "1", "-W", "1", "10.77.0.255"])
        assert " 0 received" in done.stdout
        assert drops(stack)["echo_ignored"] == 1


def test_a_bad_option_gets_a_parameter_problem(namespace):
    with on_tap(namespace), icmp_listener(namespace) as listener:
        with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
            header = bytearray.fromhex("46000000000000004001000000000000") + socket.inet_aton(STACK) + b"\x07\x0f\x04\0"
            sender.sendto(bytes(header) + bytes((8, 0, 0xF7, 0xFF)) + bytes(4), (STACK, 0))
            message = received(listener, 12, 0)
            assert message[4] == 20  # the option


def test_incomplete_fragments_time_out(namespace):
    from pystack import StackConfig

    with on_tap(namespace, StackConfig(reassembly_timeout=0.2)), icmp_listener(namespace) as listener:
        with namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
            header = bytearray.fromhex("45000000123420004001000000000000") + socket.inet_aton(STACK)
            sender.sendto(bytes(header) + bytes((8, 0, 0xF7, 0xFF)) + bytes(12), (STACK, 0))
            message = received(listener, 11, 1)
            assert message[8 + 4 : 8 + 6] == b"\x12\x34"


def test_a_redirect_of_the_kernel_is_followed(namespace):
    with on_tap(namespace) as stack:
        namespace.sysctl("net.ipv4.ip_forward", 1)
        namespace.sysctl("net.ipv4.conf.ps0.send_redirects", 1)
        namespace.ip("route add 192.0.2.0/24 via 10.77.0.3 dev ps0")
        stack.ping("192.0.2.1", count=1, timeout=0.2)
        assert stack.counters()["inet"]["IcmpInRedirects"] == 1
        stack.ping("192.0.2.1", count=1, timeout=0.1)
        assert ("eth0", "10.77.0.3", None, "INCOMPLETE") in stack.neighbors()
