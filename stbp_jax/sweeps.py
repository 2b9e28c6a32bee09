"""Grids of runs in one compiled program.

The order of axes: H hyper-parameter points, then S seeds, then what a run tells. What a run is, is
left to `train`: any `(key, hparams, train_set, test_set) -> (state, history)` will do.
"""

import itertools
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import checks
from stbp_jax.core import Array, PyTree


def grid(**axes: Sequence[float]) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """All combinations of the given values, the last axis fastest.

    Args:
      **axes: values of each hyper-parameter: a list, a tuple, a range or an array of one axis, of
        integers or floats.

    Returns:
      `(points, rows)`: points for `run`, each leaf `[H]`; rows, the same as one dict a point.

    Raises:
      TypeError: values that are no sequence of numbers: a lone number, a string, a dict, a set, an
        iterator; strings or bools among them; traced ones.
      ValueError: no axes, or one without values; NaN; a number that the type of the points cannot
        hold, by default float32: too large, too near to 0, or an integer that would be rounded.

    >>> points, rows = grid(width=[0.1, 1.0], learning_rate=[1e-3])
    >>> points["width"], rows[1]
    (Array([0.1, 1. ], dtype=float32), {'width': 1.0, 'learning_rate': 0.001})
    """
    if not axes:
        raise ValueError("grid needs at least one axis, got none")
    columns = {name: _axis(name, values) for name, values in axes.items()}
    rows = [
        dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())
    ]
    points = {name: jnp.asarray([row[name] for row in rows]) for name in columns}
    return points, rows


def _axis(name: str, values: Any) -> list[float]:
    """The values of an axis as floats, all of them numbers that the points can hold."""
    arrays = np.ndarray | jax.Array
    if not isinstance(values, list | tuple | range | arrays) or not checks.concrete(values):
        raise TypeError(f"{name} must be a sequence of numbers such as [0.1, 1.0], got {values!r}")
    if isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array without a mask, got a masked array: fill it")
    if isinstance(values, arrays) and values.ndim != 1:
        raise ValueError(f"{name} must have one axis, got shape {list(values.shape)}")
    if len(values) == 0:
        raise ValueError(f"{name} must have at least one value, got none")
    column = [_number(name, value) for value in values]
    checks.held(name, np.array(column))
    return column


def _number(name: str, value: Any) -> float:
    """A number of a grid as a float."""
    if isinstance(value, np.generic | np.ndarray | jax.Array) and checks.concrete(value):
        value = np.asarray(value)[()]
        number = np.ndim(value) == 0 and jnp.issubdtype(value.dtype, np.number)
        value = value.item() if number else value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be numbers, got {value!r} among them")
    if isinstance(value, int) and not _exact(value):
        raise ValueError(f"{name} must hold integers that stay as they are, got {value}")
    found = float(value)
    if found != found:
        raise ValueError(f"{name} must be numbers, got {found} among them")
    return found


def _exact(value: int) -> bool:
    """Whether an integer keeps its value among the floats of the computation."""
    try:
        return int(np.asarray(value, jnp.result_type(float)).item()) == value
    except OverflowError:
        return False


def sweep(
    train: Callable[[Array, PyTree, Any, Any], tuple[Any, PyTree]],
    keys: Array,
    points: PyTree,
    train_set: Any,
    test_set: Any,
    *,
    chunk: int | None = None,
) -> PyTree:
    """Trains every point with every key, all in one compiled program.

    Every point is looked at before anything is compiled, unless it is traced. Of the function that
    `make_train` makes, jitted or not, `check(hparams, train_set)` is called for each, which takes
    about a millisecond. Any other function is traced with each point, which takes parts of a
    second; an attribute `check` of its own spares that.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, history)`, `make_train` makes one.
      keys: `[S]`, one a seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: given to all runs.
      test_set: given to all runs.
      chunk: at most so many points at once, where memory is short; None takes all.

    Returns:
      The histories, each leaf `[H, S, ...]`.

    Raises:
      TypeError, ValueError: as `train`, for each point and for the sets, before anything is
        computed; a note of the error says for which point.
      TypeError: keys, points or sets that are not what is said above, a list of dicts for one.
      ValueError: leaves of `points` without axis H or that differ in it, no points, no keys, a
        64-bit number that a 32-bit computation would change; `chunk` below 1.
    """
    count = _count(points)
    _check_keys(keys)
    for name, data in (("train_set", train_set), ("test_set", test_set)):
        if not isinstance(data, tuple | list):
            raise TypeError(f"{name} must be a tuple of arrays, got {type(data).__name__}")
    chunk = count if chunk is None else min(checks.count("chunk", chunk), count)
    _check_points(train, keys[0], points, count, (train_set, test_set))

    def history(key: Array, hparams: PyTree, *sets: Any) -> PyTree:
        return train(key, hparams, *sets)[1]

    over_keys = jax.vmap(history, (0, None, None, None))
    cells = jax.jit(jax.vmap(over_keys, (None, 0, None, None)))
    train_set, test_set = jax.device_put((tuple(train_set), tuple(test_set)))
    parts = []
    for first in range(0, count, chunk):
        # The last chunk is filled up with its own end, so that one program serves all.
        rows = np.minimum(np.arange(first, first + chunk), count - 1)
        chosen = jax.tree.map(operator.itemgetter(rows), points)
        parts.append(cells(keys, chosen, train_set, test_set))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def _count(points: PyTree) -> int:
    """H of the points, once their leaves are found to be arrays that share it."""
    for path, leaf in jax.tree.leaves_with_path(points):
        name = f"points{jax.tree_util.keystr(path)}"
        if isinstance(leaf, float | int) or not getattr(leaf, "shape", True):
            raise ValueError(
                f"points must have leaves [H, ...], got a scalar at {name}; the first of the two "
                "that `grid` returns has them"
            )
        if not isinstance(leaf, np.ndarray | jax.Array) or isinstance(leaf, np.ma.MaskedArray):
            raise TypeError(f"{name} must be an array [H, ...] without a mask, got {leaf!r}")
        if leaf.dtype.kind in "OSU":
            raise TypeError(f"{name} must be an array of numbers, got dtype {leaf.dtype}")
        checks.held(name, leaf)
    lengths = {len(leaf) for leaf in jax.tree.leaves(points)}
    if len(lengths) != 1:
        raise ValueError(f"points must share one length H, got {sorted(lengths)}")
    (count,) = lengths
    return checks.count("H of points", count)


def _check_keys(keys: Any) -> None:
    """One key a seed, or whatever `train` takes for one."""
    if not isinstance(keys, np.ndarray | jax.Array):
        raise TypeError(f"keys must be an array [S] of keys, got {type(keys).__name__}")
    if keys.ndim == 0 or len(keys) == 0:
        raise ValueError(f"keys must have shape [S] with S >= 1, got {list(keys.shape)}")


def _check_points(
    train: Callable[..., Any], key: Array, points: PyTree, count: int, sets: tuple[Any, Any]
) -> None:
    """Refuses what `train` does not take, while values are known; compiles and computes nothing."""
    # Inside jit it would see traced sets alone.
    inner: Any = train
    if isinstance(inner, jax.stages.Wrapped):
        inner = getattr(inner, "__wrapped__", inner)
    if not callable(inner):
        raise TypeError(f"train must be callable, got {inner!r}")
    # Wrappers inherit attributes, though they may take other hyper-parameters.
    check = None if hasattr(inner, "__wrapped__") else getattr(inner, "check", None)

    def at(h: int) -> PyTree:
        return jax.tree.map(operator.itemgetter(h), points)

    # Traced once with the sets as they are: a bad one is refused by this.
    jax.eval_shape(lambda: inner(key, at(0), *sets))
    known = all(map(checks.concrete, jax.tree.leaves(points)))
    for h in range(1, count if known else 1):
        point = at(h)
        try:
            if check is not None:
                check(point, sets[0])
            else:
                jax.eval_shape(lambda *sets, point=point: inner(key, point, *sets), *sets)
        except Exception as error:
            error.add_note(f"at point {h} of {count}: {point}")
            raise


# What `summarize` writes into a row.
_SUMMARY = ("seeds", "diverged", "last_mean", "last_sd", "best_mean", "best_sd")


def summarize(history: Any, rows: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """One line a point: mean and standard deviation over seeds of the test accuracy.

    A run has diverged if in its last epoch an update is not finite, or the loss, the test loss or
    the test accuracy. Means and deviations are those of the runs that have not. A single update
    that the optimizer skips (`optax.apply_if_finite`) in an earlier epoch is no divergence.

    Args:
      history: with `test_accuracy [H, S, E]`, as `run` gives it; `loss`, `test_loss` and
        `non_finite_updates`, of the same shape, are read where it has them.
      rows: `[H]`, as `grid` gives them.

    Returns:
      Each row with `seeds`, how many of them `diverged`, and `last_mean`, `last_sd` (last epoch)
      and `best_mean`, `best_sd` (each run's best epoch, chosen on the test set as the literature
      does). A mean of no run is NaN, and so is a deviation of one or none.

    Raises:
      ValueError: `rows` of another length than H, or with a name that a line uses itself; a history
        without points, seeds or epochs.
      TypeError: `rows` that are no dicts.
    """
    accuracy = np.asarray(history.test_accuracy, np.float64)
    if accuracy.ndim != 3 or len(rows) != len(accuracy):
        raise ValueError(
            f"rows must have one entry for each point of test_accuracy [H, S, E], got {len(rows)} "
            f"and {list(accuracy.shape)}"
        )
    if 0 in accuracy.shape:
        raise ValueError(
            f"test_accuracy [H, S, E] must have at least one of each, got {list(accuracy.shape)}"
        )
    for row in rows:
        if not isinstance(row, Mapping):
            raise TypeError(f"rows must be dicts, got {row!r} among them")
        taken = [name for name in row if name in _SUMMARY]
        if taken:
            raise ValueError(f"rows must not have entries that a line has itself, got {taken}")
    diverged = _diverged(history, accuracy)
    return [
        {
            **row,
            "seeds": len(lost),
            "diverged": int(lost.sum()),
            **_moments("last", cell[~lost, -1]),
            **_moments("best", cell[~lost].max(axis=1)),
        }
        for row, cell, lost in zip(rows, accuracy, diverged, strict=True)
    ]


def _diverged(history: Any, accuracy: np.ndarray) -> np.ndarray:
    """Which runs have: `[H, S]`."""
    lost = ~np.isfinite(accuracy[..., -1])
    for name in ("loss", "test_loss"):
        losses = getattr(history, name, None)
        if losses is not None:
            lost = lost | ~np.isfinite(np.asarray(losses, np.float64)[..., -1])
    updates = getattr(history, "non_finite_updates", None)
    return lost if updates is None else lost | (np.asarray(updates)[..., -1] > 0)


def _moments(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean and standard deviation, NaN where there are too few."""
    mean = float(values.mean()) if len(values) else float("nan")
    deviation = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return {f"{name}_mean": mean, f"{name}_sd": deviation}
