"""Streaming: classification while the events of a recording arrive (beyond the paper).

Claim:   A network that is trained on whole recordings classifies a stream of events, in less than
         a millisecond per step on one core, with the same decisions.
Command: taskset -c 0 python -m experiments reproduce streaming --budget quick
Result:  0.07 ms, 13,800 of 13,800 decisions equal, target 1 ms or less, equal decisions: reached.
Time:    34 s a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

import stbp_jax as sj
from experiments.datasets import named, recordings
from experiments.engine import folders, models
from experiments.engine.config import Config, Data, Model, Train, UsageError
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from experiments.studies.streaming.measure import MICROSECONDS, measured
from stbp_jax import data
from stbp_jax.data import Recordings

MATMULS = (sj.layers.full_matmul, sj.layers.event_driven_matmul)  # training uses the first
FULL = Config(
    Data(recordings.SUBSET, num_steps=30, validation=200),
    Model("800-10", decay=0.3, threshold=0.3),
    Train(epochs=10, batch_size=50),
)
SMOKE = FULL.but(limit=40, validation=20, epochs=1, num_steps=4, batch_size=20)


def load(config: Config, seed: int) -> tuple[Recordings, Recordings]:
    """Load the subset of N-MNIST, each set in a fixed random order.

    Args:
      config: `limit` bounds both sets.
      seed: not used; the validation recordings are the same for all seeds.

    Raises:
      UsageError: the files cannot be read.
    """
    named(config, recordings.SUBSET)
    train, test = recordings.subset()
    return _mixed(train, config.data.limit), _mixed(test, config.data.limit)


def _mixed(found: Recordings, limit: int) -> Recordings:
    order = np.random.default_rng(0).permutation(len(found.labels))
    order = order[:limit] if limit else order
    return Recordings(found.events[order], found.labels[order])


def _spikes(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
    return sj.events.event_spikes(events, num_steps, steps=sj.events.by_time(MICROSECONDS))


def build(config: Config, matmul: Any = MATMULS[0]) -> sj.training.Build:
    """Return a function that builds the pipeline: binned events, LIF neurons, mean output."""
    return models.build(config, coding=models.Coding(_spikes), matmul=matmul)


def network(config: Config, matmul: Any = MATMULS[0]) -> sj.Layer:
    """Return the network with a matmul; its parameters have the same form for every matmul."""
    return build(config, matmul)(models.hparams(config), 1).network


def stored(folder: Path) -> tuple[Config, Any]:
    """Read the config and the parameters of a run folder.

    Raises:
      UsageError: the folder has no parameters, or they do not fit the config.
    """
    config = folders.read_job(folder).config
    own = network(config)
    like, _ = own.init(jax.random.key(0), data.NMNIST_SHAPE)
    try:
        return config, sj.load(folder / "params.npz", own, like)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def extend(job: Job, folder: Path, rows: list[Row]) -> list[Row]:
    """Add the results of `measured` to the rows."""
    config, params = stored(folder)
    networks = {matmul.__name__: network(config, matmul) for matmul in MATMULS}
    return [row | measured(networks, params, config, load(config, row["seed"])[1]) for row in rows]


VARIANTS = {
    "mlp": Variant(
        "2312-800-10 on 1,000 recordings",
        {"full": Plan(1, FULL), "quick": Plan(1, FULL), "smoke": Plan(1, SMOKE)},
        load,
        build,
        extend,
    )
}
