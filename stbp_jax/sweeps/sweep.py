"""Sweeps: all points with all seeds in one compiled program, as whole runs or epoch by epoch.

Axes come in this order: H hyper-parameter points, S seeds, then the axes of a run.
"""

import functools
import operator
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stbp_jax import arguments
from stbp_jax.core import Array, PyTree
from stbp_jax.sweeps.arguments import (
    check_keys,
    check_points,
    check_sets,
    check_states,
    count_points,
    seed_sets,
)
from stbp_jax.training import (
    Batch,
    Build,
    History,
    TrainConfig,
    TrainState,
    init_state,
    make_epoch,
    make_train,
    num_updates,
)
from stbp_jax.training.host import one_ahead


def sweep(
    train: Callable[[Array, PyTree, Any, Any], tuple[Any, PyTree]],
    keys: Array,
    points: PyTree,
    train_set: Any,
    test_set: Any,
    *,
    sets_axis: int | None = None,
    chunk: int | None = None,
) -> PyTree:
    """Trains every point with every key, in one compiled program.

    The program is kept for the next call with the same `train`.

    Every concrete point is checked before anything is compiled. If `train` comes from `make_train`,
    jitted or not, `sweep` calls `train.check(hparams, train_set)` for each point, which takes about
    a millisecond. Any other function is traced with each point, which takes a fraction of a second;
    a `check` attribute avoids these traces.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, history)`, such as `make_train` makes.
      keys: `[S]`, one key for each seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: tuple of arrays, shared by all runs or with an axis of seeds.
      test_set: tuple of arrays, shared by all runs or with an axis of seeds.
      sets_axis: axis of seeds in every array of both sets, as in `in_axes` of `jax.vmap`: 0 if each
        seed has its own sets, `[S, N, ...]`; None if all runs share the sets.
      chunk: the largest number of points that run at once, to limit memory; None runs all points.

    Returns:
      The histories, each leaf `[H, S, ...]`.

    Raises:
      TypeError, ValueError: as in `train`, for each point and for the sets, before anything is
        computed; a note on the error names the point.
      TypeError: keys, points or sets have a wrong type, such as a list of dicts.
      ValueError: the leaves of `points` have no axis H or differ in H; there are no points or no
        keys; the sets lack the axis of seeds; a 32-bit computation would change a 64-bit number;
        `chunk` is below 1.
    """
    chunk = _checked(train, keys, points, (train_set, test_set), sets_axis, chunk)
    kept = isinstance(train, Hashable)
    cells = (_histories if kept else _histories.__wrapped__)(train, sets_axis)
    train_set, test_set = jax.device_put((tuple(train_set), tuple(test_set)))
    return _in_chunks(lambda points: cells(keys, points, train_set, test_set), chunk, points)


# jit caches programs by the function object, so the same function must be reused.
@functools.lru_cache(maxsize=8)
def _histories(train: Callable[..., Any], sets_axis: int | None) -> Callable[..., PyTree]:
    """The histories of all `[H, S]` runs, as one compiled function."""

    def history(key: Array, hparams: PyTree, *sets: Any) -> PyTree:
        return train(key, hparams, *sets)[1]

    return _over_cells(history, (0, None, sets_axis, sets_axis), (None, 0, None, None))


def sweep_epochs(
    build: Build,
    config: TrainConfig,
    keys: Array,
    points: PyTree,
    train_set: Batch,
    test_set: Batch,
    *,
    states: TrainState | None = None,
    sets_axis: int | None = None,
    chunk: int | None = None,
) -> Iterator[tuple[TrainState, History]]:
    """Runs a sweep from the host, with one compiled call per epoch.

    `sweep_epochs` is the form of `sweep` for progress bars and checkpoints, as `train_epochs` is
    for `make_train`. Each epoch is dispatched before the results of the previous epoch are yielded.
    All sweeps with the same `build` and `config` share their compiled programs. The call checks all
    arguments itself, before the first epoch is requested.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      keys: `[S]`, one key for each seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: images and labels, as in `sweep`.
      test_set: images and labels, as in `sweep`.
      states: the states to resume from, yielded by an earlier call with the same arguments, each
        leaf `[H, S, ...]`; None starts at the first epoch.
      sets_axis: as in `sweep`.
      chunk: as in `sweep`.

    Returns:
      An iterator over `(states, history)` after each epoch, each leaf `[H, S, ...]`; the history
      has no axis E.

    Raises:
      TypeError, ValueError: as in `sweep` and `make_train`, or `states` belong to other points,
        seeds or sizes. The errors come before anything is computed.
    """
    sets = train_set, test_set
    chunk = _checked(make_train(build, config), keys, points, sets, sets_axis, chunk)
    first = 0
    if states is not None:
        own = seed_sets(sets, sets_axis, 0)[0]
        updates = num_updates(config, own) // config.epochs
        fresh = jax.eval_shape(
            lambda: init_state(build, config, keys[0], jax.tree.map(_first, points), own)
        )
        first = check_states(states, fresh, (count_points(points), len(keys)), updates)
    start, epoch = _shared_cells(build, config, sets_axis)
    remaining = config.epochs - first

    def epochs(states: TrainState | None) -> Iterator[tuple[TrainState, History]]:
        train_set, test_set = jax.device_put(tuple((*data,) for data in sets))
        if states is None:
            states = _in_chunks(lambda points: start(keys, points, train_set), chunk, points)
        for _ in range(remaining):
            states, history = _in_chunks(
                lambda points, states: epoch(keys, points, states, train_set, test_set),
                chunk,
                points,
                states,
            )
            yield states, history

    return one_ahead(epochs(states))


def _first(leaf: Any) -> Any:
    return leaf[0]


def _checked(
    train: Callable[..., Any],
    keys: Any,
    points: PyTree,
    sets: tuple[Any, Any],
    sets_axis: int | None,
    chunk: int | None,
) -> int:
    """Checks all arguments of a sweep, and returns the number of points that run at once."""
    count = count_points(points)
    check_keys(keys)
    check_sets(sets, sets_axis, len(keys))
    chunk = count if chunk is None else min(arguments.count("chunk", chunk), count)
    for s in range(1 if sets_axis is None else len(keys)):
        # All points are checked with the first seed's sets, the other sets with the first point.
        some = points if s == 0 else jax.tree.map(lambda leaf: leaf[:1], points)
        check_points(train, keys[s], some, count if s == 0 else 1, seed_sets(sets, sets_axis, s))
    return chunk


def _over_cells(
    run: Callable[..., Any], seeds: tuple[int | None, ...], points: tuple[int | None, ...]
) -> Callable[..., Any]:
    """`run`, vmapped over the axes of seeds and of points, and compiled."""
    return jax.jit(jax.vmap(jax.vmap(run, seeds), points))


# jit caches programs by the function object, so the same functions must be reused.
@functools.lru_cache(maxsize=8)
def _shared_cells(
    build: Build, config: TrainConfig, sets_axis: int | None
) -> tuple[Callable[..., TrainState], Callable[..., tuple[TrainState, History]]]:
    """The initial state and one epoch of all `[H, S]` runs, as compiled functions."""
    start = functools.partial(init_state, build, config)
    epoch = make_epoch(build, config)
    return (
        _over_cells(start, (0, None, sets_axis), (None, 0, None)),
        _over_cells(epoch, (0, None, 0, sets_axis, sets_axis), (None, 0, 0, None, None)),
    )


def _in_chunks(run: Callable[..., PyTree], chunk: int, *cells: PyTree) -> PyTree:
    """`run(*cells)` for `chunk` points at a time; all leaves have the leading axis H."""
    count = len(jax.tree.leaves(cells)[0])
    if chunk == count:
        return run(*cells)
    parts = []
    for first in range(0, count, chunk):
        # Repeats of the last point fill the last chunk, so that all chunks share one program.
        indices = np.minimum(np.arange(first, first + chunk), count - 1)
        parts.append(run(*jax.tree.map(operator.itemgetter(indices), cells)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)
