"""Plots of spikes, surrogates and runs.

Each function draws into given Axes and returns them; the caller makes and saves the figure. The
module needs matplotlib, `pip install stbp_jax[plots]`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray
from stbp_jax.surrogates import Surrogate
from stbp_jax.training import History

Axes = Any  # matplotlib.axes.Axes, which the library does not need to import


def raster(
    axes: Axes,
    spikes: Real[AnyArray, "T N"] | Bool[AnyArray, "T N"],
    *,
    label: int | None = None,
) -> Axes:
    """Draws a raster plot: one mark per spike, with steps on the x axis and units on the y axis.

    Args:
      axes: the matplotlib Axes to draw into.
      spikes: `[T, N]`, spikes of one example.
      label: index of a unit to draw in another color, such as the correct class of an output layer.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes, `spikes` is not an array of numbers, or `label` is not an
        integer.
      ValueError: `spikes` has a wrong rank, no steps, no units or NaN, or `label` is not the index
        of a unit.

    Source: Wu et al. 2018, Fig. 4.
    """
    spikes = _numbers("spikes", spikes)
    if spikes.ndim != 2 or not spikes.size:
        raise ValueError(
            f"spikes must have shape [T, N], at least one each, got {list(spikes.shape)}"
        )
    if np.isnan(spikes).any():
        raise ValueError(f"spikes must be numbers, got {int(np.isnan(spikes).sum())} NaN")
    if label is not None:
        label = arguments.count("label", label, least=0)
        if label >= spikes.shape[1]:
            raise ValueError(f"label must be a unit in [0, {spikes.shape[1]}), got {label}")
    _axes(axes)
    steps, units = np.nonzero(spikes)
    right = units == label
    axes.scatter(steps[~right], units[~right], marker="|", s=60, color="0.45")
    axes.scatter(steps[right], units[right], marker="|", s=60, color="C3")
    axes.set(
        xlim=(-0.5, spikes.shape[0] - 0.5),
        ylim=(-0.5, spikes.shape[1] - 0.5),
        xlabel="step",
        ylabel="unit",
    )
    if spikes.shape[1] <= 20:
        axes.set_yticks(range(spikes.shape[1]))
    return axes


def curves(axes: Axes, surrogates: Sequence[Surrogate], *, extent: float = 3.0) -> Axes:
    """Draws the curves h(u - Vth) of surrogates over the distance to the threshold.

    Args:
      axes: the matplotlib Axes to draw into.
      surrogates: a list or tuple of surrogates.
      extent: half of the plotted range, in units of the membrane.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes, `surrogates` is not a list of surrogates, or `extent` is not a
        number.
      ValueError: there is no surrogate, a surrogate is a stack of several, or `extent` is not
        positive and finite.

    Source: Wu et al. 2018, Fig. 3.
    """
    if not isinstance(surrogates, list | tuple) or not all(
        isinstance(s, Surrogate) for s in surrogates
    ):
        raise TypeError(f"surrogates must be a list of surrogates, got {surrogates!r}")
    if not surrogates:
        raise ValueError("surrogates must hold at least one surrogate, got none")
    for s in surrogates:
        for width in jax.tree.leaves(s.width):
            arguments.scalar("width of each surrogate", width)
    arguments.real("extent", extent)
    if not 0 < extent < np.inf:
        raise ValueError(f"extent must be positive and finite, got {extent}")
    _axes(axes)
    distance = jnp.linspace(-extent, extent, 1001)
    for s in surrogates:
        widths = ", ".join(f"{float(width):.3g}" for width in jax.tree.leaves(s.width))
        label = f"{s.family.name}({widths}), FWHM {float(s.fwhm):.3g}"
        axes.plot(distance, np.asarray(s.derivative(distance)), label=label)
    axes.set(xlabel="u - Vth", ylabel="h(u - Vth)", xlim=(-extent, extent))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return axes


def learning_curve(axes: Axes, history: History) -> Axes:
    """Draws the error rate over epochs, in percent on a logarithmic axis.

    Args:
      axes: the matplotlib Axes to draw into.
      history: a `History` of one run, with leaves `[E]`. NaN is not drawn.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes, `history` is not a `History`, or its accuracies are not
        numbers.
      ValueError: the accuracies have a wrong rank, no epochs, different lengths, or values outside
        [0, 1].
    """
    if not isinstance(history, History):
        raise TypeError(f"history must be a History, got {type(history).__name__}")
    found = []
    for name, given in (
        ("train_accuracy", history.train_accuracy),
        ("test.accuracy", history.test.accuracy),
    ):
        accuracy = _numbers(f"history.{name}", given).astype(np.float64)
        if accuracy.ndim != 1 or not accuracy.size:
            raise ValueError(
                f"history.{name} must have shape [E], of one run with at least one epoch, got "
                f"{list(accuracy.shape)}"
            )
        if ((accuracy < 0) | (accuracy > 1)).any():  # false for NaN
            raise ValueError(
                f"history.{name} must lie in [0, 1], got values from {np.nanmin(accuracy):g} to "
                f"{np.nanmax(accuracy):g}"
            )
        found.append(100 * (1 - accuracy))
    train, test = found
    if len(train) != len(test):
        raise ValueError(
            f"history must have equally many epochs in both accuracies, got {len(train)} and "
            f"{len(test)}"
        )
    _axes(axes)
    number = np.arange(1, len(test) + 1)
    # An error of 0 has no place on a logarithmic axis, so it interrupts the line.
    axes.plot(number, np.where(train > 0, train, np.nan), color="0.6", label="training batches")
    axes.plot(number, np.where(test > 0, test, np.nan), color="C3", label="test")
    axes.set(xlabel="epoch", ylabel="error (%)", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    return axes


def _axes(axes: Any) -> None:
    """Raises unless `axes` can be drawn into; an array of Axes from `subplots(2)` cannot."""
    if not (hasattr(axes, "plot") and hasattr(axes, "scatter") and hasattr(axes, "set")):
        raise TypeError(f"axes must be one Axes of matplotlib, got {type(axes).__name__}")


def _numbers(name: str, x: Any) -> np.ndarray:
    """Checks an array or list of real numbers and returns it as a NumPy array."""
    values = np.asarray(x) if isinstance(x, list | tuple) else x
    arguments.array(name, values)
    if jnp.issubdtype(values.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got dtype {values.dtype}")
    return np.asarray(values)
