"""CIFAR-10 (section 4 of the paper).

Claim:   20C5-P2-30C5-P2-256-10 comes near its ANN baseline on CIFAR-10 (paper: 50.7 against
         52.9 %).
Command: python -m experiments reproduce cifar10_cnn --budget quick
Result:  51.86 ± 0.24 (3 seeds), target 50.7, difference +1.16 [+0.57, +1.76]: surpassed, short
         run.
Time:    2.4 h a run, budget long, AMD EPYC, 1 of 2 cores.
"""

import stbp_jax as sj
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, ONCE, RELU
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FULL = Config(
    Data("cifar10", validation=2000, num_steps=4),
    Model("20C5-P2-30C5-P2-256-10"),
    Train(epochs=100),
)
LONG = FULL.but(epochs=40, validation=0)
DROPPED = FULL.but(batch_size=32, learning_rate=2e-3, decay=0.9, gain=2.0, dropout=0.3)
SLOWER = DROPPED.but(learning_rate=1e-3)

VARIANTS = {
    "integrating": variant(
        "LIF, an output layer that does not spike, initial weights twice as large",
        quick=Plan(3, FULL.but(gain=2.0, num_steps=3, epochs=10)),
        full=Plan(3, FULL.but(gain=2.0)),
        coding=DIRECT,
        units=INTEGRATING,
    ),
    "stbp": variant(
        "LIF in all layers",
        quick=Plan(1, FULL.but(epochs=10)),
        long=Plan(3, LONG.but(num_steps=8)),
        full=Plan(3, FULL),
        coding=DIRECT,
    ),
    "ann": variant(
        "ANN baseline: ReLU in place of LIF",
        quick=Plan(3, FULL.but(epochs=10)),
        long=Plan(3, LONG),
        full=Plan(3, FULL),
        coding=ONCE,
        units=RELU,
    ),
    "dropout": variant(
        "LIF, an output layer that does not spike, cross-entropy, slower leak, 30 % of the dense "
        "layer dropped",
        quick=Plan(3, DROPPED.but(epochs=10)),
        full=Plan(3, DROPPED),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "dropout_ann": variant(
        "ANN baseline of dropout: ReLU, cross-entropy, the better of two learning rates",
        quick=Plan(3, SLOWER.but(epochs=10)),
        full=Plan(3, SLOWER),
        coding=ONCE,
        units=RELU,
        loss=sj.cross_entropy,
    ),
}
