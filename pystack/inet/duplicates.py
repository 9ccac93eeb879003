"""Duplicate address detection of one IPv6 interface (RFC 4862 §5.4, RFC 7527)."""

from pystack.deadlines import NEVER, Deadlines

RETRANS_TIME = 1.0  # seconds between solicitations (RFC 4861 §10), until a router says otherwise
LEAST_RETRANS_TIME = 0.01  # Linux's, whatever a router says
LOOP_SOLICITS = 3  # solicitations after one that came back: MAX_MULTICAST_SOLICIT (RFC 7527 §4.1)
NONCE_LENGTH = 6

TENTATIVE, HELD, LOST = range(3)

CLEAR = 0  # events: the solicitations have gone unanswered
LOOPED = 1  # one of them has come back
CONFLICT = 2  # another host has the address, or solicits it as we do

TRANSITIONS = {
    (TENTATIVE, CLEAR): HELD,
    (TENTATIVE, LOOPED): TENTATIVE,
    (TENTATIVE, CONFLICT): LOST,
    (HELD, CONFLICT): HELD,  # RFC 4862 leaves this open; Linux keeps the address
}


class _Claim:
    __slots__ = ("address", "due_at", "left", "looped", "nonces", "queued_at", "state")

    def __init__(self, address, left):
        self.address = address
        self.state = TENTATIVE
        self.left = left  # solicitations yet to be sent
        self.nonces = set()  # of those that were sent
        self.looped = False
        self.due_at = self.queued_at = NEVER


class Duplicates:
    """The addresses of one interface (16 bytes each), and whether they may be used.

    What is to be done collects in ``solicitations``, ``(target, nonce)`` with a nonce of 6 bytes or None, to be sent
    from the unspecified address; in ``won``, addresses; and in ``lost``, ``(address, mac)`` with None for the MAC of a
    host that solicits too. The owner empties them after each call.

    ``retransmit`` is the time between two solicitations in seconds, as routers say; ``conflicts`` counts the
    advertisements of others for addresses that are held.

    Args:
        random: a ``random.Random``.
        config: an Ipv6Config.
        agenda: see `Deadlines`.
    """

    def __init__(self, random, config, agenda=None):
        self.retransmit = RETRANS_TIME
        self.conflicts = 0
        self.solicitations = []
        self.won = []
        self.lost = []
        self._random = random
        self._config = config
        self._claims = {}
        self._deadlines = Deadlines(agenda)

    def add(self, address, now, probe=True, delay=None):
        """Claim an address; without *probe* it is held at once. One claimed already is claimed anew.

        The first solicitation leaves within *delay* seconds, by chance, so that hosts that a power failure or a router
        has started together do not speak together; by default within router_solicitation_delay, as Linux does it.
        """
        self.release(address)
        claim = self._claims[address] = _Claim(address, self._config.dad_transmits if probe else 0)
        if not claim.left:
            self._step(claim, now)
            return
        if delay is None:
            delay = self._config.router_solicitation_delay
        self._deadlines.set(claim, now + self._random.random() * delay)

    def release(self, address):
        """Give an address up; unknown ones are ignored."""
        claim = self._claims.pop(address, None)
        if claim is not None:
            self._deadlines.cancel(claim)

    def holds(self, address):
        """Whether *address* may be used, and solicitations for it are to be answered."""
        claim = self._claims.get(address)
        return claim is not None and claim.state == HELD

    def is_tentative(self, address):
        """Whether it is being probed for: it receives nothing else than neighbour discovery."""
        claim = self._claims.get(address)
        return claim is not None and claim.state == TENTATIVE

    def solicited(self, target, nonce, now):
        """Somebody who has no address yet solicits *target*; *nonce* is bytes, or None if the message has none.

        For an address that is held this is no conflict: the answer tells the other.
        """
        claim = self._claims.get(target)
        if claim is None or claim.state != TENTATIVE:
            return
        if nonce not in claim.nonces:
            self._conflict(claim, None)
            return
        # RFC 7527 §4.1 goes on for as long as they come back. Linux ignores that they do. Here it is one more round: a
        # loop that is not gone then may stay, and is no reason to have no address.
        claim.state = TRANSITIONS[TENTATIVE, LOOPED]
        if not claim.looped:
            claim.looped = True
            claim.left = LOOP_SOLICITS

    def advertised(self, target, mac, now):
        """Another host, at *mac* or None, says that *target* is its own."""
        claim = self._claims.get(target)
        if claim is not None:
            self._conflict(claim, mac)

    def expire(self, now):
        """Send the next solicitations, and win what has been heard of by nobody."""
        for claim in self._deadlines.due(now):
            self._step(claim, now)

    def next_deadline(self):
        """See `Deadlines.next`."""
        return self._deadlines.next()

    def _conflict(self, claim, mac):
        state = TRANSITIONS[claim.state, CONFLICT]
        if state == LOST:
            self.release(claim.address)
            self.lost.append((claim.address, mac))
        else:
            claim.state = state
            self.conflicts += 1

    def _step(self, claim, now):
        if not claim.left:
            claim.state = TRANSITIONS[TENTATIVE, CLEAR]
            claim.nonces = frozenset()
            self.won.append(claim.address)
            return
        claim.left -= 1
        nonce = None
        if self._config.enhanced_dad:
            nonce = self._random.getrandbits(8 * NONCE_LENGTH).to_bytes(NONCE_LENGTH, "big")
            claim.nonces.add(nonce)
        self.solicitations.append((claim.address, nonce))
        self._deadlines.set(claim, now + max(self.retransmit, LEAST_RETRANS_TIME))
