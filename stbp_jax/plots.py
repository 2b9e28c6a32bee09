"""Plots of spikes, membranes, surrogates and runs.

Each function draws into given Axes and returns them; the caller makes and saves the figure. The
module needs matplotlib, `pip install matplotlib`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Real

from stbp_jax import arguments
from stbp_jax.core import AnyArray
from stbp_jax.surrogates import Surrogate
from stbp_jax.training import History

Axes = Any
"""`matplotlib.axes.Axes`, which the library does not need to import."""


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

    >>> from matplotlib.figure import Figure
    >>> axes = raster(Figure().subplots(), np.eye(5, 3), label=2)

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
    axes.locator_params(axis="x", integer=True)
    if spikes.shape[1] <= 20:
        axes.set_yticks(range(spikes.shape[1]))
    return axes


def membranes(axes: Axes, membrane: Any, *, spikes: Any = None, threshold: Any = None) -> Axes:
    """Draws a line for the membrane of each unit, with a dot at each of its spikes.

    Args:
      axes: the matplotlib Axes to draw into.
      membrane: `[T, N]`, membranes of one example. NaN is not drawn.
      spikes: `[T, N]`, their spikes; None for no dots.
      threshold: a number, drawn as a dashed line; None for no line.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes, `membrane` or `spikes` is not an array of numbers, or
        `threshold` is not a number.
      ValueError: `membrane` has a wrong rank, no steps or no units, or `spikes` has another shape.

    >>> from matplotlib.figure import Figure
    >>> axes = membranes(Figure().subplots(), np.linspace(0, 1, 10).reshape(5, 2), threshold=0.5)
    """
    membrane = _numbers("membrane", membrane).astype(np.float64)
    if membrane.ndim != 2 or not membrane.size:
        raise ValueError(
            f"membrane must have shape [T, N], at least one each, got {list(membrane.shape)}"
        )
    fired = np.zeros(membrane.shape) if spikes is None else _numbers("spikes", spikes)
    if fired.shape != membrane.shape:
        raise ValueError(
            f"spikes must have the shape of membrane, {list(membrane.shape)}, got "
            f"{list(fired.shape)}"
        )
    if threshold is not None:
        arguments.real("threshold", threshold)
    _axes(axes)
    steps = np.arange(len(membrane))
    for unit, (line, dots) in enumerate(zip(membrane.T, fired.T, strict=True)):
        color = f"C{unit % 10}"
        axes.plot(steps, line, color=color, linewidth=1)
        axes.scatter(steps[dots != 0], line[dots != 0], color=color, s=12)
    if threshold is not None:
        axes.axhline(float(threshold), color="0.6", linestyle="--", linewidth=1)
    axes.set(xlim=(-0.5, len(membrane) - 0.5), xlabel="step", ylabel="membrane")
    axes.locator_params(axis="x", integer=True)
    return axes


def populations(states: Any) -> dict[str, Any]:
    """The populations of a record that have membranes and spikes, by their names.

    A state counts if it has both fields, `membrane` and `spikes`; a dict has none.

    Args:
      states: from `record`.

    Returns:
      A dict from the path of a state, such as `"0"` or `"1/neuron"`, to the state, in the order of
      the layers.

    >>> from stbp_jax import dense, lif, record, serial
    >>> net = serial(dense(8, lif()), dense(3, lif()))
    >>> params, _ = net.init(jax.random.key(0), (4,))
    >>> list(populations(record(net, params, jnp.ones((5, 2, 4)))[0]))
    ['0', '1']
    """
    found = jax.tree.leaves_with_path(states, is_leaf=_spikes)
    names = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in found)
    return {name: state for name, (_, state) in zip(names, found, strict=True) if _spikes(state)}


def record(
    axes: Sequence[Axes], states: Any, *, example: int = 0, units: Sequence[int] = range(10)
) -> Sequence[Axes]:
    """Draws membranes and spikes of a record, one population in each of the axes.

    Args:
      axes: a list or array of matplotlib Axes, one for each entry of `populations(states)`.
      states: from `record`.
      example: index of the example in the batch.
      units: indices of the units to draw, in the flat order of a population; those that it does not
        have are left out.

    Returns:
      The same axes.

    Raises:
      TypeError: an entry of `axes` is not Axes, or `example` or a unit is not an integer.
      ValueError: there are no populations, or more or fewer axes than populations; `example` is not
        in the batch.

    >>> import stbp_jax as sj
    >>> from matplotlib.figure import Figure
    >>> net = sj.serial(sj.dense(8, sj.lif()), sj.dense(3, sj.lif()))
    >>> params, _ = net.init(jax.random.key(0), (4,))
    >>> states, _ = sj.record(net, params, jnp.ones((5, 2, 4)))
    >>> axes = record(Figure().subplots(2), states)
    """
    example = arguments.count("example", example, least=0)
    chosen = [arguments.count("units", unit, least=0) for unit in units]
    found = populations(states)
    if not found:
        raise ValueError(
            "states must hold membranes and spikes, as record returns them: NamedTuples with the "
            "fields membrane and spikes, got none"
        )
    many = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(many) != len(found):
        raise ValueError(
            f"axes must be one for each of the {len(found)} populations, got {len(many)}"
        )
    for one, (name, state) in zip(many, found.items(), strict=True):
        if example >= state.membrane.shape[1]:
            raise ValueError(
                f"example must be in the batch of {state.membrane.shape[1]}, got {example}"
            )
        parts = [np.asarray(x)[:, example] for x in (state.membrane, state.spikes)]
        membrane, spikes = (part.reshape(len(part), -1) for part in parts)
        here = [unit for unit in chosen if unit < membrane.shape[1]]
        membranes(one, membrane[:, here], spikes=spikes[:, here])
        one.set_title(name or "population", fontsize="small")
    return axes


def _spikes(state: Any) -> bool:
    return hasattr(state, "membrane") and hasattr(state, "spikes")


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

    >>> import stbp_jax as sj
    >>> from matplotlib.figure import Figure
    >>> axes = curves(Figure().subplots(), [sj.rectangular(1.0), sj.gaussian(0.4)])

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
    """Draws the headline metric over epochs; an accuracy as the error rate on a logarithmic axis.

    Args:
      axes: the matplotlib Axes to draw into.
      history: a `History` of one run, with leaves `[E]`. NaN is not drawn. Its headline is the
        first metric, or the loss if there is none.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes, `history` is not a `History`, or its metrics are not numbers.
      ValueError: the metrics have a wrong rank, no epochs or different lengths, or an accuracy lies
        outside [0, 1].

    >>> from collections import OrderedDict
    >>> from matplotlib.figure import Figure
    >>> from stbp_jax.training import Evaluation
    >>> zeros, accuracy = np.zeros(3), OrderedDict(accuracy=np.array([0.5, 0.8, 0.9]))
    >>> history = History(zeros, accuracy, Evaluation(zeros, accuracy, *[zeros] * 4), zeros)
    >>> [line.get_label() for line in learning_curve(Figure().subplots(), history).lines]
    ['training batches', 'test']
    """
    if not isinstance(history, History):
        raise TypeError(f"history must be a History, got {type(history).__name__}")
    headline = next(iter(history.metrics), "loss")
    train = _over_epochs(f"history {headline}", history.headline)
    test = _over_epochs(f"history.test {headline}", history.test.headline)
    if len(train) != len(test):
        raise ValueError(
            f"history must have equally many epochs in both metrics, got {len(train)} and "
            f"{len(test)}"
        )
    _axes(axes)
    label = {"ylabel": headline}
    if headline == "accuracy":
        train = _error_rate("history accuracy", train)
        test = _error_rate("history.test accuracy", test)
        label = {"ylabel": "error (%)", "yscale": "log"}
    number = np.arange(1, len(test) + 1)
    axes.plot(number, train, color="0.6", label="training batches")
    axes.plot(number, test, color="C3", label="test")
    axes.set(xlabel="epoch", **label)
    axes.locator_params(axis="x", integer=True)
    if headline == "accuracy":
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:.0e}"[0] in "25" else "")
    axes.legend(frameon=False, fontsize="small")
    return axes


def bands(
    axes: Axes, rows: Sequence[Mapping[str, float]], x: str, *, by: str | None = None
) -> Axes:
    """Draws the results of a sweep over one number, with a band of a standard deviation.

    Args:
      axes: the matplotlib Axes to draw into.
      rows: dicts, as `sweeps.summarize` returns them.
      x: the name of the number on the horizontal axis.
      by: the name of a number with a line for each of its values; None for one line.

    Returns:
      The same axes.

    Raises:
      TypeError: `axes` are not Axes.
      ValueError: there are no rows, or a row lacks a name.

    >>> from matplotlib.figure import Figure
    >>> rows = [{"width": w, "last_mean": 0.9, "last_sd": 0.01} for w in (0.5, 1.0)]
    >>> len(bands(Figure().subplots(), rows, "width").lines)
    1
    """
    _axes(axes)
    _columns(rows, x, "last_mean", "last_sd", *([] if by is None else [by]))
    for value in dict.fromkeys(None if by is None else row[by] for row in rows):
        own = [row for row in rows if by is None or row[by] == value]
        at, mean, sd = _columns(sorted(own, key=lambda row: row[x]), x, "last_mean", "last_sd")
        (line,) = axes.plot(at, mean, marker="o", label=None if by is None else f"{by} {value:g}")
        axes.fill_between(at, mean - sd, mean + sd, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel=x, ylabel="last epoch, mean and s.d.")
    if by is not None:
        axes.legend(frameon=False, fontsize="small")
    return axes


def heat_map(axes: Axes, rows: Sequence[Mapping[str, float]], x: str, y: str) -> Axes:
    """Draws the mean results of a sweep over two numbers as colors; a point without a run is white.

    Args:
      axes: the matplotlib Axes to draw into.
      rows: dicts, as `sweeps.summarize` returns them.
      x: the name of the number on the horizontal axis.
      y: the name of the number on the vertical axis.

    Returns:
      The same axes; `figure.colorbar(axes.images[0])` adds the scale.

    Raises:
      TypeError: `axes` are not Axes.
      ValueError: there are no rows, a row lacks a name, or two rows are at one place.

    >>> from matplotlib.figure import Figure
    >>> rows = [{"a": a, "b": b, "last_mean": a * b} for a in (1.0, 2.0) for b in (3.0, 4.0)]
    >>> heat_map(Figure().subplots(), rows, "a", "b").images[0].get_array().shape
    (2, 2)
    """
    _axes(axes)
    along, up, means = _columns(rows, x, y, "last_mean")
    if len(set(zip(along, up, strict=True))) < len(rows):
        raise ValueError(f"rows must have one row for each {x} and {y}, got several at one place")
    columns, lines = np.unique(along), np.unique(up)
    shown = np.full((len(lines), len(columns)), np.nan)
    shown[np.searchsorted(lines, up), np.searchsorted(columns, along)] = means
    axes.imshow(shown, origin="lower", aspect="auto")
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(lines)), [f"{value:g}" for value in lines])
    axes.set(xlabel=x, ylabel=y)
    return axes


def _columns(rows: Sequence[Mapping[str, float]], *names: str) -> list[np.ndarray]:
    """Numbers of all rows by their names."""
    if not rows:
        raise ValueError("rows must be the dicts of summarize, got none")
    for name in names:
        if any(name not in row for row in rows):
            raise ValueError(f"rows must have {name!r}, got {sorted(rows[0])}")
    return [np.array([row[name] for row in rows], np.float64) for name in names]


def _over_epochs(name: str, given: Any) -> np.ndarray:
    """Checks the numbers of all epochs, `[E]`."""
    values = _numbers(name, given).astype(np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"{name} must have shape [E], of one run with at least one epoch, got "
            f"{list(values.shape)}; a run of a sweep is jax.tree.map(lambda x: x[h, s], history)"
        )
    return values


def _error_rate(name: str, accuracy: np.ndarray) -> np.ndarray:
    """Accuracies in [0, 1] as errors in percent."""
    if ((accuracy < 0) | (accuracy > 1)).any():  # false for NaN
        raise ValueError(
            f"{name} must lie in [0, 1], got values from {np.nanmin(accuracy):g} to "
            f"{np.nanmax(accuracy):g}"
        )
    error = 100 * (1 - accuracy)
    # An error of 0 has no place on a logarithmic axis, so it interrupts the line.
    return np.where(error > 0, error, np.nan)


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
