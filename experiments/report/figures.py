"""Learning curves of the studies, and helpers for their other pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.engine.studies import Study
from experiments.report import frames, targets
from experiments.report.frames import Frame

CURVES = "learning_curves.png"
MOST = 8  # largest number of lines in a picture


def panels(columns: int, *, size: tuple[float, float], **shared: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure with axes side by side, without top and right spines.

    Args:
      columns: number of axes.
      size: width and height of the figure, in inches.
      **shared: arguments of `Figure.subplots`.
    """
    figure = Figure(figsize=size, dpi=140, layout="constrained")
    found = list(figure.subplots(1, columns, squeeze=False, **shared)[0])
    for axes in found:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, found


def save(figure: Figure, path: Path) -> None:
    """Write the picture, with the same bytes for the same figure."""
    figure.savefig(path, metadata={"Software": None})


def band(axes: Axes, runs: Frame, **style: Any) -> np.ndarray:
    """Draw test accuracy over epochs: mean and standard deviation over seeds.

    Args:
      axes: of the plot.
      runs: of one experiment.
      **style: arguments of `Axes.plot`.

    Returns:
      `[2, E]`, the lower and the upper edge of the band, in percent.
    """
    values = 100 * np.array(runs["test_accuracy"].tolist(), np.float64)  # [S, E]
    epochs, mean = np.arange(1, values.shape[1] + 1), values.mean(0)
    deviation = values.std(0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    (line,) = axes.plot(epochs, mean, **style)
    edges = np.array([mean - deviation, mean + deviation])
    axes.fill_between(epochs, *edges, color=line.get_color(), alpha=0.2, lw=0)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    return edges


def points(axes: Axes, xs: Any, runs: list[Frame], **style: Any) -> None:
    """Draw mean accuracies with their 95 % intervals.

    Args:
      axes: of the plot.
      xs: positions on the x axis.
      runs: runs at each position.
      **style: arguments of `Axes.errorbar`.
    """
    found = [frames.difference(frames.by_seed(part), 0.0) for part in runs]
    halves = [0.0 if np.isnan(d.low) else d.high - d.mean for d in found]
    all_style: dict[str, Any] = {"marker": "o", "ms": 4, "capsize": 3} | style
    axes.errorbar(xs, [d.mean for d in found], halves, **all_style)


def shown(study: Study, runs: Frame) -> list[tuple[str, Frame]]:
    """Return label and runs of each experiment with learning curves and several seeds.

    The list is empty if there are more than `MOST` experiments.
    """
    parts = [
        part
        for part in frames.experiments(runs)
        if part["variant"].iloc[0] in study.variants
        and len(part) > 1
        and part["test_accuracy"].map(_length).nunique() == 1
        and _length(part["test_accuracy"].iloc[0])
    ]
    if len(parts) > MOST:
        return []
    parts.sort(key=lambda part: [*study.variants].index(part["variant"].iloc[0]))
    labels = [
        ", ".join(filter(None, (part["variant"].iloc[0], part["budget"].iloc[0], text)))
        for part, text in zip(parts, frames.labels(parts), strict=True)
    ]
    return list(zip(labels, parts, strict=True))


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list) else 0


def learning_curves(study: Study, runs: Frame, folder: Path) -> None:
    """Draw `learning_curves.png`: test accuracy over epochs, and the paper's as a dashed line."""
    lines = shown(study, runs)
    if not lines:
        return
    figure, (axes,) = panels(1, size=(6.4, 4.6))
    reported = {
        t.variant: t.wanted
        for t in targets.PAPER
        if t.study == study.name and not (t.than or t.measure or t.stand_in)
    }
    bounds, drawn = [], set()
    for i, (label, part) in enumerate(lines):
        edges = band(axes, part, color=f"C{i}", label=f"{label} ({len(part)} seeds)")
        # The first tenth of the epochs does not set the limits of the y axis.
        settled = slice(min(edges.shape[1] - 1, max(1, edges.shape[1] // 10)), None)
        bounds += [edges[0, settled].min(), edges[1, settled].max()]
        variant = part["variant"].iloc[0]
        if variant in reported and variant not in drawn:
            drawn.add(variant)
            bounds.append(reported[variant])
            text = f"the paper's {variant}: {reported[variant]:g}"
            axes.axhline(reported[variant], color=f"C{i}", lw=1, ls=(0, (4, 3)), label=text)
    margin = 0.06 * (max(bounds) - min(bounds)) or 0.5
    axes.set(
        title=f"{study.name} on {', '.join(runs['dataset'].unique())}: mean ± s.d. over seeds",
        xlabel="epoch",
        ylabel="test accuracy (%)",
        ylim=(min(bounds) - margin, max(bounds) + margin),
    )
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    save(figure, folder / CURVES)


def setting(runs: Frame) -> str:
    """Return network, data, examples, T and seeds, for a title."""
    row = frames.newest(runs)
    return (
        f"{row['network']} on {row['dataset']}, {row['num_train']:,} training examples, "
        f"T = {row['num_steps']}, {runs['seed'].nunique()} seeds"
    )
