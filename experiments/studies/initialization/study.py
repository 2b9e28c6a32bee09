"""Initial weights (equations 29 and 30).

Claim:   With the paper's initialization as printed, no weight has a gradient on MNIST.
Command: python -m experiments reproduce initialization --budget quick
Result:  exactly 0 in every layer, 3 seeds, target learns: not reproduced.
Time:    53 s for 189 runs in one program, budget quick, AMD EPYC, 1 of 2 cores.

Nothing is trained. Each point draws weights and computes the gradient on one batch.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import stbp_jax as sj
from experiments.engine import folders, models, programs, provenance
from experiments.engine import rows as result_rows
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import HParams
from experiments.engine.notation import Dense
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from stbp_jax import presets

# Table 1 of the paper, which names no batch size.
PAPER = presets.paper.mnist
FULL = Config(
    Data(num_steps=PAPER.num_steps),
    Model("400-10", decay=PAPER.decay, threshold=PAPER.threshold),
    Train(epochs=0, batch_size=200, chunk=9),
)
GAINS = (0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.7, 8)  # norms of a unit's incoming weights
BIASES = (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5)  # b ~ U[0, this]
NUMBERS = ("decay", "threshold", "width")


def _points(config: Config) -> list[HParams]:
    fixed = {name: [getattr(config.model, name)] for name in NUMBERS}
    return sj.grid(**fixed, gain=GAINS, bias=BIASES)[1]


def run(job: Job, folder: Path, until: float) -> list[Row]:
    """Measure `firing_rate`, `silent_fraction` and `gradient_norm` of each layer.

    Args:
      job: the points and seeds.
      folder: of the run.
      until: not used.

    Returns:
      One row for each point and seed.
    """
    program, source = programs.prepared(job), provenance.provenance()
    config, points = job.config, program.points
    images, labels = (array[: config.train.batch_size] for array in program.sets[0][0])
    with folders.claimed(folder, job, source):
        watch = provenance.Watch()
        keys = jax.vmap(jax.random.key)(np.array(job.seeds))
        swept = {name: jnp.array([point[name] for point in points]) for name in points[0]}
        batch = (images, labels)
        found = sj.sweep(_measure(config), keys, swept, batch, batch, chunk=config.train.chunk)
        found = jax.tree.map(np.asarray, found)
        shared = {
            "dataset": config.data.name,
            "network": models.network_name(config, images.shape[1:]),
            "num_steps": config.data.num_steps,
            "epochs": 0,
            "batch_size": config.train.batch_size,
            "config": config.asdict(),
            "num_train": len(labels),
            "num_test": 0,
            "test_accuracy_last": None,
            "test_accuracy_best": None,
            "test_accuracy_selected": None,
            "cells": len(points) * len(job.seeds),
        }
        made = [
            job.label
            | shared
            | {"seed": seed, "hparams": point}
            | {name: values[h, s] for name, values in found.items()}
            | watch.fields()
            | source
            for h, point in enumerate(points)
            for s, seed in enumerate(job.seeds)
        ]
        for row in made:
            result_rows.append(folder / folders.ROW, row)
    return made


def _measure(config: Config) -> Any:
    """Return `(key, hparams, batch, _) -> (None, measures)`, the form that `sj.sweep` takes."""

    def network(hparams: HParams) -> sj.Layer:
        init = sj.initializers.fan_in_normalized(hparams["gain"], hparams["bias"])
        neuron = models.STBP.hidden(hparams)
        hidden, output = models.parts(config)
        units = [part.features for part in (*hidden, output) if isinstance(part, Dense)]
        return sj.serial(sj.flatten(), *(sj.dense(n, neuron, init=init) for n in units))

    def measure(
        key: jax.Array, hparams: HParams, batch: tuple[jax.Array, jax.Array], _: Any
    ) -> tuple[None, dict[str, jax.Array]]:
        net = network(hparams)
        key_init, key_encode = jax.random.split(key)
        xs = sj.bernoulli(key_encode, batch[0], config.data.num_steps)
        params, _ = net.init(key_init, xs.shape[2:])

        def loss(params: Any) -> jax.Array:
            scores = sj.rate(sj.apply(net, params, xs)[1])
            return jnp.mean(sj.half_squared_error(scores, batch[1]))

        kernels = [leaf for leaf in jax.tree.leaves(jax.grad(loss)(params)) if leaf.ndim > 1]
        rates = [stats.firing_rate for stats in sj.apply_with_stats(net, params, xs)[2]]
        return None, {
            "firing_rate": jnp.stack([jnp.mean(rate) for rate in rates]),
            "silent_fraction": jnp.stack([jnp.mean(rate == 0) for rate in rates]),
            "gradient_norm": jnp.stack([jnp.linalg.norm(kernel) for kernel in kernels]),
        }

    measure.check = lambda hparams, _: network(hparams)  # type: ignore[attr-defined]
    return measure


VARIANTS = {
    "map": Variant(
        "firing rates and gradients over gain and bias, before any update",
        {name: Plan(3, FULL, _points(FULL)) for name in ("full", "quick")},
        programs.load_named,
        models.build,
        run=run,
    )
}
