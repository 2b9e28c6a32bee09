"""Layers: a synapse and a neuron, unrolled over time."""

from stbp_jax.layers.connections import conv, dense
from stbp_jax.layers.plain import avg_pool, dropout, flatten, unpack
from stbp_jax.layers.synapse import (
    SpikingParams,
    Synapse,
    changing,
    linear_fan_out,
    pointwise,
    spiking,
    still,
)

__all__ = [
    "SpikingParams",
    "Synapse",
    "avg_pool",
    "changing",
    "conv",
    "dense",
    "dropout",
    "linear_fan_out",
    "flatten",
    "pointwise",
    "spiking",
    "still",
    "unpack",
]
