"""Figure and table of the study, from its rows alone."""

from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments import sweeping
from experiments.statistics import Paired, paired
from experiments.study import Row


class Comparison(NamedTuple):
    """STBP and SDBP with the same seeds; accuracies in percent."""

    dataset: str
    decay: float
    stbp: list[Row]
    sdbp: list[Row]
    found: Paired


def comparisons(rows: list[Row]) -> list[Comparison]:
    """One for each data set and decay at which two or more seeds have a row of both.

    Args:
      rows: of one budget.
    """
    made = []
    groups = sweeping.by(rows, "dataset", "decay")
    for (dataset, decay), of in sorted(groups.items()):
        by_seed: tuple[dict[int, Row], dict[int, Row]] = {}, {}
        for row in of:
            by_seed[row["variant"].endswith("sdbp")][row["seed"]] = row
        seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
        if len(seeds) > 1:
            stbp, sdbp = ([found[seed] for seed in seeds] for found in by_seed)
            values = [[100 * row["test_accuracy_last"] for row in r] for r in (sdbp, stbp)]
            made.append(Comparison(dataset, decay, stbp, sdbp, paired(*values)))
    return made


def draw(rows: list[Row], folder: Path) -> None:
    """`differences.png`: STBP less SDBP at each decay, with its interval."""
    made = comparisons(sweeping.largest(rows))
    datasets = sorted({c.dataset for c in made})
    figure = Figure(figsize=(1.5 + 3.6 * len(datasets), 3.8), dpi=140, layout="constrained")
    panels = figure.subplots(1, max(len(datasets), 1), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=False):
        of = [c for c in made if c.dataset == dataset]
        for place, c in enumerate(of):
            pairs = zip(c.stbp, c.sdbp, strict=True)
            dots = [100 * (a["test_accuracy_last"] - b["test_accuracy_last"]) for a, b in pairs]
            axes.plot([place + 0.18] * len(dots), dots, ".", color="0.6", zorder=1)
            error = [[c.found.mean - c.found.low], [c.found.high - c.found.mean]]
            axes.errorbar(place, c.found.mean, error, fmt="o", color="C3", capsize=5)
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set_xticks(range(len(of)), [f"{c.decay:g}" for c in of])
        axes.set(xlabel="decay: membrane left after a step", xlim=(-0.5, len(of) - 0.5))
        row = of[0].stbp[0]
        what = f"{dataset}, {row['network']}, T = {row['num_steps']}"
        axes.set_title(f"{what}, {of[0].found.pairs} seeds", fontsize="medium")
    panels[0].set_ylabel("test accuracy, STBP less SDBP (points)\nmean, 95 % interval; dots: seeds")
    figure.savefig(folder / "differences.png")


def table(rows: list[Row]) -> str:
    """One line for each data set and decay, in percent and percentage points."""
    return sweeping.by_budget(_table, rows)


def _table(rows: list[Row]) -> str:
    head = [
        "data", "decay", "STBP (%)", "SDBP (%)", "difference [95 % interval]", "d_z", "p", "seeds",
    ]  # fmt: skip
    lines = [
        [
            c.dataset,
            f"{c.decay:g}",
            sweeping.percent(c.stbp),
            sweeping.percent(c.sdbp),
            f"{c.found.mean:+.2f} [{c.found.low:+.2f}, {c.found.high:+.2f}]",
            f"{c.found.effect:.1f}",
            f"{c.found.p:.1g}" if c.found.p < 0.1 else f"{c.found.p:.2f}",
            c.found.pairs,
        ]
        for c in comparisons(rows)
    ]
    return sweeping.markdown(head, lines)
