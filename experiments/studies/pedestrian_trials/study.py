"""Table 6: trials that choose the settings.

Claim:   The spiking network reaches its ANN baseline on held-out patches, if input, output and
         learning rate are chosen for it.
Command: python -m experiments reproduce pedestrian_trials --budget quick

The accuracies in the rows are those of held-out training patches; no trial reads the test sets.
"""

from typing import Any

from experiments.datasets import pedestrians
from experiments.engine import models
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, RELU, SIGNED, HParams
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant

FOLDS = 2  # seed 0 holds out set 1, seed 1 holds out set 2
SMALL, DEEP = "6C3-300-2", "15C5-P2-40C5-P2-300-2"
TRIAL = Config(
    Data(pedestrians.NAME, num_train=1509, num_test=1000, num_steps=4),
    Model(SMALL, decay=0.5),
    Train(epochs=10, batch_size=20, learning_rate=1e-3, chunk=1),
)


def _trials(about: str, config: Config, points: list[HParams], **recipe: Any) -> Variant:
    return variant(
        about,
        quick=Plan(FOLDS, config, points),
        full=Plan(3, config.but(epochs=40, num_test=9800), points),
        load=pedestrians.load_trials,
        **recipe,
    )


def _change(about: str, *changes: HParams, config: Config = TRIAL, **recipe: Any) -> Variant:
    """Return trials of the settings in `TRIAL` and of each change from them."""
    (base,) = models.points(config)
    return _trials(about, config, [base, *(base | change for change in changes)], **recipe)


# One change at a time, from the form that `pedestrian_cnn` began with.
CHANGES = {
    "direct": _change(
        "pixels from 0 to 1, outputs that spike", {"learning_rate": 3e-4}, coding=DIRECT
    ),
    "signed": _change("pixels from -1 to 1, outputs that spike", coding=SIGNED),
    "direct_sum": _change("pixels from 0 to 1, outputs that sum", coding=DIRECT, units=INTEGRATING),
    "signed_sum": _change(
        "pixels from -1 to 1, outputs that sum",
        {"threshold": 0.2},
        {"decay": 0.9},
        {"width": 2.0},
        coding=SIGNED,
        units=INTEGRATING,
    ),
    "bernoulli_sum": _change("Bernoulli input, outputs that sum", units=INTEGRATING),
}

SPIKING = TRIAL.but(threshold=0.2)
# The baseline has as many settings as the spiking network: inputs, learning rates, dropout.
ANN = TRIAL.but(num_steps=1)
GRID = {"learning_rate": (3e-4, 1e-3), "dropout": (0.0, 0.5)}
HIGHER = GRID | {"learning_rate": (1e-3, 3e-3)}
WIDE = GRID | {"learning_rate": (3e-4, 1e-3, 3e-3)}
GRIDS = {
    "signed_sum_grid": _trials(
        "pixels from -1 to 1, outputs that sum, threshold 0.2",
        SPIKING,
        models.points(SPIKING, **HIGHER),
        coding=SIGNED,
        units=INTEGRATING,
    ),
    "deep_grid": _trials(
        "the same, 15C5-P2-40C5-P2-300-2",
        SPIKING.but(layers=DEEP),
        models.points(SPIKING, **GRID),
        coding=SIGNED,
        units=INTEGRATING,
    ),
    "ann_direct": _trials(
        "ANN baseline, pixels from 0 to 1",
        ANN,
        models.points(ANN, **WIDE),
        coding=DIRECT,
        units=RELU,
    ),
    "ann_signed": _trials(
        "ANN baseline, pixels from -1 to 1",
        ANN,
        models.points(ANN, **WIDE),
        coding=SIGNED,
        units=RELU,
    ),
    "deep_ann": _trials(
        "ANN baseline of 15C5-P2-40C5-P2-300-2, pixels from -1 to 1",
        ANN.but(layers=DEEP),
        models.points(ANN, **GRID),
        coding=SIGNED,
        units=RELU,
    ),
}
VARIANTS = CHANGES | GRIDS
