"""How fast the path delivers (draft-cheng-iccrg-delivery-rate-estimation): for TCP_INFO and model-based algorithms."""


class DeliveryRate:
    """The latest sample of one sender, who reports what is `sent` and, record by record, what is delivered.

    A sample is the data delivered between two ACKs, over the longer of the time it took to send and the time it took to
    be acknowledged: compressed ACKs do not make a path look fast.

    Attributes:
        delivered: bytes (sequence numbers) delivered, ever; each counts once.
        delivered_at: when the latest of them was reported, seconds.
        first_sent_at: when the record was sent that was the last one delivered, so the beginning of the next interval.
        rate: bytes per second; 0.0 before the first sample.
        rate_app_limited: ``rate`` is but a lower bound, since the program had not enough to send.
    """

    __slots__ = (
        "_limited_until",
        "_offered",
        "_prior",
        "_prior_at",
        "_prior_limited",
        "_prior_send_time",
        "delivered",
        "delivered_at",
        "first_sent_at",
        "rate",
        "rate_app_limited",
    )

    def __init__(self):
        self.delivered = 0
        self.delivered_at = 0.0
        self.first_sent_at = 0.0
        self.rate = 0.0
        self.rate_app_limited = False
        self._offered = 0  # bytes sent, ever, without retransmissions: what `delivered` comes to in the end
        self._limited_until = 0  # samples are app-limited until `delivered` has passed this (C.app_limited); 0: not
        # Of the most recently sent record among those of the ACK (RS.prior_*).
        self._prior = -1
        self._prior_at = 0.0
        self._prior_limited = False
        self._prior_send_time = 0.0

    @property
    def app_limited(self):
        """Whether the path had, or will have had, room for more than the program wrote. To be set to True when that is
        so; it ends by itself when what is in flight now is delivered."""
        return self._limited_until > 0

    @app_limited.setter
    def app_limited(self, limited):
        self._limited_until = max(self._offered, 1) if limited else 0

    def sent(self, record, now):
        """A `scoreboard.Sent` leaves, for the first time or again; the state of this moment is noted in it (§3.2)."""
        if self._offered <= self.delivered:  # nothing in flight: the pause before it is not the path's
            self.first_sent_at = self.delivered_at = now
        if record.transmissions == 1:
            self._offered += record.end - record.start
        record.delivered = self.delivered
        record.delivered_at = self.delivered_at
        record.first_sent_at = self.first_sent_at
        record.app_limited = self._limited_until > 0

    def sample(self, record, now, min_rtt=0.0):
        """A record was reported as delivered, for the first time (§3.3).

        To be called for each record of an ACK; ``rate`` is right after the last.

        Args:
            record: with what `sent` has noted, and ``sent_at``.
            now: when the ACK came.
            min_rtt: seconds, infinity if unknown. What was delivered faster is an artefact, so no sample.
        """
        if now != self.delivered_at:
            self._prior = -1  # another ACK
        self.delivered += record.end - record.start
        self.delivered_at = now
        if record.delivered >= self._prior:
            self._prior = record.delivered
            self._prior_at = record.delivered_at
            self._prior_limited = record.app_limited
            self._prior_send_time = record.sent_at - record.first_sent_at
            self.first_sent_at = record.sent_at
        if self._limited_until and self.delivered > self._limited_until:
            self._limited_until = 0
        interval = max(self._prior_send_time, now - self._prior_at)
        if interval <= 0 or (interval < min_rtt and min_rtt < 1e9):
            return
        rate = (self.delivered - self._prior) / interval
        # As Linux: an app-limited sample is kept if it is not lower than what is known.
        if not self._prior_limited or rate >= self.rate:
            self.rate = rate
            self.rate_app_limited = self._prior_limited
