"""Figures: what was seen in each round on each side, and what is made of it."""

import statistics
from dataclasses import dataclass, field

LESS, MORE = "less", "more"  # which is better


@dataclass
class Row:
    """One figure of a workload on both sides.

    ``kernel`` and ``stack`` have one value of each round, ``kernel`` None for each where the kernel has no such figure.
    ``target`` is what `ratio` (or, without a kernel, the median) has to reach, or None.
    """

    workload: str
    name: str
    unit: str
    better: str
    target: float | None = None
    kernel: list = field(default_factory=list)
    stack: list = field(default_factory=list)

    @property
    def compared(self):
        """Whether the kernel has the figure, too."""
        return bool(self.kernel) and self.kernel[0] is not None

    @property
    def ratio(self):
        """Median of pystack's by the kernel's, round by round; 0 by 0 is 1."""
        return statistics.median(_by(mine, theirs) for theirs, mine in zip(self.kernel, self.stack, strict=True))

    @property
    def met(self):
        """Whether the target is reached; None if there is none."""
        if self.target is None:
            return None
        found = self.ratio if self.compared else statistics.median(self.stack)
        return found >= self.target if self.better == MORE else found <= self.target


class Figures:
    """All rows of a run, in the order in which they came, and the samples that the plots show.

    ``samples`` is ``{plot: {label: [value, ...]}}``.
    """

    def __init__(self):
        self.rows = {}  # (workload, name) -> Row
        self.samples = {}

    def add(self, workload, name, unit, better, kernel, stack, target=None):
        """One round's values; *kernel* is None where the kernel has no such figure."""
        row = self.rows.get((workload, name))
        if row is None:
            row = self.rows[workload, name] = Row(workload, name, unit, better, target)
        row.kernel.append(kernel)
        row.stack.append(stack)

    def add_to(self, workload, name, unit, better, **value):
        """One side's value alone, *kernel* or *stack*; the other's is to follow."""
        row = self.rows.setdefault((workload, name), Row(workload, name, unit, better))
        for side, found in value.items():
            getattr(row, side).append(found)

    def sample(self, plot, label, values):
        """Values for a plot."""
        self.samples.setdefault(plot, {}).setdefault(label, []).extend(values)

    def to_json(self):
        """The rows, without the samples, as plain objects."""
        return [
            {**vars(row), "ratio": row.ratio if row.compared else None, "met": row.met} for row in self.rows.values()
        ]


def table(rows):
    """Lines of a Markdown table: medians with the half-width of the middle half, and the ratio."""
    lines = [
        "| workload | figure | unit | kernel | pystack | ratio | target | |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        sign = "≥" if row.better == MORE else "≤"
        cells = [
            row.workload,
            row.name,
            row.unit,
            spread(row.kernel) if row.compared else "",
            spread(row.stack),
            f"{row.ratio:.2f}" if row.compared else "",
            "" if row.target is None else f"{sign} {row.target:g}",
            {None: "", True: "met", False: "**missed**"}[row.met],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def spread(values):
    """ "12.3 ±0.4": the median, and half of the distance between the quartiles."""
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (0, 0, 0)
    return f"{_short(statistics.median(values))} ±{_short((high - low) / 2)}"


def quantile(values, share):
    """The value below which *share* of the sorted *values* is."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _short(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _by(mine, theirs):
    if theirs:
        return mine / theirs
    return 1.0 if not mine else float("inf")
