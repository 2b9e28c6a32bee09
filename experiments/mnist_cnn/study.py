"""Table 5 of the paper: a convolutional network on MNIST; and the network of its released code."""

from dataclasses import replace

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU, Settings, tenth_every_40
from experiments.study import Plan, Study

SETTINGS = Settings(hidden="15C5-P2-40C5-P2-300", validation=5000, num_steps=5, epochs=100)
DROPPED = replace(SETTINGS, batch_size=50, decay=0.9, gain=1.5, dropout=0.5)
RELEASED = Settings(
    hidden="32C3-P2-32C3-P2-128", padding="same", validation=5000, num_steps=20, epochs=100
)

STUDY = Study(
    name="mnist_cnn",
    claim="15C5-P2-40C5-P2-300-10 learns MNIST by STBP alone (paper: 99.42 %, distorted images).",
    variants={
        "stbp": variant(
            "LIF, no tricks",
            SETTINGS,
            cpu=Plan(3, ("num_steps=3", "epochs=8")),
            long=Plan(3, ("epochs=60", "validation=0")),
            full=Plan(3),
            coding=DIRECT,
        ),
        "dropout": variant(
            "LIF, an output layer that does not spike, cross-entropy, half of the dense layer "
            "dropped",
            DROPPED,
            cpu=Plan(3, ("num_steps=2", "epochs=36")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "elastic_dropout": variant(
            "as dropout, with elastic distortion",
            replace(DROPPED, alpha=34.0),
            cpu=Plan(3, ("num_steps=2", "epochs=24")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "adversarial": variant(
            "as dropout, of images moved against the network",
            replace(DROPPED, epsilon=0.1, share=1.0),
            cpu=Plan(3, ("num_steps=2", "epochs=20")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "elastic": variant(
            "LIF, elastic distortion",
            replace(SETTINGS, alpha=34.0),
            cpu=Plan(3, ("num_steps=3", "epochs=12")),
            long=Plan(3, ("epochs=60", "validation=0")),
            full=Plan(3),
            coding=DIRECT,
        ),
        "twin": variant(
            "ReLU in place of LIF, no tricks",
            SETTINGS,
            cpu=Plan(3, ("epochs=8",)),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
        ),
        "released": variant(
            "the released code's network and settings, Bernoulli input",
            RELEASED,
            cpu=None,
            full=Plan(3),
            schedule=tenth_every_40,
        ),
    },
)
