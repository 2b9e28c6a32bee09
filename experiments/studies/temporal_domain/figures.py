"""Picture and table of the study, made from its rows."""

from pathlib import Path
from typing import NamedTuple

from experiments.report import figures, frames, tables
from experiments.report.frames import Difference, Frame

CUTS = {"sdbp": "SDBP", "reset_detached": "reset detached"}  # by the end of the variant's name


class Comparison(NamedTuple):
    """STBP and a method that cuts gradients, with the same seeds.

    Attributes:
      dataset: name of the data set.
      decay: of the membrane.
      cut: name of the method.
      stbp: runs of STBP.
      other: runs of the method.
      found: STBP minus the method.
    """

    dataset: str
    decay: float
    cut: str
    stbp: Frame
    other: Frame
    found: Difference


def comparisons(runs: Frame) -> list[Comparison]:
    """Return a comparison for each data set, decay and method with two or more common seeds.

    Args:
      runs: runs of one budget.
    """
    made = []
    for (dataset, decay), part in frames.by(runs, ["dataset", "decay"]).items():
        for name, cut in CUTS.items():
            stbp = part[part["variant"].str.endswith("stbp")]
            other = part[part["variant"].str.endswith(name)]
            found = frames.difference(frames.by_seed(stbp), frames.by_seed(other))
            if found.pairs > 1:
                made.append(Comparison(dataset, decay, cut, stbp, other, found))
    return made


def draw(runs: Frame, folder: Path) -> None:
    """Draw `differences.png`: STBP minus SDBP and minus reset detached, with 95 % intervals."""
    made = comparisons(frames.largest(runs))
    datasets = sorted({c.dataset for c in made})
    figure, panels = figures.panels(max(len(datasets), 1), size=(3 + 3.6 * len(datasets), 3.8))
    for axes, dataset in zip(panels, datasets, strict=False):
        own = [c for c in made if c.dataset == dataset]
        decays = sorted({c.decay for c in own})
        for c in own:
            place = decays.index(c.decay) + (0.25 if c.cut != "SDBP" else -0.1)
            dots = (frames.by_seed(c.stbp) - frames.by_seed(c.other)).dropna()
            axes.plot([place + 0.12] * len(dots), dots, ".", color="0.6", zorder=1)
            error = [[c.found.mean - c.found.low], [c.found.high - c.found.mean]]
            color = "C3" if c.cut == "SDBP" else "C1"
            axes.errorbar(place, c.found.mean, error, fmt="o", color=color, capsize=5, label=c.cut)
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
        axes.set(
            xlabel="decay (fraction of membrane left)",
            xlim=(-0.5, len(decays) - 0.5),
        )
        row = frames.newest(own[0].stbp)
        title = f"{dataset}, {row['network']}, T = {row['num_steps']}, {own[0].found.pairs} seeds"
        axes.set_title(title, fontsize="medium")
    panels[0].set_ylabel("STBP minus the other method (points)\nmean, 95 % interval; dots: seeds")
    named = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(named.values()), list(named), loc="outside right upper", frameon=False)
    figures.save(figure, folder / "differences.png")


def table(runs: Frame) -> str:
    """Return a table with one line for each data set and decay, in percent and points."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    head = [
        "data",
        "decay",
        "STBP (%)",
        "other method",
        "other (%)",
        "STBP minus other [95 %]",
        "seeds",
    ]
    lines = [
        [
            c.dataset,
            f"{c.decay:g}",
            frames.spread(c.stbp["accuracy"]),
            c.cut,
            frames.spread(c.other["accuracy"]),
            c.found,
            c.found.pairs,
        ]
        for c in comparisons(runs)
    ]
    return tables.markdown(head, lines)
