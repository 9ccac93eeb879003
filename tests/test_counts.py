"""`Counts` reads as a Counter does."""

from pystack.counts import Counts


def test_what_has_not_happened_is_zero_and_takes_no_room():
    counts = Counts()
    assert counts["InSegs"] == 0 and counts == {}
    counts["InSegs"] += 2
    assert counts == {"InSegs": 2}
