"""From a job to its rows: one program trains all points and seeds, epoch by epoch.

A lone run is a sweep of one point and one seed. After every epoch the run folder holds the metrics
and the state, so that the same job goes on where it stopped, bit for bit.
"""

import sys
import time
import warnings
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
    """A variant that trains a network of `models.build`.

    Args:
      about: what sets it apart.
      quick: what two cores do in minutes.
      long: what two cores do in hours.
      full: the paper's own run.
      load: where the examples come from; None for the library's data set of the config's name.
      **recipe: as `models.build` takes them.
    """
    plans = {"full": full, "long": long, "quick": quick}
    return Variant(
        about,
        {name: plan for name, plan in plans.items() if plan},
        load or load_named,
        lambda config: models.build(config, **recipe),
    )


def load_named(config: Config, seed: int) -> Sets:
    """The first examples of the library's data set of the config's name; the seed is not used."""
    wanted = config.data
    try:
        train, test = data.load(wanted.name)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"data.name {wanted.name}: {error}") from None
    sizes = [(wanted.num_train, len(train.labels)), (wanted.num_test, len(test.labels))]
    first = [slice(min(n or of, wanted.limit or of)) for n, of in sizes]
    return cut(train, first[0]), cut(test, first[1])


class Program(NamedTuple):
    """What trains all points with all seeds.

    Attributes:
      build: `(hparams, num_updates) -> Pipeline`.
      config: of the run.
      points: hyper-parameters, H of them.
      seeds: S of them.
      sets: `(train, held out, test)` of each seed, or one for all.
    """

    build: sj.training.Build
    config: Config
    points: list[models.HParams]
    seeds: list[int]
    sets: list[tuple[Any, Any, Any]]

    @property
    def alone(self) -> bool:
        """Whether there is one point and one seed: a program without their axes."""
        return len(self.points) == len(self.seeds) == 1

    @property
    def train_config(self) -> sj.TrainConfig:
        """Of the whole run."""
        return sj.TrainConfig(self.config.train.epochs, self.config.train.batch_size)


def train(job: Job, folder: Path, until: float = FOREVER) -> list[Row]:
    """Trains all points and seeds of a job in one program.

    Args:
      job: what is asked for; `studies.programs` makes jobs of one program each.
      folder: of the run; one that holds an unfinished run of the same job goes on.
      until: of `time.monotonic`; no epoch begins later.

    Returns:
      A row for each point and seed, the seeds of a point together; none where the run has not
      ended.

    Raises:
      UsageError: numbers that do not fit, or a folder of another run.
    """
    program, source = prepared(job), provenance.provenance()
    epochs = job.config.train.epochs
    with folders.claimed(folder, job, source):
        done = list(rows.read_lines(folder / folders.METRICS))
        watch = provenance.Watch(done[-1]["seconds"] if done else 0.0)
        try:
            state = folders.load_state(folder, _form(program))
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        # A run that was killed between the two files has a line of metrics more.
        done = done[: _epochs_of(program, state)]
        rows.write_lines(folder / folders.METRICS, done)
        bar = tqdm(
            total=epochs,
            initial=len(done),
            unit="epoch",
            desc=f"{job.study} {job.variant} seed {', '.join(map(str, job.seeds))}",
            mininterval=0.1 if sys.stderr.isatty() else 30,  # a log wants lines, not a picture
        )
        validated, interrupt = _validator(program), None
        try:
            left = _epochs(program, state) if len(done) < epochs else iter(())
            for state, measured in left:
                done.append(
                    {"epoch": len(done) + 1, "seconds": watch.seconds}
                    | {"validation_accuracy": validated(state.params)}
                    | flat(measured)
                )
                rows.append(folder / folders.METRICS, done[-1])
                folders.save_state(folder, state)
                _report(bar, done[-1])
                if time.monotonic() >= until:
                    break
        except KeyboardInterrupt as error:
            interrupt = error
        bar.close()
        if state is not None and program.alone:
            _leave(program, folder, state.params, done)
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
        (folder / folders.STATE).unlink()  # nothing goes on from it
    return made


# The program --------------------------------------------------------------------------------------


def prepared(job: Job) -> Program:
    """The program of a job, its examples loaded.

    Raises:
      UsageError: the examples are not there, or fewer than asked for.
    """
    variant, config = job.chosen, job.config
    # Named sets are the same for all seeds.
    seeds = job.seeds[:1] if variant.load is load_named else job.seeds
    loads = [variant.load(config, seed) for seed in seeds]
    sets = [_parted(config, train, test) for train, test in loads]
    points = job.points or [models.hparams(config)]
    return Program(variant.build(config), config, points, job.seeds, sets)


def _parted(config: Config, train: Any, test: Any) -> tuple[Any, Any, Any]:
    """`(learned from, held out, tested on)`: what the config's numbers leave of two sets."""
    left = len(train.labels) - config.data.validation
    if not 0 < left <= len(train.labels):
        raise UsageError(
            f"data.validation must be from 0 to fewer than the {len(train.labels)} training "
            f"examples, got {config.data.validation}"
        )
    return cut(train, slice(left)), cut(train, slice(left, None)), test


def cut(examples: Any, part: slice) -> Any:
    """A part of a set, of the set's type."""
    return type(examples)(*(array[part] for array in examples))


def _first(program: Program, point: int = 0, seed: int = 0) -> sj.TrainState:
    """The state of one point and seed before the first update."""
    train = program.sets[seed % len(program.sets)][0]
    key = jax.random.key(program.seeds[seed])
    hparams = program.points[point]
    return sj.training.init_state(program.build, program.train_config, key, hparams, train)


def _form(program: Program) -> sj.TrainState:
    """Shapes and dtypes of a state; points and sets are checked, nothing is computed."""
    for point in range(len(program.points)):
        form = jax.eval_shape(lambda point=point: _first(program, point))
    if program.alone:
        return form
    axes = (len(program.points), len(program.seeds))
    return jax.tree.map(lambda of: jax.ShapeDtypeStruct((*axes, *of.shape), of.dtype), form)


def _epochs(
    program: Program, state: sj.TrainState | None
) -> Iterator[tuple[sj.TrainState, sj.training.History]]:
    """The state and the history after each epoch that is left."""
    build, config = program.build, program.train_config
    if program.alone:
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
    """One set as it is, or the sets of all seeds with an axis S."""
    if len(sets) == 1:
        return sets[0]
    return type(sets[0])(*(np.stack(arrays) for arrays in zip(*sets, strict=True)))


def _epochs_of(program: Program, state: sj.TrainState | None) -> int:
    if state is None:
        return 0
    updates = len(program.sets[0][0].labels) // program.train_config.batch_size
    return int(np.ravel(state.step)[0]) // updates


def _validator(program: Program) -> Callable[[Any], float | None]:
    """`params -> accuracy` on the examples held out, with the same draws at every call.

    A sweep only leaves these examples out: nothing is chosen in it, and the accuracy is None.
    """
    held = program.sets[0][1]
    if not (program.alone and len(held.labels)):
        return lambda params: None
    updates = sj.training.num_updates(program.train_config, program.sets[0][0])
    pipeline = program.build(program.points[0], updates)
    key = jax.random.fold_in(jax.random.key(program.seeds[0]), 4)
    accuracy = jax.jit(lambda params, *sets: sj.evaluate(pipeline, params, key, *sets).accuracy)
    return lambda params: float(accuracy(params, *held))


# Rows have names of their own for two numbers of an `Evaluation`.
IN_ROWS = {"loss": "test_loss", "accuracy": "test_accuracy"}


def flat(history: sj.training.History) -> dict[str, np.ndarray]:
    """A history by the names that rows have."""
    numbers = history._asdict()
    test = numbers.pop("test")._asdict()
    numbers |= {IN_ROWS.get(name, name): value for name, value in test.items()}
    return {name: np.asarray(value) for name, value in numbers.items()}


def history(done: list[Row]) -> sj.training.History:
    """The history `[E, ...]` of a lone run's lines of metrics."""

    def over_epochs(name: str) -> Any:
        return np.stack([epoch[name] for epoch in done])

    names = sj.training.Evaluation._fields
    return sj.training.History(
        loss=over_epochs("loss"),
        train_accuracy=over_epochs("train_accuracy"),
        test=sj.training.Evaluation(*(over_epochs(IN_ROWS.get(name, name)) for name in names)),
        non_finite_updates=over_epochs("non_finite_updates"),
    )


# What a run leaves --------------------------------------------------------------------------------


def _rows(program: Program, done: list[Row]) -> Iterator[Row]:
    """A row for each point and seed, point by point."""
    config, (train, _, test) = program.config, program.sets[0]
    shape = slice_shape(program)
    axes = (None, None) if program.alone else ()
    accuracy, rates, operations = (  # JSON would show the digits of float32
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
    """Shape of what the network gets of an example at one step."""
    inputs = program.sets[0][0][0]
    batch = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    pipeline = program.build(program.points[0], 1)
    return jax.eval_shape(pipeline.encode, jax.random.key(0), batch).shape[2:]


def _leave(program: Program, folder: Path, params: Any, done: list[Row]) -> None:
    """Parameters and pictures of a lone run."""
    pipeline = program.build(program.points[0], 1)
    sj.save(folder / "params.npz", pipeline.network, params)
    name = models.network_name(program.config, slice_shape(program))
    pictures.learning_curve(folder, f"{name} on {program.config.data.name}", history(done))
    if np.size(done[-1]["operations"]):  # a layer that spikes is counted
        pictures.surrogates(folder, program.config.model.width)
        pictures.raster(folder, pipeline, (_first(program).params, params), program.sets[0][2])


def _report(bar: tqdm, epoch: Row) -> None:
    """One step of the bar, and warnings of what will not learn."""
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
