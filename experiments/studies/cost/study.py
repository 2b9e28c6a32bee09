"""Cost: time, memory and operations of training, beside the ANN baseline.

Claim:   A training step of a spiking network takes at most T times as long as one of its ANN
         baseline (paper: "about ten times or even hundred times").
Command: taskset -c 0 python -m experiments reproduce cost --budget quick
Result:  1.05 at T = 100; 0.845, 3.87, 8.26, 30.4, 105 times at T = 1, 5, 10, 30, 100, target 1 or
         less (paper: 10 to 100 times), difference +1.05 [+0.84, +1.10]: undecided.
Time:    8.7 min a run, budget quick, AMD EPYC, 1 of 2 cores.

The network of each T is trained for one short epoch, so that its firing rates are not those of
initial weights; its accuracy has no meaning.
"""

import functools
from pathlib import Path

import jax

from experiments.engine import folders, models, programs, provenance
from experiments.engine import rows as result_rows
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import BERNOULLI, DIRECT, Coding
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from experiments.studies.cost import measure

TURNS = {"smoke": 2, "quick": 7, "full": 51}  # by budget; an interval needs six

# T is that of the point; `num_train` sets the updates before the measurement.
MLP = Config(Data(num_steps=0, num_train=20_000, num_test=500), Model("800-10"), Train(epochs=1))
CNN = MLP.but(layers="15C5-P2-40C5-P2-300-10")


def run(job: Job, folder: Path, until: float) -> list[Row]:
    """Measure the spiking network at every T, in turn with the ANN baseline.

    Args:
      job: its points hold `num_steps`, T.
      folder: of the run.
      until: not used.

    Returns:
      One row for each T and seed.
    """
    # On accelerators JAX rounds float32 products to fewer bits by default, which flips spikes.
    jax.config.update("jax_default_matmul_precision", "highest")
    config, source = job.config, provenance.provenance()
    sets = train, test = programs.load_named(config, 0)
    shape = train.images.shape[1:]
    made = []
    with folders.claimed(folder, job, source):
        watch = provenance.Watch()
        for seed in job.seeds:
            for point in job.points or ():
                at = config.but(**point)
                baseline = models.build(at, coding=models.ONCE, units=models.RELU)
                builds = {"spiking": job.chosen.build(at), "ann": baseline}
                found = measure.measured(builds, at, sets, seed=seed, turns=TURNS[job.budget])
                row = {
                    "dataset": config.data.name,
                    "network": models.network_name(config, shape),
                    "epochs": config.train.epochs,
                    "batch_size": config.train.batch_size,
                    "seed": seed,
                    "hparams": point,
                    "config": config.asdict(),
                    "num_train": len(train.labels),
                    "num_test": len(test.labels),
                    "test_accuracy_last": None,
                    "test_accuracy_best": None,
                    "test_accuracy_selected": None,
                    "multiply_accumulates": models.multiply_accumulates(config, shape),
                    "cells": 1,
                }
                made.append(job.label | point | row | found)
        made = [row | watch.fields() | source for row in made]
        for row in made:
            result_rows.append(folder / folders.ROW, row)
    return made


def _variant(about: str, config: Config, coding: Coding, steps: tuple[int, ...]) -> Variant:
    points = [{"num_steps": length} for length in steps]
    smoke = config.but(limit=40, batch_size=20, layers="16-10")
    plans = {
        "smoke": Plan(1, smoke, points[:2]),
        "quick": Plan(1, config.but(num_train=2000), points),
        "full": Plan(1, config, points),
    }
    build = functools.partial(models.build, coding=coding)
    return Variant(about, plans, programs.load_named, build, run=run)


VARIANTS = {
    "mlp": _variant("Bernoulli input, as in the paper", MLP, BERNOULLI, (1, 5, 10, 30, 100)),
    "cnn": _variant("Bernoulli input, as in the paper", CNN, BERNOULLI, (1, 5, 10, 20)),
    "mlp_direct": _variant("pixels as input at every step", MLP, DIRECT, (1, 5, 10, 30, 100)),
    "cnn_direct": _variant("pixels as input at every step", CNN, DIRECT, (1, 5, 10, 20)),
}
