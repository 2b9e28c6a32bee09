"""Pictures of spikes, curves and runs; each function draws into given Axes and returns them.

Decides how they look. Leaves out figures and files: the caller makes and saves them. Needs
matplotlib, `pip install stbp_jax[plots]`.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from stbp_jax.surrogates import Surrogate

Axes = Any  # matplotlib.axes.Axes, which the library does not need to import


def raster(axes: Axes, spikes: Any, *, label: int | None = None) -> Axes:
    """One dot a spike: time to the right, units upwards; the paper's Fig. 4.

    Args:
      axes: where to draw.
      spikes: `[T, N]`, of one example.
      label: a unit to draw in another colour, the right class of an output layer.

    Returns:
      The same axes.

    Raises:
      ValueError: spikes of another rank.
    """
    spikes = np.asarray(spikes)
    if spikes.ndim != 2:
        raise ValueError(f"spikes must have shape [T, N], got {list(spikes.shape)}")
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
    """The surrogates' curves over the distance to the threshold; the paper's Fig. 3.

    Args:
      axes: where to draw.
      surrogates: which.
      extent: half the range, in units of the membrane.

    Returns:
      The same axes.
    """
    distance = jnp.linspace(-extent, extent, 1001)
    for s in surrogates:
        label = f"{s.family.name}({float(s.width):.3g}), FWHM {float(s.fwhm):.3g}"
        axes.plot(distance, np.asarray(s.derivative(distance)), label=label)
    axes.set(xlabel="u - Vth", ylabel="h(u - Vth)", xlim=(-extent, extent))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    return axes


def learning_curve(axes: Axes, history: Any) -> Axes:
    """Error rate over epochs, in percent on a logarithmic axis.

    Args:
      axes: where to draw.
      history: a `History` with leaves `[E]`.

    Returns:
      The same axes.
    """
    train = 100 * (1 - np.asarray(history.train_accuracy, np.float64))
    test = 100 * (1 - np.asarray(history.test_accuracy, np.float64))
    number = np.arange(1, len(test) + 1)
    # A batch without errors has no place on a logarithmic axis; it breaks the line.
    axes.plot(number, np.where(train > 0, train, np.nan), color="0.6", label="training batches")
    axes.plot(number, np.where(test > 0, test, np.nan), color="C3", label="test")
    axes.set(xlabel="epoch", ylabel="error (%)", yscale="log")
    axes.legend(frameon=False, fontsize="small")
    return axes
