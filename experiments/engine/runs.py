"""Training of a job: one compiled program trains all its points and seeds.

A point is one set of hyper-parameters, and a single run has one point and one seed. After every
epoch the run folder holds the metrics, and at the end of an epoch, at most every few minutes, a
checkpoint of the training state. A job that was interrupted or killed resumes from its last
checkpoint, and the result is the same to the bit.
"""

import sys
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

import stbp_jax as sj
from experiments import interruption
from experiments.engine import (
    checkpoints,
    faults,
    folders,
    measurements,
    models,
    pictures,
    programs,
    provenance,
    rows,
)
from experiments.engine.config import Config, UsageError
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Sets, Variant
from experiments.engine.tensorboard import Follow, nobody

FOREVER = float("inf")
SAVE_MINUTES = 5.0


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
      load: `(config, seed) -> (train, test)`; None for `programs.load_named`.
      **recipe: keyword arguments of `models.build`.
    """
    plans = {"full": full, "long": long, "quick": quick}
    return Variant(
        about,
        {name: plan for name, plan in plans.items() if plan},
        load or programs.load_named,
        lambda config: models.build(config, **recipe),
    )


def train(
    job: Job,
    folder: Path,
    until: float = FOREVER,
    *,
    follow: Follow = nobody,
    save_minutes: float = SAVE_MINUTES,
) -> list[Row]:
    """Train all points and seeds of a job in one program.

    Args:
      job: the requested runs; `studies.programs` splits a job into jobs of one program each.
      folder: of the run; an unfinished run of the same job in it resumes.
      until: a time of `time.monotonic()`, in seconds; no epoch starts later, except the first.
      follow: takes the metrics of each epoch, those before a resumption included, such as
        `tensorboard.writer()`.
      save_minutes: at the end of an epoch a checkpoint is written if the last one is as old as
        this; 0 writes one after every epoch. A run that stops early always writes one.

    Returns:
      A row for each point and seed, ordered by point; an empty list if the run has not ended.

    Raises:
      UsageError: a setting is invalid, or the folder belongs to another run.
      Interrupted: a signal came; the epoch under way has ended, and its state is saved.
      faults.NonFiniteError: an update is not finite; the folder holds the epochs before it.
    """
    # On accelerators JAX rounds float32 products to fewer bits by default, which flips spikes.
    jax.config.update("jax_default_matmul_precision", "highest")
    program, source = programs.prepared(job), provenance.provenance()
    epochs = job.config.train.epochs
    try:
        shapes, about = programs.state_shapes(program), programs.described(program)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    with (
        interruption.working(),
        folders.claimed(folder, job, source),
        follow(folder) as see,
        checkpoints.opened(folder, about) as saved,
    ):
        done = list(rows.read_lines(folder / folders.METRICS))
        watch = provenance.Watch(done[-1]["seconds"] if done else 0.0)
        first, state = saved.restore(shapes) or (0, None)
        # Epochs after the last checkpoint are computed again.
        done = done[:first]
        rows.write_lines(folder / folders.METRICS, done)
        for epoch in done:
            see(epoch)
        bar = tqdm(
            total=epochs,
            initial=len(done),
            unit="epoch",
            desc=f"{job.study} {job.variant} seed {', '.join(map(str, job.seeds))}",
            mininterval=0.1 if sys.stderr.isatty() else 30,  # a log file gets few lines
        )
        validated, saved_at = programs.validator(program), time.monotonic()
        left = faults.epochs(program, state) if len(done) < epochs else iter(())
        for state, measured in left:
            done.append(
                {"epoch": len(done) + 1, "seconds": watch.seconds}
                | {"validation_accuracy": validated(state.params)}
                | by_row_name(measured)
            )
            folders.check_exists(folder)
            rows.append(folder / folders.METRICS, done[-1])
            now = time.monotonic()
            stops = now >= until or interruption.requested()
            if len(done) < epochs and (stops or now - saved_at >= 60 * save_minutes):
                saved.save(len(done), state, done[-1]["validation_accuracy"])
                saved_at = now
            see(done[-1])
            _report(bar, done[-1], measured)
            if stops:
                break
        del left  # waits for the epoch under way
        bar.close()
        if state is not None and program.is_single:
            _save_results(program, folder, state.params, done)
        if len(done) < epochs:
            return []
        ended = watch.fields() | source
        made = [job.label | row | ended for row in _rows(program, done)]
        extend = job.chosen.extend
        made = extend(job, folder, made) if extend else made
        rows.write_lines(folder / folders.ROW, made)  # all or none: it marks the end of the run
    checkpoints.delete(folder)
    return made


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


def history(done: list[Row], place: tuple[int, ...] = ()) -> sj.training.History:
    """Return the history `[E, ...]` of a run from its lines of metrics.

    Args:
      done: the lines, at least one.
      place: `()` for a single run, and `(h, s)` for a cell of a sweep.
    """

    def over_epochs(name: str) -> Any:
        return np.stack([np.asarray(epoch[name])[place] for epoch in done])

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


def _rows(program: programs.Program, done: list[Row]) -> Iterator[Row]:
    """Yield a row for each point and seed, ordered by point."""
    config, (train, _, test) = program.config, program.sets[0]
    shape = programs.slice_shape(program)
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


def _save_results(program: programs.Program, folder: Path, params: Any, done: list[Row]) -> None:
    """Save the parameters and measurements, and draw the pictures of a single run."""
    pipeline = program.build(program.points[0], 1)
    sj.save(folder / "params.npz", pipeline.network, params)
    name = models.network_name(program.config, programs.slice_shape(program))
    pictures.learning_curve(folder, f"{name} on {program.config.data.name}", history(done))
    measured = measurements.measure(program, params)
    measurements.save(folder, measured)
    if np.size(done[-1]["operations"]):  # only spiking layers have counts
        pictures.surrogates(folder, program.config.model.width)
        pictures.raster(folder, measured)


def _report(bar: tqdm, epoch: Row, measured: sj.training.History) -> None:
    """Advance the progress bar, and warn of what keeps the network from learning."""
    means = {name: float(np.mean(epoch[name])) for name in ("loss", "test_accuracy")}
    bar.set_postfix({name: f"{mean:.4f}" for name, mean in means.items()}, refresh=False)
    bar.update()
    found = list(_found(measured))
    if found:
        bar.clear()
    for sentence in found:
        warnings.warn(f"epoch {epoch['epoch']}: {sentence}", stacklevel=2)


def _found(measured: sj.training.History) -> Iterator[str]:
    """Yield each kind of finding in an epoch once for each layer, with its number of runs."""
    measured = jax.tree.map(np.asarray, measured)
    cells = list(np.ndindex(measured.non_finite_updates.shape))  # [()] for a single run
    alike: dict[Any, list[Any]] = {}
    for cell in cells:
        history = jax.tree.map(lambda x, cell=cell: x[cell], measured)
        for found in sj.training.diagnose(history):
            alike.setdefault((found.kind, found.layer), []).append((cell, found))
    for (cell, found), *others in alike.values():
        where = ""
        if cell:
            where = (
                f"{1 + len(others)} of {len(cells)} runs, such as point {cell[0]}, seed {cell[1]}: "
            )
        yield f"{where}{found}"
