"""Table 2: MNIST, one hidden layer.

Claim:   A 784-800-10 spiking perceptron learns MNIST by STBP alone (paper: 98.89 %).
Command: python -m experiments reproduce mnist_mlp --budget long
Result:  98.76 ± 0.07 (3 seeds), target 98.89, difference -0.13 [-0.31, +0.04]: reproduced.
Time:    9.2 min for 3 runs in one program, budget full, NVIDIA H200.
"""

import optax

import stbp_jax as sj
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, ONCE, RELU
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FULL = Config(Data(num_steps=30, validation=5000), Model("800-10"), Train(epochs=100))
ALL = FULL.but(validation=0)
PAPER = ALL.but(epochs=200)
DROPPED = FULL.but(num_steps=5, decay=0.7, dropout=0.5, input_dropout=0.2)

VARIANTS = {
    "stbp": variant(
        "LIF, Bernoulli input, no tricks",
        quick=Plan(3, FULL.but(num_steps=10, epochs=15)),
        long=Plan(3, ALL.but(num_steps=10)),
        full=Plan(3, PAPER),
    ),
    "sgd": variant(
        "as stbp, by gradient descent at the rate of Table 1 in place of Adam",
        quick=Plan(1, FULL.but(num_steps=10, epochs=15, learning_rate=0.5)),
        long=Plan(3, ALL.but(num_steps=10, learning_rate=0.5)),
        full=Plan(3, PAPER.but(learning_rate=0.5)),
        optimizer=optax.sgd,
    ),
    "cross_entropy": variant(
        "LIF, Bernoulli input, an output layer that does not spike, cross-entropy, no tricks",
        quick=Plan(1, FULL.but(num_steps=5, epochs=25)),
        full=Plan(5, FULL),
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "dropout": variant(
        "LIF, direct input, an output layer that does not spike, cross-entropy, dropout of 20 % of "
        "the inputs and half the hidden layer",
        quick=Plan(3, DROPPED),
        full=Plan(5, DROPPED),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "adversarial": variant(
        "as dropout, with adversarial images for half of the loss",
        quick=Plan(3, DROPPED.but(epsilon=0.1, share=0.5, epochs=40)),
        full=Plan(5, DROPPED.but(epsilon=0.1, share=0.5)),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "ann": variant(
        "ANN baseline: ReLU in place of LIF",
        quick=Plan(3, FULL.but(epochs=20)),
        long=Plan(3, ALL),
        full=Plan(5, FULL),
        coding=ONCE,
        units=RELU,
    ),
    "dropout_ann": variant(
        "ANN baseline of dropout: ReLU, cross-entropy, the same dropout",
        quick=Plan(3, DROPPED),
        full=Plan(5, DROPPED),
        coding=ONCE,
        units=RELU,
        loss=sj.cross_entropy,
    ),
}
