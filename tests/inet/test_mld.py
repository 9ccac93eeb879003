"""IPv6 group membership: RFC 3810, and RFC 2710 where a querier speaks it. In virtual time.

What it shares with IGMP is tested in `test_multicast`; here it is shown with MLD's addresses, versions and messages.
"""

import errno
import random

import pytest

from pystack.inet.multicast import ALL_MLDV2_ROUTERS, ALL_NODES_V6, ALL_ROUTERS_V6, MLD, Membership
from pystack.wire import mld
from pystack.wire.igmp import IS_EXCLUDE, IS_INCLUDE, TO_EXCLUDE, TO_INCLUDE
from pystack.wire.mld import Query, Report


def address(text):
    """16 bytes of ``PREFIX::LAST``, both hexadecimal."""
    prefix, last = text.split("::")
    return bytes.fromhex(prefix.ljust(32 - len(last), "0") + last)


A, B, C = address("ff0e::01"), address("ff02::fb"), address("ff02::0001ff000003")
ROUTER, US = address("fe80::0001"), address("fe80::0002")
GLOBAL = address("20010db8::0001")
S1, S2, S3 = address("20010db8::11"), address("20010db8::12"), address("20010db8::13")
GENERAL = mld.ANY_GROUP
V1 = Query(1, GENERAL, 10.0)
V2 = Query(2, GENERAL, 10.0, robustness=2, interval=125)


def membership(seed=5, **settings):
    return Membership(random.Random(seed), protocol=MLD, **settings)


@pytest.fixture
def m():
    return membership()


def said(m):
    """What is to be sent, parsed; version 2 reports as (type, group, sources...)."""
    out = []
    for destination, message in m.take():
        parsed = mld.parse(message, 0, len(message))
        assert message[2:4] == bytes(2), "the checksum is the caller's"
        if isinstance(parsed, mld.ReportV2):
            assert destination == ALL_MLDV2_ROUTERS
            out.append([(kind, group, *sources) for kind, group, sources in parsed.records])
        else:
            out.append((destination, parsed))
    return out


def run(m, until):
    """Expire every deadline up to *until*; ``[(when, what was said), ...]``."""
    heard = []
    while m.next_deadline() is not None and m.next_deadline() <= until:
        now = m.next_deadline()
        m.expire(now)
        heard.extend((now, what) for what in said(m))
    return heard


def ask(m, query, now=0.0, source=ROUTER, destination=None):
    if destination is None:
        destination = ALL_NODES_V6 if query.group == GENERAL else query.group
    return m.query(source, destination, query, now)


def quiet(m, until=5.0):
    """Let the unsolicited reports pass."""
    run(m, until)
    m.take()
    assert m.next_deadline() is None


def test_addresses_of_routers():
    """RFC 3810 §5.2.14, RFC 2710 §3."""
    assert ALL_NODES_V6 == address("ff02::01")
    assert ALL_ROUTERS_V6 == address("ff02::02")
    assert ALL_MLDV2_ROUTERS == address("ff02::16")


def test_join_and_leave_are_counted(m):
    assert not m.is_member(A)
    assert m.join(A, 0.0) is True and m.join(A, 0.0) is False
    assert said(m) == [[(TO_EXCLUDE, A)]] and m.groups == [A]
    assert m.leave(A, 0.0) is False and m.is_member(A) and said(m) == []
    assert m.leave(A, 0.0) is True and not m.is_member(A)
    assert said(m) == [[(TO_INCLUDE, A)]] and m.groups == []


def test_all_nodes_is_always_a_member_and_never_reported(m):
    """RFC 3810 §6: no MLD message is ever sent for ff02::1."""
    assert m.is_member(ALL_NODES_V6)
    assert m.join(ALL_NODES_V6, 0.0) is False and m.leave(ALL_NODES_V6, 0.0) is False
    assert m.is_member(ALL_NODES_V6) and m.groups == []
    ask(m, V2)
    ask(m, Query(2, ALL_NODES_V6, 1.0))
    assert run(m, 100.0) == [] and m.take() == []


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("group", [address("ff01::01"), address("ff11::99"), address("ff00::01"), address("fff1::01")])
def test_groups_of_scope_0_and_1_are_joined_and_never_reported(m, group, version):
    """RFC 3810 §6, RFC 2710 §5: neither joins, nor answers, nor leaves; the flags before the scope do not matter."""
    if version == 1:
        ask(m, V1)
    assert m.join(group, 0.0) is True and m.join(group, 0.0) is False
    assert m.is_member(group) and m.groups == [group]
    ask(m, V1 if version == 1 else V2)
    ask(m, Query(version, group, 1.0))
    assert m.take() == [] and run(m, 100.0) == []
    assert m.leave(group, 100.0) is False and m.leave(group, 100.0) is True
    assert m.take() == [] and m.next_deadline() is None and not m.is_member(group)


@pytest.mark.parametrize("group", [address("ff02::0001ff000003"), address("ff12::01"), address("ff05::01"), A])
def test_groups_of_wider_scopes_are_reported(m, group):
    """Link-local and solicited-node groups too (RFC 3810 §6)."""
    m.join(group, 0.0)
    assert said(m) == [[(TO_EXCLUDE, group)]]


def test_mistakes_of_the_user_raise(m):
    for wrong in (US, b"\xef\x01\x01\x01", bytes(16), A[:15], A + b"\0"):
        with pytest.raises(OSError) as raised:
            m.join(wrong, 0.0)
        assert raised.value.errno == errno.EINVAL and "IPv6" in str(raised.value)
    with pytest.raises(OSError) as raised:
        m.leave(A, 0.0)
    assert raised.value.errno == errno.EADDRNOTAVAIL
    small = membership(max_groups=2)
    small.join(A, 0.0), small.join(address("ff01::01"), 0.0), small.join(A, 0.0)
    with pytest.raises(OSError) as raised:
        small.join(C, 0.0)
    assert raised.value.errno == errno.ENOBUFS and not small.is_member(C)
    small.leave(address("ff01::01"), 0.0)
    small.join(C, 0.0)


# Version 2.


def test_state_change_is_said_at_once_and_once_more_within_a_second(m):
    """RFC 3810 §6.1, §9.1, §9.11: robustness 2."""
    m.join(A, 10.0)
    assert said(m) == [[(TO_EXCLUDE, A)]]
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 11.0 and what == [(TO_EXCLUDE, A)]
    m.leave(A, 20.0)
    assert said(m) == [[(TO_INCLUDE, A)]]
    ((when, what),) = run(m, 100.0)
    assert 20.0 <= when <= 21.0 and what == [(TO_INCLUDE, A)]
    assert m.next_deadline() is None


def test_general_query_is_answered_once_for_all_groups(m):
    """RFC 3810 §6.2."""
    m.join(A, 0.0), m.join(address("ff01::01"), 0.0), m.join(B, 0.0)
    quiet(m)
    assert ask(m, V2, 10.0) and ask(m, V2, 10.1)
    assert m.take() == []
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 20.1 and what == [(IS_EXCLUDE, A), (IS_EXCLUDE, B)]


def test_query_of_one_group_is_answered_for_it_alone(m):
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m)
    ask(m, Query(2, A, 1.0), 10.0)
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 11.0 and what == [(IS_EXCLUDE, A)]
    ask(m, Query(2, C, 1.0), 20.0)
    assert m.next_deadline() is None, "not a member: silence"


def test_query_of_sources_is_answered_for_them(m):
    """RFC 3810 §6.2: EXCLUDE {} asked about B says IS_IN (B); the lists of two queries are joined."""
    m.join(A, 0.0)
    quiet(m)
    ask(m, Query(2, A, 5.0, (S2, S1)), 10.0)
    ask(m, Query(2, A, 5.0, (S2, S3)), 10.0)
    assert [what for _, what in run(m, 100.0)] == [[(IS_INCLUDE, A, S1, S2, S3)]]


def test_pending_sources_are_bounded():
    """By 64, and by what a report has room for: 75 of them at 1280 bytes, 20 at 400."""
    for mtu, most in ((1280, 64), (400, 20)):
        for count in (most, most + 1):
            m = membership(mtu=mtu)
            m.join(A, 0.0)
            quiet(m)
            ask(m, Query(2, A, 5.0, tuple(address(f"20010db8::{index:04x}") for index in range(count))), 10.0)
            m.expire(15.0)
            ((_, message),) = m.take()
            assert len(message) + 48 <= mtu
            ((kind, _, sources),) = mld.parse(message, 0, len(message)).records
            assert (kind, len(sources)) == ((IS_INCLUDE, count) if count == most else (IS_EXCLUDE, 0))


@pytest.mark.parametrize("mtu, room", [(1500, 72), (1276, 61), (1275, 60)])
def test_answers_are_split_to_fit_the_mtu(mtu, room):
    """RFC 3810 §5.2.15: an IPv6 header (40 bytes), Router Alert (8), the report's header (8), and records of 20."""
    m = membership(mtu=mtu)
    groups = [address(f"ff0e::{index:04x}") for index in range(1000)]
    for group in groups:
        m.join(group, 0.0)
    run(m, 5.0), m.take()
    ask(m, V2, 10.0)
    m.expire(20.0)
    out = m.take()
    assert all(len(message) + 48 <= mtu for _, message in out)
    records = [record for _, message in out for record in mld.parse(message, 0, len(message)).records]
    assert records == [mld.Record(IS_EXCLUDE, group) for group in groups]
    assert len(out) == -(-1000 // room)


def test_churn_leaves_no_list_without_bound():
    m = membership(max_groups=10)
    for index in range(1000):
        group = address(f"ff0e::{index:04x}")
        m.join(group, 0.0)
        m.leave(group, 0.0)
    m.take()
    assert sum(len(what) for _, what in run(m, 100.0)) <= 20


def test_version_2_is_not_suppressed(m):
    """RFC 3810 §8.2.2 leaves it open."""
    m.join(A, 0.0)
    quiet(m)
    ask(m, Query(2, A, 1.0), 10.0)
    m.report(Report(1, A), 10.0)
    assert [what for _, what in run(m, 20.0)] == [[(IS_EXCLUDE, A)]]


# Which queries are heard.


@pytest.mark.parametrize(
    "query, source, destination, heard",
    [
        (V2, ROUTER, ALL_NODES_V6, True),
        (V2, ROUTER, US, True),
        (V2, bytes.fromhex("fe80 0007") + ROUTER[4:], ALL_NODES_V6, True),
        (V2, address("febf::01"), ALL_NODES_V6, True),
        (V2, address("fec0::01"), ALL_NODES_V6, False),
        (V2, GLOBAL, ALL_NODES_V6, False),
        (V2, bytes(16), ALL_NODES_V6, False),
        (V1, GLOBAL, ALL_NODES_V6, False),
        (Query(2, A, 1.0), ROUTER, A, True),
        (Query(2, A, 1.0), ROUTER, US, True),
        (Query(2, A, 1.0), GLOBAL, A, False),
        (Query(2, US, 1.0), ROUTER, US, False),
        (Query(2, GENERAL, 1.0, (S1,)), ROUTER, ALL_NODES_V6, False),
    ],
)
def test_queries_are_checked(m, query, source, destination, heard):
    """RFC 3810 §5.1.14: from a link-local address, whatever interface is noted in it, or not at all."""
    m.join(A, 0.0)
    quiet(m)
    assert ask(m, query, 10.0, source, destination) is heard
    assert (m.next_deadline() is not None) is heard and m.version(10.0) == 2


# Version 1 queriers.


def test_version_1_querier_is_heard_for_260_seconds(m):
    """RFC 3810 §8.2.1, §9.12: robustness 2 × 125 s + 10 s; version 2 queries do not shorten it."""
    assert m.version(0.0) == 2
    ask(m, V1, 100.0)
    ask(m, V2, 101.0)
    assert m.version(359.9) == 1 and m.version(360.0) == 2


def test_the_timeout_is_of_the_last_interval_and_robustness(m):
    """RFC 3810 §9.12; a version 2 querier told them before."""
    ask(m, V2._replace(robustness=3, interval=20), 0.0)
    ask(m, V1, 100.0)
    assert m.version(169.9) == 1 and m.version(170.0) == 2


def test_changing_version_cancels_what_was_pending(m):
    """RFC 3810 §8.2.1, both ways."""
    m.join(A, 0.0)
    m.take()
    ask(m, V2, 0.0)
    ask(m, Query(2, A, 10.0, (S1,)), 0.0)
    ask(m, Query(1, B, 10.0), 0.0)
    assert run(m, 100.0) == []
    ask(m, Query(1, A, 1000.0), 200.0)
    assert m.version(460.0) == 2
    assert run(m, 2000.0) == []


def test_version_1_join_is_reported_to_the_group_and_again_within_10_seconds(m):
    """RFC 2710 §4, §7.10."""
    ask(m, V1, 0.0)
    m.join(A, 1.0)
    assert said(m) == [(A, Report(1, A))]
    ((when, what),) = run(m, 200.0)
    assert 1.0 <= when <= 11.0 and what == (A, Report(1, A))


def test_version_1_general_query_is_answered_group_by_group(m):
    """RFC 2710 §4: each within the Maximum Response Delay that the query names."""
    ask(m, V1, 0.0)
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m, 20.0)
    ask(m, Query(1, GENERAL, 3.0), 20.0)
    heard = run(m, 100.0)
    assert sorted(what for _, what in heard) == sorted([(A, Report(1, A)), (B, Report(1, B))])
    assert all(20.0 <= when <= 23.0 for when, _ in heard)


def test_version_1_query_of_one_group(m):
    """Unlike IGMP's version 1, it is about that group alone."""
    ask(m, V1, 0.0)
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m, 20.0)
    ask(m, Query(1, B, 1.0), 30.0)
    ((when, what),) = run(m, 100.0)
    assert 30.0 <= when <= 31.0 and what == (B, Report(1, B))


def test_version_1_pending_report_is_moved_only_by_a_shorter_query(m):
    """RFC 2710 §4."""
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    ask(m, Query(1, A, 10.0), 20.0)
    at = m.next_deadline()
    ask(m, Query(1, A, 25.0), 20.0)
    assert m.next_deadline() == at
    ask(m, Query(1, A, 0.0), 20.0)
    assert run(m, 100.0) == [(20.0, (A, Report(1, A)))]


def test_version_1_done_is_said_by_the_last_reporter_alone(m):
    """RFC 2710 §4, §5: a report heard suppresses ours."""
    ask(m, V1, 0.0)
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m, 20.0)
    ask(m, V1, 20.0)
    m.report(Report(1, B), 20.0)
    assert [what for _, what in run(m, 50.0)] == [(A, Report(1, A))]
    m.leave(A, 50.0), m.leave(B, 50.0)
    assert said(m) == [(ALL_ROUTERS_V6, mld.Done(A))]
    assert run(m, 200.0) == []


def test_report_of_another_host_ends_the_repetition_of_a_join(m):
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    m.take()
    m.report(Report(1, A), 0.0)
    m.report(Report(1, C), 0.0)
    assert run(m, 100.0) == []


def test_report_about_nothing_pending_is_ignored(m):
    """RFC 2710 §5: in the state Idle Listener; so a stray report takes no done from the last reporter."""
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    m.report(Report(1, A), 20.0)
    m.leave(A, 20.0)
    assert said(m) == [(ALL_ROUTERS_V6, mld.Done(A))]


def test_version_2_query_is_answered_in_version_1_while_that_lasts(m):
    """RFC 3810 §8.2.1."""
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    ask(m, V2, 20.0)
    assert [what for _, what in run(m, 100.0)] == [(A, Report(1, A))]


def test_back_in_version_2_changes_are_told_in_its_words(m):
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    m.take()
    m.leave(A, 300.0)
    assert said(m) == [[(TO_INCLUDE, A)]]


def test_a_flood_of_queries_leaves_one_timer_per_group(m):
    groups = [address(f"ff0e::{index:04x}") for index in range(12)]
    for group in groups[:10]:
        m.join(group, 0.0)
    quiet(m)
    rng = random.Random(1)
    for turn in range(5_000):
        group = rng.choice(groups)
        ask(m, rng.choice([V2, Query(2, group, rng.random() * 8000), Query(2, group, 9.0, (S1,))]), 10 + turn / 1e6)
    assert len(run(m, 9000.0)) <= 12


# What was said without an address.


def test_all_groups_are_told_of_again_as_if_joined_now(m):
    """RFC 3590 §4: routers ignored what came from no address."""
    for group in (A, B):
        m.join(group, 0.0)
    quiet(m)
    m.repeat(20.0)
    again = [(TO_EXCLUDE, A), (TO_EXCLUDE, B)]
    assert said(m) == [again]
    ((when, what),) = run(m, 200.0)
    assert 20.0 <= when <= 21.0 and what == again


def test_in_version_1_too(m):
    ask(m, V1, 0.0)
    m.join(A, 1.0)
    m.join(B, 1.0)
    quiet(m, 20.0)
    m.repeat(21.0)
    assert said(m) == [(A, Report(1, A)), (B, Report(1, B))]
    assert sorted(what[0] for _, what in run(m, 200.0)) == sorted((A, B))


def test_without_groups_nothing_is_told(m):
    m.repeat(0.0)
    assert said(m) == [] and m.next_deadline() is None
