"""Pictures like the paper's Fig. 5: `python -m experiments.studies.nmnist_mlp.pictures`.

`frames.png` shows frames of 10 ms over the three saccades, with on and off events in separate rows.
`cloud.png` shows the events of one recording in space and time.
"""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.datasets import recordings
from experiments.engine.rows import STUDIES
from stbp_jax.data import NMNIST_SHAPE, PAD, unpack_events

matplotlib.use("Agg")

INDEX = 0  # the recording shows a five
SHOWN = range(2, 30, 3)  # frames
COLORS = ("C0", "C3")  # off, on


def main() -> None:
    """Draw both pictures."""
    matplotlib.rcParams.update({"axes.spines.top": False, "axes.spines.right": False})
    recording = recordings.subset()[0].events[INDEX]
    folder = STUDIES / "nmnist_mlp"
    frames(recording).savefig(folder / "frames.png", metadata={"Software": None})
    cloud(recording).savefig(folder / "cloud.png", metadata={"Software": None})


def frames(recording: np.ndarray) -> Figure:
    """Draw the number of events of each pixel in frames of 10 ms, on above off."""
    times, addresses = np.divmod(
        recording[recording != PAD].astype(np.int64), math.prod(NMNIST_SHAPE)
    )
    counts = np.zeros((times.max() // 10_000 + 1, math.prod(NMNIST_SHAPE)))
    np.add.at(counts, (times // 10_000, addresses), 1)
    counts = counts.reshape(-1, *NMNIST_SHAPE)
    figure = Figure(figsize=(10, 2.5), dpi=120, layout="constrained")
    grid = figure.subplots(2, len(SHOWN))
    for line, polarity, name in zip(grid, (1, 0), ("on", "off"), strict=True):
        for axes, step in zip(line, SHOWN, strict=True):
            axes.imshow(counts[step, ..., polarity], cmap="gray_r", vmin=0, vmax=3)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for axes, step in zip(grid[0], SHOWN, strict=True):
        axes.set_title(f"{10 * step} to {10 * step + 10} ms", fontsize="x-small")
    return figure


def cloud(recording: np.ndarray) -> Figure:
    """Draw events in space and time, and both coordinates over time."""
    events = unpack_events(recording)
    ms = events.times / 1000
    figure = Figure(figsize=(10, 4), dpi=90, layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    left, right = halves
    space = left.add_subplot(projection="3d")
    space.set(xlabel="ms", ylabel="x", zlabel="y", zlim=(NMNIST_SHAPE[0], 0))
    space.set_box_aspect((2, 1, 1), zoom=0.9)
    panels = right.subplots(2, 1, sharex=True)
    for polarity, (color, name) in enumerate(zip(COLORS, ("off", "on"), strict=True)):
        own = events.polarity == polarity
        space.scatter(ms[own], events.x[own], events.y[own], s=1, color=color, label=name, lw=0)
        for axes, along in zip(panels, (events.x, events.y), strict=True):
            axes.plot(ms[own], along[own], ".", color=color, ms=1)
    space.legend(frameon=False, markerscale=5, loc="upper left")
    panels[0].set_ylabel("x")
    panels[1].set(ylabel="y", xlabel="ms", ylim=(NMNIST_SHAPE[0], 0))
    return figure


if __name__ == "__main__":
    main()
