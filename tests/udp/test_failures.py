"""What ICMP errors do to sockets: Linux's __udp4_lib_err."""

import pytest

from pystack import errors, messages, transport
from pystack.udp import settings
from tests.support.udp import ANY, HERE, HERE_TOO, OTHER, PEER, Udp

LOCAL = (HERE, 1000)
HARD = [
    (messages.PORT_UNREACHABLE, 3, errors.REFUSED),
    (messages.PROTOCOL_UNREACHABLE, 2, errors.NO_PROTOCOL),
    (messages.PARAMETER_PROBLEM, 0, errors.PROTOCOL_ERROR),
    (messages.NET_UNREACHABLE, 6, errors.NET_UNREACHABLE),
    (messages.HOST_UNREACHABLE, 7, errors.HOST_UNREACHABLE),
    (messages.PROHIBITED, 9, errors.NET_UNREACHABLE),
    (messages.PROHIBITED, 13, errors.HOST_UNREACHABLE),
]
SOFT = [
    (messages.NET_UNREACHABLE, 0, errors.NET_UNREACHABLE),
    (messages.HOST_UNREACHABLE, 1, errors.HOST_UNREACHABLE),
    (messages.HOST_UNREACHABLE, 12, errors.HOST_UNREACHABLE),
    (messages.SOURCE_ROUTE_FAILED, 5, errors.NOT_SUPPORTED),
    (messages.TTL_EXCEEDED, 0, errors.HOST_UNREACHABLE),
    (messages.REASSEMBLY_EXCEEDED, 1, errors.HOST_UNREACHABLE),
]


def connected(**options):
    """Socket 1 at LOCAL, connected to PEER:53."""
    udp = Udp()
    udp.bind(1, port=1000)
    udp.connect(1)
    udp.sets(1, **options)
    return udp


@pytest.mark.parametrize(("cause", "code", "told"), HARD)
def test_a_hard_error_is_told_to_a_connected_socket(cause, code, told):
    udp = connected()
    assert udp.learns(cause, LOCAL, code=code) == [transport.SendFailed(1, told)]
    assert udp.drops == {}
    assert udp.arrives() == [1]  # it goes on


@pytest.mark.parametrize(("cause", "code", "told"), SOFT)
def test_a_soft_error_is_not(cause, code, told):
    assert connected().learns(cause, LOCAL, code=code) == []


@pytest.mark.parametrize(("cause", "code", "told"), HARD + SOFT)
@pytest.mark.parametrize("is_connected", [True, False])
def test_all_are_told_with_the_message_to_who_asks_for_them(cause, code, told, is_connected):
    """IP_RECVERR; RFC 1122 §4.1.3.3."""
    udp = Udp()
    udp.bind(1, port=1000)
    if is_connected:
        udp.connect(1)
    udp.sets(1, recv_error=True)
    (event,) = udp.learns(cause, LOCAL, code=code)
    assert (event.socket, event.cause, event.message.reporter) == (1, told, OTHER)


def test_an_unconnected_socket_is_told_nothing():
    udp = Udp()
    udp.bind(1, port=1000)
    assert udp.learns(messages.PORT_UNREACHABLE, LOCAL) == []
    assert udp.drops == {}


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ((HERE, 1000), (PEER, 54)),
        ((HERE, 1000), (OTHER, 53)),
        ((HERE, 1001), (PEER, 53)),
        ((HERE_TOO, 1000), (PEER, 53)),
    ],
)
def test_an_error_about_what_was_never_sent_is_not_believed(local, remote):
    udp = connected(recv_error=True)
    assert udp.learns(messages.PORT_UNREACHABLE, local, remote) == []
    assert udp.learns(messages.PACKET_TOO_BIG, local, remote, mtu=600) == []
    assert udp.drops == {errors.ICMP_UNMATCHED: 2} and udp.told == []


def test_a_quote_without_ports_is_nobodys():
    udp = connected()
    udp.core.control([messages.Unreachable(messages.PORT_UNREACHABLE, 17, HERE, PEER, bytes(7), OTHER)], 0.0)
    assert udp.drops == {errors.ICMP_UNMATCHED: 1}


@pytest.mark.parametrize("is_connected", [True, False])
def test_fragmentation_needed_is_passed_on_and_told_as_too_big(is_connected):
    """RFC 1191 §6.5: inet believes what is about a flow of ours."""
    udp = Udp()
    udp.bind(1, port=1000)
    if is_connected:
        udp.connect(1)
    told = [transport.SendFailed(1, errors.MESSAGE_TOO_BIG)] if is_connected else []
    assert udp.learns(messages.PACKET_TOO_BIG, LOCAL, mtu=1300) == told
    assert udp.told == [messages.PmtuChanged(PEER, 1300)]


@pytest.mark.parametrize(
    ("mode", "believed", "is_told"),
    [
        (settings.PMTU_DONT, True, False),
        (settings.PMTU_DO, True, True),
        (settings.PMTU_INTERFACE, False, False),
        (settings.PMTU_OMIT, False, False),
    ],
)
def test_fragmentation_needed_and_ip_mtu_discover(mode, believed, is_told):
    udp = connected(discover_pmtu=mode)
    assert bool(udp.learns(messages.PACKET_TOO_BIG, LOCAL, mtu=1300)) == is_told
    assert bool(udp.told) == believed


def test_the_stacks_own_refusal_is_no_news_of_the_path():
    """The MTU fell between UDP's look at it and inet's."""
    udp = connected()
    events = udp.learns(messages.PACKET_TOO_BIG, LOCAL, reporter=None, mtu=1300)
    assert events == [transport.SendFailed(1, errors.MESSAGE_TOO_BIG)]
    assert udp.told == []


def test_a_socket_of_one_device_is_told_too():
    udp = Udp()
    udp.bind(1, ANY, 1000, interface=3)
    udp.connect(1)
    assert udp.learns(messages.PORT_UNREACHABLE, (HERE_TOO, 1000)) == [transport.SendFailed(1, errors.REFUSED)]
