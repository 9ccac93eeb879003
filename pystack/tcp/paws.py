"""Protection against wrapped sequence numbers by timestamps (RFC 7323 §5), with Linux's exceptions."""

_VALID_FOR = 24 * 24 * 3600  # seconds: a clock of 1 ms changes its sign after 24.8 days (RFC 7323 §5.5)
_RST_TRUSTED_AFTER = 60.0  # seconds of silence (Linux's TCP_PAWS_MSL)
_SIGN = 0x80000000


def is_older(ts_val, ts_recent):
    """Whether the 32-bit timestamp *ts_val* is before *ts_recent*."""
    return (ts_val - ts_recent) & _SIGN != 0


def rejects(ts_val, ts_recent, ts_recent_at, now, rst):
    """Whether a segment with this TSval must be dropped (RFC 7323 §5.3 R1).

    Args:
        ts_recent, ts_recent_at: the last TSval kept, and when it was (None: never).
        rst: the segment is an RST.
    """
    if ts_recent_at is None or not (ts_val - ts_recent) & _SIGN:
        return False
    # Linux: some send 0 on their SYN and a real clock afterwards.
    if not ts_recent or now - ts_recent_at >= _VALID_FOR:
        return False
    # Linux: RFC 7323 §5.2 has no timestamps on RST at all; a peer that has rebooted has another clock.
    return not (rst and now - ts_recent_at >= _RST_TRUSTED_AFTER)
