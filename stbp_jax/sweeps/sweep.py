"""Grids of runs in one compiled program.

The order of axes: H hyper-parameter points, then S seeds, then what a run tells. What a run is, is
left to `train`: any `(key, hparams, train_set, test_set) -> (state, history)` will do.
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, PyTree
from stbp_jax.sweeps.points import check_keys, check_points, count_points


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
    count = count_points(points)
    check_keys(keys)
    for name, data in (("train_set", train_set), ("test_set", test_set)):
        if not isinstance(data, tuple | list):
            raise TypeError(f"{name} must be a tuple of arrays, got {type(data).__name__}")
    chunk = count if chunk is None else min(arguments.count("chunk", chunk), count)
    check_points(train, keys[0], points, count, (train_set, test_set))

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
