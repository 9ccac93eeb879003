"""Claims of IPv4 addresses: probe, announce, defend (RFC 5227)."""

from pystack.deadlines import NEVER, Deadlines

PROBE_WAIT = 1.0  # RFC 5227 §1.1, seconds
PROBE_NUM = 3
PROBE_MIN = 1.0
PROBE_MAX = 2.0
ANNOUNCE_WAIT = 2.0
ANNOUNCE_NUM = 2
ANNOUNCE_INTERVAL = 2.0
DEFEND_INTERVAL = 10.0
SAME_CONFLICT = 1.0  # a frame that the network has doubled is no second conflict

PROBING, ANNOUNCING, HELD, LOST = range(4)

CLEAR = 0  # events: the probes have gone unanswered
ANNOUNCED = 1  # all announcements are out
CONFLICT = 2  # another host uses the address, or probes for it while we do
CONFLICT_AGAIN = 3  # for the second time within DEFEND_INTERVAL

TRANSITIONS = {
    (PROBING, CLEAR): ANNOUNCING,
    (PROBING, CONFLICT): LOST,
    (ANNOUNCING, ANNOUNCED): HELD,
    (ANNOUNCING, CONFLICT): ANNOUNCING,  # §2.4 (b): one conflict is answered by one announcement
    (ANNOUNCING, CONFLICT_AGAIN): LOST,
    (HELD, CONFLICT): HELD,
    (HELD, CONFLICT_AGAIN): LOST,
}


class _Claim:
    __slots__ = ("address", "defended_at", "due_at", "left", "probed", "queued_at", "rival", "state")

    def __init__(self, address, state):
        self.address = address
        self.state = state
        self.left = PROBE_NUM if state == PROBING else ANNOUNCE_NUM
        self.probed = state == PROBING  # else it was given by hand, and is never given up (RFC 5227 §2.4 (c))
        self.defended_at = -NEVER
        self.rival = None  # the MAC of the host of the last conflict
        self.due_at = self.queued_at = NEVER


class Claims:
    """The addresses of one interface.

    What is to be done collects in ``probes`` and ``announcements`` (addresses to send an ARP probe or announcement
    for), ``won`` and ``lost`` (``(address, mac)``); the owner empties them after each call.
    """

    def __init__(self, random, agenda=None):
        self._random = random
        self._claims = {}
        self._deadlines = Deadlines(agenda)
        self.probes = []
        self.announcements = []
        self.won = []
        self.lost = []

    def add(self, address, probe, now):
        """Claim an address; without *probe* it is announced and used at once. One claimed already is claimed
        anew."""
        self.release(address)
        claim = self._claims[address] = _Claim(address, PROBING if probe else ANNOUNCING)
        if probe:
            self._deadlines.set(claim, now + self._random.random() * PROBE_WAIT)
        else:
            self.won.append(address)
            self._step(claim, now)

    def release(self, address):
        """Give an address up; unknown ones are ignored."""
        claim = self._claims.pop(address, None)
        if claim is not None:
            self._deadlines.cancel(claim)

    def holds(self, address):
        """Whether ARP requests for *address* are to be answered."""
        claim = self._claims.get(address)
        return claim is not None and claim.state != PROBING

    def first(self):
        """Any address held, the first claimed of them; None without one."""
        return next((address for address in self._claims if self.holds(address)), None)

    def seen(self, sender, target, mac, probe, now):
        """Another host's ARP packet came, from *mac*: *sender* is its sender address; *probe* says that it is an ARP
        probe (RFC 5227 §1.1) for *target*."""
        claim = self._claims.get(sender)
        if claim is None and probe:
            claim = self._claims.get(target)
            if claim is not None and claim.state != PROBING:
                return  # a probe for what we hold is answered like any request, and no conflict
        if claim is None:
            return
        again = now - claim.defended_at < DEFEND_INTERVAL and claim.state != PROBING
        if again and (not claim.probed or (mac == claim.rival and now - claim.defended_at < SAME_CONFLICT)):
            return
        state = TRANSITIONS.get((claim.state, CONFLICT_AGAIN if again else CONFLICT))
        if state == LOST:
            self.release(claim.address)
            self.lost.append((claim.address, mac))
            return
        claim.state = state
        claim.defended_at = now
        claim.rival = mac
        self.announcements.append(claim.address)

    def expire(self, now):
        """Send the next probe or announcement."""
        for claim in self._deadlines.due(now):
            self._step(claim, now)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def _step(self, claim, now):
        if claim.state == PROBING and claim.left:
            claim.left -= 1
            self.probes.append(claim.address)
            wait = PROBE_MIN + self._random.random() * (PROBE_MAX - PROBE_MIN) if claim.left else ANNOUNCE_WAIT
            self._deadlines.set(claim, now + wait)
            return
        if claim.state == PROBING:
            claim.state = TRANSITIONS[PROBING, CLEAR]
            claim.left = ANNOUNCE_NUM
            self.won.append(claim.address)
        claim.left -= 1
        self.announcements.append(claim.address)
        if claim.left:
            self._deadlines.set(claim, now + ANNOUNCE_INTERVAL)
        else:
            claim.state = TRANSITIONS[ANNOUNCING, ANNOUNCED]
