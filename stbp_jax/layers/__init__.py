"""Layers: a synapse and a neuron, unrolled over time."""

from stbp_jax.layers.connections import conv, dense
from stbp_jax.layers.matmul import (
    bfloat16_matmul,
    event_driven_matmul,
    full_matmul,
    split_bfloat16_matmul,
)
from stbp_jax.layers.networks import (
    apply,
    apply_with_stats,
    chunked,
    serial,
    stepwise,
    truncated,
)
from stbp_jax.layers.plain import avg_pool, dropout, flatten, unpack
from stbp_jax.layers.synapse import (
    LayerParams,
    Synapse,
    linear_fan_out,
    pointwise,
    spiking,
    static_input,
    varying_input,
)

__all__ = [
    "LayerParams",
    "Synapse",
    "apply",
    "apply_with_stats",
    "avg_pool",
    "bfloat16_matmul",
    "chunked",
    "conv",
    "dense",
    "dropout",
    "event_driven_matmul",
    "flatten",
    "full_matmul",
    "linear_fan_out",
    "pointwise",
    "serial",
    "spiking",
    "split_bfloat16_matmul",
    "static_input",
    "stepwise",
    "truncated",
    "unpack",
    "varying_input",
]
