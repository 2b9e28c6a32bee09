"""Figures and table of the study, from its rows alone."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import sweeping
from experiments.statistics import Paired, paired
from experiments.study import Row

NAMES = {
    "stbp": "STBP",
    "reset_detached": "reset detached",
    "sdbp": "SDBP",
    "adaptive": "adaptive thresholds",
    "adaptive_space": "adaptive thresholds, through space alone",
    "recurrent": "recurrent",
    "recurrent_space": "recurrent, through space alone",
}
CHANCE = 25.0
Cell = tuple[str, float, float]  # variant, gap, decay


def cells(rows: list[Row]) -> dict[Cell, dict[int, float]]:
    """Test accuracies of the last epoch in percent, by seed.

    Args:
      rows: of one budget.
    """
    groups = sweeping.by(rows, "variant", "gap", "decay")
    return {
        (variant, gap, decay): {row["seed"]: 100 * row["test_accuracy_last"] for row in of}
        for (variant, gap, decay), of in groups.items()
    }


def difference(found: dict[Cell, dict[int, float]], one: Cell, other: Cell) -> Paired | None:
    """The first cell less the second over their common seeds; None where there are not two."""
    seeds = sorted(found.get(one, {}).keys() & found.get(other, {}).keys())
    if len(seeds) < 2:
        return None
    first, second = ([found[cell][seed] for seed in seeds] for cell in (other, one))
    return paired(first, second)


def draw(rows: list[Row], folder: Path) -> None:
    """`accuracy`, `differences`, `horizons` and `networks.png`: means with their 95 % intervals."""
    found = cells(sweeping.largest(rows))
    _draw_networks(found, folder)
    gaps = sorted({gap for _, gap, _ in found})
    figure, panels = _panels(gaps)
    for axes, gap in zip(panels, gaps, strict=True):
        for variant in ("stbp", "reset_detached", "sdbp"):
            decays = [d for v, g, d in sorted(found) if (v, g) == (variant, gap)]
            _line(axes, decays, [found[variant, gap, d] for d in decays], NAMES[variant])
        axes.set_xlabel("decay: membrane left after a step")
    _accuracy(figure, panels, folder / "accuracy.png")

    figure, panels = _panels(gaps)
    for axes, gap in zip(panels, gaps, strict=True):
        for variant, colour in (("sdbp", "C3"), ("reset_detached", "C1")):
            decays = [d for v, g, d in sorted(found) if (v, g) == (variant, gap)]
            told = [(d, difference(found, ("stbp", gap, d), (variant, gap, d))) for d in decays]
            made = [(d, p) for d, p in told if p is not None]
            axes.errorbar(
                [d for d, _ in made],
                [p.mean for _, p in made],
                [[p.mean - p.low for _, p in made], [p.high - p.mean for _, p in made]],
                fmt="o-",
                color=colour,
                capsize=3,
                label=f"STBP less {NAMES[variant]}",
            )
        axes.axhline(0, color="0.3", lw=0.8)
        axes.set_xlabel("decay: membrane left after a step")
    panels[0].set_ylabel("test accuracy (points), mean and 95 % interval")
    panels[0].legend(fontsize="small")
    figure.savefig(folder / "differences.png")

    figure, panels = _panels(gaps)
    for axes, gap in zip(panels, gaps, strict=True):
        for decay in sorted({row["hparams"]["decay"] for row in _stretches(rows)}):
            of = [
                row for row in _stretches(rows)
                if row["hparams"]["gap"] == gap and row["hparams"]["decay"] == decay
            ]  # fmt: skip
            by = sweeping.by(of, "horizon")
            values = {h: {r["seed"]: 100 * r["test_accuracy_last"] for r in by[h,]} for (h,) in by}
            steps = sorted(values)
            _line(axes, steps, [values[h] for h in steps], f"decay {decay:g}")
        axes.set(xscale="log", xlabel="gradients are cut every so many steps")
        axes.set_xticks([1, 2, 4, 8, 16, 46], ["1", "2", "4", "8", "16", "T"])
        axes.minorticks_off()
    _accuracy(figure, panels, folder / "horizons.png")


def _draw_networks(found: dict[Cell, dict[int, float]], folder: Path) -> None:
    """Accuracy over gaps, of all networks at the decays that all were run at."""
    decays = sorted({d for v, _, d in found if v == "adaptive"})
    if not decays:
        return
    figure = Figure(figsize=(3 + 4 * len(decays), 3.8), dpi=140, layout="constrained")
    panels = list(figure.subplots(1, len(decays), sharey=True, squeeze=False)[0])
    for axes, decay in zip(panels, decays, strict=True):
        for n, variant in enumerate(NAMES):
            gaps = sorted(g for v, g, d in found if (v, d) == (variant, decay))
            if gaps and variant != "reset_detached":
                values = [found[variant, gap, decay] for gap in gaps]
                shifted = [gap + 0.25 * (n - 2) for gap in gaps]  # bars must not hide each other
                _line(axes, shifted, values, NAMES[variant])
        axes.set_title(f"decay {decay:g}", fontsize="medium")
        axes.set_xlabel("gap (steps)")
        axes.spines[["top", "right"]].set_visible(False)
    _accuracy(figure, panels, folder / "networks.png")


def _stretches(rows: list[Row]) -> list[Row]:
    """Of lone neurons, from SDBP (one step) to STBP (all), at the decays that all were run at."""
    rows = sweeping.largest(rows)
    cut = [row for row in rows if row["variant"].startswith("horizon_")]
    decays = {row["hparams"]["decay"] for row in cut}
    ends = [
        row | {"horizon": 1} if row["variant"] == "sdbp" else row
        for row in rows
        if row["variant"] in ("stbp", "sdbp") and row["hparams"]["decay"] in decays
    ]
    return cut + ends


def _panels(gaps: list[float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(2 + 3 * len(gaps), 3.6), dpi=140, layout="constrained")
    panels = list(figure.subplots(1, len(gaps), sharey=True, squeeze=False)[0])
    for axes, gap in zip(panels, gaps, strict=True):
        axes.set_title(f"gap of {gap:g} steps", fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _line(axes: Axes, xs: list[float], values: list[dict[int, float]], label: str) -> None:
    means = [np.mean([*of.values()]) for of in values]
    halves = [_half([*of.values()]) for of in values]
    axes.errorbar(xs, means, halves, fmt="o-", ms=4, capsize=3, label=label)


def _half(values: list[float]) -> float:
    """Half the 95 % interval of a mean; 0 of a lone value."""
    if len(values) < 2:
        return 0.0
    found = paired([0.0] * len(values), values)
    return found.high - found.mean


def _accuracy(figure: Figure, panels: list[Axes], path: Path) -> None:
    for axes in panels:
        axes.axhline(CHANCE, color="0.6", lw=0.8, ls="--")
    panels[0].set_ylabel("test accuracy (%), mean and 95 % interval\n(dashed: chance)")
    named = panels[0].get_legend_handles_labels()
    figure.legend(*named, loc="outside right upper", fontsize="small", frameon=False)
    figure.savefig(path)


def table(rows: list[Row]) -> str:
    """One line for each gap and decay, in percent and percentage points."""
    return sweeping.by_budget(_table, rows)


def _table(rows: list[Row]) -> str:
    found = cells(rows)
    others = [v for v in dict.fromkeys(row["variant"] for row in rows) if v not in ("stbp", "sdbp")]
    head = ["gap", "decay", "STBP (%)", "SDBP (%)", "difference [95 % interval]", "seeds"]
    lines = []
    for gap in sorted({gap for _, gap, _ in found}):
        for decay in sorted({decay for *_, decay in found}):
            pair = difference(found, ("stbp", gap, decay), ("sdbp", gap, decay))
            told = "-" if pair is None else f"{pair.mean:+.1f} [{pair.low:+.1f}, {pair.high:+.1f}]"
            lines.append(
                [
                    f"{gap:g}",
                    f"{decay:g}",
                    *(_told(found.get((v, gap, decay), {})) for v in ("stbp", "sdbp")),
                    told,
                    "-" if pair is None else pair.pairs,
                    *(_told(found.get((v, gap, decay), {})) for v in others),
                ]
            )
    return sweeping.markdown([*head, *(v.replace("_", " ") for v in others)], lines)


def _told(values: dict[int, float]) -> str:
    if not values:
        return "-"
    spread = f" ± {np.std([*values.values()], ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean([*values.values()]):.1f}{spread}"
