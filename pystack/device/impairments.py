"""Rules of `pystack.device.impair` from one line of text: ``loss=1%,delay=20ms,rate=10mbit``."""

import math
import re

from pystack.device import impair
from pystack.errors import StackError

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-z%]*)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BITS = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}  # decimal, per second
# What Reorder holds a frame back for if the text does not say: long enough that a few frames overtake it.
_HOLD = 0.005
# The queue before a link of limited rate: 100 ms of traffic, and room for some full packets however slow it is.
_QUEUE_SECONDS = 0.1
_LEAST_QUEUE = 16 * 1514


def _number(text, units, wanted):
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2] not in units:
        raise ValueError(f"is not {wanted}")
    return float(found[1]) * units[found[2]]


def _probability(text):
    wanted = "a probability such as 1% or 0.01"
    value = _number(text, {"%": 0.01, "": 1.0}, wanted)
    if value > 1:
        raise ValueError("is more than 100%")
    if value == 1 and not text.endswith("%"):  # what 1 means is anybody's guess
        raise ValueError(f"is not {wanted}; for all write 100%")
    return value


def _seconds(text):
    if text == "0":
        return 0.0
    return _number(text, _SECONDS, "a time such as 20ms (us, ms or s)")


def _rate(text):
    bits = _number(text, _BITS, "a rate such as 10mbit (bit, kbit, mbit or gbit, per second)")
    if bits <= 0:
        raise ValueError("is no rate: it must be more than 0bit")
    return impair.Rate(bits, max(_LEAST_QUEUE, math.ceil(bits / 8 * _QUEUE_SECONDS)))


def _reorder(text):
    chance, colon, hold = text.partition(":")
    return impair.Reorder(_probability(chance), _seconds(hold) if colon else _HOLD)


def _burst(text):
    bad, colon, good = text.partition(":")
    if not colon:
        raise ValueError("is not p:r, the probabilities to turn bad and good again, such as 1%:25%")
    return impair.GilbertElliott(_probability(bad), _probability(good))


# In the order in which frames meet the rules: the link's capacity, its length, then what happens to single frames.
# What is lost has used the link; copies and late frames come after the loss, so that loss counts what was sent.
RULES = {
    "rate": _rate,
    "loss": lambda text: impair.Loss(_probability(text)),
    "burst": _burst,
    "corrupt": lambda text: impair.BitFlip(_probability(text)),
    "duplicate": lambda text: impair.Duplicate(_probability(text)),
    "delay": lambda text: impair.Delay(_seconds(text)),
    "jitter": lambda text: impair.Jitter(_seconds(text)),
    "reorder": _reorder,
}


def parse(text):
    """Rules for `Impaired`, in an order that makes sense whatever that of the text.

    Args:
        text: ``name=value`` separated by commas or blanks, each name once: ``loss``, ``duplicate`` and ``corrupt``
            (one bit) with a probability (``1%`` or ``0.01``); ``delay``, and ``jitter`` (evenly from 0 to it), with a
            time (``us``, ``ms``, ``s``); ``reorder=1%`` or ``reorder=1%:10ms`` (held back for so long, else 5 ms);
            ``rate`` in ``bit``, ``kbit``, ``mbit`` or ``gbit`` per second, decimal, behind a queue of 100 ms;
            ``burst=p:r``, loss of all between turning bad (probability *p* per frame) and good again (*r*).

    Returns:
        A list of rules, empty for an empty text. One list serves both directions: `Impaired` copies it.

    Raises:
        StackError: names the bad item, and what would be right.
    """
    found = {}
    for item in text.replace(",", " ").lower().split():
        name, equals, value = item.partition("=")
        if name not in RULES:
            raise StackError(f"unknown impairment {item!r}; known are {', '.join(sorted(RULES))}, as in loss=1%")
        if not equals or not value:
            raise StackError(f"impairment {name!r} needs a value, as in loss=1%,delay=20ms")
        if name in found:
            raise StackError(f"impairment {name!r} is given twice")
        try:
            found[name] = RULES[name](value)
        except ValueError as refusal:
            raise StackError(f"impairment {item!r}: {value!r} {refusal}") from None
    return [found[name] for name in RULES if name in found]
