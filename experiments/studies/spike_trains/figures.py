"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.engine.rows import Row
from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured
from experiments.studies.spike_trains.trains import PATCH
from stbp_jax import plots

VARIANTS = ("stbp", "table_1", "pedestrian")
COLUMNS = 3  # images side by side
YELLOW, WHITE = (255, 200, 0), (255, 255, 255)


def draw(runs: Frame, folder: Path) -> None:
    """Draw `spike_trains.png`, one line for each variant: images, input spikes, output spikes."""
    rows = _rows(runs)
    figure = Figure(figsize=(13, 3.1 * len(rows)), dpi=100, layout="constrained")
    grid = figure.subplots(len(rows), 4, squeeze=False, width_ratios=(0.8, 1, 1, 1))
    for line, row in zip(grid, rows, strict=True):
        for axes in line[1:]:
            axes.spines[["top", "right"]].set_visible(False)
        images, inputs, *outputs = line
        label = row["example_labels"][0]
        framed = np.array(row["example_labels"]) == label
        images.imshow(_side_by_side(np.array(row["examples"], np.uint8), framed))
        images.set(xticks=[], yticks=[], title=f"{row['dataset']}\nyellow: label {label}")
        title = f"input, center {PATCH}x{PATCH}"
        plots.raster(inputs, np.array(row["input_spikes"])).set(title=title, ylabel="pixel")
        for axes, when in zip(outputs, ("before", "after"), strict=True):
            spikes = np.array(row[f"spikes_{when}"])
            title = f"{row['variant']}, {when} training: {spikes.sum()} spikes"
            plots.raster(axes, spikes, label=label).set(title=title, ylabel="output unit")
            axes.set_yticks(range(spikes.shape[1]))
        for axes in line:
            axes.title.set_fontsize("medium")
    figures.save(figure, folder / "spike_trains.png")


def _side_by_side(images: np.ndarray, framed: np.ndarray) -> np.ndarray:
    """Join images `[N, H, W]` to one of colors, `COLUMNS` in a line; some have a yellow frame."""
    colors = np.repeat(images[..., None], 3, axis=3)
    edges = [YELLOW if frame else WHITE for frame in framed]
    tiles = [
        np.stack([np.pad(one[..., c], 2, constant_values=edge[c]) for c in range(3)], axis=2)
        for one, edge in zip(colors, edges, strict=True)
    ]
    lines = [tiles[n : n + COLUMNS] for n in range(0, len(tiles), COLUMNS)]
    return np.concatenate([np.concatenate(line, 1) for line in lines])


def table(runs: Frame) -> str:
    """Return a table of the spikes of each output unit, with a line for each variant."""
    lines = []
    for row in _rows(runs):
        label = row["example_labels"][0]
        before, after = (np.sum(row[f"spikes_{when}"], 0) for when in ("before", "after"))
        lines.append(
            [
                row["variant"],
                row["dataset"],
                row["network"],
                f"{row['epochs']} of {row['num_train']:,}",
                f"{row['accuracy']:.2f}",
                label,
                " ".join(map(str, before)),
                " ".join(map(str, after)),
            ]
        )
    head = [
        "variant",
        "data",
        "network",
        "epochs of examples",
        "last epoch (%)",
        "label shown",
        "output spikes before, by unit",
        "after",
    ]
    shown = runs[runs["spikes_after"].map(np.ndim) > 0]
    return f"{tables.markdown(head, lines)}\n\n{tables.origin(shown)}"


def lead(runs: Frame) -> Measured:
    """Return the spikes of the label's output unit minus those of the next most active unit."""
    (row,) = _rows(runs)
    label = row["example_labels"][0]
    spikes = list(np.sum(row["spikes_after"], 0))
    own = spikes.pop(label)
    ours = (
        f"unit {label} spikes at {own} of {row['num_steps']} steps, the next unit at "
        f"{max(spikes)}; {np.sum(row['spikes_before'])} spikes before training"
    )
    return Measured(ours, frames.exactly(own - max(spikes)))


def _rows(runs: Frame) -> list[Row]:
    """Return the newest row of each variant at its largest budget; older rows have no spikes."""
    runs = runs[runs["spikes_after"].map(np.ndim) > 0]
    found = frames.by(frames.largest(runs), "variant")
    return [frames.newest(found[name]) for name in VARIANTS if name in found]
