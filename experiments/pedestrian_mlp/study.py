"""Table 3 of the paper, on stand-in data: a spiking perceptron tells pedestrians from the rest."""

from experiments import pedestrians
from experiments.study import Study

STUDY = Study(
    name="pedestrian_mlp",
    claim="A 784-400-2 spiking perceptron is as good as its non-spiking twin within half a point "
    "on Daimler's pedestrians, a stand-in for the paper's set.",
    variants=pedestrians.variants("400", whole=3),
)
