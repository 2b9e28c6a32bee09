"""Table 5: MNIST, convolutional; also the network of the authors' code.

Claim:   15C5-P2-40C5-P2-300-10 learns MNIST by STBP alone (paper: 99.42 %, distorted images).
Command: python -m experiments reproduce mnist_cnn --budget quick
Result:  99.43 ± 0.04 (3 seeds), target 99.42, difference +0.01 [-0.09, +0.12]: reproduced, short
         run.
Time:    3.4 min a run, budget long, NVIDIA H200.
"""

import stbp_jax as sj
from experiments.engine.config import CODE, Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, ONCE, RELU, released_schedule
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FULL = Config(
    Data(num_steps=5, validation=5000), Model("15C5-P2-40C5-P2-300-10"), Train(epochs=100)
)
LONG = FULL.but(epochs=60, validation=0)
DROPPED = FULL.but(batch_size=50, decay=0.9, gain=1.5, dropout=0.5)
RELEASED = Config(
    Data(num_steps=CODE.num_steps, validation=5000),
    Model("32C3-P2-32C3-P2-128-10", padding="same"),
    Train(epochs=CODE.epochs),
)

VARIANTS = {
    "stbp": variant(
        "LIF in all layers",
        quick=Plan(3, FULL.but(num_steps=3, epochs=8)),
        long=Plan(3, LONG),
        full=Plan(3, FULL),
        coding=DIRECT,
    ),
    "dropout": variant(
        "LIF, an output layer that does not spike, cross-entropy, half of the dense layer dropped",
        quick=Plan(3, DROPPED.but(num_steps=2, epochs=36)),
        full=Plan(3, DROPPED),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "elastic_dropout": variant(
        "as dropout, with elastic distortion",
        quick=Plan(3, DROPPED.but(elastic=34.0, num_steps=2, epochs=24)),
        full=Plan(3, DROPPED.but(elastic=34.0)),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "adversarial": variant(
        "as dropout, with adversarial images in place of the images",
        quick=Plan(3, DROPPED.but(epsilon=0.1, num_steps=2, epochs=20)),
        full=Plan(3, DROPPED.but(epsilon=0.1)),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "elastic": variant(
        "LIF, elastic distortion",
        quick=Plan(3, FULL.but(elastic=34.0, num_steps=3, epochs=12)),
        long=Plan(3, LONG.but(elastic=34.0)),
        full=Plan(3, FULL.but(elastic=34.0)),
        coding=DIRECT,
    ),
    "ann": variant(
        "ANN baseline: ReLU in place of LIF in all layers",
        quick=Plan(3, FULL.but(epochs=8)),
        full=Plan(3, FULL),
        coding=ONCE,
        units=RELU,
    ),
    "released": variant(
        "the released code's network and settings, Bernoulli input",
        long=Plan(1, RELEASED.but(epochs=15, validation=0)),
        full=Plan(3, RELEASED),
        schedule=released_schedule,
    ),
}
