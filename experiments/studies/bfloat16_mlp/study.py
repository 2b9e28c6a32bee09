"""Synapses in bfloat16.

Claim:   Synapses in bfloat16 with float32 membranes do not reduce the accuracy on MNIST.
Command: python -m experiments reproduce bfloat16_mlp --budget quick
Result:  98.34 ± 0.08 minus 98.29 ± 0.13 (3 seeds), target 0, difference +0.05 [-0.08, +0.18]:
         reached.
Time:    1.4 min a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from experiments.engine.config import Config, Train
from experiments.engine.runs import variant
from experiments.engine.studies import Plan
from stbp_jax import layers

FULL = Config(train=Train(epochs=5))

VARIANTS = {
    "bfloat16": variant(
        "matrix products in bfloat16",
        quick=Plan(3, FULL),
        full=Plan(5, FULL),
        matmul=layers.bfloat16_matmul,
    ),
    "float32": variant("matrix products in float32", quick=Plan(3, FULL), full=Plan(5, FULL)),
}
