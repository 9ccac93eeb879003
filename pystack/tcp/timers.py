"""Keepalive: the timer of a connection that has nothing to send (RFC 9293 §3.8.4, RFC 1122 §4.2.3.6)."""

from pystack.deadlines import NEVER

PROBE = "probe"
GIVE_UP = "give up"


class Keepalive:
    """Off until `start`. Hearing from the peer is one store, ``heard_at``; the deadline catches up when it fires."""

    __slots__ = ("due_at", "heard_at", "probes")

    def __init__(self, now):
        self.heard_at = now
        self.due_at = NEVER
        self.probes = 0  # sent since the peer was heard

    def start(self, settings, now):
        """Time with *settings* from now on; again after they have changed."""
        self.due_at = max(now, self.heard_at + settings.keepalive_idle)
        self.probes = 0

    def stop(self):
        self.due_at = NEVER
        self.probes = 0

    def heard(self, now):
        """A segment has come from the peer."""
        self.heard_at = now
        self.probes = 0

    def expire(self, settings, busy, now):
        """What to do now that ``due_at`` has come: `PROBE`, `GIVE_UP` or None.

        *busy*: data is in flight or waits for the window, so that other timers find out whether the peer lives.
        """
        idle_until = self.heard_at + settings.keepalive_idle
        if busy or idle_until > now:
            self.due_at = idle_until if idle_until > now else now + settings.keepalive_idle
            return None
        # Linux: with TCP_USER_TIMEOUT the time decides, not the number of probes.
        if settings.user_timeout:
            dead = self.probes > 0 and now - self.heard_at >= settings.user_timeout
        else:
            dead = self.probes >= settings.keepalive_count
        if dead:
            self.due_at = NEVER
            return GIVE_UP
        self.probes += 1
        self.due_at = now + settings.keepalive_interval
        return PROBE
