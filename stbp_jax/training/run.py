"""Training as one pure function, and the same run epoch by epoch from the host.

Decides how a run goes: shuffle, encode on the device, one update a batch, evaluate after every
epoch. What is drawn at update n depends on the run's key and on n alone, so that a run resumed from
a `TrainState` is the run that was never stopped.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, PyTree
from stbp_jax.training.datasets import check_form, check_numbers, check_pair
from stbp_jax.training.evaluation import evaluate_unchecked
from stbp_jax.training.history import History
from stbp_jax.training.pipeline import (
    Batch,
    Build,
    Pipeline,
    TrainConfig,
    TrainState,
    build_pipeline,
    check_config,
    check_function,
)
from stbp_jax.training.update import loss_of, make_watched_step

T = TypeVar("T")


class _Parts(NamedTuple):
    """The parts of a run, for arguments that are checked."""

    start: Callable[[Array, PyTree, Batch], TrainState]
    epoch: Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]


def init_state(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, train_set: Batch
) -> TrainState:
    """The state in which a run of `make_train`, `make_epoch` or `train_epochs` begins.

    Args:
      build: as `make_train`.
      config: as `make_train`.
      key: of the run.
      hparams: numbers of the run.
      train_set: images and labels.

    Returns:
      A `TrainState` with the parameters as they are drawn, after no update.

    Raises:
      TypeError, ValueError: as `make_train`.
    """
    config = _checked(build, config)
    _check_run(build, config, key, hparams, {"train_set": train_set})
    return _parts(build, config).start(key, hparams, train_set)


def make_epoch(
    build: Build, config: TrainConfig
) -> Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]:
    """One epoch of a run as a pure function, for `jit`, `vmap` and loops of your own.

    Args:
      build: as `make_train`.
      config: as `make_train`.

    Returns:
      `epoch(key, hparams, state, train_set, test_set) -> (TrainState, History)`. `key` is the
      run's, the same in every epoch; `state` comes from `init_state` or from the epoch before. The
      leaves of the history have no axis E.

    Raises:
      TypeError, ValueError: as `make_train`, and, when `epoch` is called, a `state` of a run of
        other sizes.
    """
    config = _checked(build, config)
    parts = _parts(build, config)

    def epoch(
        key: Array, hparams: PyTree, state: TrainState, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        sets = {"train_set": train_set, "test_set": test_set}
        fresh = _check_run(build, config, key, hparams, sets)
        _check_state(state, fresh)
        return parts.epoch(key, hparams, state, train_set, test_set)

    return epoch


def _parts(build: Build, config: TrainConfig) -> _Parts:
    batch_size = config.batch_size

    def start(key: Array, hparams: PyTree, train_set: Batch) -> TrainState:
        pipeline = build(hparams, num_updates(config, train_set))
        return _start(pipeline, key, train_set[0], batch_size)

    def epoch(
        key: Array, hparams: PyTree, state: TrainState, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        _, _, key_shuffle, key_test = jax.random.split(key, 4)
        images, labels = map(jnp.asarray, train_set)
        pipeline = build(hparams, num_updates(config, train_set))
        updates = images.shape[0] // batch_size
        order = jax.random.permutation(
            jax.random.fold_in(key_shuffle, state.step // updates), images.shape[0]
        )[: updates * batch_size]
        step = make_watched_step(loss_of(pipeline), pipeline.optimizer)

        def update(state: TrainState, rows: Array) -> tuple[TrainState, tuple[Array, Array, Array]]:
            return step(state, (images[rows], labels[rows]))

        state, (losses, accuracies, finite) = lax.scan(
            update, state, order.reshape(updates, batch_size)
        )
        test_images, test_labels = map(jnp.asarray, test_set)
        found = evaluate_unchecked(
            pipeline, state.params, key_test, test_images, test_labels, config.eval_batch_size
        )
        return state, History(
            loss=jnp.mean(losses),
            train_accuracy=jnp.mean(accuracies),
            test=found,
            non_finite_updates=jnp.sum(~finite, dtype=jnp.int32),
        )

    return _Parts(start, epoch)


def _start(pipeline: Pipeline, key: Array, images: Array, batch_size: int) -> TrainState:
    key_init, key_updates, _, _ = jax.random.split(key, 4)
    batch = jax.ShapeDtypeStruct((batch_size, *images.shape[1:]), images.dtype)
    xs = jax.eval_shape(pipeline.encode, key, batch)
    params, _ = pipeline.network.init(key_init, xs.shape[2:])
    return TrainState(params, pipeline.optimizer.init(params), key_updates, jnp.int32(0))


def make_train(
    build: Build, config: TrainConfig
) -> Callable[[Array, PyTree, Batch, Batch], tuple[TrainState, History]]:
    """A whole run as one pure function, for `jit` and `vmap`.

    All arguments are checked before anything is computed, as far as they are known. In
    `jit(make_train(...))` the numbers of hyper-parameters and sets are not: shapes and dtypes are
    checked, and a pixel outside [0, 1], a label that the network has no class for and a width of 0
    go through. Sets that the jitted function closes over are known.

    Args:
      build: `(hparams, num_updates) -> Pipeline`. The numbers in `hparams` may be traced: widths,
        decays, thresholds, learning rates.
      config: what shapes the program.

    Returns:
      `train(key, hparams, train_set, test_set) -> (TrainState, History)`; a set is
      `(images [N, ...] uint8, float in [0, 1] or packed events (uint32), labels [N] integers)`.
      Its attribute `check`, `(hparams, train_set) -> None`, raises what `build` raises for these
      hyper-parameters, and computes nothing; `sweep` asks it about every point.

    Raises:
      TypeError, ValueError: a config that is not made of integers of at least 1; when `train` is
        called, a key that is none, hyper-parameters that `build` refuses, fields of a `Pipeline` of
        a wrong type, sets that do not fit the network, the batch size or each other.
    """
    config = _checked(build, config)
    parts = _parts(build, config)

    def train(
        key: Array, hparams: PyTree, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        def epoch(state: TrainState, _: None) -> tuple[TrainState, History]:
            return parts.epoch(key, hparams, state, train_set, test_set)

        sets = {"train_set": train_set, "test_set": test_set}
        _check_run(build, config, key, hparams, sets)
        state = parts.start(key, hparams, train_set)
        return lax.scan(epoch, state, length=config.epochs)

    def check(hparams: PyTree, train_set: Batch) -> None:
        loss_of(build_pipeline(build, hparams, num_updates(config, train_set)))

    train.check = check  # type: ignore[attr-defined]
    return train


def train_epochs(
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
    state handed out stays readable. Images stay on the device as they came, uint8 for one. All
    arguments are checked by the call itself, before the first epoch is asked for.

    Args:
      build: as `make_train`.
      config: as `make_train`.
      key: of the run.
      hparams: numbers of the run.
      train_set: images and labels.
      test_set: images and labels.
      state: where to go on, as an earlier call with the same arguments gave it; None starts anew.

    Returns:
      An iterator over `(state, history)` after each epoch; the history's leaves have no axis E.

    Raises:
      TypeError, ValueError: as `make_train`, and a `state` from a run of other sizes; before
        anything is computed.
    """
    config = _checked(build, config)
    sets = {"train_set": train_set, "test_set": test_set}
    fresh = _check_run(build, config, key, hparams, sets)
    updates = len(train_set[0]) // config.batch_size
    first = 0
    if state is not None:
        _check_state(state, fresh)
        first, left = divmod(int(state.step), updates)
        if left or first < 0:
            raise ValueError(
                f"state must come from the end of an epoch of {updates} updates, got {state.step} "
                "updates: another batch_size or training set?"
            )
    remaining = config.epochs - first
    parts = _shared_parts(build, config)
    return one_ahead(_epochs(parts, key, hparams, (train_set, test_set), state, remaining))


def _epochs(
    parts: _Parts,
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


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Each item once the next one is made: the device has work while the host reads a result."""
    pending: list[T] = []
    for item in items:
        yield from pending
        pending = [item]
    yield from pending


# jit knows a program again by the function it was made of.
_shared_parts = functools.lru_cache(maxsize=8)(_parts)


def num_updates(config: TrainConfig, train_set: Batch) -> int:
    """Updates of a whole run; the examples that fill no batch are left out of their epoch.

    Raises:
      TypeError, ValueError: a `train_set` that is no pair, or too small for a batch.
    """
    images, labels = check_pair("train_set", train_set)
    check_form(images, labels, of="train_set ", least=config.batch_size)
    return config.epochs * (len(images) // config.batch_size)


# Checks -------------------------------------------------------------------------------------------


def _checked(build: Any, config: Any) -> TrainConfig:
    """The config with plain integers, of a `build` that `jit` can keep a program for."""
    check_function("build", build)
    try:
        hash(build)
    except TypeError:
        raise TypeError(f"build must be hashable, got {build!r}") from None
    return check_config(config)


def _check_run(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, sets: dict[str, Batch]
) -> TrainState:
    """Refuses what a run cannot take, and computes nothing; sets by name, `train_set` among them.

    Returns:
      Shapes and dtypes of the state at the start.
    """
    arguments.key("key", key)
    sizes = {"train_set": config.batch_size, "test_set": config.eval_batch_size}
    for name, data in sets.items():
        least = config.batch_size if name == "train_set" else 1
        check_form(*check_pair(name, data), of=f"{name} ", least=least)
    train_set = sets["train_set"]
    pipeline = build_pipeline(build, hparams, num_updates(config, train_set))
    loss_of(pipeline)  # an objective has numbers of its own
    fresh = jax.eval_shape(lambda: _start(pipeline, key, train_set[0], config.batch_size))
    for name, (images, labels) in sets.items():
        check_numbers(pipeline, fresh.params, images, labels, batch_size=sizes[name], of=f"{name} ")
    return fresh


def _check_state(state: Any, fresh: TrainState) -> None:
    """Refuses a state of another run: other parameters, or another optimizer."""
    if not isinstance(state, TrainState):
        raise TypeError(f"state must be a TrainState, got {type(state).__name__}")
    arguments.key("state.key", state.key)
    for name in ("params", "opt_state", "step"):
        got, wanted = getattr(state, name), getattr(fresh, name)
        tree: Any = jax.tree.structure(wanted)
        other: Any = jax.tree.structure(got)
        if other != tree:
            raise ValueError(f"state.{name} must be {tree}, got {other}")
        pairs = zip(jax.tree.leaves_with_path(got), jax.tree.leaves(wanted), strict=True)
        for (path, leaf), like in pairs:
            if jnp.shape(leaf) != like.shape:
                raise ValueError(
                    f"state.{name}{jax.tree_util.keystr(path)} must have shape "
                    f"{list(like.shape)}, got {list(jnp.shape(leaf))}"
                )
