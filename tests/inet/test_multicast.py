"""Group membership: RFC 3376, and the older versions where a querier speaks them. In virtual time."""

import errno
import random

import pytest

from pystack.inet import multicast
from pystack.inet.multicast import ALL_ROUTERS, ALL_SYSTEMS, ALL_V3_ROUTERS, Membership
from pystack.wire import igmp
from pystack.wire.igmp import IS_EXCLUDE, IS_INCLUDE, TO_EXCLUDE, TO_INCLUDE, Query

A, B, C = b"\xef\x01\x01\x01", b"\xef\x01\x01\x02", b"\xef\x01\x01\x03"
ROUTER, US = b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02"
S1, S2, S3 = b"\x0a\x09\x00\x01", b"\x0a\x09\x00\x02", b"\x0a\x09\x00\x03"
GENERAL = igmp.ANY_GROUP
V1 = Query(1, GENERAL, 10.0)
V2 = Query(2, GENERAL, 10.0)
V3 = Query(3, GENERAL, 10.0, robustness=2, interval=125)


@pytest.fixture
def m():
    return Membership(random.Random(5))


def said(m):
    """What is to be sent, parsed; version 3 reports as (type, group, sources...)."""
    out = []
    for destination, message in m.take():
        parsed = igmp.parse(message, 0, len(message))
        if isinstance(parsed, igmp.ReportV3):
            assert destination == ALL_V3_ROUTERS
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


def ask(m, query, now=0.0, destination=None):
    if destination is None:
        destination = ALL_SYSTEMS if query.group == GENERAL else query.group
    return m.query(ROUTER, destination, query, now)


def quiet(m, until=5.0):
    """Let the unsolicited reports pass."""
    run(m, until)
    m.take()
    assert m.next_deadline() is None


def test_what_the_ip_header_must_say():
    """RFC 3376 §4, RFC 2113 §2.1."""
    assert multicast.ROUTER_ALERT == bytes([148, 4, 0, 0])
    assert (multicast.TTL, multicast.TOS) == (1, 0xC0)


def test_join_and_leave_are_counted():
    m = Membership(random.Random(1))
    assert not m.is_member(A)
    assert m.join(A, 0.0) is True and m.join(A, 0.0) is False
    assert said(m) == [[(TO_EXCLUDE, A)]]
    assert m.leave(A, 0.0) is False and m.is_member(A) and said(m) == []
    assert m.leave(A, 0.0) is True and not m.is_member(A)
    assert said(m) == [[(TO_INCLUDE, A)]] and m.groups == []


def test_all_systems_is_always_a_member_and_never_reported(m):
    """RFC 3376 §5: no IGMP message is ever sent for 224.0.0.1."""
    assert m.is_member(ALL_SYSTEMS)
    assert m.join(ALL_SYSTEMS, 0.0) is False and m.leave(ALL_SYSTEMS, 0.0) is False
    assert m.is_member(ALL_SYSTEMS)
    ask(m, V3)
    assert run(m, 100.0) == [] and m.take() == []


def test_other_link_local_groups_are_reported(m):
    """As Linux does by default (igmp_link_local_mcast_reports)."""
    m.join(b"\xe0\x00\x00\xfb", 0.0)
    assert said(m) == [[(TO_EXCLUDE, b"\xe0\x00\x00\xfb")]]


def test_mistakes_of_the_user_raise(m):
    for wrong in (US, b"\xff" * 4, bytes(4), b"\xef\x01", bytes(16)):
        with pytest.raises(OSError) as raised:
            m.join(wrong, 0.0)
        assert raised.value.errno == errno.EINVAL
    with pytest.raises(OSError) as raised:
        m.leave(A, 0.0)
    assert raised.value.errno == errno.EADDRNOTAVAIL
    small = Membership(random.Random(1), max_groups=2)
    small.join(A, 0.0), small.join(B, 0.0), small.join(B, 0.0)
    with pytest.raises(OSError) as raised:
        small.join(C, 0.0)
    assert raised.value.errno == errno.ENOBUFS and not small.is_member(C)
    small.leave(A, 0.0)
    small.join(C, 0.0)


# Version 3.


def test_state_change_is_said_at_once_and_once_more_within_a_second(m):
    """RFC 3376 §5.1, §8.1, §8.11: robustness 2."""
    m.join(A, 10.0)
    assert said(m) == [[(TO_EXCLUDE, A)]]
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 11.0 and what == [(TO_EXCLUDE, A)]
    m.leave(A, 20.0)
    assert said(m) == [[(TO_INCLUDE, A)]]
    ((when, what),) = run(m, 100.0)
    assert 20.0 <= when <= 21.0 and what == [(TO_INCLUDE, A)]
    assert m.next_deadline() is None


def test_robustness_of_the_querier_is_adopted(m):
    """RFC 3376 §4.1.6: so many transmissions in all; 0 is the default."""
    for robustness, total in ((5, 5), (1, 1), (0, 2)):
        ask(m, V3._replace(robustness=robustness))
        quiet(m, 20.0)
        m.join(A, 20.0)
        assert len(said(m)) + len(run(m, 100.0)) == total
        m.leave(A, 100.0)
        quiet(m, 200.0)


def test_a_change_back_replaces_what_was_to_be_repeated(m):
    """RFC 3376 §5.1: the later report becomes the first of robustness transmissions."""
    m.join(A, 0.0)
    m.join(B, 0.0)
    m.leave(A, 0.0)
    assert said(m) == [[(TO_EXCLUDE, A)], [(TO_EXCLUDE, B)], [(TO_INCLUDE, A)]]
    ((_, what),) = run(m, 100.0)
    assert sorted(what) == [(TO_INCLUDE, A), (TO_EXCLUDE, B)]


def test_general_query_is_answered_once_for_all_groups(m):
    """RFC 3376 §5.2: within Max Resp Time, with current-state records; one answer for two queries."""
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m)
    assert ask(m, V3, 10.0) and ask(m, V3, 10.1)
    assert m.take() == []
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 20.1 and what == [(IS_EXCLUDE, A), (IS_EXCLUDE, B)]


def test_an_answer_that_is_due_sooner_stays(m):
    """RFC 3376 §5.2 rule 1; and a shorter Max Resp Time moves it forward (rule 2)."""
    m.join(A, 0.0)
    quiet(m)
    ask(m, V3._replace(max_response=0.1), 10.0)
    at = m.next_deadline()
    ask(m, V3._replace(max_response=1000.0), 10.0)
    ask(m, Query(3, A, 1000.0), 10.0)
    assert m.next_deadline() == at and len(run(m, 2000.0)) == 1
    ask(m, V3._replace(max_response=1000.0), 3000.0)
    ask(m, V3._replace(max_response=0.1), 3000.0)
    ((when, _),) = run(m, 9000.0)
    assert when <= 3000.1


def test_answers_are_spread_over_the_max_response_time():
    times = []
    for seed in range(200):
        m = Membership(random.Random(seed))
        m.join(A, 0.0)
        quiet(m)
        ask(m, V3, 10.0)
        times.append(run(m, 100.0)[0][0])
    assert min(times) < 11.0 and max(times) > 19.0 and all(10.0 <= at <= 20.0 for at in times)


def test_group_query_is_answered_for_the_group_alone(m):
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m)
    ask(m, Query(3, A, 1.0), 10.0)
    ((when, what),) = run(m, 100.0)
    assert 10.0 <= when <= 11.0 and what == [(IS_EXCLUDE, A)]
    ask(m, Query(3, C, 1.0), 20.0)
    assert m.next_deadline() is None, "not a member: silence"


def test_group_and_source_query_is_answered_for_the_sources(m):
    """RFC 3376 §5.2: EXCLUDE {} asked about B says IS_IN (B); the lists of two queries are joined (rule 5)."""
    m.join(A, 0.0)
    quiet(m)
    ask(m, Query(3, A, 5.0, (S2, S1)), 10.0)
    first = m.next_deadline()
    ask(m, Query(3, A, 5.0, (S2, S3)), 10.0)
    assert m.next_deadline() <= first
    heard = run(m, 100.0)
    assert [what for _, what in heard] == [[(IS_INCLUDE, A, S1, S2, S3)]] and heard[0][0] <= first
    ask(m, Query(3, A, 5.0, (S1,)), 200.0)
    assert [what for _, what in run(m, 300.0)] == [[(IS_INCLUDE, A, S1)]], "nothing is left of the queries before"


def test_group_query_clears_the_pending_sources(m):
    """RFC 3376 §5.2 rule 4, in both orders."""
    m.join(A, 0.0)
    quiet(m)
    for first, second in (((S1,), ()), ((), (S1,))):
        ask(m, Query(3, A, 1.0, first), 10.0)
        ask(m, Query(3, A, 1.0, second), 10.0)
        assert [what for _, what in run(m, 100.0)] == [[(IS_EXCLUDE, A)]]


def test_pending_sources_are_bounded(m):
    """More than 64 are answered for the whole group."""
    m.join(A, 0.0)
    quiet(m)
    for turn in range(100):
        sources = tuple(bytes([10, 8, turn, index]) for index in range(60))
        ask(m, Query(3, A, 100.0, sources), 10.0)
    assert [what for _, what in run(m, 200.0)] == [[(IS_EXCLUDE, A)]]


def test_leaving_takes_the_pending_answer_along(m):
    m.join(A, 0.0)
    quiet(m)
    ask(m, Query(3, A, 100.0), 10.0)
    m.leave(A, 10.0)
    m.take()
    assert all(what == [(TO_INCLUDE, A)] for _, what in run(m, 200.0))


def test_answers_are_split_to_fit_the_mtu():
    """RFC 3376 §4.2.16."""
    m = Membership(random.Random(1), mtu=576)
    groups = [bytes([239, 0, index >> 8, index & 255]) for index in range(1000)]
    for group in groups:
        m.join(group, 0.0)
    run(m, 5.0), m.take()
    ask(m, V3, 10.0)
    m.expire(20.0)
    out = m.take()
    assert all(len(message) + 24 <= 576 for _, message in out)
    records = [record for _, message in out for record in igmp.parse(message, 0, len(message)).records]
    assert records == [igmp.Record(IS_EXCLUDE, group) for group in groups]
    assert len(out) == -(-1000 // 68)


def test_churn_leaves_no_list_without_bound():
    m = Membership(random.Random(1), max_groups=10)
    for index in range(1000):
        group = bytes([239, 0, index >> 8, index & 255])
        m.join(group, 0.0)
        m.leave(group, 0.0)
    m.take()
    assert sum(len(what) for _, what in run(m, 100.0)) <= 20


# Which queries are heard.


@pytest.mark.parametrize(
    "query, destination, heard",
    [
        (V3, ALL_SYSTEMS, True),
        (V3, US, True),
        (V3, A, False),
        (V2, ALL_ROUTERS, False),
        (Query(3, A, 1.0), A, True),
        (Query(3, A, 1.0), US, True),
        (Query(3, A, 1.0), ALL_SYSTEMS, True),
        (Query(3, A, 1.0), B, False),
        (Query(3, US, 1.0), US, False),
        (Query(3, GENERAL, 1.0, (S1,)), ALL_SYSTEMS, False),
    ],
)
def test_queries_are_checked(m, query, destination, heard):
    """RFC 3376 §4.1.12, §9.1."""
    m.join(A, 0.0)
    quiet(m)
    assert ask(m, query, 10.0, destination) is heard
    assert (m.next_deadline() is not None) is heard and m.version(10.0) == 3


# Older queriers.


def test_version_2_querier_is_heard_for_260_seconds(m):
    """RFC 3376 §7.2.1, §8.12: robustness 2 × 125 s + 10 s."""
    ask(m, V2, 100.0)
    assert m.version(359.9) == 2 and m.version(360.0) == 3


def test_version_1_wins_over_version_2_while_it_lasts(m):
    ask(m, V1, 0.0)
    ask(m, V2, 100.0)
    ask(m, V3, 101.0)
    assert m.version(259.0) == 1 and m.version(261.0) == 2 and m.version(361.0) == 3


def test_changing_version_cancels_what_was_pending(m):
    """RFC 3376 §7.2.1."""
    m.join(A, 0.0)
    m.take()
    ask(m, V3, 0.0)
    ask(m, Query(3, A, 10.0, (S1,)), 0.0)
    ask(m, Query(2, B, 10.0), 0.0)
    assert run(m, 100.0) == []
    ask(m, Query(2, A, 1000.0), 200.0)
    assert m.version(460.0) == 3
    assert run(m, 2000.0) == []


def test_version_2_join_is_reported_to_the_group_and_again_within_10_seconds(m):
    """RFC 2236 §3, §8.10."""
    ask(m, V2, 0.0)
    m.join(A, 1.0)
    assert said(m) == [(A, igmp.Report(2, A))]
    ((when, what),) = run(m, 200.0)
    assert 1.0 <= when <= 11.0 and what == (A, igmp.Report(2, A))


def test_version_2_leave_is_said_by_the_last_reporter_alone(m):
    """RFC 2236 §3, §6."""
    ask(m, V2, 0.0)
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m, 20.0)
    ask(m, V2, 20.0)
    m.report(igmp.Report(2, B), 20.0)
    assert [what for _, what in run(m, 50.0)] == [(A, igmp.Report(2, A))]
    m.leave(A, 50.0), m.leave(B, 50.0)
    assert said(m) == [(ALL_ROUTERS, igmp.Leave(A))]
    assert run(m, 200.0) == []


def test_version_2_query_of_one_group(m):
    ask(m, V2, 0.0)
    m.join(A, 0.0), m.join(B, 0.0)
    quiet(m, 20.0)
    ask(m, Query(2, B, 1.0), 30.0)
    ((when, what),) = run(m, 100.0)
    assert 30.0 <= when <= 31.0 and what == (B, igmp.Report(2, B))


def test_version_2_pending_report_is_moved_only_by_a_shorter_query(m):
    """RFC 2236 §3."""
    ask(m, V2, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    ask(m, Query(2, A, 10.0), 20.0)
    at = m.next_deadline()
    ask(m, Query(2, A, 25.0), 20.0)
    assert m.next_deadline() == at
    ask(m, Query(2, A, 0.1), 20.0)
    assert [when <= 20.1 for when, _ in run(m, 100.0)] == [True]


def test_version_2_answers_a_version_3_query_in_its_own_words(m):
    """RFC 3376 §7.2.1: with an older querier present the host speaks that one's version."""
    ask(m, V2, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    ask(m, V3, 20.0)
    assert [what for _, what in run(m, 100.0)] == [(A, igmp.Report(2, A))]


def test_report_of_another_host_ends_the_repetition_of_a_join(m):
    ask(m, V2, 0.0)
    m.join(A, 0.0)
    m.take()
    m.report(igmp.Report(1, A), 0.0)
    m.report(igmp.Report(2, C), 0.0)
    assert run(m, 100.0) == []


def test_report_about_nothing_pending_is_ignored(m):
    """RFC 2236 §6: in the state Idle Member; so a stray report takes no leave from the last reporter."""
    ask(m, V2, 0.0)
    m.join(A, 0.0)
    quiet(m, 20.0)
    m.report(igmp.Report(2, A), 20.0)
    m.leave(A, 20.0)
    assert said(m) == [(ALL_ROUTERS, igmp.Leave(A))]


def test_version_3_is_not_suppressed(m):
    """RFC 3376 §7.2.2 leaves it open."""
    m.join(A, 0.0)
    quiet(m)
    ask(m, Query(3, A, 1.0), 10.0)
    m.report(igmp.Report(2, A), 10.0)
    assert [what for _, what in run(m, 20.0)] == [[(IS_EXCLUDE, A)]]


def test_version_1_reports_only_and_never_leaves(m):
    """RFC 1112 appendix I; a version 1 query means all groups, within 10 s."""
    ask(m, V1, 0.0)
    m.join(A, 0.0)
    assert said(m) == [(A, igmp.Report(1, A))]
    quiet(m, 20.0)
    ask(m, Query(1, C, 10.0), 20.0, ALL_SYSTEMS)
    ((when, what),) = run(m, 100.0)
    assert 20.0 <= when <= 30.0 and what == (A, igmp.Report(1, A))
    m.leave(A, 100.0)
    assert m.take() == []


def test_back_in_version_3_changes_are_told_in_its_words(m):
    ask(m, V2, 0.0)
    m.join(A, 0.0)
    m.take()
    m.leave(A, 300.0)
    assert said(m) == [[(TO_INCLUDE, A)]]


def test_a_flood_of_queries_leaves_one_timer_per_group(m):
    for index in range(10):
        m.join(bytes([239, 0, 0, index]), 0.0)
    quiet(m)
    rng = random.Random(1)
    for turn in range(20_000):
        group = bytes([239, 0, 0, rng.randrange(12)])
        ask(m, rng.choice([V3, Query(3, group, rng.random() * 3000), Query(3, group, 9.0, (S1,))]), 10 + turn / 1e6)
    assert len(run(m, 9000.0)) <= 12
