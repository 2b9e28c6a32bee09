"""Picture, table and measure of the study, made from its rows."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from experiments.report import figures, frames, tables
from experiments.report.frames import Frame, Measured

LITERAL = (1.0, 0.0)  # gain and bias as the paper prints them
WORKING = (0.05, 0.2)  # hidden firing rates at which training works, from stbp_jax.presets


def draw(runs: Frame, folder: Path) -> None:
    """Draw `map.png`: firing rate and gradient norm of the hidden layer over gain and bias."""
    runs = frames.largest(runs)
    row = frames.newest(runs)
    figure, panels = figures.panels(2, size=(12, 4.8))
    rates, norms = _map(runs, "firing_rate"), _map(runs, "gradient_norm")
    _heat(panels[0], rates, "hidden spikes per unit and step")
    _heat(panels[1], norms, "norm of the first layer's gradient")
    for (b, g), rate in np.ndenumerate(rates.to_numpy()):
        if WORKING[0] <= rate <= WORKING[1]:
            panels[0].plot(g, b - 0.33, "v", color="k", ms=5)
    figure.suptitle(
        f"{row['network']} on {row['dataset']} before any update: Vth {row['threshold']:g}, "
        f"decay {row['decay']:g}, rectangular a1 = {row['width']:g}, "
        f"T = {row['num_steps']}, {row['batch_size']} images, {runs['seed'].nunique()} seeds\n"
        "red frame: as printed in the paper; gray: exactly 0; triangle: 5 to 20 % of the units "
        "fire in a step",
        fontsize="medium",
    )
    figures.save(figure, folder / "map.png")


def table(runs: Frame) -> str:
    """Return a table of the hidden firing rate by gain and bias, with marks on zero gradients."""
    return tables.by_budget(_table, runs)


def _table(runs: Frame) -> str:
    rates, norms = _map(runs, "firing_rate"), _map(runs, "gradient_norm")
    shown = rates.map("{:.2g}".format) + norms.map(lambda norm: "" if norm else " †")
    lines = [[f"{bias:g}", *line] for bias, line in zip(shown.index, shown.to_numpy(), strict=True)]
    head = ["hidden firing rate: bias \\ gain", *(f"{gain:g}" for gain in rates)]
    return f"{tables.markdown(head, lines)}\n\n† the first layer's gradient is exactly 0."


def printed_gradient(runs: Frame) -> Measured:
    """Return the largest gradient norm of all layers and seeds at the paper's gain and bias."""
    gain, bias = LITERAL
    at = runs[(runs["gain"] == gain) & (runs["bias"] == bias)]
    largest = float(at["gradient_norm"].map(max).max())
    ours = f"{largest:.2g}" if largest else "exactly 0 in every layer"
    return Measured(f"{ours}, {len(at)} seeds", frames.exactly(largest, len(at)))


def _map(runs: Frame, name: str) -> Frame:
    """Return the mean of the first layer over seeds, with a line per bias and a column per gain."""
    return runs.assign(first=runs[name].str[0]).pivot_table("first", "bias", "gain")


def _heat(axes: Axes, table: Frame, title: str) -> None:
    values = table.to_numpy()
    shown = np.ma.masked_equal(values, 0)
    axes.set_facecolor("0.8")
    axes.spines[["top", "right"]].set_visible(True)
    picture = axes.imshow(shown, norm=LogNorm(), origin="lower", aspect="auto", cmap="viridis")
    axes.figure.colorbar(picture, ax=axes)
    middle = np.sqrt(shown.min() * shown.max()) if shown.count() else 1.0
    for (b, g), value in np.ndenumerate(values):
        color = "w" if 0 < value < middle else "k"
        axes.text(g, b, f"{value:.2g}", ha="center", va="center", fontsize="x-small", color=color)
    gains, biases = (axis.to_numpy(float).tolist() for axis in (table.columns, table.index))
    gain, bias = LITERAL
    if gain in gains and bias in biases:
        corner = gains.index(gain) - 0.5, biases.index(bias) - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, ec="r", lw=3, clip_on=False, zorder=3))
    axes.set_xticks(range(len(gains)), [f"{gain:g}" for gain in gains])
    axes.set_yticks(range(len(biases)), [f"{bias:g}" for bias in biases])
    axes.set(xlabel="gain: norm of a unit's incoming weights", ylabel="bias: b ~ U[0, this]")
    axes.set_title(title, fontsize="medium")
