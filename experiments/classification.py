"""Runs of a classifier of images or recordings, from a data set to their run folders and rows.

Every variant that trains a single network goes through here; what the network is, its `Model` says.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib
import numpy as np
from tqdm import tqdm

import stbp_jax as sj
from experiments import harness, images
from experiments.settings import UsageError
from experiments.study import Plan, Row, Variant
from stbp_jax import data, plots
from stbp_jax.data.images import Pair

matplotlib.use("Agg")
from matplotlib import pyplot as plt

matplotlib.rcParams.update(
    {"figure.dpi": 140, "axes.spines.top": False, "axes.spines.right": False}
)

Load = Callable[[Any, int], tuple[Any, Any]]


class Model(NamedTuple):
    """What is trained on what.

    Attributes:
      load: `(settings, seed) -> (train, test)`, each a `Dataset` or `Recordings`.
      build: `settings -> Build`, as `sj.make_train` takes it.
      surrogates: `settings ->` curves to draw; none for a network that does not spike.
    """

    load: Load
    build: Callable[[Any], sj.training.Build]
    surrogates: Callable[[Any], list[sj.Surrogate]]


def variant(
    tells: str,
    settings: Any,
    *,
    cpu: Plan | None,
    full: Plan,
    long: Plan | None = None,
    load: Load | None = None,
    **values: Any,
) -> Variant:
    """A variant that trains one network of `images` for each seed.

    Args:
      tells: what sets it apart.
      settings: of the full budget.
      cpu: what two cores can afford; None for nothing.
      full: the paper's own run.
      long: what two cores can do in hours; None for nothing.
      load: where the examples come from; None for the data set of the settings.
      **values: as `images.build` takes them.
    """
    spikes = values.get("units") is not images.RELU
    model = Model(
        load or (lambda settings, seed: load_named(settings)),
        lambda settings: images.build(settings, **values),
        images.surrogates if spikes else lambda settings: [],
    )

    def run(settings: Any, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
        for seed in seeds:
            own = folder if len(seeds) == 1 else harness.make_folder(folder / f"seed{seed}")
            yield [train(model, settings, seed, own)]

    plans = {"cpu": cpu, "long": long, "full": full}
    return Variant(tells, settings, run, {name: plan for name, plan in plans.items() if plan})


def load_named(settings: Any) -> Pair:
    """The settings' data set, cut to `limit` examples where that is not 0."""
    try:
        train, test = data.load(settings.data)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"--data {settings.data}: {error}") from None
    if settings.limit:
        first = slice(settings.limit)
        train, test = (data.Dataset(s.images[first], s.labels[first]) for s in (train, test))
    return train, test


def train(model: Model, settings: Any, seed: int, folder: Path) -> Row:
    """Trains once, showing progress, and leaves a run folder that is usable at any time."""
    train_set, test = model.load(settings, seed)
    train_set, held = _held_out(train_set, settings.validation)
    hparams, build = images.hparams(settings), model.build(settings)
    config = sj.TrainConfig(settings.epochs, settings.batch_size)
    source = harness.provenance()
    key = jax.random.key(seed)
    clock, began = harness.CompileClock(), time.perf_counter()
    try:
        before = sj.training.init_state(build, config, key, hparams, train_set).params
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error
    harness.claim(folder, {"seed": seed, "settings": asdict(settings), **source})
    params, told, interrupt = before, [], None
    validation: list[float] = []
    validate = _validator(build(hparams, sj.training.num_updates(config, train_set)), key)
    progress = tqdm(
        total=config.epochs,
        unit="epoch",
        desc=f"{settings.data} seed {seed}",
        mininterval=0.1 if sys.stderr.isatty() else 30,  # a log wants lines, not a picture
    )
    try:
        for state, history in sj.train_epochs(build, config, key, hparams, train_set, test):
            params = state.params
            told.append(jax.tree.map(np.asarray, history))
            if len(held.labels):
                validation.append(float(validate(params, *held)))
            _report(folder, progress, len(told), told[-1])
    except KeyboardInterrupt as error:
        interrupt = error
    progress.close()
    wall = time.perf_counter() - began

    sj.save(folder / "params.npz", build(hparams, 1).network, params)
    if told:
        history = jax.tree.map(lambda *leaves: np.stack(leaves), *told)
        shape = slice_shape(build(hparams, 1), train_set)
        row = {
            "dataset": settings.data,
            "network": images.network(settings, shape),
            "num_steps": settings.num_steps,
            "epochs": len(told),
            "batch_size": settings.batch_size,
            "seed": seed,
            "hparams": hparams,
            "settings": asdict(settings),
            "num_train": len(train_set.labels),
            "num_test": len(test.labels),
            "test_accuracy_last": round(float(history.test.accuracy[-1]), 6),
            "test_accuracy_best": round(float(history.test.accuracy.max()), 6),
            "test_accuracy_selected": _selected(history, validation),
            "test_accuracy": history.test.accuracy.round(4),
            "firing_rate": history.test.firing_rate[-1],
            "operations": history.test.operations[-1],
            "multiply_accumulates": images.multiply_accumulates(settings, shape),
            "wall_seconds": round(wall, 2),
            "compile_seconds": round(clock.seconds, 2),
            "peak_bytes": harness.peak_bytes(),
            **source,
        }
        curves = model.surrogates(settings)
        _draw_run(folder, f"{row['network']} on {settings.data}", history, curves)
        if curves:
            _draw_raster(folder, build(hparams, 1), (before, params), test)
    if interrupt is not None:  # an unfinished run is no result
        raise interrupt
    harness.append_row(folder / "row.jsonl", row)
    return row


def _validator(pipeline: sj.Pipeline, key: jax.Array) -> Callable[..., jax.Array]:
    """`(params, images, labels) -> accuracy`, with the same draws of input at every call."""
    key = jax.random.fold_in(key, 4)
    return jax.jit(lambda params, *held: sj.evaluate(pipeline, params, key, *held).accuracy)


def slice_shape(pipeline: sj.Pipeline, train: Any) -> tuple[int, ...]:
    """Shape of what the network gets of an example at one time step."""
    inputs = train[0]
    batch = jax.ShapeDtypeStruct((1, *inputs.shape[1:]), inputs.dtype)
    return jax.eval_shape(pipeline.encode, jax.random.key(0), batch).shape[2:]


def _held_out(train: Any, count: int) -> tuple[Any, Any]:
    """What is learnt from, and the last `count` examples."""
    left = len(train.labels) - count
    if not 0 <= count < len(train.labels):
        raise UsageError(
            f"validation must be from 0 to fewer than the {len(train.labels)} training examples, "
            f"got {count}"
        )
    parts = slice(left), slice(left, None)
    first, last = (type(train)(*(array[p] for array in train)) for p in parts)
    return first, last


def _selected(history: sj.training.History, validation: list[float]) -> float | None:
    """Test accuracy after the first epoch of the best validation accuracy."""
    if not validation:
        return None
    return round(float(history.test.accuracy[int(np.argmax(validation))]), 6)


def _report(folder: Path, progress: tqdm, epoch: int, history: sj.training.History) -> None:
    test = history.test
    line = {
        "loss": history.loss,
        "train_accuracy": history.train_accuracy,
        "test_loss": test.loss,
        "test_accuracy": test.accuracy,
        "firing_rate": test.firing_rate,
        "silent_fraction": test.silent_fraction,
        "in_window": test.in_window,
        "operations": test.operations,
        "non_finite_updates": history.non_finite_updates,
    }
    rounded = {name: np.round(value, 6) for name, value in line.items()}
    harness.append_row(folder / "metrics.jsonl", {"epoch": epoch, **rounded})
    progress.set_postfix(
        loss=f"{history.loss:.4f}", test_accuracy=f"{history.test.accuracy:.4f}", refresh=False
    )
    progress.update()
    if history.non_finite_updates:
        progress.clear()
        warnings.warn(
            f"epoch {epoch}: {history.non_finite_updates} updates were not finite (loss, gradient "
            "or parameters); lower the learning rate",
            stacklevel=2,
        )
    silent = [i for i, rate in enumerate(history.test.firing_rate) if rate == 0]
    if silent:
        progress.clear()
        warnings.warn(
            f"epoch {epoch}: spiking layer {silent[0]} fires nowhere on the test set; raise its "
            "initial weights or lower the threshold",
            stacklevel=2,
        )


def _draw_run(
    folder: Path, title: str, history: sj.training.History, surrogates: list[sj.Surrogate]
) -> None:
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    plots.learning_curve(axes, history).set_title(title)
    figure.savefig(folder / "learning_curve.png")
    if surrogates:
        figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
        plots.curves(axes, surrogates).set_title("surrogate derivative")
        figure.savefig(folder / "surrogates.png")
    plt.close("all")


def _draw_raster(
    folder: Path, pipeline: sj.Pipeline, before_after: tuple[Any, Any], test: Any
) -> None:
    # The paper shows a nine (Fig. 4D); where the set has none, its last class.
    label = min(9, int(test.labels.max()))
    example = test[0][int(np.argmax(test.labels == label))][None]
    xs = pipeline.encode(jax.random.key(0), example)
    figure, pair = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
    for axes, params, title in zip(pair, before_after, ("before", "after"), strict=True):
        outs = sj.apply(pipeline.network, params, xs)[1][:, 0]
        plots.raster(axes, outs, label=label)
        axes.set_title(f"{title} training ({int(outs.sum())} spikes)", fontsize="medium")
    pair[0].set_ylabel("output unit")
    pair[1].set_ylabel("")
    figure.suptitle(f"Output spikes for a {label}", fontsize="medium")
    figure.savefig(folder / "raster.png")
    plt.close(figure)
