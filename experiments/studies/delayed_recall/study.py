"""Delayed recall: a cue, a gap, and a question about the cue.

Claim:   Gradients through time learn to bridge gaps at which gradients through space alone stay
         near chance.
Command: python -m experiments reproduce delayed_recall --budget quick
Result:  96.36 ± 1.02 minus 29.56 ± 8.09 (5 seeds), target above 0, difference +66.80 [+56.88,
         +76.72]: reached, short run.
Time:    2.1 min for 140 runs in one program, budget quick, AMD EPYC, 1 of 2 cores.

The cue is on one of C channels, the question is on one further channel, and every channel has a few
random spikes. The loss depends on the outputs during the question alone. Without a gradient through
time, no error reaches the steps of the cue. A hidden neuron without recurrent connections or
adaptation remembers the cue in its membrane alone.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import stbp_jax as sj
from experiments.datasets import named
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train, UsageError
from experiments.engine.models import HParams
from experiments.engine.notation import Dense
from experiments.engine.rows import Row
from experiments.engine.studies import Job, Plan, Variant
from stbp_jax.data import Dataset

NAME = "delayed_recall"
CUE, QUESTION = 3, 3  # steps
NOISE = 0.002  # probability of a random spike, for each channel and step
NOWHERE = 10**6  # longer than any run, so that no gradient is cut

FULL = Config(
    # T is the longest gap plus cue and question; every epoch draws new noise.
    Data(NAME, num_train=1500, num_test=500, num_steps=46),
    Model("32-4", gain=0.25),
    Train(epochs=100, batch_size=50, learning_rate=1e-2),
)
SMOKE = FULL.but(limit=40, epochs=1, batch_size=20, num_steps=11)
GAPS = (5, 10, 20, 40)  # steps between cue and question
DECAYS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
FEW = (0.8, 0.95)

Hidden = Callable[[HParams], sj.Neuron]


def recurrent(hparams: HParams) -> sj.Neuron:
    """Return LIF neurons with recurrent connections in the layer."""
    return sj.recurrent(models.STBP.hidden(hparams))


def adaptive(hparams: HParams) -> sj.Neuron:
    """Return LIF neurons whose threshold rises with each spike and decays slowly."""
    return sj.alif(
        decay=hparams["decay"],
        threshold=hparams["threshold"],
        surrogate=sj.rectangular(hparams["width"]),
        adaptation_decay=0.97,
        adaptation_strength=0.2,
    )


def load(config: Config, seed: int) -> tuple[Dataset, Dataset]:
    """Draw uniform random cues; the encoding adds the noise."""
    named(config, NAME)
    rng = np.random.default_rng(seed)
    _, classes = _sizes(config)
    eye = 255 * np.eye(classes + 1, dtype=np.uint8)
    counts = (config.data.limit or n for n in (config.data.num_train, config.data.num_test))
    cues = [rng.integers(0, classes, count).astype(np.int32) for count in counts]
    train, test = (Dataset(eye[cue], cue) for cue in cues)
    return train, test


def build(config: Config, *, hidden: Hidden, horizon: int = NOWHERE) -> sj.training.Build:
    """Return a function that builds the pipeline of the task.

    Examples are one-hot cues `[B, C + 1]`. The hyper-parameters `gap` and `decay` may be traced.

    Args:
      config: all settings.
      hidden: `hparams -> Neuron` for the hidden layer.
      horizon: gradients through time are cut after this number of steps.

    Returns:
      `(hparams, num_updates) -> Pipeline`. It raises ValueError if a gap leaves no steps for the
      cue.
    """
    steps = config.data.num_steps
    units, classes = _sizes(config)
    asked = steps - QUESTION

    def pipeline(hparams: HParams, num_updates: int) -> sj.Pipeline:
        gap, most = hparams["gap"], asked - CUE
        if isinstance(gap, int | float) and not 0 <= gap <= most:  # not traced
            raise ValueError(
                f"gap must be from 0 to {most}, so that cue and question fit into {steps} steps, "
                f"got {gap:g}"
            )

        def encode(key: jax.Array, cues: jax.Array) -> jax.Array:
            cues = sj.constant(cues, 1)[0]  # a pixel of 255 becomes a spike
            noise = sj.bernoulli(key, jnp.full_like(cues, NOISE), steps)
            t = jnp.arange(steps)[:, None, None]
            end = asked - gap
            cue = ((t >= end - CUE) & (t < end)) * cues[None]
            question = (t >= asked) * jax.nn.one_hot(classes, classes + 1)[None, None]
            return jnp.maximum(noise, cue + question)

        init = sj.initializers.fan_in_uniform(config.model.gain)
        net = sj.serial(
            sj.dense(units, hidden(hparams), init=init),
            sj.dense(classes),
        )
        return sj.Pipeline(
            encode=encode,
            network=net if horizon >= steps else sj.truncated(net, horizon),
            readout=lambda outs: sj.rate(outs[-QUESTION:]),
            loss=sj.cross_entropy,
            optimizer=optax.adam(
                models.cosine(hparams["learning_rate"], num_updates, config.train.epochs)
            ),
        )

    return pipeline


def _sizes(config: Config) -> tuple[int, int]:
    """Return the number of hidden neurons and the number of classes."""
    match models.parts(config):
        case [Dense(units)], Dense(classes):
            return units, classes
    raise UsageError(f"model.layers must be like 32-4 in this study, got {config.model.layers}")


def extend(job: Job, folder: Path, rows: list[Row], *, horizon: int) -> list[Row]:
    """Add the `horizon` of the gradients to the rows."""
    return [row | {"horizon": min(horizon, job.config.data.num_steps)} for row in rows]


def _plan(seeds: int, config: Config, gaps: Sequence[int], decays: Sequence[float]) -> Plan:
    return Plan(seeds, config, models.points(config, gap=gaps, decay=decays))


def _variant(
    about: str, hidden: Hidden, decays: Sequence[float] = FEW, horizon: int = NOWHERE
) -> Variant:
    """Return a variant that trains all gaps, decays and seeds in one program."""
    plans = {
        "smoke": _plan(1, SMOKE, (0, 5), (0.5, 0.9)),
        "quick": _plan(5, FULL.but(epochs=40), GAPS, decays),
        "full": _plan(10, FULL, GAPS, decays),
    }
    return Variant(
        about,
        plans,
        load,
        functools.partial(build, hidden=hidden, horizon=horizon),
        functools.partial(extend, horizon=horizon),
    )


LIF, SPACE = models.STBP.hidden, models.SDBP.hidden
ALONE = "gradients through space alone"

VARIANTS = {
    "stbp": _variant("gradients through space and time", LIF, DECAYS),
    "sdbp": _variant("through space alone", SPACE, DECAYS),
    "reset_detached": _variant(
        "through the membrane, not through its reset", models.RESET_DETACHED.hidden, DECAYS
    ),
    **{
        f"horizon_{steps}": _variant(
            f"through time, in stretches of {steps} steps", LIF, horizon=steps
        )
        for steps in (2, 4, 8, 16)
    },
    "recurrent": _variant("recurrent hidden layer", recurrent),
    "recurrent_space": _variant(f"recurrent hidden layer, {ALONE}", recurrent, horizon=1),
    "adaptive": _variant("adaptive thresholds", adaptive),
    "adaptive_space": _variant(f"adaptive thresholds, {ALONE}", adaptive, horizon=1),
}
