"""Populations of neurons; each file decides one kind of dynamics."""

from stbp_jax.neurons.adaptive_lif import ALIFConstants, ALIFState, adaptive_carry, alif
from stbp_jax.neurons.current_based import CurrentState, current_based
from stbp_jax.neurons.iterative_lif import (
    Carry,
    LIFConstants,
    LIFState,
    LIFUnroll,
    detach_reset,
    detach_time,
    exponential_carry,
    keep_membranes,
    lif,
    lif_scan,
    lif_step,
    lif_unroll,
    linear_carry,
    subtractive_carry,
)
from stbp_jax.neurons.learnt import LearntDecayParams, learnt_decay, one_decay, own_decays
from stbp_jax.neurons.non_spiking import leaky, stateless
from stbp_jax.neurons.recurrence import RecurrentParams, RecurrentState, recurrent
from stbp_jax.neurons.unrolling import MEMBRANE

__all__ = [
    "ALIFConstants",
    "ALIFState",
    "Carry",
    "CurrentState",
    "LIFConstants",
    "LIFState",
    "LIFUnroll",
    "LearntDecayParams",
    "MEMBRANE",
    "RecurrentParams",
    "RecurrentState",
    "adaptive_carry",
    "alif",
    "current_based",
    "detach_reset",
    "detach_time",
    "exponential_carry",
    "keep_membranes",
    "leaky",
    "learnt_decay",
    "lif",
    "lif_scan",
    "lif_step",
    "lif_unroll",
    "linear_carry",
    "one_decay",
    "own_decays",
    "recurrent",
    "stateless",
    "subtractive_carry",
]
