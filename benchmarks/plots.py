"""The plots of a run, as PNG files."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_COLORS = {"kernel": "#888888", "pystack": "#2a6fbb", "pystack inline": "#6fb1e8"}


def draw(figures, folder):
    """Write ``ratios.png``, ``latency.png``, ``throughput.png`` and ``collector.png`` there, as far as there are
    samples."""
    folder.mkdir(parents=True, exist_ok=True)
    _ratios([row for row in figures.rows.values() if row.compared and row.workload != "CSP"], folder / "ratios.png")
    trips = {name: by for name, by in figures.samples.items() if name.startswith("round trip, ")}
    _boxes(trips, "µs", folder / "latency.png")
    _boxes({name: by for name, by in figures.samples.items() if "collector" in name}, "µs", folder / "collector.png")
    over_time = {name: by for name, by in figures.samples.items() if name.startswith("throughput")}
    _over_time(over_time, folder / "throughput.png")


def _ratios(rows, path):
    """Bars to the right of 1 are pystack's."""
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(rows) + 1))
    advantages = [row.ratio if row.better == "more" else 1 / row.ratio if row.ratio else 1 for row in rows]
    colors = ["#2a6fbb" if row.met is not False else "#c0392b" for row in rows]
    axes.barh([f"{row.workload}: {row.name}" for row in rows], advantages, color=colors)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("the kernel is 1; more is better for pystack")
    axes.tick_params(axis="y", labelsize=7)
    _save(figure, path)


def _boxes(plots, unit, path):
    if not plots:
        return
    figure, every = plt.subplots(1, len(plots), figsize=(2.6 * len(plots), 3.6), squeeze=False)
    for axes, (name, by_label) in zip(every[0], plots.items(), strict=True):
        axes.boxplot(list(by_label.values()), whis=(1, 99), showfliers=False)
        axes.set_xticks(range(1, len(by_label) + 1), list(by_label), rotation=20, fontsize=7)
        axes.set_title(name.replace(", ", ",\n"), fontsize=8)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
    _save(figure, path)


def _over_time(plots, path):
    if not plots:
        return
    figure, every = plt.subplots(1, len(plots), figsize=(4.5 * len(plots), 3), squeeze=False)
    for axes, (name, by_label) in zip(every[0], plots.items(), strict=True):
        for label, runs in by_label.items():
            for number, run in enumerate(runs):
                times = [(at + 1) * 0.1 for at in range(len(run))]
                axes.plot(times, run, color=_COLORS[label], label=None if number else label, linewidth=0.9)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("seconds")
        axes.set_ylabel("Gbit/s")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
    _save(figure, path)


def _save(figure, path):
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
