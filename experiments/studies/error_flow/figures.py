"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import numpy as np

from experiments.engine.rows import Row
from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured

METHODS = {"stbp": "STBP", "sdbp": "SDBP"}


def draw(runs: Frame, folder: Path) -> None:
    """Draw `flow.png`: the errors of all layers and steps, and the parts that they come from."""
    row = frames.newest(frames.largest(runs))
    flows = {name: _arrays(row, name) for name in METHODS}
    figure, panels = figures.panels(2, size=(11, 3.8), sharey=True)
    largest = max(of["error"].max() for of in flows.values())
    for axes, (name, label) in zip(panels, METHODS.items(), strict=True):
        flow = flows[name]
        layers, steps = flow["error"].shape
        for (n, t), size in np.ndenumerate(flow["error"]):
            axes.scatter(t + 1, n + 1, s=500 * size / largest, color="C0", zorder=3)
            if n + 1 < layers:
                _arrow(axes, (t + 1, n + 2), (t + 1, n + 1), flow["space"][n, t] / largest, "C1")
            else:
                _arrow(axes, (t + 1, n + 1.6), (t + 1, n + 1), flow["space"][n, t] / largest, "C1")
            if t + 1 < steps:
                _arrow(axes, (t + 2, n + 1), (t + 1, n + 1), flow["time"][n, t] / largest, "C3")
        axes.set_title(label, fontsize="medium")
        axes.set(xlabel="step t", ylim=(0.5, layers + 0.8), xlim=(0.3, steps + 0.7))
        names = [f"layer {n}" for n in range(1, layers)] + ["output layer"]
        axes.set_yticks(range(1, layers + 1), names)
    figure.suptitle(
        f"{figures.setting(runs)}: errors of a nine after training. Area of a dot: size of the "
        "error;\nwidth of an arrow: its part from the layer above or the loss (orange), and from "
        "the next step (red)",
        fontsize="medium",
    )
    figures.save(figure, folder / "flow.png")


def _arrays(row: Row, method: str) -> dict[str, np.ndarray]:
    return {part: np.array(sizes) for part, sizes in row["error_flow"][method].items()}


def _arrow(axes, start, end, width, color):  # type: ignore[no-untyped-def]
    if width > 0.005:
        style = {"arrowstyle": "-|>", "color": color, "lw": 0.5 + 6 * width, "alpha": 0.7}
        axes.annotate("", xy=end, xytext=start, arrowprops=style)


def table(runs: Frame) -> str:
    """Return a table of the mean sizes by layer and method."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    row, lines = frames.newest(runs), []
    for name, label in METHODS.items():
        flow = _arrays(row, name)
        layers = len(flow["error"])
        for n in range(layers):
            layer = "output layer" if n + 1 == layers else f"layer {n + 1}"
            means = [f"{flow[k][n].mean():.2e}" for k in ("error", "space", "time")]
            lines.append([label, layer, *means])
    head = ["method", "layer", "mean size of the error", "its part from space", "from time"]
    return tables.markdown(head, lines)


def share_of_time(runs: Frame) -> Measured:
    """Return the part from time over the part from space in the first layer, in percent."""
    flow = frames.newest(runs)["error_flow"]["stbp"]
    share = 100 * float(np.mean(flow["time"][0]) / np.mean(flow["space"][0]))
    return Measured(
        f"{share:.0f} % of the part from space, in the first layer", frames.exactly(share)
    )
