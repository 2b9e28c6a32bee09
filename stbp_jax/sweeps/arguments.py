"""Checks of a sweep's points, keys, sets and states, before anything is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, PyTree
from stbp_jax.sweeps.placement import entry
from stbp_jax.training import TrainState


def count_points(points: PyTree) -> int:
    """Checks that all leaves of the points are arrays `[H, ...]`, and returns H."""
    for path, leaf in jax.tree.leaves_with_path(points):
        name = f"points{jax.tree_util.keystr(path)}"
        if isinstance(leaf, float | int) or not getattr(leaf, "shape", True):
            raise ValueError(
                f"points must have leaves [H, ...], got a scalar at {name}; pass the first "
                "value that `grid` returns"
            )
        if not isinstance(leaf, np.ndarray | jax.Array) or isinstance(leaf, np.ma.MaskedArray):
            raise TypeError(f"{name} must be an array [H, ...] without a mask, got {leaf!r}")
        if leaf.dtype.kind in "OSU":
            raise TypeError(f"{name} must be an array of numbers, got dtype {leaf.dtype}")
        arguments.held(name, leaf)
    lengths = {len(leaf) for leaf in jax.tree.leaves(points)}
    if len(lengths) != 1:
        raise ValueError(f"points must share one length H, got {sorted(lengths)}")
    (count,) = lengths
    return arguments.count("H of points", count)


def check_keys(keys: Any) -> None:
    """Raises unless the keys are an array with one entry for each seed."""
    if not isinstance(keys, np.ndarray | jax.Array):
        raise TypeError(f"keys must be an array [S] of keys, got {type(keys).__name__}")
    if keys.ndim == 0 or len(keys) == 0:
        raise ValueError(f"keys must have shape [S] with S >= 1, got {list(keys.shape)}")


def check_sets(sets: tuple[Any, Any], sets_axis: Any, num_seeds: int) -> None:
    """Raises unless both sets are tuples of arrays, with an axis of seeds if `sets_axis` is 0."""
    if sets_axis is not None and (isinstance(sets_axis, bool) or sets_axis != 0):
        raise ValueError(f"sets_axis must be 0 or None, got {sets_axis!r}")
    for name, data in zip(("train_set", "test_set"), sets, strict=True):
        if not isinstance(data, tuple | list):
            raise TypeError(f"{name} must be a tuple of arrays, got {type(data).__name__}")
        for array in jax.tree.leaves(data) if sets_axis == 0 else ():
            shape = np.shape(array)
            if shape[:1] != (num_seeds,):
                raise ValueError(
                    f"{name} must have arrays [S, ...] with S = {num_seeds} seeds if sets_axis "
                    f"is 0, got {list(shape)}"
                )


def seed_sets(sets: tuple[Any, Any], sets_axis: int | None, seed: int) -> tuple[Any, Any]:
    """The sets of the seed with index `seed`."""
    if sets_axis is None:
        return sets
    train_set, test_set = (entry(tuple(data), seed) for data in sets)
    return train_set, test_set


def check_states(states: Any, fresh: TrainState, cells: tuple[int, int], num_updates: int) -> int:
    """Checks that states fit the points, seeds and sizes of a sweep.

    Args:
      states: states of a sweep, leaves `[H, S, ...]`.
      fresh: shapes and dtypes of one run's state.
      cells: `(H, S)`.
      num_updates: updates in an epoch.

    Returns:
      The number of completed epochs.
    """
    if not isinstance(states, TrainState):
        raise TypeError(f"states must be a TrainState, got {type(states).__name__}")
    tree: Any = jax.tree.structure(fresh)
    other: Any = jax.tree.structure(states)
    if other != tree:
        raise ValueError(f"states must be {tree}, got {other}")
    pairs = zip(jax.tree.leaves_with_path(states), jax.tree.leaves(fresh), strict=True)
    for (path, leaf), like in pairs:
        if np.shape(leaf) != (*cells, *like.shape):
            raise ValueError(
                f"states{jax.tree_util.keystr(path)} must have shape [H, S, ...] = "
                f"{[*cells, *like.shape]}, got {list(np.shape(leaf))}"
            )
    steps = np.unique(np.asarray(states.step))
    first, left = divmod(int(steps[0]), num_updates)
    if len(steps) != 1 or left or first < 0:
        raise ValueError(
            f"states must come from the end of an epoch of {num_updates} updates, got "
            f"{steps.tolist()} updates: another batch_size or training set?"
        )
    return first


def check_points(
    train: Callable[..., Any], key: Array, points: PyTree, count: int, sets: tuple[Any, Any]
) -> None:
    """Raises the error of `train` for the first wrong point, without compiling or computing.

    Only the first point is checked if the points are traced.
    """
    # Inside jit, train would see traced sets and could not check their values.
    inner: Any = train
    if isinstance(inner, jax.stages.Wrapped):
        inner = getattr(inner, "__wrapped__", inner)
    if not callable(inner):
        raise TypeError(f"train must be callable, got {inner!r}")
    # A wrapper inherits the attribute, but it may take other hyper-parameters.
    check = None if hasattr(inner, "__wrapped__") else getattr(inner, "check", None)

    # This trace closes over the concrete sets, so that train checks their values.
    first = entry(points, 0)
    jax.eval_shape(lambda: inner(key, first, *sets))
    known = all(map(arguments.concrete, jax.tree.leaves(points)))
    for h in range(1, count if known else 1):
        point = entry(points, h)
        try:
            if check is not None:
                check(point, sets[0])
            else:
                jax.eval_shape(lambda *sets, point=point: inner(key, point, *sets), *sets)
        except Exception as error:
            error.add_note(f"at point {h} of {count}: {point}")
            raise
