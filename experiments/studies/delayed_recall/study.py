"""Delayed recall: a cue, a gap without it, a question. Who remembers, and who can learn to.

One of C channels tells the cue, one more asks; besides, every channel spikes at random now and
then. Answers are read at the steps of the question alone, so that a gradient that does not go back
in time never reaches the steps of the cue. Lone hidden neurons can remember by their membranes
only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj
from experiments import images, sweeping
from experiments.images import HParams
from experiments.settings import UsageError, setting
from experiments.study import Plan, Row, Study, Variant
from stbp_jax import data


@dataclass(frozen=True)
class Settings(sweeping.Settings):
    """Of a sweep over gaps and decays; `decay` is not read."""

    data: str = setting("delayed_recall", "data set: delayed_recall, drawn from the seed")
    num_train: int = setting(1500, "examples of an epoch; their noise is new each time")
    num_test: int = setting(500, "test examples")
    classes: int = setting(4, "cues")
    hidden: str = setting("32", "units of the one hidden layer")
    num_steps: int = setting(46, "T: the longest gap and the steps of cue and question")
    epochs: int = setting(40, "passes")
    batch_size: int = setting(50, "examples in an update")
    learning_rate: float = setting(1e-2, "of Adam, at its start")
    gain: float = setting(0.25, "first hidden weights, as a multiple of the usual")
    cue: int = setting(3, "steps of the cue")
    question: int = setting(3, "steps of the question")
    noise: float = setting(0.002, "probability of a random spike, for each channel and step")
    gaps: str = setting("5,10,20,40", "steps between cue and question, one cell each")
    decays: str = setting("0.1,0.3,0.5,0.7,0.8,0.9,0.95", "membrane left after a step")


Hidden = Callable[[HParams], sj.Neuron]


def lone(reset: sj.neurons.Reset = sj.hard_reset) -> Hidden:
    """Neurons that know of the past what their own membrane keeps."""
    return images.lif_units(reset).hidden


def recurrent(hparams: HParams) -> sj.Neuron:
    """Neurons that also hear each other."""
    return sj.recurrent(lone()(hparams))


def adaptive(hparams: HParams) -> sj.Neuron:
    """Neurons whose threshold remembers their spikes."""
    return sj.alif(
        decay=hparams["decay"],
        threshold=hparams["threshold"],
        surrogate=sj.rectangular(hparams["width"]),
        adaptation_decay=0.97,
        adaptation_strength=0.2,
    )


def build(settings: Settings, hidden: Hidden, horizon: int) -> sj.training.Build:
    """From cues `[B, C + 1]`, one-hot, to answers; `gap` and `decay` may be traced.

    Args:
      settings: what shapes the program.
      hidden: units, from hyper-parameters.
      horizon: gradients are cut every so many steps; T for nowhere.
    """
    asked = settings.num_steps - settings.question

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        def encode(key: jax.Array, cues: jax.Array) -> jax.Array:
            cues = sj.constant(cues, 1)[0]  # a byte of 255 is a spike
            noise = sj.bernoulli(key, jnp.full_like(cues, settings.noise), settings.num_steps)
            t = jnp.arange(settings.num_steps)[:, None, None]
            end = asked - hparams["gap"]
            cue = ((t >= end - settings.cue) & (t < end)) * cues[None]
            question = (t >= asked) * jax.nn.one_hot(settings.classes, settings.classes + 1)[
                None, None
            ]
            return jnp.maximum(noise, cue + question)

        net = sj.serial(
            sj.dense(
                int(settings.hidden),
                hidden(hparams),
                init=sj.initializers.fan_in_uniform(settings.gain),
            ),
            sj.dense(settings.classes),
        )
        rates = optax.cosine_decay_schedule(hparams["learning_rate"], num_updates)
        return sj.Pipeline(
            encode=encode,
            network=net if horizon >= settings.num_steps else sj.truncated(net, horizon),
            readout=lambda outs: sj.rate(outs[-settings.question :]),
            loss=sj.cross_entropy,
            optimizer=optax.adam(rates),
        )

    return pipeline


def cells(settings: Settings) -> list[HParams]:
    """One for each gap and decay."""
    fixed = {name: [value] for name, value in images.hparams(settings).items() if name != "decay"}
    gaps, decays = (sweeping.numbers(n, getattr(settings, n)) for n in ("gaps", "decays"))
    room = settings.num_steps - settings.cue - settings.question
    if not all(0 <= gap <= room for gap in gaps):
        raise UsageError(
            f"gaps must be from 0 to {room}, so that cue and question fit into {settings.num_steps}"
            f" steps, got {settings.gaps}"
        )
    return sj.grid(**fixed, gap=gaps, decay=decays)[1]


def _drawn(settings: Settings, seed: int) -> tuple[data.Dataset, data.Dataset]:
    """Cues, evenly drawn; noise comes with the encoding."""
    rng = np.random.default_rng(seed)
    cues = [
        rng.integers(0, settings.classes, settings.limit or count).astype(np.int32)
        for count in (settings.num_train, settings.num_test)
    ]
    eye = 255 * np.eye(settings.classes + 1, dtype=np.uint8)
    train, test = (data.Dataset(eye[of], of) for of in cues)
    return train, test


def variant(tells: str, hidden: Hidden, *, horizon: int = 10**6, **changes: Any) -> Variant:
    """All gaps, decays and seeds in one program.

    Args:
      tells: what sets it apart.
      hidden: as `build` takes it.
      horizon: as `build` takes it.
      **changes: of the settings.
    """

    def run(settings: Settings, seeds: list[int], folder: Path) -> Iterator[list[Row]]:
        sets = [_drawn(settings, seed) for seed in seeds]
        rows = sweeping.sweep(
            build(settings, hidden, horizon), cells(settings), settings, seeds, sets, folder
        )
        yield [row | {"horizon": min(horizon, settings.num_steps)} for row in rows]

    smoke = ("limit=40", "epochs=1", "batch_size=20", "num_steps=11", "gaps=0,5", "decays=0.5,0.9")
    plans = {"smoke": Plan(1, smoke), "cpu": Plan(5), "full": Plan(10, ("epochs=100",))}
    return Variant(tells, replace(Settings(), **changes), run, plans)


FEW = "0.8,0.95"
STUDY = Study(
    name="delayed_recall",
    claim="Gradients through time learn to bridge gaps at which gradients through space alone "
    "stay near chance.",
    variants={
        "stbp": variant("gradients through space and time", lone()),
        "sdbp": variant("through space alone", lone(sj.detach_time(sj.hard_reset))),
        "reset_detached": variant(
            "through the membrane, not through its reset", lone(sj.detach_reset(sj.hard_reset))
        ),
        **{
            f"horizon_{steps}": variant(
                f"through time, in stretches of {steps} steps", lone(), horizon=steps, decays=FEW
            )
            for steps in (2, 4, 8, 16)
        },
        "recurrent": variant("recurrent hidden layer", recurrent, decays=FEW),
        "recurrent_space": variant(
            "recurrent hidden layer, gradients through space alone",
            recurrent,
            horizon=1,
            decays=FEW,
        ),
        "adaptive": variant("adaptive thresholds", adaptive, decays=FEW),
        "adaptive_space": variant(
            "adaptive thresholds, gradients through space alone", adaptive, horizon=1, decays=FEW
        ),
    },
)
