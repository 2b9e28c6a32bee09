"""Fashion-MNIST with a convolutional network, where later work compares itself."""

from dataclasses import replace

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    data="fashion_mnist",
    hidden="32C5-P2-64C5-P2-1024",
    validation=5000,
    num_steps=5,
    epochs=100,
    dropout=0.3,
)
DROPPED = replace(SETTINGS, batch_size=50, decay=0.9, gain=1.5, dropout=0.5)

STUDY = Study(
    name="fashion_mnist_cnn",
    claim="32C5-P2-64C5-P2-1024-10 reaches 92.5 % on Fashion-MNIST.",
    variants={
        "integrating": variant(
            "LIF, an output layer that does not spike, dropout",
            SETTINGS,
            cpu=Plan(1, ("num_steps=2", "epochs=8")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
        ),
        "cross_entropy": variant(
            "LIF, an output layer that does not spike, cross-entropy, slower leak, more dropout",
            DROPPED,
            cpu=Plan(1, ("num_steps=2", "epochs=12")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "mirrored": variant(
            "as cross_entropy, half of the images mirrored",
            replace(DROPPED, flip=0.5),
            cpu=Plan(1, ("num_steps=2", "epochs=30")),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "twin": variant(
            "ReLU in place of LIF, dropout",
            SETTINGS,
            cpu=Plan(1, ("epochs=8",)),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
        ),
    },
)
