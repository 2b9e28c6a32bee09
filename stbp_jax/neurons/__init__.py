"""Spiking neurons and their resets; a `Neuron` is an elementwise recurrent cell.

A spiking neuron integrates its input, the current I, into its state, the membrane u. At every step
the membrane leaks. If it reaches the threshold, the neuron fires: its output o, the spike, is 1 in
this step and 0 otherwise. The reset then lowers the membrane. The derivative of this output is 0
almost everywhere, so that the backward pass uses a curve in its place (`stbp_jax.surrogates`).

A neuron has no input weights: a layer such as `dense(10, lif())` computes the currents of its
units, and one `Neuron` describes the whole population, the units of that layer.

| function | neuron |
|---|---|
| `lif` | leaky integrate-and-fire, the model of the paper |
| `alif` | LIF with a threshold that rises with every spike |
| `current_based` | any neuron, driven by a current that decays over steps |
| `recurrent` | any neuron, with learned connections among its units |
| `learnable_decay` | any neuron, with a learned decay |
| `leaky_integrator` | outputs its membrane and does not spike; for output layers |
| `activation` | an activation function without a state; for ANN baselines |

>>> import jax.numpy as jnp
>>> neuron = lif(decay=0.5, threshold=1.0)
>>> state = neuron.initial_state((1, 1), jnp.float32)  # membrane and spikes of one unit, at rest
>>> state, spikes = neuron.unroll((), state, jnp.full((4, 1, 1), 0.75))  # u = .75 1.125 .75 1.125
>>> spikes.ravel()
Array([0., 1., 0., 1.], dtype=float32)
"""

from stbp_jax.neurons.alif import ALIFConstants, ALIFState, alif
from stbp_jax.neurons.current_based import CurrentState, current_based
from stbp_jax.neurons.dynamics import from_dynamics
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
from stbp_jax.neurons.recursion import Dynamics
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
    "Dynamics",
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
    "from_dynamics",
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
