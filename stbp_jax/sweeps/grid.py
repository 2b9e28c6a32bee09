"""Grids of hyper-parameter points."""

import itertools
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array


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
    listed = [
        dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())
    ]
    points = {name: jnp.asarray([point[name] for point in listed]) for name in columns}
    return points, listed


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
