"""Figure, table and finding of the study, from its rows alone."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from experiments import sweeping
from experiments.study import Row

LITERAL = (1.0, 0.0)  # gain and bias as the paper prints them
WORKING = (0.05, 0.2)  # hidden rates that train, in the words of stbp_jax.presets


def draw(rows: list[Row], folder: Path) -> None:
    """`map.png`: hidden firing rate and first gradient norm over gain and bias."""
    rows = sweeping.largest(rows)
    row, seeds = rows[-1], len({r["seed"] for r in rows})
    figure = Figure(figsize=(12, 4.8), dpi=140, layout="constrained")
    panels = figure.subplots(1, 2)
    gains, biases, rates = _map(rows, "firing_rate")
    norms = _map(rows, "gradient_norm")[2]
    _heat(panels[0], gains, biases, rates, "hidden spikes per unit and step")
    _heat(panels[1], gains, biases, norms, "norm of the first layer's gradient")
    for (b, g), rate in np.ndenumerate(rates):
        if WORKING[0] <= rate <= WORKING[1]:
            panels[0].plot(g, b - 0.33, "v", color="k", ms=5)
    hparams = row["hparams"]
    figure.suptitle(
        f"{row['network']} on {row['dataset']} before any update: Vth {hparams['threshold']:g}, "
        f"decay {hparams['decay']:g}, rectangular a1 = {hparams['width']:g}, "
        f"T = {row['num_steps']}, {row['batch_size']} images, {seeds} seeds\n"
        "red frame: as printed in the paper; grey: exactly 0; triangle: 5 to 20 % of the units "
        "fire in a step",
        fontsize="medium",
    )
    figure.savefig(folder / "map.png")


def table(rows: list[Row]) -> str:
    """Hidden firing rate by gain and bias, 0 gradients marked, and the finding below."""
    return sweeping.by_budget(_table, rows)


def _table(rows: list[Row]) -> str:
    gains, biases, rates = _map(rows, "firing_rate")
    norms = _map(rows, "gradient_norm")[2]
    lines = [
        [f"{bias:g}", *(f"{r:.2g}{'' if n else ' †'}" for r, n in zip(*pair, strict=True))]
        for bias, *pair in zip(biases, rates, norms, strict=True)
    ]
    head = ["hidden firing rate: bias \\ gain", *(f"{gain:g}" for gain in gains)]
    return (
        f"{sweeping.markdown(head, lines)}\n\n† the first layer's gradient is exactly 0.\n\n"
        f"{finding(rows)}"
    )


def finding(rows: list[Row]) -> str:
    """What the literal point does, in a sentence."""
    gain, bias = LITERAL
    at = [r for r in rows if (r["hparams"]["gain"], r["hparams"]["bias"]) == LITERAL]
    if not at:
        return f"The literal point, gain {gain:g} and bias {bias:g}, is not among the cells."
    rate = np.mean([row["firing_rate"][0] for row in at])
    largest = max(max(row["gradient_norm"]) for row in at)
    learns = f"at most {largest:.1g}" if largest else "exactly 0 in every layer"
    return (
        f"Finding: as printed (gain {gain:g}, bias {bias:g}, Vth "
        f"{at[0]['hparams']['threshold']:g}), hidden units fire at {rate:.1g} per step and the "
        f"gradient is {learns} ({len(at)} seeds)."
    )


def _map(rows: list[Row], name: str) -> tuple[list[float], list[float], np.ndarray]:
    """Gains, biases, and the first layer's mean over seeds, `[biases, gains]`."""
    cells = sweeping.by(rows, "bias", "gain")
    biases, gains = (sorted(set(of)) for of in zip(*cells, strict=True))
    means = [
        [np.mean([row[name][0] for row in cells[bias, gain]]) for gain in gains] for bias in biases
    ]
    return gains, biases, np.array(means)


def _heat(axes: Any, gains: list[float], biases: list[float], values: np.ndarray, of: str) -> None:
    shown = np.ma.masked_equal(values, 0)
    axes.set_facecolor("0.8")
    picture = axes.imshow(shown, norm=LogNorm(), origin="lower", aspect="auto", cmap="viridis")
    axes.figure.colorbar(picture, ax=axes)
    middle = np.sqrt(shown.min() * shown.max()) if shown.count() else 1.0
    for (b, g), value in np.ndenumerate(values):
        colour = "w" if 0 < value < middle else "k"
        axes.text(g, b, f"{value:.2g}", ha="center", va="center", fontsize="x-small", color=colour)
    gain, bias = LITERAL
    if gain in gains and bias in biases:
        corner = gains.index(gain) - 0.5, biases.index(bias) - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, ec="r", lw=3, clip_on=False, zorder=3))
    axes.set_xticks(range(len(gains)), [f"{gain:g}" for gain in gains])
    axes.set_yticks(range(len(biases)), [f"{bias:g}" for bias in biases])
    axes.set(xlabel="gain: norm of a unit's incoming weights", ylabel="bias: b ~ U[0, this]")
    axes.set_title(of, fontsize="medium")
