"""How fast the peer takes in data (draft-cheng-iccrg-delivery-rate-estimation)."""


class DeliveryRate:
    __slots__ = ("app_limited", "delivered", "delivered_at", "first_sent_at", "rate", "rate_app_limited")

    def __init__(self):
        self.delivered = 0
        self.delivered_at = 0.0
        self.first_sent_at = 0.0
        self.app_limited = False
        self.rate = 0.0
        self.rate_app_limited = False

    def sent(self, record, now):
        record.delivered = self.delivered
        record.delivered_at = self.delivered_at or now
        record.first_sent_at = self.first_sent_at or now
        record.app_limited = self.app_limited

    def sample(self, record, now):
        self.delivered += record.end - record.start
        self.delivered_at = now
        interval = max(record.sent_at - record.first_sent_at, now - record.delivered_at)
        self.first_sent_at = record.sent_at
        if interval > 0:
            self.rate = (self.delivered - record.delivered) / interval
            self.rate_app_limited = record.app_limited
