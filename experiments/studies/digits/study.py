"""Digits of scikit-learn, the demo of `make run`.

Claim:   A 64-400-10 spiking perceptron learns the digits of scikit-learn in seconds (98 % or
         more).
Command: python -m experiments run digits
Result:  99.05 ± 0.15 (5 seeds), target 98, difference +1.05 [+0.86, +1.24]: surpassed.
Time:    6 s a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.runs import variant
from experiments.engine.studies import Plan

FULL = Config(
    Data("digits", num_steps=30),
    Model("400-10", output_bias=0.3),  # output spikes before training, as in Fig. 4D
    Train(epochs=40, batch_size=50, learning_rate=2e-3),
)

VARIANTS = {"stbp": variant("LIF, STBP", quick=Plan(5, FULL), full=Plan(5, FULL))}
