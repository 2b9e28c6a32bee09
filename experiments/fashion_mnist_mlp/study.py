"""Fashion-MNIST with two hidden layers, where later work compares itself."""

from dataclasses import replace

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    data="fashion_mnist",
    hidden="400-400",
    validation=5000,
    num_steps=5,
    epochs=100,
    dropout=0.2,
)
DROPPED = replace(SETTINGS, decay=0.7, width=2.0, dropout=0.4, input_dropout=0.1)
CPU = Plan(3, ("epochs=25",))

STUDY = Study(
    name="fashion_mnist_mlp",
    claim="784-400-400-10 reaches 90 % on Fashion-MNIST (later works: 89.75 to 90.03 %).",
    variants={
        "integrating": variant(
            "LIF, direct input, an output layer that does not spike, dropout",
            SETTINGS,
            cpu=CPU,
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
        ),
        "stbp": variant(
            "LIF in all layers, direct input, no tricks",
            replace(SETTINGS, dropout=0.0),
            cpu=CPU,
            full=Plan(3),
            coding=DIRECT,
        ),
        "twin": variant(
            "ReLU in place of LIF, dropout",
            SETTINGS,
            cpu=CPU,
            full=Plan(3),
            coding=ONCE,
            units=RELU,
        ),
        "cross_entropy": variant(
            "LIF, direct input, an output layer that does not spike, cross-entropy, more dropout",
            DROPPED,
            cpu=Plan(3, ("epochs=80",)),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "mirrored": variant(
            "as cross_entropy, with less dropout and half of the images mirrored",
            replace(DROPPED, dropout=0.3, input_dropout=0.0, flip=0.5),
            cpu=Plan(3),
            full=Plan(3),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "cross_entropy_twin": variant(
            "ReLU in place of LIF, cross-entropy, more dropout",
            DROPPED,
            cpu=Plan(3, ("epochs=80",)),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
            loss=sj.cross_entropy,
        ),
    },
)
