"""Layers: a synapse and a neuron, unrolled over time."""

from stbp_jax.layers.connections import conv, dense
from stbp_jax.layers.plain import avg_pool, dropout, flatten, unpack
from stbp_jax.layers.synapse import SpikingParams, Synapse, fan_out, pointwise, spiking

__all__ = [
    "SpikingParams",
    "Synapse",
    "avg_pool",
    "conv",
    "dense",
    "dropout",
    "fan_out",
    "flatten",
    "pointwise",
    "spiking",
    "unpack",
]
