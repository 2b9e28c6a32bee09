"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import pandas as pd

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured

METHODS = {"stbp": "STBP", "sdbp": "SDBP"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `seeds.png`: the accuracy of every seed over the initial gain."""
    runs = frames.largest(runs)
    figure, (axes,) = figures.panels(1, size=(7, 4.2))
    figure.suptitle(figures.setting(runs), fontsize="medium")
    for i, (method, label) in enumerate(METHODS.items()):
        part = runs[runs["variant"] == method]
        places = part["gain"] * (0.96 if i == 0 else 1.04)
        axes.plot(places, part["accuracy"], "o", ms=4, alpha=0.6, color=f"C{i}", label=label)
    gains = sorted(runs["gain"].unique())
    axes.set(
        xscale="log",
        xlabel="gain of the initial weights, relative to the authors' code",
        ylabel="test accuracy, last epoch (%)\na dot is a seed",
    )
    axes.set_xticks(gains, [f"{gain:g}" for gain in gains])
    axes.minorticks_off()
    axes.legend(frameon=False)
    figures.save(figure, folder / "seeds.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each gain."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    lines = []
    for gain, part in frames.by(runs, "gain").items():
        both = [part.loc[part["variant"] == method, "accuracy"] for method in METHODS]
        lines.append(
            [
                f"{gain:g}",
                *(text for one in both for text in (frames.spread(one), f"{one.min():.2f}")),
                _wider(part),
                part["seed"].nunique(),
            ]
        )
    head = [
        "gain",
        "STBP (%)",
        "worst seed",
        "SDBP (%)",
        "worst seed",
        "spread of SDBP minus that of STBP [95 %]",
        "seeds",
    ]
    return tables.markdown(head, lines)


def wider_by_sdbp(runs: Frame) -> Measured:
    """Return the spread of SDBP minus that of STBP over seeds, at the authors' initial weights.

    The spread of a seed is its distance to the median of all seeds, as in the test of Brown and
    Forsythe.
    """
    found = _wider(runs[runs["gain"] == 1])
    return Measured(f"{found.mean:+.2f} points", found)


def _wider(runs: Frame) -> frames.Difference:
    stbp, sdbp = (_spread(runs[runs["variant"] == method]) for method in METHODS)
    return frames.difference(sdbp, stbp)


def _spread(runs: Frame) -> "pd.Series[float]":
    accuracies = frames.by_seed(runs)
    return (accuracies - accuracies.median()).abs()
