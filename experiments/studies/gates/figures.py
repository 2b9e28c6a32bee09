"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import pandas as pd

from experiments.report import figures, frames, tables
from experiments.report.frames import Difference, Frame, Measured

GATES = ("linear", "exponential")
PAPER = (0.1, 0.2)  # decays of the paper


def draw(runs: Frame, folder: Path) -> None:
    """Draw `gates.png`: test accuracy and firing rate of the hidden layer over the decay."""
    runs = frames.largest(runs)
    figure, (accuracy, rate) = figures.panels(2, size=(10, 4))
    figure.suptitle(f"The two gates: {figures.setting(runs)}", fontsize="medium")
    for gate in GATES:
        parts = frames.by(runs[runs["variant"] == gate], "decay")
        figures.points(accuracy, list(parts), list(parts.values()), label=gate)
        rate.plot(list(parts), [_rate(part) for part in parts.values()], "o-", ms=4, label=gate)
    accuracy.set(xlabel="decay", ylabel="test accuracy, last epoch (%)\nmean, 95 % interval")
    rate.set(xlabel="decay", ylabel="hidden spikes per unit and step")
    accuracy.legend(frameon=False)
    figures.save(figure, folder / "gates.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each decay."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    lines = []
    for decay, part in frames.by(runs, "decay").items():
        both = [part[part["variant"] == gate] for gate in GATES]
        found = _linear_minus_exponential(part)
        lines.append(
            [
                f"{decay:g}",
                *(frames.spread(one["accuracy"]) for one in both),
                found,
                *(f"{_rate(one):.3f}" for one in both),
                found.pairs,
            ]
        )
    head = [
        "decay",
        "linear (%)",
        "exponential (%)",
        "linear minus exponential [95 %]",
        "hidden spikes per unit and step: linear",
        "exponential",
        "seeds",
    ]
    return tables.markdown(head, lines)


def apart_at_small_decays(runs: Frame) -> Measured:
    """Return the larger difference of the gates, without its sign, at the paper's decays."""
    parts = frames.by(runs, "decay")
    found = {decay: _linear_minus_exponential(parts[decay]) for decay in PAPER}
    decay = max(found, key=lambda decay: abs(found[decay].mean))
    largest = found[decay]
    if largest.mean < 0:
        largest = Difference(-largest.mean, -largest.high, -largest.low, largest.pairs)
    return Measured(f"{largest.mean:.2f} at decay {decay:g}", largest)


def _linear_minus_exponential(runs: Frame) -> Difference:
    one, other = (frames.by_seed(runs[runs["variant"] == gate]) for gate in GATES)
    return frames.difference(one, other)


def _rate(runs: Frame) -> float:
    return float(pd.Series(runs["firing_rate"].str[0], dtype=float).mean())
