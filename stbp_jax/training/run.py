"""Training runs as pure functions: a whole run, or one epoch at a time.

Each epoch shuffles the training set, encodes on the device, makes one update per batch, and then
evaluates the test set. The random numbers of update n depend only on the run's key and on n, so a
run that is resumed from a `TrainState` equals the run without a stop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from stbp_jax import arguments, meshes
from stbp_jax.core import Array, PyTree
from stbp_jax.training.datasets import as_arrays, check_form, check_values, held_dtype, naming
from stbp_jax.training.evaluation import evaluate_unchecked
from stbp_jax.training.history import Evaluation, History
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

Measured = tuple[Array, PyTree, Array]  # loss, metrics, and whether all numbers are finite


class Parts(NamedTuple):
    """The functions of a run, without checks of their arguments.

    Attributes:
      start: `(key, hparams, train_set) -> state`; a batch serves as the set.
      epoch: `(key, hparams, state, train_set, test_set) -> (state, history)`.
      update: `(hparams, state, batch) -> (state, (loss, metrics, finite))`.
      test: `(key, hparams, state, test_set) -> Evaluation`.
    """

    start: Callable[[Array, PyTree, Batch], TrainState]
    epoch: Callable[[Array, PyTree, TrainState, Batch, Batch], tuple[TrainState, History]]
    update: Callable[[PyTree, TrainState, Batch], tuple[TrainState, Measured]]
    test: Callable[[Array, PyTree, TrainState, Batch], Evaluation]


def init_state(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, train_set: Batch
) -> TrainState:
    """The initial state of a run of `make_train`, `make_epoch` or `train_epochs`.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      train_set: inputs, targets, and weights if any; for a run on an iterator, one batch.

    Returns:
      A `TrainState` with the initial parameters and `step` 0.

    Raises:
      TypeError, ValueError: as in `make_train`.

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
    >>> config = TrainConfig(epochs=1, batch_size=10)
    >>> state = init_state(build, config, jax.random.key(0), 0.1, data)
    >>> int(state.step)
    0
    """
    config = checked(build, config)
    name = "train_set" if config.updates_per_epoch is None else "batch"
    check_run(build, config, key, hparams, {name: train_set})
    return parts_of_run(build, config).start(key, hparams, train_set)


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
    >>> config, key = sj.TrainConfig(epochs=2, batch_size=10), jax.random.key(0)
    >>> state = sj.training.init_state(build, config, key, 0.1, data)
    >>> state, history = jax.jit(make_epoch(build, config))(key, 0.1, state, data, data)
    >>> history.loss.shape
    ()
    """
    config = checked(build, config)
    parts = parts_of_run(build, config)

    def epoch(
        key: Array, hparams: PyTree, state: TrainState, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        sets = {"train_set": train_set, "test_set": test_set}
        fresh = check_run(build, config, key, hparams, sets)
        check_state(state, fresh)
        return parts.epoch(key, hparams, state, train_set, test_set)

    return epoch


def parts_of_run(build: Build, config: TrainConfig) -> Parts:
    """The functions of a run, for a checked config."""

    def start(key: Array, hparams: PyTree, train_set: Batch) -> TrainState:
        pipeline = build(hparams, num_updates(config, train_set))
        return _start(pipeline, key, train_set[0], config.batch_size)

    def epoch(
        key: Array, hparams: PyTree, state: TrainState, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        train_set = as_arrays(train_set)
        pipeline = build(hparams, num_updates(config, train_set))
        order = epoch_order(config, key, state.step, len(jax.tree.leaves(train_set)[0]))
        step = make_watched_step(loss_of(pipeline), pipeline.optimizer)

        def update(state: TrainState, indices: Array) -> tuple[TrainState, Measured]:
            return step(state, jax.tree.map(lambda x: meshes.take(x, indices), train_set))

        state, (losses, metrics, finite) = meshes.scan(update, state, order)
        return state, History(
            loss=jnp.mean(losses),
            metrics=jax.tree.map(jnp.mean, metrics),
            test=_tested(pipeline, config, key, state, test_set),
            non_finite_updates=jnp.sum(~finite, dtype=jnp.int32),
        )

    def update(hparams: PyTree, state: TrainState, batch: Batch) -> tuple[TrainState, Measured]:
        pipeline = build(hparams, num_updates(config, batch))
        return make_watched_step(loss_of(pipeline), pipeline.optimizer)(state, as_arrays(batch))

    def test(key: Array, hparams: PyTree, state: TrainState, test_set: Batch) -> Evaluation:
        pipeline = build(hparams, num_updates(config, test_set))
        return _tested(pipeline, config, key, state, test_set)

    return Parts(start, epoch, update, test)


def _tested(
    pipeline: Pipeline, config: TrainConfig, key: Array, state: TrainState, test_set: Batch
) -> Evaluation:
    """The evaluation of the test set, with the parameters for evaluation."""
    params = state.params
    if pipeline.eval_params is not None:
        params = pipeline.eval_params(state.opt_state, params)
    key_test = jax.random.split(key, 4)[3]
    found = evaluate_unchecked(pipeline, params, key_test, test_set, config.eval_batch_size)
    return found._replace(unit_rates=())


def _start(pipeline: Pipeline, key: Array, inputs: Any, batch_size: int) -> TrainState:
    key_init, key_updates, _, _ = jax.random.split(key, 4)
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((batch_size, *x.shape[1:]), held_dtype(x)), inputs
    )
    xs = jax.eval_shape(pipeline.encode, key, batch)
    params, _ = pipeline.network.init(key_init, jax.tree.map(lambda x: x.shape[2:], xs))
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
      `train(key, hparams, train_set, test_set) -> (TrainState, History)`; a set is `(inputs,
      targets)` or `(inputs, targets, weights [N])`: pytrees of arrays `[N, ...]`, such as images
      and labels. The attribute `train.check`, `(hparams, train_set) -> None`, computes nothing and
      raises the error that `build` raises for these hyper-parameters; `sweep` calls it for every
      point.

    Raises:
      TypeError, ValueError: `config` does not consist of integers of at least 1. `train` raises
        them if the key is not a random key, `build` refuses the hyper-parameters, a field of the
        `Pipeline` has a wrong type, or the sets do not fit the network, the batch size or each
        other.

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
    >>> train = jax.jit(make_train(build, TrainConfig(epochs=2, batch_size=10)))
    >>> state, history = train(jax.random.key(0), 0.1, data, data)
    >>> int(state.step), history.loss.shape, history.test.firing_rate.shape
    (4, (2,), (2, 1))
    """
    config = checked(build, config)
    parts = parts_of_run(build, config)

    def train(
        key: Array, hparams: PyTree, train_set: Batch, test_set: Batch
    ) -> tuple[TrainState, History]:
        def epoch(state: TrainState, _: None) -> tuple[TrainState, History]:
            return parts.epoch(key, hparams, state, train_set, test_set)

        sets = {"train_set": train_set, "test_set": test_set}
        check_run(build, config, key, hparams, sets)
        state = parts.start(key, hparams, train_set)
        return meshes.scan(epoch, state, length=config.epochs)

    def check(hparams: PyTree, train_set: Batch) -> None:
        loss_of(build_pipeline(build, hparams, num_updates(config, train_set)))

    train.check = check  # type: ignore[attr-defined]
    return train


def num_updates(config: TrainConfig, train_set: Any) -> int:
    """The number of updates in a whole run: epochs ⌊N / batch_size⌋, or epochs updates_per_epoch.

    Args:
      config: the static sizes of the run.
      train_set: inputs `[N, ...]`, targets, and weights if any; it is not read if the config has
        `updates_per_epoch`.

    Returns:
      A Python integer.

    Raises:
      TypeError, ValueError: `train_set` is not a set of arrays, or is smaller than a batch.

    >>> import numpy as np
    >>> num_updates(TrainConfig(epochs=2, batch_size=10), (np.zeros((35, 4)), np.zeros(35, int)))
    6
    """
    if config.updates_per_epoch is not None:
        return config.epochs * config.updates_per_epoch
    count = check_form("train_set", train_set, least=config.batch_size)
    return config.epochs * updates_per_epoch(config, count)


def updates_per_epoch(config: TrainConfig, count: int) -> int:
    """The number of updates in an epoch on a training set of `count` examples."""
    return config.updates_per_epoch or count // config.batch_size


def epoch_order(config: TrainConfig, key: Array, step: Array, count: int) -> Array:
    """The examples of each update `[updates, batch_size]` in the epoch that begins after `step`."""
    updates = updates_per_epoch(config, count)
    key_shuffle = jax.random.split(key, 4)[2]
    order = jax.random.permutation(jax.random.fold_in(key_shuffle, step // updates), count)
    return order[: updates * config.batch_size].reshape(updates, config.batch_size)


# Checks -------------------------------------------------------------------------------------------


def checked(build: Any, config: Any) -> TrainConfig:
    """Checks `build` and `config`, and returns the config with Python integers."""
    check_function("build", build)
    try:
        hash(build)
    except TypeError:
        raise TypeError(f"build must be hashable, got {build!r}") from None
    return check_config(config)


def check_run(
    build: Build, config: TrainConfig, key: Array, hparams: PyTree, sets: dict[str, Batch]
) -> TrainState:
    """Checks the arguments of a run without computing anything.

    Args:
      build: as in `make_train`.
      config: as in `make_train`.
      key: random key of the run.
      hparams: hyper-parameters of the run.
      sets: the sets by name: the training set first, or a batch with the name "batch".

    Returns:
      The shapes and dtypes of the initial state.
    """
    arguments.key("key", key)
    needed = {"train_set": config.batch_size * (config.updates_per_epoch or 1)}
    for name, data in sets.items():
        check_form(name, data, least=needed.get(name, 1))
    first = next(iter(sets.values()))
    pipeline = build_pipeline(build, hparams, num_updates(config, first))
    loss_of(pipeline)  # the objective checks its own numbers
    with naming(next(iter(sets))):
        fresh = jax.eval_shape(lambda: _start(pipeline, key, first[0], config.batch_size))
    for name, data in sets.items():
        size = config.eval_batch_size if name == "test_set" else config.batch_size
        check_values(name, pipeline, fresh.params, data, batch_size=size)
    return fresh


def check_state(state: Any, fresh: TrainState) -> None:
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
