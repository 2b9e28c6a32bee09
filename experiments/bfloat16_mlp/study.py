"""What it costs to make the products of the synapses in bfloat16."""

import stbp_jax as sj
from experiments.classification import variant
from experiments.images import Settings
from experiments.study import Plan, Study

SETTINGS = Settings(epochs=5)

STUDY = Study(
    name="bfloat16_mlp",
    claim="Synapses in bfloat16, with float32 membranes, cost a perceptron on MNIST no accuracy.",
    variants={
        "bfloat16": variant(
            "products in bfloat16",
            SETTINGS,
            cpu=Plan(3),
            full=Plan(5),
            matmul=sj.layers.bfloat16_matmul,
        ),
        "float32": variant("products in float32", SETTINGS, cpu=Plan(3), full=Plan(5)),
    },
)
