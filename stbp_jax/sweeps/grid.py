"""Hyper-parameter points: grids, and points drawn at random."""

import itertools
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, KeyArray

Draw = Callable[[KeyArray, int], Any]
"""`(key, count) -> values [count]`, a distribution."""


def grid(**axes: Sequence[float]) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """All combinations of the given values, with the last axis fastest.

    Args:
      **axes: values of each hyper-parameter: a list, a tuple, a range or an array with one axis, of
        integers or floats.

    Returns:
      `(points, listed)`. `points` is for `sweep`, a dict with leaves `[H]`. `listed` is a list of H
      dicts, one for each point.

    Raises:
      TypeError: the values of an axis are not a sequence of concrete numbers. A single number, a
        string, a dict, a set and an iterator raise it, and so do strings or bools as values.
      ValueError: there are no axes, an axis has no values, or a value is NaN or does not fit the
        dtype of the points (float32 by default): it is too large, too near to 0, or an integer that
        would be rounded.

    >>> points, listed = grid(width=[0.1, 1.0], learning_rate=[1e-3])
    >>> points["width"], listed[1]
    (Array([0.1, 1. ], dtype=float32), {'width': 1.0, 'learning_rate': 0.001})
    """
    if not axes:
        raise ValueError("grid needs at least one axis, got none")
    columns = {name: _axis(name, values) for name, values in axes.items()}
    return _listed(columns, itertools.product(*columns.values()))


def random_points(
    key: KeyArray, count: int, **axes: Draw
) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """Points drawn at random, each hyper-parameter from its own distribution.

    Args:
      key: one key of any kind.
      count: number of points H.
      **axes: the distribution of each hyper-parameter, `(key, count) -> values [count]`, such as
        `uniform` and `log_uniform` make.

    Returns:
      `(points, listed)`, as `grid` returns them.

    Raises:
      TypeError: `key` is not one key, `count` is not an integer, a distribution is not a function,
        or it draws something else than numbers.
      ValueError: there are no axes, `count` is below 1, or a distribution draws another number of
        values, or NaN.

    >>> points, listed = random_points(
    ...     jax.random.key(0), 3, width=uniform(0.5, 2.0), rate=log_uniform(1e-4, 1e-2)
    ... )
    >>> points["rate"].shape, all(0.5 <= point["width"] < 2 for point in listed)
    ((3,), True)
    """
    arguments.key("key", key)
    count = arguments.count("count", count)
    if not axes:
        raise ValueError("random_points needs at least one axis, got none")
    columns = {}
    for one, (name, draw) in zip(jax.random.split(key, len(axes)), axes.items(), strict=True):
        arguments.function(name, draw, "a distribution (key, count) -> values, such as uniform")
        columns[name] = _axis(name, draw(one, count))
        if len(columns[name]) != count:
            raise ValueError(f"{name} must draw {count} values, got {len(columns[name])}")
    return _listed(columns, zip(*columns.values(), strict=True))


def uniform(low: float, high: float) -> Draw:
    """The uniform distribution from `low` to `high`.

    Raises:
      ValueError: `low` is not below `high`, or one of them is not finite.

    >>> uniform(1.0, 2.0)(jax.random.key(0), 4).shape
    (4,)
    """
    _range(low, high)
    return lambda key, count: jax.random.uniform(key, (count,), minval=low, maxval=high)


def log_uniform(low: float, high: float) -> Draw:
    """The distribution from `low` to `high` whose logarithm is uniform, for learning rates.

    Raises:
      ValueError: `low` is not above 0 and below `high`, or `high` is not finite.

    >>> bool((log_uniform(1e-4, 1e-2)(jax.random.key(0), 100) < 1e-3).mean() > 0.3)
    True
    """
    _range(low, high)
    if low <= 0:
        raise ValueError(f"low must be above 0, got {low!r}")
    between = uniform(math.log(low), math.log(high))
    return lambda key, count: jnp.exp(between(key, count))


def _range(low: float, high: float) -> None:
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low must be below high, and both finite, got {low!r} and {high!r}")


def _listed(
    columns: dict[str, list[float]], rows: Any
) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """The points as arrays and as dicts."""
    listed = [dict(zip(columns, values, strict=True)) for values in rows]
    return {name: jnp.asarray([point[name] for point in listed]) for name in columns}, listed


def _axis(name: str, values: Any) -> list[float]:
    """Checks the values of an axis and returns them as floats."""
    arrays = np.ndarray | jax.Array
    if not isinstance(values, list | tuple | range | arrays) or not arguments.concrete(values):
        raise TypeError(f"{name} must be a sequence of numbers such as [0.1, 1.0], got {values!r}")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a masked array: fill it")
    if isinstance(values, arrays) and values.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {list(values.shape)}")
    if len(values) == 0:
        raise ValueError(f"{name} must have at least one value, got none")
    column = [_number(name, value) for value in values]
    arguments.held(name, np.array(column))
    return column


def _number(name: str, value: Any) -> float:
    """Checks one value of an axis and returns it as a float."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and arguments.concrete(value):
        value = np.asarray(value)[()]
        number = np.ndim(value) == 0 and jnp.issubdtype(value.dtype, np.number)
        value = value.item() if number else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be numbers, got {value!r} among them")
    if isinstance(value, int) and not _exact(value):
        dtype = jnp.result_type(float)
        raise ValueError(f"{name} must hold integers that {dtype} keeps exactly, got {value}")
    found = float(value)
    if found != found:
        raise ValueError(f"{name} must be numbers, got {found} among them")
    return found


def _exact(value: int) -> bool:
    """Whether the default float holds an integer exactly."""
    try:
        return int(np.asarray(value, jnp.result_type(float)).item()) == value
    except OverflowError:
        return False
