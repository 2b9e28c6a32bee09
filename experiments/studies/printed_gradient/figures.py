"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import numpy as np

from experiments.report import figures, frames, tables
from experiments.report.frames import Difference, Frame, Measured

METHODS = ("exact", "printed")


def draw(runs: Frame, folder: Path) -> None:
    """Draw `decays.png`: accuracy of both gradients, and their cosine, over the decay."""
    runs = frames.largest(runs)
    figure, (accuracy, cosine) = figures.panels(2, size=(10, 4))
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for method in METHODS:
        parts = frames.by(runs[runs["variant"] == method], "decay")
        figures.points(accuracy, list(parts), list(parts.values()), label=method)
    parts = frames.by(runs[runs["variant"] == "printed"], "decay")
    cosines = np.array([_cosines(part) for part in parts.values()])
    for layer, values in enumerate(cosines.T):
        name = "output layer" if layer == cosines.shape[1] - 1 else f"layer {layer + 1}"
        cosine.plot(list(parts), values, "o-", ms=4, label=name)
    accuracy.set(xlabel="decay", ylabel="test accuracy, last epoch (%)\nmean, 95 % interval")
    cosine.set(xlabel="decay", ylabel="cosine of the gradients before training", ylim=(None, 1.02))
    accuracy.legend(frameon=False)
    if cosine.get_legend_handles_labels()[0]:  # the printed gradient has rows
        cosine.legend(frameon=False)
    figures.save(figure, folder / "decays.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each decay."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    lines = []
    for decay, part in frames.by(runs, "decay").items():
        both = [part[part["variant"] == method] for method in METHODS]
        spreads = [frames.spread(one["accuracy"]) for one in both]
        if not all(map(len, both)):  # one of them has no rows yet
            lines.append([f"{decay:g}", *spreads, "-", "-", "-", part["seed"].nunique()])
            continue
        found = _exact_minus_printed(part)
        cosines = (f"{cosine:.3f}" for cosine in _cosines(both[1]))
        lines.append([f"{decay:g}", *spreads, found, *cosines, found.pairs])
    head = [
        "decay",
        "exact (%)",
        "printed (%)",
        "exact minus printed [95 %]",
        "cosine before training: first layer",
        "output layer",
        "seeds",
    ]
    return tables.markdown(head, lines)


def cost_of_errata(runs: Frame) -> Measured:
    """Return the largest gain of the exact gradient over the printed one, over all decays."""
    found = {decay: _exact_minus_printed(part) for decay, part in frames.by(runs, "decay").items()}
    decay = max(found, key=lambda decay: found[decay].mean)
    return Measured(f"{found[decay].mean:.2f} at decay {decay:g}", found[decay])


def _exact_minus_printed(runs: Frame) -> Difference:
    exact, printed = (frames.by_seed(runs[runs["variant"] == name]) for name in METHODS)
    return frames.difference(exact, printed)


def _cosines(runs: Frame) -> list[float]:
    found = [row for row in runs["cosine"] if isinstance(row, list)] if "cosine" in runs else []
    return np.mean(found, axis=0).tolist() if found else []
