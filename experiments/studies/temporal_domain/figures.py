"""Figure and table of the study, from its rows alone."""

from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from experiments import sweeping
from experiments.statistics import Paired, paired
from experiments.study import Row

CUTS = {"sdbp": "SDBP", "reset_detached": "reset detached"}  # by the ends of variants' names


class Comparison(NamedTuple):
    """STBP and a gradient with less, with the same seeds; accuracies in percent."""

    dataset: str
    decay: float
    cut: str
    stbp: list[Row]
    less: list[Row]
    found: Paired


def comparisons(rows: list[Row]) -> list[Comparison]:
    """One for each data set, decay and cut at which two or more seeds have a row of both.

    Args:
      rows: of one budget.
    """
    made = []
    groups = sweeping.by(rows, "dataset", "decay")
    for (dataset, decay), of in sorted(groups.items()):
        by_seed: dict[str, dict[int, Row]] = {name: {} for name in ("", *CUTS)}
        for row in of:
            name = next((name for name in CUTS if row["variant"].endswith(name)), "")
            by_seed[name][row["seed"]] = row
        for name, cut in CUTS.items():
            seeds = sorted(by_seed[""].keys() & by_seed[name].keys())
            if len(seeds) > 1:
                stbp, less = ([by_seed[n][seed] for seed in seeds] for n in ("", name))
                values = [[100 * row["test_accuracy_last"] for row in r] for r in (less, stbp)]
                made.append(Comparison(dataset, decay, cut, stbp, less, paired(*values)))
    return made


def draw(rows: list[Row], folder: Path) -> None:
    """`differences.png`: STBP less SDBP, and less a detached reset, with their intervals."""
    made = comparisons(sweeping.largest(rows))
    datasets = sorted({c.dataset for c in made})
    figure = Figure(figsize=(3 + 3.6 * len(datasets), 3.8), dpi=140, layout="constrained")
    panels = figure.subplots(1, max(len(datasets), 1), squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=False):
        of = [c for c in made if c.dataset == dataset]
        decays = sorted({c.decay for c in of})
        for c in of:
            place = decays.index(c.decay) + (0.25 if c.cut != "SDBP" else -0.1)
            pairs = zip(c.stbp, c.less, strict=True)
            dots = [100 * (a["test_accuracy_last"] - b["test_accuracy_last"]) for a, b in pairs]
            axes.plot([place + 0.12] * len(dots), dots, ".", color="0.6", zorder=1)
            error = [[c.found.mean - c.found.low], [c.found.high - c.found.mean]]
            colour = "C3" if c.cut == "SDBP" else "C1"
            axes.errorbar(place, c.found.mean, error, fmt="o", color=colour, capsize=5, label=c.cut)
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
        axes.set(xlabel="decay: membrane left after a step", xlim=(-0.5, len(decays) - 0.5))
        row = of[0].stbp[0]
        what = f"{dataset}, {row['network']}, T = {row['num_steps']}"
        axes.set_title(f"{what}, {of[0].found.pairs} seeds", fontsize="medium")
    panels[0].set_ylabel("test accuracy, STBP less it (points)\nmean, 95 % interval; dots: seeds")
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(named.values(), named.keys(), loc="outside right upper", frameon=False)
    figure.savefig(folder / "differences.png")


def table(rows: list[Row]) -> str:
    """One line for each data set and decay, in percent and percentage points."""
    return sweeping.by_budget(_table, rows)


def _table(rows: list[Row]) -> str:
    head = [
        "data", "decay", "beside", "STBP (%)", "that (%)",
        "difference [95 % interval]", "d_z", "p", "seeds",
    ]  # fmt: skip
    lines = [
        [
            c.dataset,
            f"{c.decay:g}",
            c.cut,
            sweeping.percent(c.stbp),
            sweeping.percent(c.less),
            f"{c.found.mean:+.2f} [{c.found.low:+.2f}, {c.found.high:+.2f}]",
            f"{c.found.effect:.1f}",
            f"{c.found.p:.1g}" if c.found.p < 0.1 else f"{c.found.p:.2f}",
            c.found.pairs,
        ]
        for c in comparisons(rows)
    ]
    return sweeping.markdown(head, lines)
