"""RFC 7323 §5: old timestamps."""

from pystack.tcp import paws

DAY = 86_400.0


def rejects(ts_val, ts_recent=1000, ts_recent_at=100.0, now=101.0, rst=False):
    return paws.rejects(ts_val, ts_recent, ts_recent_at, now, rst)


def test_only_an_older_timestamp_is_rejected():
    assert rejects(999)
    assert not rejects(1000)
    assert not rejects(1001)


def test_comparison_is_modulo_2_32():
    assert not rejects(5, ts_recent=0xFFFFFFF0)
    assert rejects(0xFFFFFFF0, ts_recent=5)


def test_nothing_is_rejected_before_there_is_a_timestamp():
    assert not rejects(999, ts_recent_at=None)
    assert not rejects(0xF0000000, ts_recent=0)  # Linux: a SYN may carry 0


def test_after_24_days_of_silence_anything_is_taken():
    """RFC 7323 §5.5."""
    assert rejects(999, now=100 + 23.9 * DAY)
    assert not rejects(999, now=100 + 24 * DAY)


def test_rst_is_rejected_only_for_a_minute():
    """Linux's tcp_paws_reject."""
    assert rejects(999, now=159.0, rst=True)
    assert not rejects(999, now=160.0, rst=True)
