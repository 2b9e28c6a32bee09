"""The program of a job: its examples, its points and seeds, and the epochs that train them.

One compiled program trains H points with S seeds each. A single run has one point and one seed, and
no axes H and S.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj
from experiments.engine import models
from experiments.engine.config import Config, UsageError
from experiments.engine.studies import Job, Sets
from stbp_jax import data


def load_named(config: Config, seed: int) -> Sets:
    """Load the data set `config.data.name` from `stbp_jax.data`, cut to the sizes in the config.

    Args:
      config: its `data` names the set and the numbers of examples.
      seed: not used; the examples are the same for all seeds.

    Returns:
      `(train, test)`, the first examples of each set.

    Raises:
      UsageError: the name is unknown, or the data cannot be read.
    """
    wanted = config.data
    try:
        train, test = data.load(wanted.name)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"data.name {wanted.name}: {error}") from None
    sizes = [(wanted.num_train, len(train.labels)), (wanted.num_test, len(test.labels))]
    first = [slice(min(n or of, wanted.limit or of)) for n, of in sizes]
    return cut(train, first[0]), cut(test, first[1])


class Program(NamedTuple):
    """A program that trains H points with S seeds each.

    Attributes:
      build: `(hparams, num_updates) -> Pipeline`.
      config: all settings.
      points: H sets of hyper-parameters.
      seeds: S seeds.
      sets: `(train, validation, test)` for each seed, or one triple for all seeds.
    """

    build: sj.training.Build
    config: Config
    points: list[models.HParams]
    seeds: list[int]
    sets: list[tuple[Any, Any, Any]]

    @property
    def is_single(self) -> bool:
        """Whether the program has one point and one seed, and thus no axes H and S."""
        return len(self.points) == len(self.seeds) == 1

    @property
    def train_config(self) -> sj.TrainConfig:
        """Epochs and batch size, as `sj.make_train` takes them."""
        return sj.TrainConfig(self.config.train.epochs, self.config.train.batch_size)


def prepared(job: Job) -> Program:
    """Return the program of a job, with its examples loaded.

    Raises:
      UsageError: the examples cannot be read, or there are fewer than the config asks for.
    """
    variant, config = job.chosen, job.config
    # `load_named` returns the same sets for all seeds.
    seeds = job.seeds[:1] if variant.load is load_named else job.seeds
    loads = [variant.load(config, seed) for seed in seeds]
    sets = [_with_validation(config, train, test) for train, test in loads]
    points = job.points or [models.hparams(config)]
    build = variant.build(config)
    if config.train.skip_non_finite:
        build = _skipping(build)
    return Program(build, config, points, job.seeds, sets)


@functools.cache  # the same function for all seeds, so that they share a compiled program
def _skipping(build: sj.training.Build) -> sj.training.Build:
    """Return `build` with an optimizer that skips the updates whose gradient is not finite."""

    def built(hparams: models.HParams, num_updates: int) -> sj.Pipeline:
        pipeline = build(hparams, num_updates)
        # It gives up after this many in a row.
        optimizer = optax.apply_if_finite(pipeline.optimizer, 2**31 - 1)
        return pipeline._replace(optimizer=optimizer)

    return built


def _with_validation(config: Config, train: Any, test: Any) -> tuple[Any, Any, Any]:
    """Split off the validation examples: `(train, validation, test)`."""
    left = len(train.labels) - config.data.validation
    if not 0 < left <= len(train.labels):
        raise UsageError(
            f"data.validation must be from 0 to {len(train.labels) - 1}, fewer than the training "
            f"examples, got {config.data.validation}"
        )
    return cut(train, slice(left)), cut(train, slice(left, None)), test


def cut(examples: Any, part: slice) -> Any:
    """Return a slice of the examples of a set, as a set of the same type."""
    return type(examples)(*(array[part] for array in examples))


def initial_state(program: Program, point: int = 0, seed: int = 0) -> sj.TrainState:
    """Return the state of one point and seed before the first update."""
    train = program.sets[seed % len(program.sets)][0]
    key = jax.random.key(program.seeds[seed])
    hparams = program.points[point]
    return sj.training.init_state(program.build, program.train_config, key, hparams, train)


def state_shapes(program: Program) -> sj.TrainState:
    """Return the shapes and dtypes of the state.

    This traces the setup of every point, which checks points and sets before any computation.
    """
    for point in range(len(program.points)):
        shapes = jax.eval_shape(lambda point=point: initial_state(program, point))
    if program.is_single:
        return shapes
    axes = (len(program.points), len(program.seeds))
    return jax.tree.map(lambda of: jax.ShapeDtypeStruct((*axes, *of.shape), of.dtype), shapes)


def epochs(
    program: Program, state: sj.TrainState | None
) -> Iterator[tuple[sj.TrainState, sj.training.History]]:
    """Yield the state and the history after each remaining epoch."""
    build, config = program.build, program.train_config
    if program.is_single:
        (train, _, test), key = program.sets[0], jax.random.key(program.seeds[0])
        return sj.train_epochs(build, config, key, program.points[0], train, test, state=state)
    trains, _, tests = zip(*program.sets, strict=True)
    keys = jax.vmap(jax.random.key)(np.array(program.seeds))
    names = program.points[0]
    points = {name: jnp.array([point[name] for point in program.points]) for name in names}
    return sj.sweeps.sweep_epochs(
        build,
        config,
        keys,
        points,
        _stacked(trains),
        _stacked(tests),
        states=state,
        chunk=program.config.train.chunk or None,
        sets_axis=None if len(trains) == 1 else 0,
    )


def _stacked(sets: Sequence[Any]) -> Any:
    """Return a single set as it is, and several sets stacked on a leading axis S."""
    if len(sets) == 1:
        return sets[0]
    return type(sets[0])(*(np.stack(arrays) for arrays in zip(*sets, strict=True)))


def described(program: Program) -> dict[str, Any]:
    """Return what shapes a run, in values of JSON: settings, points, seeds, network constants.

    A run resumes only where all of it is the same.
    """
    constants = [
        _in_json(sj.core.constants_of(program.build(point, 1).network)) for point in program.points
    ]
    return {
        "config": program.config.asdict(),
        "points": program.points,
        "seeds": program.seeds,
        "constants": constants,
    }


def _in_json(value: Any) -> Any:
    """Return constants in values of JSON; a function by its name."""
    if isinstance(value, dict):
        return {str(name): _in_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_in_json(item) for item in value]
    if isinstance(value, sj.Surrogate):
        return repr(value)
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return np.asarray(value).tolist() if hasattr(value, "dtype") else value


def validator(program: Program) -> Callable[[Any], float | None]:
    """Return `params -> validation accuracy`, which uses the same random draws at every call.

    The accuracy is None without validation examples and for a sweep, in which no epoch is chosen.
    """
    held = program.sets[0][1]
    if not (program.is_single and len(held.labels)):
        return lambda params: None
    updates = sj.training.num_updates(program.train_config, program.sets[0][0])
    pipeline = program.build(program.points[0], updates)
    key = jax.random.fold_in(jax.random.key(program.seeds[0]), 4)
    accuracy = jax.jit(lambda params, *sets: sj.evaluate(pipeline, params, key, *sets).headline)
    return lambda params: float(accuracy(params, *held))


def slice_shape(program: Program) -> tuple[int, ...]:
    """Return the shape of one example's input at one time step."""
    inputs = program.sets[0][0][0]
    batch = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    pipeline = program.build(program.points[0], 1)
    return jax.eval_shape(pipeline.encode, jax.random.key(0), batch).shape[2:]
