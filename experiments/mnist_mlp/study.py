"""Table 2 of the paper: a spiking perceptron of one hidden layer on MNIST."""

from experiments import images
from experiments.classification import Study

STUDY = Study(
    name="mnist_mlp",
    claim="A 784-800-10 spiking perceptron learns MNIST by STBP alone (paper: 98.89 %).",
    settings=images.Settings(),
    network=images.network,
    hparams=images.hparams,
    build=images.build,
    surrogates=images.surrogates,
)
