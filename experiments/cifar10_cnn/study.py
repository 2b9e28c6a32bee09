"""Section 4 of the paper: a small convolutional network on CIFAR-10, with nothing beside STBP."""

from dataclasses import replace

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    data="cifar10", hidden="20C5-P2-30C5-P2-256", validation=2000, num_steps=4, epochs=100
)
DROPPED = replace(SETTINGS, batch_size=32, learning_rate=2e-3, decay=0.9, gain=2.0, dropout=0.3)

STUDY = Study(
    name="cifar10_cnn",
    claim="20C5-P2-30C5-P2-256-10 comes near its non-spiking twin on CIFAR-10 (paper: 50.7 "
    "against 52.9 %).",
    variants={
        "integrating": variant(
            "LIF, an output layer that does not spike, first weights twice as large",
            replace(SETTINGS, gain=2.0),
            cpu=Plan(3, ("num_steps=3", "epochs=10")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
        ),
        "stbp": variant(
            "LIF in all layers",
            SETTINGS,
            cpu=Plan(1, ("epochs=10",)),
            long=Plan(3, ("num_steps=8", "epochs=40", "validation=0")),
            full=Plan(3),
            coding=DIRECT,
        ),
        "twin": variant(
            "ReLU in place of LIF",
            SETTINGS,
            cpu=Plan(3, ("epochs=10",)),
            long=Plan(3, ("epochs=40", "validation=0")),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
        ),
        "dropout": variant(
            "LIF, an output layer that does not spike, cross-entropy, slower leak, 30 % of the "
            "dense layer dropped",
            DROPPED,
            cpu=Plan(3, ("epochs=10",)),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "dropout_twin": variant(
            "ReLU in place of LIF, cross-entropy, the same dropout, the better of two learning "
            "rates",
            replace(DROPPED, learning_rate=1e-3),
            cpu=Plan(3, ("epochs=10",)),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
            loss=sj.cross_entropy,
        ),
    },
)
