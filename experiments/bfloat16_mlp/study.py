"""What it costs to make the products of the synapses in bfloat16."""

import functools

import stbp_jax as sj
from experiments import mlp
from experiments.classification import Study

STUDY = Study(
    name="bfloat16_mlp",
    claim="Synapses in bfloat16, with float32 membranes, cost a perceptron on MNIST no accuracy.",
    settings=mlp.MLPSettings(epochs=5),
    network=mlp.network,
    hparams=mlp.hparams,
    build=functools.partial(mlp.build, product=sj.bfloat16_product),
    surrogates=mlp.surrogates,
    variant="stbp, bfloat16 products",
)
