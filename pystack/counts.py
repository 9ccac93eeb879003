"""What is counted: drops by reason, events by name."""


class Counts(dict):
    """How often each thing has happened; 0 of what has not. To be read and added to: ``counts["InSegs"] += 1``.

    As `collections.Counter`, which overrides ``__delitem__``: because of that CPython makes each store a call of a
    method, and ``+=`` takes twice as long. A packet is counted eight times on its way.
    """

    __slots__ = ()

    def __missing__(self, name):
        return 0
