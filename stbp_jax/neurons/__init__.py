"""Populations of neurons; each file decides one kind of dynamics."""

from stbp_jax.neurons.alif import ALIFConstants, ALIFState, alif
from stbp_jax.neurons.current_based import CurrentState, current_based
from stbp_jax.neurons.leaky_integrator import activation, leaky_integrator
from stbp_jax.neurons.learnable_decay import (
    LearnableDecayParams,
    learnable_decay,
    per_layer,
    per_neuron,
)
from stbp_jax.neurons.lif import (
    LIFConstants,
    LIFState,
    LIFUnroll,
    keep_membranes,
    lif,
    lif_scan,
    lif_step,
    lif_unroll,
)
from stbp_jax.neurons.recurrent import RecurrentParams, RecurrentState, recurrent
from stbp_jax.neurons.resets import (
    AdaptiveReset,
    Reset,
    adaptive_reset,
    detach_reset,
    detach_time,
    exponential_reset,
    hard_reset,
    soft_reset,
)
from stbp_jax.neurons.unrolling import MEMBRANE

__all__ = [
    "AdaptiveReset",
    "ALIFConstants",
    "ALIFState",
    "CurrentState",
    "LIFConstants",
    "LIFState",
    "LIFUnroll",
    "LearnableDecayParams",
    "MEMBRANE",
    "RecurrentParams",
    "RecurrentState",
    "Reset",
    "activation",
    "adaptive_reset",
    "alif",
    "current_based",
    "detach_reset",
    "detach_time",
    "exponential_reset",
    "hard_reset",
    "keep_membranes",
    "leaky_integrator",
    "learnable_decay",
    "lif",
    "lif_scan",
    "lif_step",
    "lif_unroll",
    "per_layer",
    "per_neuron",
    "recurrent",
    "soft_reset",
]
