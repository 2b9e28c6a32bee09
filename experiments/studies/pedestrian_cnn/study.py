"""Table 6: pedestrians, convolutional.

Claim:   Spiking networks, 6C3-300-2 and the network of Table 5 with two outputs, are within half a
         point of their ANN baselines on Daimler's pedestrians, a stand-in for the paper's set.
Command: python -m experiments reproduce pedestrian_cnn --budget quick
Result:  79.43 ± 3.21 minus 81.93 ± 3.29 (5 seeds), target 98.59 minus 98.57, difference -2.50
         [-3.66, -1.34]: stand-in.
Time:    12 s a run, budget quick, AMD EPYC, 1 of 2 cores.
"""

from experiments.datasets import pedestrians
from experiments.engine.config import Config, Data, Model, Train
from experiments.engine.models import DIRECT, INTEGRATING, ONCE, RELU, SIGNED, Coding, Units
from experiments.engine.runs import variant
from experiments.engine.studies import Plan, Variant

# The paper's numbers of examples.
FEW = Config(
    Data(pedestrians.NAME, num_train=1509, num_test=631, validation=150, num_steps=8),
    Model("6C3-300-2", decay=0.5),
    Train(epochs=40, batch_size=20, learning_rate=3e-4),
)
ALL = FEW.but(num_train=0, num_test=0, validation=9800, epochs=20, batch_size=100)
# Settings from `pedestrian_trials`; all examples are for training.
TUNED = FEW.but(validation=0, num_steps=4, epochs=10, learning_rate=1e-3, threshold=0.2)
TUNED_ANN = FEW.but(validation=0, num_steps=1, epochs=10, learning_rate=3e-3)
DEEP = "15C5-P2-40C5-P2-300-2"
DEEP_TUNED = TUNED.but(layers=DEEP, dropout=0.5)
DEEP_ANN = TUNED_ANN.but(layers=DEEP, learning_rate=1e-3, dropout=0.5)


def _tuned(about: str, config: Config, coding: Coding, units: Units) -> Variant:
    plan = Plan(5, config)
    return variant(about, quick=plan, full=plan, load=pedestrians.load, coding=coding, units=units)


VARIANTS = {
    "stbp": variant(
        "LIF, the paper's sizes",
        quick=Plan(5, FEW),
        full=Plan(5, FEW),
        load=pedestrians.load,
        coding=DIRECT,
    ),
    "integrating": variant(
        "LIF, Bernoulli input, an output layer that does not spike; the paper's sizes",
        quick=Plan(5, FEW.but(num_steps=10)),
        full=Plan(5, FEW.but(num_steps=10)),
        load=pedestrians.load,
        units=INTEGRATING,
    ),
    "ann": variant(
        "ANN baseline: ReLU in place of LIF, the paper's sizes",
        quick=Plan(5, FEW),
        full=Plan(5, FEW),
        load=pedestrians.load,
        coding=ONCE,
        units=RELU,
    ),
    "stbp_full_sets": variant(
        "LIF, all patches",
        quick=Plan(1, ALL.but(epochs=5)),
        full=Plan(5, ALL),
        load=pedestrians.load,
        coding=DIRECT,
    ),
    "ann_full_sets": variant(
        "ANN baseline, all patches",
        quick=Plan(1, ALL.but(epochs=5)),
        full=Plan(5, ALL),
        load=pedestrians.load,
        coding=ONCE,
        units=RELU,
    ),
    "tuned": _tuned(
        "LIF, pixels from -1 to 1, an output layer that does not spike; chosen in trials",
        TUNED,
        SIGNED,
        INTEGRATING,
    ),
    "tuned_ann": _tuned("ANN baseline, chosen in trials", TUNED_ANN, DIRECT, RELU),
    "deep": _tuned(
        "the network of Table 5 with two outputs, as tuned", DEEP_TUNED, SIGNED, INTEGRATING
    ),
    "deep_ann": _tuned(
        "ANN baseline of deep, pixels from -1 to 1, chosen in trials", DEEP_ANN, SIGNED, RELU
    ),
}
