"""Table 3 of the paper, on stand-in data: a spiking perceptron tells pedestrians from the rest."""

from dataclasses import replace

from experiments import pedestrians
from experiments.classification import variant
from experiments.images import DIRECT, INTEGRATING, ONCE, RELU
from experiments.pedestrians import Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    hidden="400",
    validation=150,
    num_steps=8,
    decay=0.5,
    epochs=40,
    batch_size=20,
    learning_rate=3e-4,
)
WHOLE = replace(SETTINGS, num_train=0, num_test=0, validation=9800, epochs=20, batch_size=100)
FEW = Plan(5)
FIVE_EPOCHS = Plan(3, ("epochs=5",))

STUDY = Study(
    name="pedestrian_mlp",
    claim="A 784-400-2 spiking perceptron is as good as its non-spiking twin within half a point "
    "on Daimler's pedestrians, a stand-in for the paper's set.",
    variants={
        "stbp": variant(
            "LIF, paper's sizes",
            SETTINGS,
            cpu=FEW,
            full=FEW,
            load=pedestrians.load,
            coding=DIRECT,
        ),
        "integrating": variant(
            "LIF, Bernoulli input, an output layer that does not spike; paper's sizes",
            replace(SETTINGS, num_steps=10),
            cpu=FEW,
            full=FEW,
            load=pedestrians.load,
            units=INTEGRATING,
        ),
        "twin": variant(
            "ReLU in place of LIF, paper's sizes",
            SETTINGS,
            cpu=FEW,
            full=FEW,
            load=pedestrians.load,
            coding=ONCE,
            units=RELU,
        ),
        "stbp_full_sets": variant(
            "LIF, all patches",
            WHOLE,
            cpu=FIVE_EPOCHS,
            full=Plan(5),
            load=pedestrians.load,
            coding=DIRECT,
        ),
        "twin_full_sets": variant(
            "ReLU in place of LIF, all patches",
            WHOLE,
            cpu=FIVE_EPOCHS,
            full=Plan(5),
            load=pedestrians.load,
            coding=ONCE,
            units=RELU,
        ),
    },
)
