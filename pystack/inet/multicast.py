"""IPv4 group membership of one interface, as its host side of IGMP (RFC 3376, and RFC 2236 and 1112 where it must)."""

import errno

from pystack.deadlines import NEVER, Deadlines
from pystack.wire import igmp

ALL_SYSTEMS = b"\xe0\x00\x00\x01"
ALL_ROUTERS = b"\xe0\x00\x00\x02"
ALL_V3_ROUTERS = b"\xe0\x00\x00\x16"

# How every message leaves (RFC 3376 §4, RFC 2236 §2): these are for the caller to put into the IP header.
TTL = 1
TOS = 0xC0  # Internetwork Control
ROUTER_ALERT = b"\x94\x04\x00\x00"  # RFC 2113

MAX_GROUPS = 1024  # per interface; Linux has 20 per socket (net.ipv4.igmp_max_memberships) and none per interface
MAX_SOURCES = 64  # remembered of the queries about one group
ROBUSTNESS = 2  # RFC 3376 §8.1
QUERY_INTERVAL = 125.0  # seconds, §8.2
QUERY_RESPONSE_INTERVAL = 10.0  # seconds, §8.3
UNSOLICITED_INTERVAL = 1.0  # seconds, §8.11
UNSOLICITED_INTERVAL_V2 = 10.0  # seconds, RFC 2236 §8.10

_OVERHEAD = 24 + igmp.HEADER_LENGTH  # IP header with Router Alert, header of the report


class _Timer:
    __slots__ = ("due_at", "queued_at")

    def __init__(self):
        self.due_at = NEVER
        self.queued_at = NEVER


class _Group:
    """A group that the host is a member of; its deadline is that of its next report (version 3: answer to a query)."""

    __slots__ = ("address", "due_at", "joins", "last_reporter", "queued_at", "sources", "unsolicited")

    def __init__(self, address):
        self.address = address
        self.joins = 1
        self.due_at = NEVER
        self.queued_at = NEVER
        self.sources = None  # of pending group-and-source queries; None: the answer is about the whole group
        self.unsolicited = 0  # version 1 and 2: reports of the join yet to be repeated
        self.last_reporter = False  # version 2: ours was the last report heard (RFC 2236 §6)


class Membership:
    """The groups of ONE interface; any-source only: the filter of each is EXCLUDE {}, all sources wanted.

    It speaks version 3 until it hears an older querier, and version 3 again when that has been silent for the Older
    Version Querier Present Timeout (RFC 3376 §7.2.1). 224.0.0.1 is always a member and never reported; the other groups
    of 224.0.0.0/24 are reported, as in Linux (igmp_link_local_mcast_reports=1).

    What it has to say collects until `take`; the caller sends each with `TTL`, `TOS` and `ROUTER_ALERT`.

    Args:
        random: a ``random.Random``.
        mtu: of the interface, bytes; a report is split to fit.
        max_groups: bound on memberships.
    """

    def __init__(self, random, mtu=1500, max_groups=MAX_GROUPS):
        self.mtu = mtu
        self.max_groups = max_groups
        self._random = random
        self._groups = {}
        self._deadlines = Deadlines()
        self._general = _Timer()  # version 3: answer to a general query
        self._repeat = _Timer()  # version 3: repetition of the state changes
        self._changes = {}  # version 3: group -> transmissions of its last change yet to come
        self._robustness = ROBUSTNESS
        self._query_interval = QUERY_INTERVAL
        self._v1_until = self._v2_until = -NEVER  # when the older querier counts as gone
        self._version = 3
        self._out = []

    @property
    def groups(self):
        """A list of the groups joined, 224.0.0.1 not among them."""
        return list(self._groups)

    def is_member(self, group):
        return group in self._groups or group == ALL_SYSTEMS

    def version(self, now):
        """The version spoken now: 1, 2 or 3."""
        self._update_version(now)
        return self._version

    def join(self, group, now):
        """Count one more member of *group* (4 bytes), and tell the routers of the first.

        Returns:
            Whether it is the first, so that the interface must receive the group from now on.

        Raises:
            OSError: EINVAL if it is no multicast address, ENOBUFS if the interface has `max_groups` already.
        """
        if len(group) != 4 or group[0] & 0xF0 != 0xE0:
            raise OSError(errno.EINVAL, "not an IPv4 multicast address")
        if group == ALL_SYSTEMS:
            return False
        member = self._groups.get(group)
        if member is not None:
            member.joins += 1
            return False
        if len(self._groups) >= self.max_groups:
            raise OSError(errno.ENOBUFS, f"the interface has {self.max_groups} multicast groups already: leave some")
        self._update_version(now)
        member = self._groups[group] = _Group(group)
        if self._version == 3:
            self._report_change(group, now)
        else:
            member.unsolicited = self._robustness - 1
            self._report_older(member, now)
        return True

    def leave(self, group, now):
        """Undo one join.

        Returns:
            Whether it was the last, so that the interface need not receive the group any more.

        Raises:
            OSError: EADDRNOTAVAIL if the group is not joined.
        """
        if group == ALL_SYSTEMS:
            return False
        member = self._groups.get(group)
        if member is None:
            raise OSError(errno.EADDRNOTAVAIL, "not a member of this multicast group")
        member.joins -= 1
        if member.joins:
            return False
        del self._groups[group]
        self._deadlines.cancel(member)
        self._update_version(now)
        if self._version == 3:
            self._report_change(group, now)
        elif self._version == 2 and member.last_reporter:  # RFC 2236 §3; others are members still if not
            self._out.append((ALL_ROUTERS, igmp.build_leave(group)))
        return True

    def query(self, source, destination, message, now):
        """A router asks: *message* is the igmp.Query, *source* and *destination* are the packet's (4 bytes each).

        TTL and Router Alert need no check: Linux makes none, though RFC 3376 §9.1 would have queries without Router
        Alert ignored, because queriers in switches leave it out. *source* may be 0.0.0.0 (RFC 4541 §2.1.1).

        Returns:
            False if the query must be ignored: count it.
        """
        group = message.group
        general = group == igmp.ANY_GROUP
        if not general and group[0] & 0xF0 != 0xE0:
            return False
        # RFC 3376 §4.1.12 and §9.1: any unicast address of ours will do, but no multicast address other than these.
        if destination[0] & 0xF0 == 0xE0 and destination != ALL_SYSTEMS and (general or destination != group):
            return False
        if message.version == 3 and general and message.sources:
            return False  # as Linux; §4.1.9 says zero
        self._hear_querier(message, now)
        if self._version == 3:
            if general:
                self._answer_general(message.max_response, now)
            elif group in self._groups:
                self._answer_group(self._groups[group], message, now)
            return True
        if self._version == 1:  # a version 1 router never means one group, nor another time (Linux: igmp_heard_query)
            general, max_response = True, QUERY_RESPONSE_INTERVAL
        else:
            max_response = message.max_response
        if general:
            for member in self._groups.values():
                self._answer_older(member, max_response, now)
        elif group in self._groups:
            self._answer_older(self._groups[group], max_response, now)
        return True

    def report(self, message, now):
        """Another host's igmp.Report (version 1 or 2): if we were about to say the same, it is said (RFC 2236 §3).

        Speaking version 3 it is ignored, as RFC 3376 §7.2.2 allows; Linux lets it suppress an answer. Ignored too, by
        the diagram of RFC 2236 §6, is one about a group for which nothing is pending; Linux then sends no leave later.
        """
        self._update_version(now)
        member = self._groups.get(message.group)
        if self._version == 3 or member is None or member.due_at == NEVER:
            return
        self._deadlines.cancel(member)
        member.unsolicited = 0
        member.last_reporter = False

    def take(self):
        """Take what is to be sent now: a list of (destination, IGMP message)."""
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
            elif self._version == 3:
                answers.append(self._current_state(item))
            else:
                self._report_older(item, now)
        self._send_records(answers)

    def next_deadline(self):
        """When `expire` may have something to do, or ``None``."""
        return self._deadlines.next()

    # Which version: RFC 3376 §7.2.1.

    def _hear_querier(self, query, now):
        if query.version == 3:
            self._update_version(now)
            if self._version == 3:
                # §4.1.6, §4.1.7: what the querier leaves out is the default. Linux takes both from version 3 only, too.
                self._robustness = query.robustness or ROBUSTNESS
                self._query_interval = query.interval or QUERY_INTERVAL
            return
        until = now + self._robustness * self._query_interval + QUERY_RESPONSE_INTERVAL  # §8.12
        if query.version == 2:
            self._v2_until = until
        else:
            self._v1_until = until
        self._update_version(now)

    def _update_version(self, now):
        version = 1 if now < self._v1_until else 2 if now < self._v2_until else 3
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

    # Version 3.

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
        if member.sources is not None and len(member.sources) > min(MAX_SOURCES, self._room(4) - 2):
            member.sources = None
        self._deadlines.set(member, min(at, member.due_at))

    def _current_state(self, member):
        sources, member.sources = member.sources, None
        if sources is None:
            return igmp.Record(igmp.IS_EXCLUDE, member.address)
        # §5.2: of EXCLUDE (X) asked about the sources B, IS_IN (B - X) is said; our X is empty.
        return igmp.Record(igmp.IS_INCLUDE, member.address, tuple(sorted(sources)))

    def _room(self, size):
        """How many items of *size* bytes a report has room for, at least 1."""
        return max(1, (self.mtu - _OVERHEAD) // size)

    def _send_records(self, records):
        """In as few reports as the MTU allows (RFC 3376 §4.2.16)."""
        room = self.mtu - _OVERHEAD
        batch, used = [], 0
        for record in records:
            size = igmp.RECORD_LENGTH + 4 * len(record.sources)
            if batch and used + size > room:
                self._out.append((ALL_V3_ROUTERS, igmp.build_report_v3(batch)))
                batch, used = [], 0
            batch.append(record)
            used += size
        if batch:
            self._out.append((ALL_V3_ROUTERS, igmp.build_report_v3(batch)))

    # Versions 1 and 2.

    def _report_older(self, member, now):
        """Report the group to itself; repeat it if that is due to a join (RFC 2236 §3)."""
        self._out.append((member.address, igmp.build_report(self._version, member.address)))
        member.last_reporter = True
        if member.unsolicited:
            member.unsolicited -= 1
            self._deadlines.set(member, now + self._random.random() * UNSOLICITED_INTERVAL_V2)

    def _answer_older(self, member, max_response, now):
        """RFC 2236 §3: a pending report stays unless the query wants it earlier."""
        if member.due_at > now + max_response:
            self._deadlines.set(member, now + self._random.random() * max_response)
