"""Training runs: as one pure function, one epoch at a time, or as an iterator on the host.

Each epoch shuffles the training set, encodes on the device, makes one update per batch, and then
evaluates the test set. The random numbers of update n depend only on the run's key and on n, so a
run that is resumed from a `TrainState` equals the run without a stop.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from stbp_jax import arguments, meshes
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
    """The functions of a run, without checks of their arguments."""

    start: Callable[[Array, PyTree, Batch], TrainState]
    epoch: Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]


def init_state(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, train_set: Batch
) -> TrainState:
    """The initial state of a run of `make_train`, `make_epoch` or `train_epochs`.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      train_set: images and labels.

    Returns:
      A `TrainState` with the initial parameters and `step` 0.

    Raises:
      TypeError, ValueError: as in `make_train`.
    """
    config = _checked(build, config)
    _check_run(build, config, key, hparams, {"train_set": train_set})
    return _parts(build, config).start(key, hparams, train_set)


def make_epoch(
    build: Build, config: TrainConfig
) -> Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]:
    """Makes one epoch of a run as a pure function, for `jit`, `vmap` and custom loops.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.

    Returns:
      `epoch(key, hparams, state, train_set, test_set) -> (TrainState, History)`. `key` is the key
      of the run, the same in every epoch. `state` comes from `init_state` or from the previous
      epoch. The leaves of the history have no axis E.

    Raises:
      TypeError, ValueError: as in `make_train`. `epoch` also raises them if `state` belongs to a
        run with other sizes.
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

        def update(
            state: TrainState, indices: Array
        ) -> tuple[TrainState, tuple[Array, Array, Array]]:
            return step(state, (meshes.take(images, indices), meshes.take(labels, indices)))

        state, (losses, accuracies, finite) = meshes.scan(
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
    """Makes a whole run as one pure function, for `jit` and `vmap`.

    All concrete arguments are checked before anything is computed. Under `jit(make_train(...))` the
    hyper-parameters and sets are traced, so only their shapes and dtypes are checked. A pixel
    outside [0, 1], a label without a class or a width of 0 then raises no error. Sets that the
    jitted function closes over are concrete.

    Args:
      build: `(hparams, num_updates) -> Pipeline`. The numbers in `hparams` may be traced: widths,
        decays, thresholds, learning rates.
      config: the static sizes of the run.

    Returns:
      `train(key, hparams, train_set, test_set) -> (TrainState, History)`; a set is
      `(images [N, ...] uint8, float in [0, 1] or packed events (uint32), labels [N] integers)`.
      The attribute `train.check`, `(hparams, train_set) -> None`, computes nothing and raises the
      error that `build` raises for these hyper-parameters; `sweep` calls it for every point.

    Raises:
      TypeError, ValueError: `config` does not consist of integers of at least 1. `train` raises
        them if the key is not a random key, `build` refuses the hyper-parameters, a field of the
        `Pipeline` has a wrong type, or the sets do not fit the network, the batch size or each
        other.
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
        return meshes.scan(epoch, state, length=config.epochs)

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
    """Runs the training of `make_train` from the host, with one compiled call per epoch.

    This form serves progress bars and checkpoints. Each epoch is dispatched before the results of
    the previous epoch are yielded, so the device does not wait. All runs with the same `build` and
    `config` share one compiled program. Buffers are not donated, so every yielded state stays
    readable. Images stay on the device in their own dtype, such as uint8. The call checks all
    arguments itself, before the first epoch is requested.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      train_set: images and labels.
      test_set: images and labels.
      state: the state to resume from, yielded by an earlier call with the same arguments; None
        starts at the first epoch.

    Returns:
      An iterator over `(state, history)` after each epoch; the history's leaves have no axis E.

    Raises:
      TypeError, ValueError: as in `make_train`, or `state` belongs to a run with other sizes. The
        errors come before anything is computed.
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
    """Yields each item after the next one is made, so the device works while the host reads."""
    pending: list[T] = []
    for item in items:
        yield from pending
        pending = [item]
    yield from pending


# jit caches programs by the function object, so the same functions must be reused.
_shared_parts = functools.lru_cache(maxsize=8)(_parts)


def num_updates(config: TrainConfig, train_set: Batch) -> int:
    """The number of updates in a whole run: epochs ⌊N / batch_size⌋.

    Args:
      config: the static sizes of the run.
      train_set: images `[N, ...]` and labels `[N]`.

    Returns:
      A Python integer.

    Raises:
      TypeError, ValueError: `train_set` is not a pair, or is smaller than a batch.
    """
    images, labels = check_pair("train_set", train_set)
    check_form(images, labels, of="train_set ", least=config.batch_size)
    return config.epochs * (len(images) // config.batch_size)


# Checks -------------------------------------------------------------------------------------------


def _checked(build: Any, config: Any) -> TrainConfig:
    """Checks `build` and `config`, and returns the config with Python integers."""
    check_function("build", build)
    try:
        hash(build)
    except TypeError:
        raise TypeError(f"build must be hashable, got {build!r}") from None
    return check_config(config)


def _check_run(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, sets: dict[str, Batch]
) -> TrainState:
    """Checks the arguments of a run without computing anything.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      sets: the sets by name; `train_set` is required.

    Returns:
      The shapes and dtypes of the initial state.
    """
    arguments.key("key", key)
    sizes = {"train_set": config.batch_size, "test_set": config.eval_batch_size}
    for name, data in sets.items():
        least = config.batch_size if name == "train_set" else 1
        check_form(*check_pair(name, data), of=f"{name} ", least=least)
    train_set = sets["train_set"]
    pipeline = build_pipeline(build, hparams, num_updates(config, train_set))
    loss_of(pipeline)  # the objective checks its own numbers
    fresh = jax.eval_shape(lambda: _start(pipeline, key, train_set[0], config.batch_size))
    for name, (images, labels) in sets.items():
        check_numbers(pipeline, fresh.params, images, labels, batch_size=sizes[name], of=f"{name} ")
    return fresh


def _check_state(state: Any, fresh: TrainState) -> None:
    """Raises if a state has the parameters or the optimizer of another run."""
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
