"""Populations of neurons; each file decides one kind of dynamics."""

from stbp_jax.neurons.iterative_lif import (
    MEMBRANE,
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
from stbp_jax.neurons.non_spiking import leaky, stateless
from stbp_jax.neurons.recurrence import RecurrentParams, RecurrentState, recurrent

__all__ = [
    "MEMBRANE",
    "Carry",
    "LIFConstants",
    "LIFState",
    "LIFUnroll",
    "RecurrentParams",
    "RecurrentState",
    "detach_reset",
    "detach_time",
    "exponential_carry",
    "keep_membranes",
    "leaky",
    "lif",
    "lif_scan",
    "lif_step",
    "lif_unroll",
    "linear_carry",
    "recurrent",
    "stateless",
    "subtractive_carry",
]
