"""Table 2 of the paper: a spiking perceptron of one hidden layer on MNIST."""

from dataclasses import replace

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(hidden="800", num_steps=30, epochs=100, validation=5000)
DROPPED = replace(SETTINGS, num_steps=5, decay=0.7, dropout=0.5, input_dropout=0.2)

STUDY = Study(
    name="mnist_mlp",
    claim="A 784-800-10 spiking perceptron learns MNIST by STBP alone (paper: 98.89 %).",
    variants={
        "stbp": variant(
            "LIF, Bernoulli input, no tricks",
            SETTINGS,
            cpu=Plan(3, ("num_steps=10", "epochs=15")),
            long=Plan(3, ("num_steps=10", "epochs=100", "validation=0")),
            full=Plan(5),
        ),
        "cross_entropy": variant(
            "LIF, Bernoulli input, an output layer that does not spike, cross-entropy, no tricks",
            SETTINGS,
            cpu=Plan(1, ("num_steps=5", "epochs=25")),
            full=Plan(5),
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "dropout": variant(
            "LIF, direct input, an output layer that does not spike, cross-entropy, dropout of "
            "20 % of the inputs and half the hidden layer",
            DROPPED,
            cpu=Plan(3),
            full=Plan(5),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "adversarial": variant(
            "as dropout, half of the loss that of images moved against the network",
            replace(DROPPED, epsilon=0.1, share=0.5),
            cpu=Plan(3, ("epochs=40",)),
            full=Plan(5),
            coding=DIRECT,
            units=INTEGRATING,
            loss=sj.cross_entropy,
        ),
        "twin": variant(
            "ReLU in place of LIF",
            SETTINGS,
            cpu=Plan(3, ("epochs=20",)),
            long=Plan(3, ("epochs=100", "validation=0")),
            full=Plan(5),
            coding=ONCE,
            units=RELU,
        ),
        "dropout_twin": variant(
            "ReLU in place of LIF, cross-entropy, the same dropout",
            DROPPED,
            cpu=Plan(3),
            full=Plan(5),
            coding=ONCE,
            units=RELU,
            loss=sj.cross_entropy,
        ),
    },
)
