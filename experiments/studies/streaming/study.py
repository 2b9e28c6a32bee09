"""A perceptron on N-MNIST, trained on whole recordings and then fed with events as they come."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import stbp_jax as sj
from experiments import classification, harness, images, recordings
from experiments.settings import UsageError, setting
from experiments.streaming.measure import measured
from experiments.study import SMOKE, Plan, Row, Study, Variant
from stbp_jax import data

SHAPE = data.NMNIST_SHAPE


@dataclass(frozen=True)
class Settings(images.Settings):
    """Those of `images`, the length of a bin, and what is timed."""

    data: str = setting(recordings.SUBSET, "recordings: the subset of N-MNIST below STBP_DATA")
    microseconds: int = setting(10_000, "length of a time step")
    timed: str = setting("10000x1,10000x5,1000x1,1000x10", "microseconds x steps of a call")
    calls: int = setting(2000, "calls that are timed, of each kind; limit bounds it too")


def load(settings: Any, seed: int) -> tuple[data.Recordings, data.Recordings]:
    """The subset of N-MNIST at hand, each set in an order of its own that mixes the classes.

    Args:
      settings: `limit` bounds both sets.
      seed: not used: the last training recordings, which validate, are the same for all.

    Raises:
      UsageError: the files are not there, or break a rule.
    """
    if settings.data != recordings.SUBSET:
        raise UsageError(f"data must be {recordings.SUBSET}, got {settings.data}")
    train, test = recordings.subset()
    return _mixed(train, settings.limit), _mixed(test, settings.limit)


def _mixed(found: data.Recordings, limit: int) -> data.Recordings:
    order = np.random.default_rng(0).permutation(len(found.labels))
    order = order[:limit] if limit else order
    return data.Recordings(found.events[order], found.labels[order])


def build(settings: Settings, matmul: Any = sj.layers.full_matmul) -> sj.training.Build:
    """The pipeline: events into bins, LIF units, mean output over time."""

    def encode(key: jax.Array, events: jax.Array, num_steps: int) -> jax.Array:
        return sj.events.event_spikes(
            events, num_steps, steps=sj.events.by_time(settings.microseconds)
        )

    coding = images.Coding(encode, sj.layers.varying_input)
    return images.build(settings, coding=coding, matmul=matmul)


def network(settings: Settings, matmul: Any = sj.layers.full_matmul) -> sj.Layer:
    """What is trained, with a product of one's choice; all have the same parameters."""
    return build(settings, matmul)(images.hparams(settings), 1).network


def trained(settings: Settings, seed: int, folder: Path) -> tuple[Row, Any]:
    """Trains in a run folder; gives the row and the parameters."""
    model = classification.Model(load, build, images.surrogates)
    row = classification.train(model, settings, seed, folder)
    return row, stored(settings, folder)


def stored(settings: Settings, folder: Path) -> Any:
    """The parameters of a run folder."""
    of = network(settings)
    like, _ = of.init(jax.random.key(0), SHAPE)
    try:
        return sj.load(folder / "params.npz", of, like)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def _run(settings: Settings, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
    for seed in seeds:
        own = folder if len(seeds) == 1 else harness.make_folder(folder / f"seed{seed}")
        row, params = trained(settings, seed, own)
        _, test = load(settings, seed)
        networks = {
            matmul.__name__: network(settings, matmul)
            for matmul in (sj.layers.full_matmul, sj.layers.event_driven_matmul)
        }
        told = measured(networks, params, settings, test)
        harness.write_json(own / "streaming.json", told)
        yield [row | told]


STUDY = Study(
    name="streaming",
    claim="A network that was trained on whole recordings decides while the events come, a step "
    "in less than a millisecond on one core, and decides the same.",
    variants={
        "mlp": Variant(
            "2312-800-10 on the 1,000 recordings at hand",
            Settings(
                num_steps=30,
                epochs=10,
                batch_size=50,
                validation=200,
                learning_rate=1e-3,
                decay=0.3,
                threshold=0.3,
            ),
            _run,
            {
                "smoke": Plan(1, (*SMOKE, "timed=10000x2", "calls=20")),
                "cpu": Plan(1),
                "full": Plan(1),
            },
        )
    },
)
