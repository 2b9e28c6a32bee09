"""Table 6 of the paper, on stand-in data: a spiking convolutional network sees pedestrians."""

from experiments import pedestrians
from experiments.study import Study

STUDY = Study(
    name="pedestrian_cnn",
    claim="A 6C3-300-2 spiking network is as good as its non-spiking twin within half a point "
    "on Daimler's pedestrians, a stand-in for the paper's set.",
    variants=pedestrians.variants("6C3-300", whole=1),
)
