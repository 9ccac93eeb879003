from pystack.tcp.limiter import ChallengeLimiter


def test_so_many_per_second_and_no_more():
    """RFC 5961 §7."""
    limiter = ChallengeLimiter(3)
    assert [limiter.allow(10.0 + at / 10) for at in range(10)] == [True] * 3 + [False] * 7
    assert limiter.allow(11.0)


def test_what_was_not_used_is_not_saved():
    limiter = ChallengeLimiter(2)
    assert [limiter.allow(1000.5) for _ in range(4)] == [True, True, False, False]


def test_none_at_all():
    assert not ChallengeLimiter(0).allow(1.0)
