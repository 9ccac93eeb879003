"""Group membership of one interface, as its host side of IGMP (RFC 3376, and RFC 2236 and 1112 where it must) or MLD
(RFC 3810, and RFC 2710 where it must).

MLD version 2 is IGMP version 3 for IPv6, and MLD version 1 is IGMP version 2: there is one state machine, and a
`Protocol` says in what they differ. Clauses are IGMP's where MLD's say the same: §4 of RFC 3376 is §5 of RFC 3810, and
so on to §8, which is §9; §3 and §6 of RFC 2236 are §4 and §5 of RFC 2710.
"""

import errno
from collections.abc import Callable
from typing import NamedTuple

from pystack.deadlines import NEVER, Deadlines
from pystack.wire import igmp, mld

ALL_SYSTEMS = b"\xe0\x00\x00\x01"
ALL_ROUTERS = b"\xe0\x00\x00\x02"
ALL_V3_ROUTERS = b"\xe0\x00\x00\x16"

ALL_NODES_V6 = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 0001")
ALL_ROUTERS_V6 = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 0002")
ALL_MLDV2_ROUTERS = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 0016")

# How every IGMP message leaves (RFC 3376 §4, RFC 2236 §2): these are for the caller to put into the IP header.
TTL = 1  # MLD's hop limit too; the hop-by-hop option that goes with it is RFC 2711's (RFC 3810 §5)
TOS = 0xC0  # Internetwork Control
ROUTER_ALERT = b"\x94\x04\x00\x00"  # RFC 2113

MAX_GROUPS = 1024  # per interface; Linux has 20 per socket (net.ipv4.igmp_max_memberships) and none per interface
MAX_SOURCES = 64  # remembered of the queries about one group
ROBUSTNESS = 2  # RFC 3376 §8.1
QUERY_INTERVAL = 125.0  # seconds, §8.2
QUERY_RESPONSE_INTERVAL = 10.0  # seconds, §8.3
UNSOLICITED_INTERVAL = 1.0  # seconds, §8.11
UNSOLICITED_INTERVAL_OLDER = 10.0  # seconds, RFC 2236 §8.10, RFC 2710 §7.10


class Protocol(NamedTuple):
    """In what IGMP and MLD differ. Versions are counted from 1; those below ``newest`` are the older ones."""

    family: str
    newest: int  # reports records of many groups to all routers; the older report one group, to itself
    leaving: int  # the first version that tells of leaves and is asked about one group
    any_group: bytes  # what a general query is about
    everybody: bytes  # the group that each host is a member of and none reports
    leaves_to: bytes  # the destination of an older version's leave
    records_to: bytes  # the destination of the newest version's reports
    overhead: int  # of a report without records: IP header and options as well, bytes
    record_length: int  # without sources, bytes
    is_group: Callable  # (address): whether it is a multicast address, of the right length
    is_reported: Callable  # (group)
    may_ask: Callable  # (source, destination, group): whether the addresses of a query allow to hear it
    build_report: Callable  # (version, group)
    build_leave: Callable  # (group)
    build_records: Callable  # (records)


def _igmp_may_ask(source, destination, group):
    # RFC 3376 §4.1.12 and §9.1: any unicast address of ours will do, but no multicast address other than these. The
    # source may be 0.0.0.0 (RFC 4541 §2.1.1).
    return destination[0] & 0xF0 != 0xE0 or destination in (ALL_SYSTEMS, group)


def _mld_may_ask(source, destination, group):
    # RFC 3810 §5.1.14: from a link-local address alone. To any address of ours (§5.1.15), as on Linux. Bytes 2 and 3 of
    # a link-local address may hold an interface's index here.
    return source[0] == 0xFE and source[1] & 0xC0 == 0x80


IGMP = Protocol(
    family="IPv4",
    newest=3,
    leaving=2,
    any_group=igmp.ANY_GROUP,
    everybody=ALL_SYSTEMS,
    leaves_to=ALL_ROUTERS,
    records_to=ALL_V3_ROUTERS,
    overhead=24 + igmp.HEADER_LENGTH,  # 4 of them Router Alert
    record_length=igmp.RECORD_LENGTH,
    is_group=lambda address: len(address) == 4 and address[0] & 0xF0 == 0xE0,
    # The other groups of 224.0.0.0/24 are reported, as in Linux (igmp_link_local_mcast_reports=1).
    is_reported=lambda group: True,
    may_ask=_igmp_may_ask,
    build_report=igmp.build_report,
    build_leave=igmp.build_leave,
    build_records=igmp.build_report_v3,
)

MLD = Protocol(
    family="IPv6",
    newest=2,
    leaving=1,
    any_group=mld.ANY_GROUP,
    everybody=ALL_NODES_V6,
    leaves_to=ALL_ROUTERS_V6,
    records_to=ALL_MLDV2_ROUTERS,
    overhead=48 + igmp.HEADER_LENGTH,  # 8 of them the hop-by-hop Router Alert
    record_length=mld.RECORD_LENGTH,
    is_group=lambda address: len(address) == 16 and address[0] == 0xFF,
    is_reported=lambda group: group[1] & 0x0F >= 2,  # not the scopes 0 and 1 (RFC 3810 §6; Linux: MAF_NOREPORT)
    may_ask=_mld_may_ask,
    build_report=lambda version, group: mld.build_report(group),
    build_leave=mld.build_done,
    build_records=mld.build_report_v2,
)


class _Timer:
    __slots__ = ("due_at", "queued_at")

    def __init__(self):
        self.due_at = NEVER
        self.queued_at = NEVER


class _Group:
    """A group that is reported; its deadline is that of its next report (newest version: answer to a query)."""

    __slots__ = ("address", "due_at", "last_reporter", "queued_at", "sources", "unsolicited")

    def __init__(self, address):
        self.address = address
        self.due_at = NEVER
        self.queued_at = NEVER
        self.sources = None  # of pending group-and-source queries; None: the answer is about the whole group
        self.unsolicited = 0  # older versions: reports of the join yet to be repeated
        self.last_reporter = False  # older versions: ours was the last report heard (RFC 2236 §6)


class Membership:
    """The groups of ONE interface; any-source only: the filter of each is EXCLUDE {}, all sources wanted.

    It speaks the newest version until it hears an older querier, and again when that has been silent for the Older
    Version Querier Present Timeout (RFC 3376 §7.2.1). 224.0.0.1 or ff02::1 is always a member and never reported.

    What it has to say collects until `take`; the caller sends each with hop limit 1 and Router Alert: of IGMP, with
    `TTL`, `TOS` and `ROUTER_ALERT`; of MLD, with the ICMPv6 checksum, which is 0 yet.

    Args:
        random: a ``random.Random``.
        mtu: of the interface, bytes; a report is split to fit.
        max_groups: bound on memberships.
        protocol: `IGMP`, or `MLD` with addresses of 16 bytes.
        agenda: see `Deadlines`.
    """

    def __init__(self, random, mtu=1500, max_groups=MAX_GROUPS, protocol=IGMP, agenda=None):
        self.mtu = mtu
        self.max_groups = max_groups
        self._protocol = protocol
        self._random = random
        self._joins = {}  # group -> how many joined it
        self._groups = {}  # group -> _Group, of those that are reported
        self._deadlines = Deadlines(agenda)
        self._general = _Timer()  # newest version: answer to a general query
        self._repeat = _Timer()  # newest version: repetition of the state changes
        self._changes = {}  # newest version: group -> transmissions of its last change yet to come
        self._robustness = ROBUSTNESS
        self._query_interval = QUERY_INTERVAL
        # older version -> when its querier counts as gone
        self._until = dict.fromkeys(range(1, protocol.newest), -NEVER)
        self._version = protocol.newest
        self._out = []

    @property
    def groups(self):
        """A list of the groups joined, 224.0.0.1 or ff02::1 not among them."""
        return list(self._joins)

    def is_member(self, group):
        return group in self._joins or group == self._protocol.everybody

    def version(self, now):
        """The version spoken now: 1, 2 or, of IGMP, 3."""
        self._update_version(now)
        return self._version

    def join(self, group, now):
        """Count one more member of *group* (4 or 16 bytes), and tell the routers of the first.

        Returns:
            Whether it is the first, so that the interface must receive the group from now on.

        Raises:
            OSError: EINVAL if it is no multicast address, ENOBUFS if the interface has `max_groups` already.
        """
        protocol = self._protocol
        if not protocol.is_group(group):
            raise OSError(errno.EINVAL, f"not an {protocol.family} multicast address")
        if group == protocol.everybody:
            return False
        if group in self._joins:
            self._joins[group] += 1
            return False
        if len(self._joins) >= self.max_groups:
            raise OSError(errno.ENOBUFS, f"the interface has {self.max_groups} multicast groups already: leave some")
        self._joins[group] = 1
        if protocol.is_reported(group):
            self._report_join(group, now)
        return True

    def leave(self, group, now):
        """Undo one join.

        Returns:
            Whether it was the last, so that the interface need not receive the group any more.

        Raises:
            OSError: EADDRNOTAVAIL if the group is not joined.
        """
        if group == self._protocol.everybody:
            return False
        if group not in self._joins:
            raise OSError(errno.EADDRNOTAVAIL, "not a member of this multicast group")
        self._joins[group] -= 1
        if self._joins[group]:
            return False
        del self._joins[group]
        if group in self._groups:
            self._report_leave(group, now)
        return True

    def repeat(self, now):
        """Tell of all groups as if they were joined now."""
        self._update_version(now)
        if self._version == self._protocol.newest:
            self._changes.update(dict.fromkeys(self._groups, self._robustness))
            self._repeat_changes(now)
        else:
            for member in self._groups.values():
                member.unsolicited = self._robustness - 1
                self._report_older(member, now)

    def query(self, source, destination, message, now):
        """A router asks: *message* is the Query, *source* and *destination* are the packet's (4 or 16 bytes each).

        TTL and Router Alert need no check in IGMP: Linux makes none, though RFC 3376 §9.1 would have queries without
        Router Alert ignored, because queriers in switches leave it out. In MLD both are the caller's to check (RFC 3810
        §6.2, and Linux).

        Returns:
            False if the query must be ignored: count it.
        """
        protocol = self._protocol
        group = message.group
        general = group == protocol.any_group
        if not general and not protocol.is_group(group):
            return False
        if not protocol.may_ask(source, destination, group):
            return False
        if message.version == protocol.newest and general and message.sources:
            return False  # as Linux; §4.1.9 says zero
        self._hear_querier(message, now)
        if self._version == protocol.newest:
            if general:
                self._answer_general(message.max_response, now)
            elif group in self._groups:
                self._answer_group(self._groups[group], message, now)
            return True
        max_response = message.max_response  # Linux takes at most 32.767 s from an MLD version 2 query here
        if self._version < protocol.leaving:
            # A version 1 router of IGMP never means one group, nor another time (Linux: igmp_heard_query).
            general, max_response = True, QUERY_RESPONSE_INTERVAL
        if general:
            for member in self._groups.values():
                self._answer_older(member, max_response, now)
        elif group in self._groups:
            self._answer_older(self._groups[group], max_response, now)
        return True

    def report(self, message, now):
        """Another host's Report (of an older version): if we were about to say the same, it is said (RFC 2236 §3).

        Speaking the newest version it is ignored, as RFC 3376 §7.2.2 allows; Linux lets it suppress an answer. Ignored
        too, by the diagram of RFC 2236 §6, is one about a group for which nothing is pending; Linux then sends no leave
        later. In MLD the caller has seen that the source is link-local or unspecified, as Linux does.
        """
        self._update_version(now)
        member = self._groups.get(message.group)
        if self._version == self._protocol.newest or member is None or member.due_at == NEVER:
            return
        self._deadlines.cancel(member)
        member.unsolicited = 0
        member.last_reporter = False

    def take(self):
        """Take what is to be sent now: a list of (destination, message)."""
        out, self._out = self._out, []
        return out

    def expire(self, now):
        """Say what is due by now."""
        self._update_version(now)
        answers = []
        for item in self._deadlines.due(now):
            if item is self._general:
                answers.extend(igmp.Record(igmp.IS_EXCLUDE, group) for group in self._groups)
            elif item is self._repeat:
                self._repeat_changes(now)
            elif self._version == self._protocol.newest:
                answers.append(self._current_state(item))
            else:
                self._report_older(item, now)
        self._send_records(answers)

    def next_deadline(self):
        """When `expire` may have something to do, or ``None``."""
        return self._deadlines.next()

    # Which version: RFC 3376 §7.2.1.

    def _hear_querier(self, query, now):
        if query.version == self._protocol.newest:
            self._update_version(now)
            if self._version == query.version:
                # §4.1.6, §4.1.7: what the querier leaves out is the default. Linux takes both from the newest version
                # only, too. Its MLD keeps a robustness that is left out, takes 2 for 1, and learns the Query Response
                # Interval from any query, even about one group.
                self._robustness = query.robustness or ROBUSTNESS
                self._query_interval = query.interval or QUERY_INTERVAL
            return
        self._until[query.version] = now + self._robustness * self._query_interval + QUERY_RESPONSE_INTERVAL  # §8.12
        self._update_version(now)

    def _update_version(self, now):
        older = (version for version, until in self._until.items() if now < until)  # the oldest first
        version = next(older, self._protocol.newest)
        if version == self._version:
            return
        self._version = version
        # "Whenever a host changes its compatibility mode, it cancels all its pending response and retransmission
        # timers."
        self._deadlines.cancel(self._general)
        self._deadlines.cancel(self._repeat)
        self._changes.clear()
        for member in self._groups.values():
            self._deadlines.cancel(member)
            member.sources = None
            member.unsolicited = 0

    # Joins and leaves of the groups that are reported.

    def _report_join(self, group, now):
        self._update_version(now)
        member = self._groups[group] = _Group(group)
        if self._version == self._protocol.newest:
            self._report_change(group, now)
        else:
            member.unsolicited = self._robustness - 1
            self._report_older(member, now)

    def _report_leave(self, group, now):
        member = self._groups.pop(group)
        self._deadlines.cancel(member)
        self._update_version(now)
        if self._version == self._protocol.newest:
            self._report_change(group, now)
        elif self._version >= self._protocol.leaving and member.last_reporter:
            # RFC 2236 §3; if it is not, others are members still.
            self._out.append((self._protocol.leaves_to, self._protocol.build_leave(group)))

    # The newest version.

    def _report_change(self, group, now):
        """A first member came or the last one left: say so at once, and again robustness - 1 times (RFC 3376 §5.1)."""
        self._send_records([self._change(group)])
        self._changes.pop(group, None)
        # A program that joins and leaves group after group gets fewer repetitions rather than a list without bound.
        if self._robustness > 1 and len(self._changes) < 2 * self.max_groups:
            self._changes[group] = self._robustness - 1
            if self._repeat.due_at == NEVER:
                self._deadlines.set(self._repeat, now + self._random.random() * UNSOLICITED_INTERVAL)

    def _repeat_changes(self, now):
        self._send_records([self._change(group) for group in self._changes])
        self._changes = {group: left - 1 for group, left in self._changes.items() if left > 1}
        if self._changes:
            self._deadlines.set(self._repeat, now + self._random.random() * UNSOLICITED_INTERVAL)

    def _change(self, group):
        return igmp.Record(igmp.TO_EXCLUDE if group in self._groups else igmp.TO_INCLUDE, group)

    def _answer_general(self, max_response, now):
        """RFC 3376 §5.2 rules 1 and 2: the earlier of two answers is enough."""
        at = now + self._random.random() * max_response
        if at < self._general.due_at:
            self._deadlines.set(self._general, at)

    def _answer_group(self, member, query, now):
        """RFC 3376 §5.2 rules 1, 3, 4 and 5."""
        at = now + self._random.random() * query.max_response
        if self._general.due_at <= at:
            return
        wanted = set(query.sources)
        if member.due_at == NEVER:
            member.sources = wanted or None
        elif not wanted or member.sources is None:
            member.sources = None
        else:
            member.sources |= wanted
        # Too many to remember: answer for the whole group, which says no less. Linux does so whatever the number.
        room = (self._room - self._protocol.record_length) // len(member.address)
        if member.sources is not None and len(member.sources) > min(MAX_SOURCES, room):
            member.sources = None
        self._deadlines.set(member, min(at, member.due_at))

    def _current_state(self, member):
        sources, member.sources = member.sources, None
        if sources is None:
            return igmp.Record(igmp.IS_EXCLUDE, member.address)
        # §5.2: of EXCLUDE (X) asked about the sources B, IS_IN (B - X) is said; our X is empty.
        return igmp.Record(igmp.IS_INCLUDE, member.address, tuple(sorted(sources)))

    @property
    def _room(self):
        """For records, in one report: bytes."""
        return self.mtu - self._protocol.overhead

    def _send_records(self, records):
        """In as few reports as the MTU allows (RFC 3376 §4.2.16)."""
        batch, used = [], 0
        for record in records:
            size = self._protocol.record_length + len(record.group) * len(record.sources)
            if batch and used + size > self._room:
                self._send_report(batch)
                batch, used = [], 0
            batch.append(record)
            used += size
        if batch:
            self._send_report(batch)

    def _send_report(self, records):
        self._out.append((self._protocol.records_to, self._protocol.build_records(records)))

    # The older versions.

    def _report_older(self, member, now):
        """Report the group to itself; repeat it if that is due to a join (RFC 2236 §3)."""
        self._out.append((member.address, self._protocol.build_report(self._version, member.address)))
        member.last_reporter = True
        if member.unsolicited:
            member.unsolicited -= 1
            self._deadlines.set(member, now + self._random.random() * UNSOLICITED_INTERVAL_OLDER)

    def _answer_older(self, member, max_response, now):
        """RFC 2236 §3: a pending report stays unless the query wants it earlier."""
        if member.due_at > now + max_response:
            self._deadlines.set(member, now + self._random.random() * max_response)
