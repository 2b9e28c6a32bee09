"""Training of a job: one compiled program trains all its points and seeds.

A point is one set of hyper-parameters, and a single run has one point and one seed. After every
epoch the run folder holds the metrics and the training state. An interrupted job therefore resumes
from its last epoch, and the result is the same to the bit.
"""

import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import stbp_jax as sj
from experiments.engine import folders, models, pictures, provenance, rows
from experiments.engine.config import Config, UsageError
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Sets, Variant
from stbp_jax import data

FOREVER = float("inf")


def variant(
    about: str,
    *,
    quick: Plan | None = None,
    long: Plan | None = None,
    full: Plan | None = None,
    load: Callable[[Config, int], Sets] | None = None,
    **recipe: Any,
) -> Variant:
    """Return a variant that trains a network of `models.build`.

    Args:
      about: a short description.
      quick: plan for minutes on two cores; None if the variant has none.
      long: plan for hours on two cores; None if the variant has none.
      full: plan of the paper's protocol; None if the variant has none.
      load: `(config, seed) -> (train, test)`; None for `load_named`.
      **recipe: keyword arguments of `models.build`.
    """
    plans = {"full": full, "long": long, "quick": quick}
    return Variant(
        about,
        {name: plan for name, plan in plans.items() if plan},
        load or load_named,
        lambda config: models.build(config, **recipe),
    )


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


def train(job: Job, folder: Path, until: float = FOREVER) -> list[Row]:
    """Train all points and seeds of a job in one program.

    Args:
      job: the requested runs; `studies.programs` splits a job into jobs of one program each.
      folder: of the run; an unfinished run of the same job in it resumes.
      until: a time of `time.monotonic()`, in seconds; no epoch starts later, except the first.

    Returns:
      A row for each point and seed, ordered by point; an empty list if the run has not ended.

    Raises:
      UsageError: a setting is invalid, or the folder belongs to another run.
    """
    # On accelerators JAX rounds float32 products to fewer bits by default, which flips spikes.
    jax.config.update("jax_default_matmul_precision", "highest")
    program, source = prepared(job), provenance.provenance()
    epochs = job.config.train.epochs
    with folders.claimed(folder, job, source):
        done = list(rows.read_lines(folder / folders.METRICS))
        watch = provenance.Watch(done[-1]["seconds"] if done else 0.0)
        try:
            state = folders.load_state(folder, _state_shapes(program))
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        # Metrics are written before the state: after a crash they may have one line too many.
        done = done[: _epochs_done(program, state)]
        rows.write_lines(folder / folders.METRICS, done)
        bar = tqdm(
            total=epochs,
            initial=len(done),
            unit="epoch",
            desc=f"{job.study} {job.variant} seed {', '.join(map(str, job.seeds))}",
            mininterval=0.1 if sys.stderr.isatty() else 30,  # a log file gets few lines
        )
        validated, interrupt = _validator(program), None
        try:
            left = _epochs(program, state) if len(done) < epochs else iter(())
            for state, measured in left:
                done.append(
                    {"epoch": len(done) + 1, "seconds": watch.seconds}
                    | {"validation_accuracy": validated(state.params)}
                    | by_row_name(measured)
                )
                rows.append(folder / folders.METRICS, done[-1])
                folders.save_state(folder, state)
                _report(bar, done[-1])
                if time.monotonic() >= until:
                    break
        except KeyboardInterrupt as error:
            interrupt = error
        bar.close()
        if state is not None and program.is_single:
            _save_results(program, folder, state.params, done)
        if interrupt is not None:
            raise interrupt
        if len(done) < epochs:
            return []
        ended = watch.fields() | source
        made = [job.label | row | ended for row in _rows(program, done)]
        extend = job.chosen.extend
        made = extend(job, folder, made) if extend else made
        for row in made:
            rows.append(folder / folders.ROW, row)
        (folder / folders.STATE).unlink()  # a finished run does not resume
    return made


# The program --------------------------------------------------------------------------------------


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
    return Program(variant.build(config), config, points, job.seeds, sets)


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


def _initial_state(program: Program, point: int = 0, seed: int = 0) -> sj.TrainState:
    """Return the state of one point and seed before the first update."""
    train = program.sets[seed % len(program.sets)][0]
    key = jax.random.key(program.seeds[seed])
    hparams = program.points[point]
    return sj.training.init_state(program.build, program.train_config, key, hparams, train)


def _state_shapes(program: Program) -> sj.TrainState:
    """Return the shapes and dtypes of the state.

    This traces the setup of every point, which checks points and sets before any computation.
    """
    for point in range(len(program.points)):
        shapes = jax.eval_shape(lambda point=point: _initial_state(program, point))
    if program.is_single:
        return shapes
    axes = (len(program.points), len(program.seeds))
    return jax.tree.map(lambda of: jax.ShapeDtypeStruct((*axes, *of.shape), of.dtype), shapes)


def _epochs(
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


def _epochs_done(program: Program, state: sj.TrainState | None) -> int:
    if state is None:
        return 0
    updates = len(program.sets[0][0].labels) // program.train_config.batch_size
    return int(np.ravel(state.step)[0]) // updates


def _validator(program: Program) -> Callable[[Any], float | None]:
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


STATISTICS = ("firing_rate", "silent_fraction", "in_window", "operations")


def by_row_name(history: sj.training.History) -> dict[str, np.ndarray]:
    """Return the arrays of a history by their names in rows; metrics are `train_*` and `test_*`."""
    test = history.test
    numbers = {"loss": history.loss}
    numbers |= {f"train_{name}": value for name, value in history.metrics.items()}
    numbers |= {"test_loss": test.loss}
    numbers |= {f"test_{name}": value for name, value in test.metrics.items()}
    numbers |= {name: getattr(test, name) for name in STATISTICS}
    numbers |= {"non_finite_updates": history.non_finite_updates}
    return {name: np.asarray(value) for name, value in numbers.items()}


def history(done: list[Row]) -> sj.training.History:
    """Return the history `[E, ...]` of a single run from its lines of metrics."""

    def over_epochs(name: str) -> Any:
        return np.stack([epoch[name] for epoch in done])

    names = [name.removeprefix("train_") for name in done[0] if name.startswith("train_")]
    train, test = (
        OrderedDict((name, over_epochs(f"{of}_{name}")) for name in names)
        for of in ("train", "test")
    )
    statistics = {name: over_epochs(name) for name in STATISTICS}
    return sj.training.History(
        loss=over_epochs("loss"),
        metrics=train,
        test=sj.training.Evaluation(over_epochs("test_loss"), test, **statistics),
        non_finite_updates=over_epochs("non_finite_updates"),
    )


# Results -----------------------------------------------------------------------------------------


def _rows(program: Program, done: list[Row]) -> Iterator[Row]:
    """Yield a row for each point and seed, ordered by point."""
    config, (train, _, test) = program.config, program.sets[0]
    shape = slice_shape(program)
    axes = (None, None) if program.is_single else ()
    accuracy, rates, operations = (  # float64, so that JSON shows short decimals
        np.stack([np.asarray(epoch[name], np.float64)[axes] for epoch in done])  # [E, H, S, ...]
        for name in ("test_accuracy", "firing_rate", "operations")
    )
    validation = [epoch["validation_accuracy"] for epoch in done]
    for h, point in enumerate(program.points):
        for s, seed in enumerate(program.seeds):
            mine = accuracy[:, h, s]
            selected = None if None in validation else mine[int(np.argmax(validation))]
            yield {
                "dataset": config.data.name,
                "network": models.network_name(config, shape),
                "num_steps": config.data.num_steps,
                "epochs": len(done),
                "batch_size": config.train.batch_size,
                "seed": seed,
                "hparams": point,
                "config": config.asdict(),
                "num_train": len(train.labels),
                "num_test": len(test.labels),
                "test_accuracy_last": round(float(mine[-1]), 6),
                "test_accuracy_best": round(float(mine.max()), 6),
                "test_accuracy_selected": None if selected is None else round(float(selected), 6),
                "test_accuracy": mine.round(4),
                "firing_rate": rates[-1, h, s],
                "operations": operations[-1, h, s],
                "multiply_accumulates": models.multiply_accumulates(config, shape),
                "cells": len(program.points) * len(program.seeds),
            }


def slice_shape(program: Program) -> tuple[int, ...]:
    """Return the shape of one example's input at one time step."""
    inputs = program.sets[0][0][0]
    batch = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    pipeline = program.build(program.points[0], 1)
    return jax.eval_shape(pipeline.encode, jax.random.key(0), batch).shape[2:]


def _save_results(program: Program, folder: Path, params: Any, done: list[Row]) -> None:
    """Save the parameters and draw the pictures of a single run."""
    pipeline = program.build(program.points[0], 1)
    sj.save(folder / "params.npz", pipeline.network, params)
    name = models.network_name(program.config, slice_shape(program))
    pictures.learning_curve(folder, f"{name} on {program.config.data.name}", history(done))
    if np.size(done[-1]["operations"]):  # only spiking layers have counts
        pictures.surrogates(folder, program.config.model.width)
        pictures.raster(
            folder, pipeline, (_initial_state(program).params, params), program.sets[0][2]
        )


def _report(bar: tqdm, epoch: Row) -> None:
    """Advance the progress bar, and warn of silent layers and of updates that are not finite."""
    means = {name: float(np.mean(epoch[name])) for name in ("loss", "test_accuracy")}
    bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()}, refresh=False)
    bar.update()
    lost = int(np.sum(epoch["non_finite_updates"]))
    silent = np.argwhere(np.asarray(epoch["firing_rate"]) == 0)
    if not lost and not len(silent):
        return
    bar.clear()
    if lost:
        warnings.warn(
            f"epoch {epoch['epoch']}: {lost} updates were not finite (loss, gradient or "
            "parameters); lower the learning rate",
            stacklevel=2,
        )
    if len(silent):
        warnings.warn(
            f"epoch {epoch['epoch']}: spiking layer {silent[0][-1]} fires nowhere on the test set; "
            "raise its initial weights or lower the threshold",
            stacklevel=2,
        )
