"""Sweeps: all points with all seeds in one compiled program, as whole runs or epoch by epoch.

Axes come in this order: H hyper-parameter points, S seeds, then the axes of a run. Points that are
sharded over H, and keys that are sharded over S, stay so: each device trains its own runs.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

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
from stbp_jax.sweeps.cells import over_cells, platform_of
from stbp_jax.sweeps.placement import (
    check_chunk,
    entry,
    known,
    on_auto_axes,
    placed,
    placement,
    running,
    take,
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

    On a CPU the cells run in turn, on an accelerator all at once (`jax.vmap`). The program is kept
    for the next call with the same `train`.

    Every concrete point is checked before anything is compiled. If `train` comes from `make_train`,
    jitted or not, `sweep` calls `train.check(hparams, train_set)` for each point, which takes about
    a millisecond. Any other function is traced with each point, which takes a fraction of a second;
    a `check` attribute avoids these traces.

    Args:
      train: `(key, hparams, train_set, test_set) -> (state, history)`, such as `make_train` makes.
      keys: `[S]`, one key for each seed.
      points: hyper-parameters, each leaf an array `[H, ...]`.
      train_set: as `train` takes it, shared by all runs or with an axis of seeds.
      test_set: as `train` takes it, shared by all runs or with an axis of seeds.
      sets_axis: axis of seeds in every array of both sets, as in `in_axes` of `jax.vmap`: 0 if each
        seed has its own sets, `[S, N, ...]`; None if all runs share the sets.
      chunk: the largest number of points that run at once, to limit memory; None runs all points.
        It is a multiple of the number of devices over which the points are sharded.

    Returns:
      The histories, each leaf `[H, S, ...]`, on the devices of the points and keys.

    Raises:
      TypeError, ValueError: as in `train`, for each point and for the sets, before anything is
        computed; a note on the error names the point.
      TypeError: keys, points or sets have a wrong type, such as a list of dicts.
      ValueError: the leaves of `points` have no axis H or differ in H; there are no points or no
        keys; the sets lack the axis of seeds; a 32-bit computation would change a 64-bit number;
        `chunk` is below 1.

    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> train = sj.make_train(build, sj.TrainConfig(epochs=2, batch_size=10))
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> sweep(train, keys, jnp.array([0.1, 0.01, 0.001]), data, data).loss.shape
    (3, 2, 2)
    """
    chunk = _checked(train, keys, points, (train_set, test_set), sets_axis, chunk)
    where = placement(points, keys)
    run = _run_of(train, keys, (train_set, test_set), sets_axis, where)
    return placed(_in_chunks(run, chunk, where, points), where)


def sweep_chunks(
    train: Callable[[Array, PyTree, Any, Any], tuple[Any, PyTree]],
    keys: Array,
    points: PyTree,
    train_set: Any,
    test_set: Any,
    *,
    chunk: int,
    sets_axis: int | None = None,
) -> Iterator[PyTree]:
    """Runs a sweep, and yields the histories of some points as soon as their runs end.

    It is the form of `sweep` for long sweeps: results can be stored before the last run ends. All
    chunks share one program. The call checks all arguments itself, before the first chunk is
    requested.

    Args:
      train: as in `sweep`.
      keys: as in `sweep`.
      points: as in `sweep`.
      train_set: as in `sweep`.
      test_set: as in `sweep`.
      chunk: the number of points that run at once; the last chunk may have fewer.
      sets_axis: as in `sweep`.

    Returns:
      An iterator over the histories of `chunk` points each, in order, each leaf `[chunk, S, ...]`.

    Raises:
      TypeError, ValueError: as in `sweep`.

    >>> train = lambda key, hparams, *sets: (None, 2 * hparams["a"])
    >>> keys, points = jax.random.split(jax.random.key(0), 1), {"a": jnp.arange(3.0)}
    >>> sets = (np.zeros(1), np.zeros(1)), (np.zeros(1), np.zeros(1))
    >>> [part.ravel().tolist() for part in sweep_chunks(train, keys, points, *sets, chunk=2)]
    [[0.0, 2.0], [4.0]]
    """
    chunk = _checked(train, keys, points, (train_set, test_set), sets_axis, chunk)
    where = placement(points, keys)
    run = _run_of(train, keys, (train_set, test_set), sets_axis, where)

    def parts() -> Iterator[PyTree]:
        for part in _chunks(run, chunk, where, points):
            yield jax.block_until_ready(part)

    return parts()


def _run_of(
    train: Callable[..., Any],
    keys: Array,
    sets: tuple[Any, Any],
    sets_axis: int | None,
    where: NamedSharding | None,
) -> Callable[[PyTree], PyTree]:
    """`points -> histories`, compiled for these keys and sets."""
    kept = isinstance(train, Hashable)
    histories = _histories if kept else _histories.__wrapped__
    cells = histories(train, sets_axis, platform_of(keys, where), where)
    keys, sets = on_auto_axes((keys, jax.device_put(tuple((*data,) for data in sets))))
    return lambda points: cells(keys, points, *sets)


# jit caches programs by the function object, so the same function must be reused.
@functools.lru_cache(maxsize=8)
def _histories(
    train: Callable[..., Any], sets_axis: int | None, platform: str, where: NamedSharding | None
) -> Callable[..., PyTree]:
    """The histories of all `[H, S]` runs, as one compiled function."""

    def history(key: Array, hparams: PyTree, *sets: Any) -> PyTree:
        return train(key, hparams, *sets)[1]

    seeds, points = (0, None, sets_axis, sets_axis), (None, 0, None, None)
    return over_cells(history, seeds, points, platform, where)


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

    >>> import optax
    >>> import stbp_jax as sj
    >>> def build(hparams, num_updates):
    ...     return sj.Pipeline(
    ...         encode=lambda key, inputs: sj.bernoulli(key, inputs, num_steps=3),
    ...         network=sj.dense(2, sj.lif()),
    ...         readout=sj.rate,
    ...         loss=sj.half_squared_error,
    ...         optimizer=optax.adam(hparams),
    ...     )
    >>> data = np.full((20, 3), 0.5, np.float32), np.arange(20) % 2
    >>> config = sj.TrainConfig(epochs=2, batch_size=10)
    >>> keys = jax.random.split(jax.random.key(0), 2)
    >>> rates = jnp.array([0.1, 0.01, 0.001])
    >>> for _, history in sweep_epochs(build, config, keys, rates, data, data):
    ...     print(history.loss.shape)
    (3, 2)
    (3, 2)
    """
    sets = train_set, test_set
    chunk = _checked(make_train(build, config), keys, points, sets, sets_axis, chunk)
    first = 0
    if states is not None:
        own = seed_sets(sets, sets_axis, 0)[0]
        updates = num_updates(config, own) // config.epochs
        one = entry(keys, 0), entry(points, 0)
        fresh = jax.eval_shape(lambda: init_state(build, config, *one, own))
        first = check_states(states, fresh, (count_points(points), len(keys)), updates)
    remaining = config.epochs - first
    where = placement(points, keys)
    start, epoch = _shared_cells(build, config, sets_axis, platform_of(keys, where), where)
    keys, points, states = on_auto_axes((keys, points, states))

    def epochs(states: TrainState | None) -> Iterator[tuple[TrainState, History]]:
        train_set, test_set = on_auto_axes(jax.device_put(tuple((*data,) for data in sets)))
        if states is None:
            states = _in_chunks(lambda points: start(keys, points, train_set), chunk, where, points)
        for _ in range(remaining):
            states, history = _in_chunks(
                lambda points, states: epoch(keys, points, states, train_set, test_set),
                chunk,
                where,
                points,
                on_auto_axes(states),
            )
            yield placed((states, history), where)

    return one_ahead(epochs(states))


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
    check_chunk(chunk, placement(points, keys))
    keys, points = known((keys, points))
    for s in range(1 if sets_axis is None else len(keys)):
        # All points are checked with the first seed's sets, the other sets with the first point.
        own = seed_sets(sets, sets_axis, s)
        check_points(train, entry(keys, s), points, count if s == 0 else 1, own)
    return chunk


# jit caches programs by the function object, so the same functions must be reused.
@functools.lru_cache(maxsize=8)
def _shared_cells(
    build: Build,
    config: TrainConfig,
    sets_axis: int | None,
    platform: str,
    where: NamedSharding | None,
) -> tuple[Callable[..., TrainState], Callable[..., tuple[TrainState, History]]]:
    """The initial state and one epoch of all `[H, S]` runs, as compiled functions."""
    start = functools.partial(init_state, build, config)
    epoch = make_epoch(build, config)
    of_epoch = (0, None, 0, sets_axis, sets_axis), (None, 0, 0, None, None)
    return (
        over_cells(start, (0, None, sets_axis), (None, 0, None), platform, where),
        over_cells(epoch, *of_epoch, platform, where),
    )


def _chunks(
    run: Callable[..., PyTree], chunk: int, where: NamedSharding | None, *cells: PyTree
) -> Iterator[PyTree]:
    """`run(*cells)` for `chunk` points after another; all leaves have the leading axis H."""
    count = len(jax.tree.leaves(cells)[0])
    cells = on_auto_axes(cells)
    for first in range(0, count, chunk):
        # Repeats of the last point fill the last chunk, so that all chunks share one program.
        indices = np.minimum(np.arange(first, first + chunk), count - 1)
        left = min(chunk, count - first)
        with running(where):
            part = run(*(cells if chunk == count else take(cells, indices)))
            if left < chunk:
                part = jax.tree.map(lambda leaf, left=left: leaf[:left], part)
        yield part if left < chunk else placed(part, where)


def _in_chunks(
    run: Callable[..., PyTree], chunk: int, where: NamedSharding | None, *cells: PyTree
) -> PyTree:
    """`run(*cells)` for `chunk` points at a time, with the results in one."""
    parts = list(_chunks(run, chunk, where, *cells))
    if len(parts) == 1:
        return parts[0]
    with running(where):
        parts = on_auto_axes(parts)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
