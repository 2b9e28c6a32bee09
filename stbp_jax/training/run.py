"""Training as one pure function, and the same run epoch by epoch from the host.

Decides how a run goes: shuffle, encode on the device, one update a batch, evaluate after every
epoch. What is drawn at update n depends on the run's key and on n alone, so that a run resumed from
a `TrainState` is the run that was never stopped.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import checks
from stbp_jax.core import Array, Params, PyTree
from stbp_jax.training.evaluation import evaluate
from stbp_jax.training.pipeline import Batch, Build, History, TrainConfig, TrainState
from stbp_jax.training.update import loss_of, make_train_step


class Training(NamedTuple):
    """A run in its parts, all pure; `make_train` and `epochs` are made of them.

    Attributes:
      start: `(key, hparams, train_set) -> TrainState`.
      epoch: `(key, hparams, state, train_set, test_set) -> (state, History without axis E)`;
        `key` is the run's, the same in every epoch.
    """

    start: Callable[[Array, PyTree, Batch], TrainState]
    epoch: Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]


def make_training(build: Build, config: TrainConfig) -> Training:
    """A run's two parts: how it starts, and one epoch of it.

    Args:
      build: `(hparams, num_updates) -> Pipeline`; `num_updates` of the whole run, for schedules.
      config: what shapes the program.

    Returns:
      A `Training`.

    Raises:
      TypeError, ValueError: a config that is not made of integers of at least 1; when a part is
        called, sets that do not fit the network, the batch size or each other.
    """
    checks.count("epochs", config.epochs)
    batch_size = checks.count("batch_size", config.batch_size)
    eval_batch_size = checks.count("eval_batch_size", config.eval_batch_size)

    def start(key: Array, hparams: PyTree, train_set: Batch) -> TrainState:
        key_init, key_updates, _, _ = jax.random.split(key, 4)
        images, _ = _check_set("train_set", train_set, batch_size)
        pipeline = build(hparams, num_updates(config, train_set))
        xs = jax.eval_shape(pipeline.encode, key, jax.ShapeDtypeStruct(images.shape, images.dtype))
        params, _ = pipeline.network.init(key_init, xs.shape[2:])
        return TrainState(params, pipeline.optimizer.init(params), key_updates, jnp.int32(0))

    def epoch(
        key: Array, hparams: PyTree, state: TrainState, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        _, _, key_shuffle, key_test = jax.random.split(key, 4)
        images, labels = _check_set("train_set", train_set, batch_size)
        pipeline = build(hparams, num_updates(config, train_set))
        updates = images.shape[0] // batch_size
        order = jax.random.permutation(
            jax.random.fold_in(key_shuffle, state.step // updates), images.shape[0]
        )[: updates * batch_size]
        step = make_train_step(loss_of(pipeline), pipeline.optimizer)

        def update(state: TrainState, rows: Array) -> tuple[TrainState, tuple[Array, Array]]:
            return step(state, (images[rows], labels[rows]))

        state, (losses, accuracies) = lax.scan(update, state, order.reshape(updates, batch_size))
        test_images, test_labels = _check_set("test_set", test_set, 1)
        found = evaluate(
            pipeline,
            state.params,
            key_test,
            test_images,
            test_labels,
            batch_size=eval_batch_size,
        )
        return state, History(
            loss=jnp.mean(losses),
            train_accuracy=jnp.mean(accuracies),
            test_loss=found.loss,
            test_accuracy=found.accuracy,
            firing_rate=found.firing_rate,
            silent_fraction=found.silent_fraction,
            in_window=found.in_window,
            operations=found.operations,
        )

    return Training(start, epoch)


def make_train(
    build: Build, config: TrainConfig
) -> Callable[[Array, PyTree, Batch, Batch], tuple[TrainState, History]]:
    """A whole run as one pure function, for `jit` and `vmap`.

    Args:
      build: `(hparams, num_updates) -> Pipeline`. The numbers in `hparams` may be traced: widths,
        decays, thresholds, learning rates.
      config: what shapes the program.

    Returns:
      `train(key, hparams, train_set, test_set) -> (TrainState, History)`; a set is
      `(images [N, ...] uint8 or float in [0, 1], labels [N] integers)`.

    Raises:
      TypeError, ValueError: as `make_training`.
    """
    training = make_training(build, config)

    def train(
        key: Array, hparams: PyTree, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        def epoch(state: TrainState, _: None) -> tuple[TrainState, History]:
            return training.epoch(key, hparams, state, train_set, test_set)

        state = training.start(key, hparams, train_set)
        _check_sets(build, config, hparams, state.params, train_set, test_set)
        return lax.scan(epoch, state, length=config.epochs)

    return train


def epochs(
    build: Build,
    config: TrainConfig,
    key: Array,
    hparams: PyTree,
    train_set: Batch,
    test_set: Batch,
    *,
    state: TrainState | None = None,
) -> Iterator[tuple[TrainState, History]]:
    """The same run from the host, one compiled call an epoch: for progress bars and checkpoints.

    An epoch is dispatched before the last one is handed out, so that the device does not wait, and
    all runs of one `build` and `config` share one compiled program. Buffers are not donated: every
    state handed out stays readable. Images stay on the device as they came, uint8 for one.

    Args:
      build: as `make_train`.
      config: as `make_train`.
      key: of the run.
      hparams: numbers of the run.
      train_set: images and labels.
      test_set: images and labels.
      state: where to go on, as an earlier call with the same arguments gave it; None starts anew.

    Yields:
      `(state, history)` after each epoch; the history's leaves have no axis E.

    Raises:
      TypeError, ValueError: as `make_training`, and a `state` from a run of other sizes; before
        anything is computed.
    """
    training = _shared_training(build, config)
    fresh = training.start(key, hparams, train_set)
    _check_sets(build, config, hparams, fresh.params, train_set, test_set)
    state = fresh if state is None else state
    sets = jax.device_put(((*train_set,), (*test_set,)))
    epoch = jax.jit(training.epoch)
    updates = len(train_set[0]) // config.batch_size
    first, left = divmod(int(state.step), updates)
    if left:
        raise ValueError(
            f"state must come from the end of an epoch of {updates} updates, got {state.step} "
            "updates: another batch_size or training set?"
        )
    pending = None
    for _ in range(first, config.epochs):
        state, history = epoch(key, hparams, state, *sets)
        if pending is not None:
            yield pending
        pending = (state, history)
    if pending is not None:
        yield pending


# jit knows a program again by the function it was made of.
_shared_training = functools.lru_cache(maxsize=8)(make_training)


def num_updates(config: TrainConfig, train_set: Batch) -> int:
    """Updates of a whole run; the examples that fill no batch are left out of their epoch."""
    return config.epochs * (len(train_set[0]) // config.batch_size)


def _check_sets(
    build: Build,
    config: TrainConfig,
    hparams: PyTree,
    params: Params,
    train_set: Batch,
    test_set: Batch,
) -> None:
    """Refuses images and labels that the pipeline cannot take, while their values are known."""
    pipeline = build(hparams, num_updates(config, train_set))

    def scores(images: Array) -> Array:
        xs = pipeline.encode(jax.random.key(0), images)
        state, _ = pipeline.network.initial_state(params, xs.shape[1:])
        return pipeline.readout(pipeline.network.unroll(params, state, xs)[1])

    for name, data in (("train_set", train_set), ("test_set", test_set)):
        images, labels = data
        _check_set(name, data, 1)
        if images.dtype != jnp.uint32:  # packed events: the encoder knows what they mean
            checks.images(f"{name} images", images)
        abstract = jax.ShapeDtypeStruct(images.shape, images.dtype)
        classes = jax.eval_shape(scores, abstract).shape[-1]
        checks.labels(f"{name} labels", labels, batch=len(images), classes=classes)


def _check_set(name: str, data: Batch, least: int) -> tuple[Array, Array]:
    images, labels = data
    if images.ndim < 2 or len(images) < least:
        raise ValueError(
            f"{name} images must have shape [N, ...] with N >= {least}"
            f"{' (batch_size)' if least > 1 else ''}, got {list(images.shape)}"
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"{name} labels must have shape [{len(images)}], one for each image, "
            f"got {list(labels.shape)}"
        )
    return jnp.asarray(images), jnp.asarray(labels)
