"""Training runs from the host, epoch by epoch: on sets of arrays, or on iterators of batches."""

import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from stbp_jax.core import Array, PyTree
from stbp_jax.training.datasets import check_form, is_stream
from stbp_jax.training.history import History
from stbp_jax.training.pipeline import Batch, Build, TrainConfig, TrainState
from stbp_jax.training.run import (
    Measured,
    Parts,
    check_run,
    check_state,
    checked,
    parts_of_run,
    updates_per_epoch,
)

T = TypeVar("T")


def train_epochs(
    build: Build,
    config: TrainConfig,
    key: Array,
    hparams: PyTree,
    train_set: Batch | Iterable[Batch],
    test_set: Batch,
    *,
    state: TrainState | None = None,
) -> Iterator[tuple[TrainState, History]]:
    """Runs the training of `make_train` from the host, epoch by epoch.

    This form serves progress bars, checkpoints, and data larger than memory. The call checks all
    arguments itself, before the first epoch is requested. All runs with the same `build` and
    `config` share their compiled programs. Buffers are not donated, so every yielded state stays
    readable.

    A set of arrays stays on the device in its own dtype, such as uint8, and an epoch is one
    compiled call. Each epoch is dispatched before the results of the previous epoch are yielded, so
    the device does not wait.

    An iterator of batches (a generator, a Grain dataset, a reader of files) needs
    `config.updates_per_epoch`: an epoch takes that many batches from it, and an update is one
    compiled call. The next batch is read while the device works on the one before. At most two
    batches are on the device. Batches of one shape share one program. The values of the first batch
    are checked, and the form of all. No batch is read ahead when an epoch is yielded, so that the
    state of the iterator belongs to the state of the run.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      train_set: a set as in `make_train`, or an iterable of batches: each `(inputs, targets)` or
        `(inputs, targets, weights)`, of any size, in the order of training.
      test_set: a set as in `make_train`.
      state: the state to resume from, yielded by an earlier call with the same arguments; None
        starts at the first epoch. An iterator must then begin with the batch that follows.

    Returns:
      An iterator over `(state, history)` after each epoch; the history's leaves have no axis E.

    Raises:
      TypeError, ValueError: as in `make_train`, or `state` belongs to a run with other sizes. The
        errors come before anything is computed. An iterator without `updates_per_epoch` or without
        a batch raises ValueError, and so does the epoch in which it ends.

    >>> import numpy as np
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
    >>> config = TrainConfig(epochs=2, batch_size=10)
    >>> for state, history in train_epochs(build, config, jax.random.key(0), 0.1, data, data):
    ...     print(int(state.step), history.loss.shape)
    2 ()
    4 ()
    """
    config = checked(build, config)
    stream = is_stream(train_set)
    if stream and config.updates_per_epoch is None:
        raise ValueError("updates_per_epoch of config must be set if train_set is an iterator")
    updates = config.updates_per_epoch
    if updates is None:
        updates = updates_per_epoch(
            config, check_form("train_set", train_set, least=config.batch_size)
        )
    first = 0 if state is None else _epochs_done(state, updates)
    parts = _shared_parts(build, config)
    if not stream:
        data: Any = train_set
        sets = {"train_set": data, "test_set": test_set}
        fresh = check_run(build, config, key, hparams, sets)
        if state is not None:
            check_state(state, fresh)
        remaining = config.epochs - first
        return one_ahead(_epochs(parts, key, hparams, (data, test_set), state, remaining))
    if first == config.epochs:
        return iter(())
    batches = iter(train_set)
    batch = next(batches, None)
    if batch is None:
        raise ValueError("train_set must have a batch, got an iterator at its end")
    fresh = check_run(build, config, key, hparams, {"batch": batch, "test_set": test_set})
    if state is not None:
        check_state(state, fresh)
    batches = itertools.chain([batch], batches)
    return waited_for(_stream_epochs(parts, config, key, hparams, batches, test_set, state, first))


def _epochs_done(state: Any, updates: int) -> int:
    """The number of completed epochs of a state."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state must be a TrainState, got {type(state).__name__}")
    if jnp.shape(state.step):
        raise ValueError(f"state.step must have shape [], got {list(jnp.shape(state.step))}")
    first, left = divmod(int(state.step), updates)
    if left or first < 0:
        raise ValueError(
            f"state must come from the end of an epoch of {updates} updates, got {state.step} "
            "updates: another batch_size or training set?"
        )
    return first


def _epochs(
    parts: Parts,
    key: Array,
    hparams: PyTree,
    sets: tuple[Batch, Batch],
    state: TrainState | None,
    remaining: int,
) -> Iterator[tuple[TrainState, History]]:
    sets = jax.device_put(tuple((*data,) for data in sets))
    if state is None:
        state = parts.start(key, hparams, sets[0])
    epoch = jax.jit(parts.epoch)
    for _ in range(remaining):
        state, history = epoch(key, hparams, state, *sets)
        yield state, history


def _stream_epochs(
    parts: Parts,
    config: TrainConfig,
    key: Array,
    hparams: PyTree,
    batches: Iterator[Batch],
    test_set: Batch,
    state: TrainState | None,
    first: int,
) -> Iterator[tuple[TrainState, History]]:
    test_set = jax.device_put((*test_set,))
    updates: Any = config.updates_per_epoch
    update, test = jax.jit(parts.update), jax.jit(parts.test)
    for epoch in range(first, config.epochs):
        total, before = None, None
        for n in range(updates):
            batch = next(batches, None)
            if batch is None:
                raise ValueError(
                    f"train_set must have {updates} batches for each epoch, got {n} in epoch "
                    f"{epoch + 1} of {config.epochs}"
                )
            check_form("batch", batch)
            if state is None:
                state = parts.start(key, hparams, batch)
            state, measured = update(hparams, state, jax.device_put((*batch,)))
            # The host may be faster: without a wait, batches would pile up on the device.
            jax.block_until_ready(before)
            total, before = _added(total, measured), total
        assert state is not None  # an epoch has an update
        yield state, _history(total, updates, test(key, hparams, state, test_set))


@jax.jit
def _added(total: PyTree, measured: Measured) -> PyTree:
    """The running sums of loss, metrics and non-finite updates."""
    loss, metrics, finite = measured
    sums = loss, metrics, (~finite).astype(jnp.int32)
    return sums if total is None else jax.tree.map(jnp.add, total, sums)


def _history(total: PyTree, updates: int, test: Any) -> History:
    loss, metrics = jax.tree.map(lambda x: x / updates, total[:2])
    return History(loss, metrics, test, total[2])


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yields each item after the next one is made, so the device works while the host reads."""
    pending: list[T] = []
    for item in waited_for(items):
        yield from pending
        pending = [item]
    yield from pending


def waited_for(items: Iterator[T]) -> Iterator[T]:
    """Yields the items; where the caller stops early, waits until the last one is computed.

    A process that ends while a call computes can crash.
    """
    item = None
    try:
        for item in items:
            yield item
    finally:
        jax.block_until_ready(item)


# jit caches programs by the function object, so the same functions must be reused.
_shared_parts = functools.lru_cache(maxsize=8)(parts_of_run)
