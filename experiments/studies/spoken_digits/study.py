"""Spoken digits as spikes of a cochlea model (beyond the paper).

Claim:   A spiking perceptron recognizes 97 % of the official test set of the Free Spoken Digit
         Dataset from the spikes of a model of the ear.
Command: python -m experiments reproduce spoken_digits --budget quick
Result:  99.27 ± 0.28 (5 seeds), target 97, difference +2.27 [+1.92, +2.61]: surpassed.
Time:    37 s a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import functools
from typing import Any

import stbp_jax as sj
from experiments.datasets import spoken
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import HParams, Units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant
from stbp_jax.neurons import Reset

READOUT = 0.98  # fraction of an output unit's membrane that remains after a step


def units(reset: Reset = sj.hard_reset) -> Units:
    """Return LIF hidden neurons and leaky integrators as outputs."""
    return Units(models.lif_units(reset).hidden, lambda h: sj.leaky_integrator(decay=READOUT))


def recurrent_units() -> Units:
    """Return the same neurons with recurrent connections in the hidden layer."""
    forward = units()

    def hidden(hparams: HParams) -> sj.Neuron:
        return sj.recurrent(forward.hidden(hparams))

    return Units(hidden, forward.output)


STBP, RECURRENT = units(), recurrent_units()
SDBP = units(sj.detach_time(sj.hard_reset))
RESET_DETACHED = units(sj.detach_reset(sj.hard_reset))

FULL = Config(
    Data(spoken.NAME, num_steps=70),  # steps of 10 ms
    Model("256-10", decay=0.95, dropout=0.4),
    Train(epochs=40, batch_size=50, learning_rate=2e-3),
)
CONNECTED = FULL.but(layers="192-10", dropout=0.3)
SPEAKERS = len(spoken.SPEAKERS)


def _variant(about: str, config: Config, units: Units, seeds: int = 5, **recipe: Any) -> Variant:
    plan = Plan(seeds, config)
    values: Any = {
        "load": spoken.official,
        "coding": spoken.HEARD,
        "loss": sj.cross_entropy,
    } | recipe
    return variant(about, quick=plan, full=plan, units=units, **values)


_speaker_out = functools.partial(_variant, seeds=SPEAKERS, load=spoken.one_speaker_out)

VARIANTS = {
    "stbp": _variant("LIF, leaky readout", FULL, STBP),
    "sdbp": _variant("no gradient through time in the hidden layer", FULL, SDBP),
    "reset_detached": _variant("no gradient through the reset", FULL, RESET_DETACHED),
    "recurrent": _variant("recurrent hidden layer", CONNECTED, RECURRENT),
    "augmented": _variant(
        "events moved in time and frequency", FULL, STBP, augment=spoken.jittered
    ),
    "speaker_out": _speaker_out(
        "trained on five speakers, tested on the sixth, which the seed chooses", FULL, STBP
    ),
    "speaker_out_augmented": _speaker_out(
        "as speaker_out, events moved in time and frequency",
        FULL,
        STBP,
        augment=spoken.jittered,
    ),
    "speaker_out_recurrent": _speaker_out(
        "as speaker_out_augmented, with a recurrent hidden layer",
        CONNECTED,
        RECURRENT,
        augment=spoken.jittered,
    ),
}
