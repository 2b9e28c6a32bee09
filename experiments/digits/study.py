"""The main job: a spiking perceptron on the 1,797 digits that need no download."""

from experiments import images
from experiments.classification import Study

STUDY = Study(
    name="digits",
    claim="A 64-400-10 spiking perceptron learns the embedded digits in seconds (98 % or more).",
    settings=images.Settings(
        data="digits",
        hidden="400",
        num_steps=30,
        epochs=40,
        batch_size=50,
        learning_rate=2e-3,
    ),
    network=images.network,
    hparams=images.hparams,
    build=images.build,
    surrogates=images.surrogates,
)
