"""How the error of a recurrent layer grows on its way back through time, before and in training.

The error of neuron and step is the gradient of a current that is added there. It is followed back
from the spikes of the last step: all earlier spikes are constants for the loss, so that every part
of an earlier error has come through the layer's own connections and membranes.
"""

import itertools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.engine import folders, models, programs, provenance
from experiments.engine import rows as result_rows
from experiments.engine.models import HParams
from experiments.engine.rows import Row
from experiments.engine.studies import Job
from experiments.studies.mnist_rows.study import GRADIENTS, NEURONS, build
from stbp_jax.initializers import plus_bias
from stbp_jax.layers import LayerParams

MEASURED = 6  # epochs that are trained; the schedule of the learning rate goes on to its own end
BATCHES = 5  # of held-out images, for norms of gradients
HIDDEN = NEURONS["recurrent_lif"]


def run(job: Job, folder: Path, until: float) -> list[Row]:
    """Train each point by STBP, and measure before training and after each of the first epochs.

    Args:
      job: the points, and one seed.
      folder: of the run.
      until: not used.

    Returns:
      A row for each point. `growth` has a list for each measure, with an entry before training and
      one after each epoch: `error [T]`, the root mean square over images of the norm of the error;
      `gradient_norm`, median and largest of 5 batches, by gradient; and `spectral_radius` of the
      recurrent weights.
    """
    # As in `runs.train`: rounded products flip spikes on accelerators.
    jax.config.update("jax_default_matmul_precision", "highest")
    program, source = programs.prepared(job), provenance.provenance()
    config, (seed,) = job.config, job.seeds
    train, _, held = program.sets[0]
    made = []
    with folders.claimed(folder, job, source):
        for h, point in enumerate(program.points):
            watch = provenance.Watch()
            alone = program._replace(points=[point])
            found = [_measure(config, point, programs.initial_state(program, h).params, held)]
            accuracies = []
            measured = min(MEASURED, config.train.epochs)
            for state, history in itertools.islice(programs.epochs(alone, None), measured):
                found.append(_measure(config, point, state.params, held))
                accuracies.append(round(float(history.test.metrics["accuracy"]), 4))
            made.append(
                job.label
                | {
                    "dataset": config.data.name,
                    "network": models.network_name(config, programs.slice_shape(program)),
                    "num_steps": config.data.num_steps,
                    "epochs": measured,
                    "batch_size": config.train.batch_size,
                    "seed": seed,
                    "hparams": point,
                    "config": config.asdict(),
                    "num_train": len(train.labels),
                    "num_test": len(held.labels),
                    "test_accuracy_last": accuracies[-1],
                    "test_accuracy_best": max(accuracies),
                    "test_accuracy_selected": None,
                    "test_accuracy": accuracies,
                    "growth": {name: [one[name] for one in found] for name in found[0]},
                    "cells": len(program.points),
                }
                | watch.fields()
                | source
            )
            result_rows.append(folder / folders.ROW, made[-1])
    return made


def _measure(config: Any, point: HParams, params: Any, held: Any) -> dict[str, Any]:
    size = min(config.train.batch_size, len(held.labels))
    count = min(BATCHES, len(held.labels) // size)
    batches = [tuple(x[i * size : (i + 1) * size] for x in held) for i in range(count)]
    norms = {
        name: np.array([gradient_norm(config, horizon, point, params, *b) for b in batches])
        for name, (_, horizon) in GRADIENTS.items()
    }
    squares = np.mean([errors(config, point, params, *b) ** 2 for b in batches], axis=(0, 2))
    recurrent = params[0][0].neuron.weights.kernel
    return {
        "error": _short(np.sqrt(squares)),
        "gradient_norm": {
            name: _short([np.median(each), each.max()]) for name, each in norms.items()
        },
        "spectral_radius": _short([np.abs(np.linalg.eigvals(np.asarray(recurrent))).max()])[0],
    }


def _short(numbers: Any) -> list[float]:
    return [float(f"{number:.4g}") for number in numbers]


def errors(
    config: Any, point: HParams, params: Any, images: jax.Array, labels: jax.Array
) -> np.ndarray:
    """Return the norms over neurons of the errors that reach each step from the last, `[T, B]`."""
    return np.asarray(_errors(config, point, params, images, labels))


def gradient_norm(
    config: Any, horizon: int, point: HParams, params: Any, images: jax.Array, labels: jax.Array
) -> float:
    """Return the norm of the gradient of all parameters, cut every `horizon` steps."""
    return float(_gradient_norm(config, horizon, point, params, images, labels))


def _loss(outs: jax.Array, labels: jax.Array) -> jax.Array:
    return sj.cross_entropy(sj.rate(outs), labels)


@jax.jit(static_argnums=0)
def _errors(
    config: Any, point: HParams, params: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    pipeline = build(config, hidden=HIDDEN)(point, 1)
    (dense,), readout = params
    layer = sj.layers.spiking(sj.layers.identity, HIDDEN(point))
    xs = pipeline.encode(jax.random.key(0), images)
    currents = plus_bias(xs @ dense.synapse.kernel, dense.synapse)

    def loss(added: jax.Array) -> jax.Array:
        spikes = sj.apply(layer, LayerParams((), dense.neuron), currents + added)[1]
        spikes = jnp.concatenate([jax.lax.stop_gradient(spikes[:-1]), spikes[-1:]])
        return jnp.sum(_loss(sj.apply(pipeline.network.layers[-1], readout, spikes)[1], labels))

    return jnp.linalg.norm(jax.grad(loss)(jnp.zeros_like(currents)), axis=-1)


@jax.jit(static_argnums=(0, 1))
def _gradient_norm(
    config: Any, horizon: int, point: HParams, params: Any, images: jax.Array, labels: jax.Array
) -> jax.Array:
    pipeline = build(config, hidden=HIDDEN, horizon=horizon)(point, 1)
    xs = pipeline.encode(jax.random.key(0), images)

    def loss(params: Any) -> jax.Array:
        return jnp.mean(_loss(sj.apply(pipeline.network, params, xs)[1], labels))

    squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(jax.grad(loss)(params))]
    return jnp.sqrt(sum(squares))
