"""Table 2 of the paper: a spiking perceptron of one hidden layer on MNIST."""

from dataclasses import replace

from experiments.classification import variant
from experiments.images import ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(hidden="800", num_steps=30, epochs=100, validation=5000)

STUDY = Study(
    name="mnist_mlp",
    claim="A 784-800-10 spiking perceptron learns MNIST by STBP alone (paper: 98.89 %).",
    variants={
        "stbp": variant(
            "LIF, Bernoulli input, no tricks",
            SETTINGS,
            cpu=Plan(3, ("num_steps=10", "epochs=15")),
            full=Plan(5),
        ),
        "dropout": variant(
            "LIF, Bernoulli input, 20 % of the hidden layer dropped",
            replace(SETTINGS, dropout=0.2),
            cpu=Plan(3, ("num_steps=10", "epochs=25")),
            full=Plan(5),
        ),
        "twin": variant(
            "ReLU in place of LIF",
            SETTINGS,
            cpu=Plan(3, ("epochs=20",)),
            full=Plan(5),
            coding=ONCE,
            units=RELU,
        ),
    },
)
