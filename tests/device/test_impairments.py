"""The text of --impair."""

import random

import pytest

from pystack.device import impair
from pystack.device.impairments import RULES, parse
from pystack.errors import StackError


def described(text):
    """[(class, its parameters)] of the rules."""
    internal = {"events"}
    return [
        (type(rule), {k: v for k, v in vars(rule).items() if k not in internal and not k.startswith("_")})
        for rule in parse(text)
    ]


def test_nothing_is_no_rule():
    assert parse("") == []
    assert parse(" , ") == []


@pytest.mark.parametrize(
    ("text", "kind", "parameters"),
    [
        ("loss=1%", impair.Loss, {"p": 0.01}),
        ("loss=0.25", impair.Loss, {"p": 0.25}),
        ("loss=100%", impair.Loss, {"p": 1.0}),
        ("duplicate=50%", impair.Duplicate, {"p": 0.5}),
        ("corrupt=.5%", impair.BitFlip, {"p": 0.005}),
        ("delay=20ms", impair.Delay, {"seconds": 0.02}),
        ("delay=1.5s", impair.Delay, {"seconds": 1.5}),
        ("delay=0", impair.Delay, {"seconds": 0.0}),
        ("jitter=250us", impair.Jitter, {"seconds": 0.00025}),
        ("reorder=1%", impair.Reorder, {"p": 0.01, "hold": 0.005}),
        ("reorder=1%:10ms", impair.Reorder, {"p": 0.01, "hold": 0.01}),
        ("burst=1%:25%", impair.GilbertElliott, {"p": 0.01, "r": 0.25, "loss_good": 0.0, "loss_bad": 1.0}),
        ("rate=10mbit", impair.Rate, {"bytes_per_second": 1.25e6, "queue_bytes": 125_000}),
        ("rate=8gbit", impair.Rate, {"bytes_per_second": 1e9, "queue_bytes": 100_000_000}),
        ("rate=64KBIT", impair.Rate, {"bytes_per_second": 8000, "queue_bytes": 16 * 1514}),
        ("rate=800bit", impair.Rate, {"bytes_per_second": 100, "queue_bytes": 16 * 1514}),
    ],
)
def test_item(text, kind, parameters):
    [(found, values)] = described(text)
    assert found is kind
    assert values == pytest.approx(parameters)


def test_the_order_of_rules_does_not_depend_on_that_of_the_text():
    ordered = "rate=1mbit,loss=1%,burst=1%:1%,corrupt=1%,duplicate=1%,delay=1ms,jitter=1ms,reorder=1%"
    items = ordered.split(",")
    assert len(items) == len(RULES)
    assert described(" ".join(reversed(items))) == described(ordered)
    assert [kind for kind, _ in described(ordered)] == [
        impair.Rate,
        impair.Loss,
        impair.GilbertElliott,
        impair.BitFlip,
        impair.Duplicate,
        impair.Delay,
        impair.Jitter,
        impair.Reorder,
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lost=1%", "unknown impairment 'lost=1%'; known are burst, corrupt, delay, duplicate, jitter, loss"),
        ("loss", "'loss' needs a value"),
        ("loss=", "'loss' needs a value"),
        ("loss=1%,loss=2%", "'loss' is given twice"),
        ("loss=101%", "'loss=101%': '101%' is more than 100%"),
        ("loss=1", "for all write 100%"),
        ("loss=2", "more than 100%"),
        ("loss=-1%", "'-1%' is not a probability such as 1% or 0.01"),
        ("loss=nan", "is not a probability"),
        ("loss=1ms", "is not a probability"),
        ("delay=20", "'delay=20': '20' is not a time such as 20ms"),
        ("delay=1m", "is not a time"),
        ("delay=-1ms", "is not a time"),
        ("delay=inf", "is not a time"),
        ("rate=10", "is not a rate such as 10mbit"),
        ("rate=0mbit", "must be more than 0bit"),
        ("reorder=1%:", "is not a time"),
        ("reorder=1%:5", "is not a time"),
        ("burst=1%", "is not p:r"),
        ("burst=1%:", "is not a probability"),
        ("burst=1%:2:3", "is not a probability"),
        ("loss=٣%", "is not a probability"),
    ],
)
def test_bad_text_is_refused_with_what_would_be_right(text, said):
    with pytest.raises(StackError) as refusal:
        parse(text)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_rules_of_a_text_do_what_it_says():
    [loss, delay] = parse("delay=20ms,loss=100%")
    assert loss.apply(0.0, b"frame", random.Random(1)) == []
    assert delay.apply(1.0, b"frame", random.Random(1)) == [(1.02, b"frame")]
