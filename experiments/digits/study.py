"""The main job: a spiking perceptron on the 1,797 digits that need no download."""

from experiments.classification import variant
from experiments.images import Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    data="digits", hidden="400", num_steps=30, epochs=40, batch_size=50, learning_rate=2e-3
)

STUDY = Study(
    name="digits",
    claim="A 64-400-10 spiking perceptron learns the embedded digits in seconds (98 % or more).",
    variants={"stbp": variant("LIF, STBP", SETTINGS, cpu=Plan(5), full=Plan(5))},
)
