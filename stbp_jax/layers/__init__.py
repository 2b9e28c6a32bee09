"""Layers of synapses and neurons, their combinations, and their schedules over time."""

from stbp_jax.layers._constraints import Constraint
from stbp_jax.layers._convolution import convolve
from stbp_jax.layers._matmul import (
    Matmul,
    bfloat16_matmul,
    event_driven_matmul,
    full_matmul,
    split_bfloat16_matmul,
)
from stbp_jax.layers.combinators import concatenate, parallel, rearrange, residual, serial
from stbp_jax.layers.conv import conv
from stbp_jax.layers.dense import dense
from stbp_jax.layers.dropout import dropout
from stbp_jax.layers.feedback import FeedbackParams, FeedbackState, feedback
from stbp_jax.layers.names import by_name, named_parameters
from stbp_jax.layers.pooling import avg_pool, max_pool
from stbp_jax.layers.reshaping import flatten, unpack
from stbp_jax.layers.running import apply, apply_with_stats, final_state, record
from stbp_jax.layers.schedules import chunked, stepwise, truncated
from stbp_jax.layers.summary import summary
from stbp_jax.layers.synapse import (
    Inputs,
    LayerParams,
    Synapse,
    identity,
    linear_fan_out,
    pointwise,
    spiking,
    static_input,
    varying_input,
)
from stbp_jax.layers.tied import tied

__all__ = [
    "Constraint",
    "FeedbackParams",
    "FeedbackState",
    "Inputs",
    "LayerParams",
    "Matmul",
    "Synapse",
    "apply",
    "apply_with_stats",
    "avg_pool",
    "concatenate",
    "max_pool",
    "parallel",
    "rearrange",
    "residual",
    "bfloat16_matmul",
    "by_name",
    "chunked",
    "conv",
    "convolve",
    "dense",
    "dropout",
    "event_driven_matmul",
    "feedback",
    "final_state",
    "flatten",
    "full_matmul",
    "identity",
    "linear_fan_out",
    "named_parameters",
    "pointwise",
    "record",
    "serial",
    "spiking",
    "split_bfloat16_matmul",
    "static_input",
    "stepwise",
    "summary",
    "tied",
    "truncated",
    "unpack",
    "varying_input",
]
