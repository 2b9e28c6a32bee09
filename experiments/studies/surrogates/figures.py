"""Figures and table of the study, from its rows alone."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from experiments import sweeping
from experiments.study import Row
from experiments.surrogates.study import FAMILIES
from stbp_jax import plots

SIDES = {"width": "a = 1, as in the paper", "fwhm": "equal widths, FWHM 1"}


def draw(rows: list[Row], folder: Path) -> None:
    """`curves.png` (the paper's Fig. 3), `shapes.png` (6A) and `widths.png` (6B)."""
    rows = sweeping.largest(rows)
    _curves(rows).savefig(folder / "curves.png")
    _shapes(rows).savefig(folder / "shapes.png")
    _widths(rows).savefig(folder / "widths.png")


def table(rows: list[Row]) -> str:
    """Test accuracy after the last epoch: a line for each width, a column for each family."""
    return sweeping.by_budget(_table, rows)


def _table(rows: list[Row]) -> str:
    families = [name for name in FAMILIES if any(row["variant"] == name for row in rows)]
    # Each family's a = 1 has a width of its own.
    at_one = [row for row in rows if row["hparams"]["width"] == 1]
    lines = [["a = 1", *_cells(at_one, families)]]
    for (fwhm,), of in sorted(sweeping.by(rows, "fwhm").items()):
        if any(row["hparams"]["width"] != 1 or row["variant"] == "rectangular" for row in of):
            lines.append([f"FWHM {fwhm:g}", *_cells(of, families)])
    seeds = len({row["seed"] for row in rows})
    head = [f"test accuracy, last epoch (%), {seeds} seeds", *families]
    return sweeping.markdown(head, lines)


def _cells(rows: list[Row], families: list[str]) -> list[str]:
    groups = sweeping.by(rows, "variant")
    return [sweeping.percent(groups[f,]) if (f,) in groups else "" for f in families]


def _figure(columns: int, title: str, **values: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5 * columns, 3.6), dpi=140, layout="constrained")
    figure.suptitle(title, fontsize="medium")
    return figure, figure.subplots(1, columns, squeeze=False, **values)[0]


def _setting(rows: list[Row]) -> str:
    row, seeds = rows[-1], len({r["seed"] for r in rows})
    return (
        f"{row['network']} on {row['dataset']}, {row['num_train']:,} training examples, "
        f"T = {row['num_steps']}, {seeds} seeds"
    )


def _curves(rows: list[Row]) -> Figure:
    figure, panels = _figure(2, "Surrogate curves", sharey=True)
    for axes, (name, title) in zip(panels, SIDES.items(), strict=True):
        of = sweeping.by([row for row in rows if row["hparams"][name] == 1], "variant")
        plots.curves(axes, [FAMILIES[f](g[0]["hparams"]["width"]) for (f,), g in of.items()])
        axes.set_title(title, fontsize="medium")
    return figure


def _shapes(rows: list[Row]) -> Figure:
    figure, panels = _figure(2, f"Four shapes: {_setting(rows)}, mean and s.d.", sharey=True)
    for axes, (name, title) in zip(panels, SIDES.items(), strict=True):
        at_one = [row for row in rows if row["hparams"][name] == 1]
        for (family,), of in sweeping.by(at_one, "variant").items():
            accuracy = 100 * np.array([row["test_accuracy"] for row in of])
            epoch, mean = np.arange(1, accuracy.shape[1] + 1), accuracy.mean(axis=0)
            (line,) = axes.plot(epoch, mean, label=family, marker=".")
            if len(accuracy) > 1:
                spread = accuracy.std(axis=0, ddof=1)
                axes.fill_between(
                    epoch, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0
                )
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.legend(frameon=False, loc="lower right")
    panels[0].set_ylabel("test accuracy (%)")
    return figure


def _widths(rows: list[Row]) -> Figure:
    figure, (axes,) = _figure(1, _setting(rows))
    figure.set_size_inches(6.5, 4.2)
    for (family,), of in sweeping.by(rows, "variant").items():
        cells = sorted(sweeping.by(of, "fwhm").items())
        values = [[100 * row["test_accuracy_last"] for row in cell] for _, cell in cells]
        spread = [np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values]
        widths = [fwhm for (fwhm,), _ in cells]
        axes.errorbar(
            widths, [np.mean(v) for v in values], spread, label=family, marker="o", ms=4, capsize=3
        )
    axes.set(
        xscale="log",
        xlabel="width of the curve (FWHM, in units of the membrane)",
        ylabel="test accuracy, last epoch (%)\nmean and s.d. over seeds",
    )
    ticks = sorted({row["hparams"]["fwhm"] for row in rows if row["variant"] == "rectangular"})
    if ticks:
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
    axes.legend(frameon=False)
    return figure
