"""Fashion-MNIST, convolutional (later works).

Claim:   32C5-P2-64C5-P2-1024-10 reaches 92.5 % on Fashion-MNIST.
Command: python -m experiments reproduce fashion_mnist_cnn --budget quick
Result:  91.65 (1 seed), target 92.5, difference -0.85: one seed.
Time:    36 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

import stbp_jax as sj
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, ONCE, RELU
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FULL = Config(
    Data("fashion_mnist", validation=5000, num_steps=5),
    Model("32C5-P2-64C5-P2-1024-10", dropout=0.3),
    Train(epochs=100),
)
DROPPED = FULL.but(batch_size=50, decay=0.9, gain=1.5, dropout=0.5)
MIRRORED = DROPPED.but(flip=0.5)

VARIANTS = {
    "integrating": variant(
        "LIF, an output layer that does not spike, dropout",
        quick=Plan(1, FULL.but(num_steps=2, epochs=8)),
        full=Plan(3, FULL),
        coding=DIRECT,
        units=INTEGRATING,
    ),
    "cross_entropy": variant(
        "LIF, an output layer that does not spike, cross-entropy, slower leak, more dropout",
        quick=Plan(1, DROPPED.but(num_steps=2, epochs=12)),
        full=Plan(3, DROPPED),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "mirrored": variant(
        "as cross_entropy, with half of the images mirrored",
        quick=Plan(1, MIRRORED.but(num_steps=2, epochs=30)),
        full=Plan(3, MIRRORED),
        coding=DIRECT,
        units=INTEGRATING,
        loss=sj.cross_entropy,
    ),
    "ann": variant(
        "ANN baseline: ReLU in place of LIF, dropout",
        quick=Plan(1, FULL.but(epochs=8)),
        full=Plan(3, FULL),
        coding=ONCE,
        units=RELU,
    ),
}
