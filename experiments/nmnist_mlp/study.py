"""Table 4 of the paper: a spiking perceptron on recordings of an event camera."""

from experiments import recordings
from experiments.study import Study

STUDY = Study(
    name="nmnist_mlp",
    claim="A 34x34x2-800-10 spiking perceptron learns N-MNIST's raw events by STBP alone (paper: "
    "98.78 %); from the 1,000 recordings at hand it reaches 90 %.",
    variants=recordings.variants(
        recordings.Settings(hidden="800", epochs=30, batch_size=50),
        others={"two_layers": "400-400"},
        cpu=recordings.FOLDS,
    ),
)
