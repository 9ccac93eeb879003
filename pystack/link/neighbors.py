"""The neighbour table of one interface: RFC 4861 §7.3, for ARP and neighbour discovery alike."""

from collections import OrderedDict, deque

from pystack import errors
from pystack.deadlines import NEVER, Deadlines

REACHABLE_TIME = 30.0  # seconds, times 0.5 to 1.5 (RFC 4861 §6.3.2; Linux's base_reachable_time)
DELAY_FIRST_PROBE = 5.0
RETRANS_TIME = 1.0
MULTICAST_SOLICITS = 3
UNICAST_SOLICITS = 3
LOCK_TIME = 1.0  # Linux's locktime: an unsolicited change of MAC within it loses, so that proxies do not flap
MAX_ENTRIES = 1024  # Linux's gc_thresh3
QUEUE_BYTES = 212_992  # Linux's unres_qlen_bytes, for each neighbour
TABLE_BYTES = 4 << 20  # for all of them together
PACKET_COST = 512  # what TABLE_BYTES charges for a waiting packet besides its bytes: the objects around a small one
SWEEP_INTERVAL = 1.0  # between looks for entries whose REACHABLE is over, when a full table has nothing STALE

INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED = range(6)
NAMES = ("INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED")

SENT = 0  # events: a packet was sent through it
CONFIRMED = 1  # a solicited answer, or progress of a transport
HEARD = 2  # an unsolicited mapping, the same MAC
CHANGED = 3  # an unsolicited mapping, another MAC
TIMED_OUT = 4  # the state's time is over, and so are its probes if it has any

TRANSITIONS = {  # RFC 4861 §7.3.3 and appendix C; FAILED is Linux's, and leaves the table at once
    (INCOMPLETE, CONFIRMED): REACHABLE,
    (INCOMPLETE, HEARD): STALE,
    (INCOMPLETE, CHANGED): STALE,
    (INCOMPLETE, TIMED_OUT): FAILED,
    (REACHABLE, CONFIRMED): REACHABLE,  # for longer
    (REACHABLE, CHANGED): STALE,
    (REACHABLE, TIMED_OUT): STALE,
    (STALE, SENT): DELAY,
    (STALE, CONFIRMED): REACHABLE,
    (DELAY, CONFIRMED): REACHABLE,
    (DELAY, CHANGED): STALE,
    (DELAY, TIMED_OUT): PROBE,
    (PROBE, CONFIRMED): REACHABLE,
    (PROBE, CHANGED): STALE,
    (PROBE, TIMED_OUT): FAILED,
}


class Neighbor:
    """One entry. ``header`` is the link header for it, ready made, or None while its MAC is not known."""

    __slots__ = (
        "address",
        "due_at",
        "header",
        "mac",
        "probes",
        "queue",
        "queued",
        "queued_at",
        "state",
        "until",
        "updated",
    )

    def __init__(self, address):
        self.address = address
        self.mac = None
        self.header = None
        self.state = INCOMPLETE
        self.until = NEVER  # in REACHABLE: the end of it, looked at only when a packet is sent
        self.updated = -NEVER  # when the MAC was last set
        self.probes = 0  # solicitations sent without answer
        self.queue = None  # packets that wait, with their sizes
        self.queued = 0  # bytes of them
        self.due_at = self.queued_at = NEVER


class NeighborTable:
    """Entries by address (4 or 16 bytes), at most `MAX_ENTRIES`.

    Args:
        random: a ``random.Random``.
        make_header: ``make_header(mac, address)`` gives the link header to prepend.
        drops: `Counts`.
        agenda: see `Deadlines`.

    What must be done about it collects in ``solicits``: ``(entry, unicast)`` pairs, in ``released``: ``(entry,
    packets)`` to send now, and in ``failed``: ``(address, packets)``. The owner empties all three after each call.
    """

    def __init__(self, random, make_header, drops, agenda=None):
        self._random = random
        self._make_header = make_header
        self._drops = drops
        self._entries = {}
        # What eviction may take, the longest in its state first; an OrderedDict finds it in O(1), a dict does not.
        self._evictable = {STALE: OrderedDict(), INCOMPLETE: OrderedDict()}
        self._swept_at = -NEVER
        self._deadlines = Deadlines(agenda)
        self._bytes = 0
        self._times = {4: (REACHABLE_TIME, RETRANS_TIME), 16: (REACHABLE_TIME, RETRANS_TIME)}
        self.solicits = []
        self.released = []
        self.failed = []

    def __len__(self):
        return len(self._entries)

    def __iter__(self):
        return iter(self._entries.values())

    def header(self, address, now):
        """The link header for a packet to *address*, or None: then the packet must go to `wait`."""
        entry = self._entries.get(address)
        if entry is None or entry.header is None:
            return None
        if entry.state == REACHABLE:
            if now >= entry.until:
                self._move(entry, TIMED_OUT, now)
                self._move(entry, SENT, now)
        elif entry.state == STALE:
            self._move(entry, SENT, now)
        return entry.header

    def wait(self, address, packet, size, now):
        """Keep *packet* (of *size* bytes) until *address* is resolved, and see that it is."""
        entry = self._entries.get(address)
        if entry is None:
            entry = self._add(address, now, (STALE, INCOMPLETE))
            if entry is None:
                return
            self._probe(entry, now)
        if entry.queue is None:
            entry.queue = deque()
        entry.queue.append((packet, size))
        entry.queued += size
        self._bytes += size + PACKET_COST
        while entry.queue and (entry.queued > QUEUE_BYTES or self._bytes > TABLE_BYTES):
            _, dropped = entry.queue.popleft()  # RFC 1122 §2.3.2.2: the latest is worth most
            entry.queued -= dropped
            self._bytes -= dropped + PACKET_COST
            self._drops[errors.NEIGHBOR_QUEUE_FULL] += 1

    def heard(self, address, mac, now, *, solicited=False, create=False, override=False):
        """The neighbour, or somebody in its name, has told its MAC (6 bytes).

        Args:
            solicited: it answers our question.
            create: make an entry if there is none (it asked for us, so it will hear from us).
            override: replace another MAC even if that is younger than `LOCK_TIME`.
        """
        entry = self._entries.get(address)
        if entry is None:
            # Hearsay takes no room from a neighbour that we are asking for: a flood of forged requests must not.
            entry = self._add(address, now, (STALE,)) if create else None
            if entry is None:
                return
        if entry.mac == mac:
            self._move(entry, CONFIRMED if solicited else HEARD, now)
            return
        if entry.mac is not None and not override and now - entry.updated < LOCK_TIME:
            return
        self._set_mac(entry, mac, now)
        self._move(entry, CONFIRMED if solicited else CHANGED, now)

    def advertised(self, address, mac, now, *, solicited, override):
        """An IPv6 neighbour's advertisement (RFC 4861 §7.2.5); *mac* is None if it tells none.

        Returns:
            Whether it is to be believed.
        """
        entry = self._entries.get(address)
        if entry is None or (entry.mac is None and mac is None):
            return False
        if entry.mac is not None and mac is not None and mac != entry.mac and not override:
            if entry.state == REACHABLE:
                self._move(entry, CHANGED, now)
            return False
        if mac is None or mac == entry.mac:
            if solicited:
                self._move(entry, CONFIRMED, now)
            return True
        self._set_mac(entry, mac, now)
        self._move(entry, CONFIRMED if solicited else CHANGED, now)
        return True

    def set_times(self, length, reachable, retransmit):
        """For addresses of that length: base of the time in REACHABLE, and between solicitations; seconds."""
        self._times[length] = reachable, retransmit

    def confirmed(self, address, now):
        """A transport had progress through this neighbour."""
        entry = self._entries.get(address)
        if entry is not None and entry.header is not None:
            self._move(entry, CONFIRMED, now)

    def expire(self, now):
        """Solicit again, or give up."""
        for entry in self._deadlines.due(now):
            limit = MULTICAST_SOLICITS if entry.state == INCOMPLETE else UNICAST_SOLICITS
            if entry.state in (INCOMPLETE, PROBE) and entry.probes < limit:
                self._probe(entry, now)
            else:
                self._move(entry, TIMED_OUT, now)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def _add(self, address, now, evictable):
        """A new entry, in a full table in the place of one in an *evictable* state; None, counted, without one."""
        if len(self._entries) >= MAX_ENTRIES and not self._evict(now, evictable):
            self._drops[errors.NEIGHBOR_TABLE_FULL] += 1
            return None
        entry = self._entries[address] = self._evictable[INCOMPLETE][address] = Neighbor(address)
        return entry

    def _evict(self, now, evictable):
        """Make room: STALE is what nobody has sent to since it was last confirmed."""
        if not self._evictable[STALE] and now >= self._swept_at + SWEEP_INTERVAL:
            self._swept_at = now
            for entry in self._entries.values():
                if entry.state == REACHABLE and now >= entry.until:
                    self._move(entry, TIMED_OUT, now)
        for state in evictable:
            for entry in self._evictable[state].values():
                self._remove(entry)
                if entry.queue:
                    self._drops[errors.NEIGHBOR_TABLE_FULL] += len(self._take(entry))
                return True
        return False

    def _set_mac(self, entry, mac, now):
        entry.mac = mac
        entry.header = self._make_header(mac, entry.address)
        entry.updated = now

    def _move(self, entry, event, now):
        state = TRANSITIONS.get((entry.state, event))
        if state is None:
            return
        if state != entry.state:
            if entry.state in self._evictable:
                del self._evictable[entry.state][entry.address]
            if state in self._evictable:
                self._evictable[state][entry.address] = entry
            entry.state = state
        if state == REACHABLE:
            entry.until = now + self._times[len(entry.address)][0] * (0.5 + self._random.random())
            self._cancel(entry)
        elif state == STALE:
            self._cancel(entry)
        elif state == DELAY:
            self._deadlines.set(entry, now + DELAY_FIRST_PROBE)
        elif state == PROBE:
            entry.probes = 0
            self._probe(entry, now)
        elif state == FAILED:
            self._remove(entry)
            if entry.queue:
                self.failed.append((entry.address, self._take(entry)))
        if entry.header is not None and entry.queue:
            self.released.append((entry, self._take(entry)))
            if entry.state == STALE:
                self._move(entry, SENT, now)

    def _probe(self, entry, now):
        entry.probes += 1
        self.solicits.append((entry, entry.state == PROBE))
        self._deadlines.set(entry, now + self._times[len(entry.address)][1])

    def _cancel(self, entry):
        if entry.due_at != NEVER:  # a transport confirms often, and Deadlines counts each cancellation
            self._deadlines.cancel(entry)

    def _remove(self, entry):
        del self._entries[entry.address]
        if entry.state in self._evictable:
            del self._evictable[entry.state][entry.address]
        self._cancel(entry)

    def _take(self, entry):
        packets = [packet for packet, _ in entry.queue]
        self._bytes -= entry.queued + PACKET_COST * len(packets)
        entry.queue, entry.queued = None, 0
        return packets
