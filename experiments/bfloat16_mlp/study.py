"""What it costs to make the products of the synapses in bfloat16."""

import functools

import stbp_jax as sj
from experiments import images
from experiments.classification import Study

STUDY = Study(
    name="bfloat16_mlp",
    claim="Synapses in bfloat16, with float32 membranes, cost a perceptron on MNIST no accuracy.",
    settings=images.Settings(epochs=5),
    network=images.network,
    hparams=images.hparams,
    build=functools.partial(images.build, product=sj.bfloat16_product),
    surrogates=images.surrogates,
    variant="stbp, bfloat16 products",
)
