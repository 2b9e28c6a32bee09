"""Many runs in one compiled program: all points with all seeds, whole or epoch by epoch.

The order of axes: H hyper-parameter points, then S seeds, then the axes of a run.
"""

import functools
import operator
from collections.abc import Callable, Iterator
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
from stbp_jax.training.run import one_ahead


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
    """Trains every point with every key, all in one compiled program.

    Every point is looked at before anything is compiled, unless it is traced. Of the function that
    `make_train` makes, jitted or not, `check(hparams, train_set)` is called for each, which takes
    about a millisecond. Any other function is traced with each point, which takes parts of a
    second; an attribute `check` of its own spares that.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, history)`, `make_train` makes one.
      keys: `[S]`, one a seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: arrays; given to all runs, or with an axis of seeds.
      test_set: arrays; given to all runs, or with an axis of seeds.
      sets_axis: axis of seeds in every array of both sets, as in `jax.vmap`'s `in_axes`: 0 where
        each seed has sets of its own, `[S, N, ...]`; None where all runs share them.
      chunk: at most so many points at once, where memory is short; None takes all.

    Returns:
      The histories, each leaf `[H, S, ...]`.

    Raises:
      TypeError, ValueError: as `train`, for each point and for the sets, before anything is
        computed; a note of the error says for which point.
      TypeError: keys, points or sets that are not what is said above, a list of dicts for one.
      ValueError: leaves of `points` without axis H or that differ in it, no points, no keys, sets
        without the axis of seeds, a 64-bit number that a 32-bit computation would change; `chunk`
        below 1.
    """
    chunk = _checked(train, keys, points, (train_set, test_set), sets_axis, chunk)

    def history(key: Array, hparams: PyTree, *sets: Any) -> PyTree:
        return train(key, hparams, *sets)[1]

    cells = _over_cells(history, (0, None, sets_axis, sets_axis), (None, 0, None, None))
    train_set, test_set = jax.device_put((tuple(train_set), tuple(test_set)))
    return _in_chunks(lambda points: cells(keys, points, train_set, test_set), chunk, points)


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
    """The same sweep from the host, one compiled call an epoch: for progress and checkpoints.

    To `sweep` what `train_epochs` is to `make_train`. An epoch is dispatched before the last one is
    handed out, and all sweeps of one `build` and `config` share their compiled programs. All
    arguments are checked by the call itself, before the first epoch is asked for.

    Args:
      build: as `make_train`.
      config: as `make_train`.
      keys: `[S]`, one a seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: images and labels, as `sweep` takes them.
      test_set: images and labels, as `sweep` takes them.
      states: where to go on, as an earlier call with the same arguments gave them, each leaf
        `[H, S, ...]`; None starts at the first epoch.
      sets_axis: as `sweep`.
      chunk: as `sweep`.

    Returns:
      An iterator over `(states, history)` after each epoch, each leaf `[H, S, ...]`; the history
      has no axis E.

    Raises:
      TypeError, ValueError: as `sweep` and `make_train`, and `states` of other points, seeds or
        sizes; before anything is computed.
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
    """How many points to take at once, after all arguments of a sweep are checked."""
    count = count_points(points)
    check_keys(keys)
    check_sets(sets, sets_axis, len(keys))
    chunk = count if chunk is None else min(arguments.count("chunk", chunk), count)
    for s in range(1 if sets_axis is None else len(keys)):
        # Every point with the sets of the first seed, and the first point with all others.
        some = points if s == 0 else jax.tree.map(lambda leaf: leaf[:1], points)
        check_points(train, keys[s], some, count if s == 0 else 1, seed_sets(sets, sets_axis, s))
    return chunk


def _over_cells(
    run: Callable[..., Any], seeds: tuple[int | None, ...], points: tuple[int | None, ...]
) -> Callable[..., Any]:
    """A run of one cell, compiled for all `[H, S]`, from its axes of seeds and of points."""
    return jax.jit(jax.vmap(jax.vmap(run, seeds), points))


# jit knows a program again by the function it was made of.
@functools.lru_cache(maxsize=8)
def _shared_cells(
    build: Build, config: TrainConfig, sets_axis: int | None
) -> tuple[Callable[..., TrainState], Callable[..., tuple[TrainState, History]]]:
    """The start and an epoch of all cells, compiled."""
    start = functools.partial(init_state, build, config)
    epoch = make_epoch(build, config)
    return (
        _over_cells(start, (0, None, sets_axis), (None, 0, None)),
        _over_cells(epoch, (0, None, 0, sets_axis, sets_axis), (None, 0, 0, None, None)),
    )


def _in_chunks(run: Callable[..., PyTree], chunk: int, *cells: PyTree) -> PyTree:
    """`run(*cells)` for `chunk` points at a time; the leaves of all trees lead with H."""
    count = len(jax.tree.leaves(cells)[0])
    if chunk == count:
        return run(*cells)
    parts = []
    for first in range(0, count, chunk):
        # The last chunk is filled up with its own end, so that one program serves all.
        rows = np.minimum(np.arange(first, first + chunk), count - 1)
        parts.append(run(*jax.tree.map(operator.itemgetter(rows), cells)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)
