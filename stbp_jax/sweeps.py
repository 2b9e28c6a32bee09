"""Grids of runs in one compiled program.

Decides the order of axes: H hyper-parameter points, then S seeds, then what a run tells. Leaves out
what a run is: any `train(key, hparams, train_set, test_set) -> (state, history)` will do.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import checks
from stbp_jax.core import Array, PyTree


def grid(**axes: Sequence[float]) -> tuple[dict[str, Array], list[dict[str, float]]]:
    """All combinations of the given values, the last axis fastest.

    Args:
      **axes: values of each hyper-parameter.

    Returns:
      `(points, rows)`: points for `run`, each leaf `[H]`; rows, the same as one dict a point.

    Raises:
      ValueError: no axes, or one without values.

    >>> points, rows = grid(width=[0.1, 1.0], learning_rate=[1e-3])
    >>> points["width"], rows[1]
    (Array([0.1, 1. ], dtype=float32), {'width': 1.0, 'learning_rate': 0.001})
    """
    if not axes:
        raise ValueError("grid needs at least one axis, got none")
    for name, values in axes.items():
        if len(values) == 0:
            raise ValueError(f"{name} must have at least one value, got none")
    rows = [
        dict(zip(axes, (float(v) for v in values), strict=True))
        for values in itertools.product(*axes.values())
    ]
    points = {name: jnp.asarray([row[name] for row in rows]) for name in axes}
    return points, rows


def run(
    train: Callable[[Array, PyTree, Any, Any], tuple[Any, PyTree]],
    keys: Array,
    points: PyTree,
    train_set: Any,
    test_set: Any,
    *,
    chunk: int | None = None,
) -> PyTree:
    """Trains every point with every key, all in one compiled program.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, history)`, `make_train` makes one.
      keys: `[S]`, one a seed.
      points: hyper-parameters, each leaf `[H, ...]`.
      train_set: given to all runs.
      test_set: given to all runs.
      chunk: at most so many points at once, where memory is short; None takes all.

    Returns:
      The histories, each leaf `[H, S, ...]`.

    Raises:
      TypeError, ValueError: as `train`, before anything is computed.
      ValueError: leaves of `points` without axis H or that differ in it; `chunk` below 1.
    """
    if any(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(points)):
        raise ValueError(f"points must have leaves [H, ...], got a scalar among {points}")
    lengths = {len(leaf) for leaf in jax.tree.leaves(points)}
    if len(lengths) != 1:
        raise ValueError(f"points must share one length H, got {sorted(lengths)}")
    (count,) = lengths
    chunk = count if chunk is None else min(checks.count("chunk", chunk), count)

    # Traced once with the sets as they are: a bad one is refused while its values are known.
    first_point = jax.tree.map(operator.itemgetter(0), points)
    jax.eval_shape(lambda: train(keys[0], first_point, train_set, test_set))

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


def summarise(history: Any, rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """One line a point: mean and standard deviation over seeds of the test accuracy.

    Args:
      history: with `test_accuracy [H, S, E]`, as `run` gives it.
      rows: `[H]`, as `grid` gives them.

    Returns:
      Each row with `seeds`, and `last_mean`, `last_sd` (last epoch) and `best_mean`, `best_sd`
      (each run's best epoch, chosen on the test set as the literature does). A deviation of one
      seed is NaN.

    Raises:
      ValueError: `rows` of another length than H.
    """
    accuracy = np.asarray(history.test_accuracy, np.float64)
    if accuracy.ndim != 3 or len(rows) != len(accuracy):
        raise ValueError(
            f"rows must have one entry for each point of test_accuracy [H, S, E], got {len(rows)} "
            f"and {list(accuracy.shape)}"
        )

    def spread(values: np.ndarray) -> float:
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")

    return [
        {
            **row,
            "seeds": cell.shape[0],
            "last_mean": float(cell[:, -1].mean()),
            "last_sd": spread(cell[:, -1]),
            "best_mean": float(cell.max(axis=1).mean()),
            "best_sd": spread(cell.max(axis=1)),
        }
        for row, cell in zip(rows, accuracy, strict=True)
    ]
