"""Pictures of a single run: learning curve, surrogates, and output spikes."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

import stbp_jax as sj
from stbp_jax import plots

matplotlib.use("Agg")
from matplotlib import pyplot as plt

STYLE = matplotlib.rc_context(
    {"figure.dpi": 140, "axes.spines.top": False, "axes.spines.right": False}
)


@STYLE
def learning_curve(folder: Path, title: str, history: sj.training.History) -> None:
    """Draw `learning_curve.png`; leaves of the history are `[E]`."""
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    plots.learning_curve(axes, history).set_title(title)
    figure.savefig(folder / "learning_curve.png")
    plt.close(figure)


@STYLE
def surrogates(folder: Path, width: float) -> None:
    """Draw `surrogates.png`: the paper's four curves, all as wide as the run's rectangle."""
    fwhm = sj.rectangular(width).fwhm
    families = (sj.rectangular, sj.polynomial, sj.sigmoid, sj.gaussian)
    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    plots.curves(axes, [sj.matched(family, fwhm) for family in families])
    axes.set_title("surrogate derivative")
    figure.savefig(folder / "surrogates.png")
    plt.close(figure)


@STYLE
def raster(folder: Path, measured: Mapping[str, np.ndarray]) -> None:
    """Draw `raster.png`: output spikes for one test example, before and after training.

    Args:
      folder: of the picture.
      measured: arrays of `measurements.measure`.
    """
    label = int(measured["label"])
    figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    for axes, name in zip(pair, ("before", "after"), strict=True):
        outs = np.nan_to_num(measured[name])  # a diverged network has NaN spikes
        plots.raster(axes, outs, label=label)
        axes.set_title(f"{name} training ({int(outs.sum())} spikes)", fontsize="medium")
    pair[0].set_ylabel("output unit")
    pair[1].set_ylabel("")
    figure.suptitle(f"Output spikes for a {label}", fontsize="medium")
    figure.savefig(folder / "raster.png")
    plt.close(figure)
