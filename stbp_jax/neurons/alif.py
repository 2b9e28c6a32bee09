"""Adaptive LIF neurons, whose threshold rises with their own spikes.

Any reset of `lif` becomes a reset of `alif` in `adaptive_reset`.
"""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Numbers, Shape, name_of
from stbp_jax.neurons.dynamics import from_dynamics
from stbp_jax.neurons.recursion import Dynamics
from stbp_jax.neurons.resets import AdaptiveReset, adaptive_reset, hard_reset
from stbp_jax.neurons.units import check_surrogate
from stbp_jax.surrogates import Surrogate, rectangular


class ALIFConstants(NamedTuple):
    """Constants of adaptive LIF neurons; every leaf broadcasts to the units' shape.

    Attributes:
      decay: τ in [0, 1], the fraction of the membrane that remains after one step.
      threshold: Vth > 0 at rest, in units of the membrane.
      surrogate: the spike function.
      adaptation_decay: ρ in [0, 1], the fraction of the adaptation that remains after one step.
      adaptation_strength: β >= 0, the rise of the threshold by one spike, in units of the membrane.

    >>> from stbp_jax import rectangular
    >>> ALIFConstants(0.2, 0.5, rectangular(1.0), 0.9, 0.1).adaptation_decay
    0.9
    """

    decay: Any
    threshold: Any
    surrogate: Surrogate
    adaptation_decay: Any
    adaptation_strength: Any


class ALIFState(NamedTuple):
    """Membrane uᵗ, spikes oᵗ and adaptation aᵗ of one step, each `[B, *units]`.

    >>> import jax
    >>> jax.tree.map(jnp.shape, alif().initial_state((5, 3), jnp.float32))
    ALIFState(membrane=(5, 3), spikes=(5, 3), adaptation=(5, 3))
    """

    membrane: Array
    spikes: Array
    adaptation: Array


def alif(
    *,
    decay: Numbers = 0.2,
    threshold: Numbers = 0.5,
    adaptation_decay: Numbers = 0.95,
    adaptation_strength: Numbers = 0.1,
    surrogate: Surrogate = rectangular(1.0),  # noqa: B008 - a value without arrays
    reset: AdaptiveReset = adaptive_reset(hard_reset),  # noqa: B008 - a function without arrays
    block: int | None = None,
) -> Neuron:
    """Adaptive LIF neurons: each spike raises the neuron's threshold, which then decays.

        aᵗ = ρ aᵗ⁻¹ + oᵗ⁻¹                   adaptation
        uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ          membrane
        oᵗ = H(uᵗ - Vth - β aᵗ)              spike

    A spike depends on the current of its own step. Reset and adaptation act from the next step on.
    Gradients cross both unless the reset is wrapped in `detach_reset` or `detach_time`. The
    adaptation decays slowly, and so carries gradients over many steps. The unroll is that of
    `lif_unroll`; its backward pass stores membranes and adaptations.

    Args:
      decay: τ in [0, 1], the fraction of the membrane that remains after one step; a scalar, or
        numbers that broadcast to the units' shape.
      threshold: Vth > 0 at rest, in units of the membrane; a scalar or numbers, as `decay`.
      adaptation_decay: ρ in [0, 1], the fraction of the adaptation that remains after one step; a
        scalar or numbers, as `decay`.
      adaptation_strength: β >= 0, in units of the membrane; a scalar or numbers, as `decay`. At 0
        the neuron is `lif`.
      surrogate: the spike function.
      reset: leak, reset and adaptation: a reset of `lif` in `adaptive_reset`.
      block: steps per block on a GPU or TPU; None chooses it by T, as in `lif_unroll`.

    Returns:
      A `Neuron` without learned parameters; its state is an `ALIFState`. Its `init` and
      `initial_state` raise ValueError for constants, or a width of the surrogate, whose shape does
      not match the units; `step` and `unroll` for a state of another shape than one time slice, and
      `unroll` for T = 0. `step` and `unroll` raise TypeError for a reset without `adaptive_reset`.

    Raises:
      ValueError: a decay is outside [0, 1]; `threshold` is not positive; `adaptation_strength` is
        negative; `block` is below 1.
      TypeError: `surrogate` is not a `Surrogate`; `reset` is not callable; `block` is not an
        integer.

    >>> neuron = alif(decay=0.5, threshold=0.5, adaptation_decay=0.5, adaptation_strength=1.0)
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> state, spikes = neuron.unroll((), state, jnp.full((5, 1, 1), 0.5))
    >>> spikes.ravel(), state.adaptation.ravel()
    (Array([1., 0., 0., 1., 0.], dtype=float32), Array([1.125], dtype=float32))

    Source: Bellec et al. 2020 (LSNN), whose reset subtracts the threshold at rest. In Bellec et al.
    2018, a grows by (1 - ρ) o, so that the β of that work is this β divided by (1 - ρ).
    """
    constants = ALIFConstants(
        arguments.unit_interval("decay", decay),
        arguments.positive("threshold", threshold),
        check_surrogate(surrogate),
        arguments.unit_interval("adaptation_decay", adaptation_decay),
        arguments.not_negative("adaptation_strength", adaptation_strength),
    )

    arguments.function("reset", reset, "a function such as adaptive_reset(hard_reset)")
    entered = _both(reset)
    named = {"reset": name_of(reset)}
    dynamics = _dynamics(entered)
    return from_dynamics(dynamics, constants, _rest, name="alif", block=block, named=named)


def _rest(shape: Shape, dtype: Any) -> ALIFState:
    return ALIFState(*(jnp.zeros(shape, dtype) for _ in range(3)))


@functools.lru_cache
def _both(reset: AdaptiveReset) -> AdaptiveReset:
    """Wrap a reset with a check of its result, for a reset of `lif` passed by mistake."""

    def entered(constants: ALIFConstants, state: ALIFState) -> tuple[Array, Array]:
        found = reset(constants, state)
        if not isinstance(found, tuple):
            raise TypeError(
                "reset must give (membrane, adaptation), got one array; wrap it, as in "
                "adaptive_reset(hard_reset)"
            )
        return found

    return entered


def _distance(constants: ALIFConstants, hidden: tuple[Array, ...]) -> Array:
    membrane, adaptation = hidden
    return membrane - constants.threshold - constants.adaptation_strength * adaptation


@functools.lru_cache
def _dynamics(reset: AdaptiveReset) -> Dynamics:
    return Dynamics(
        reset=reset,
        distance=_distance,
        state=lambda hidden, spikes: ALIFState(hidden[0], spikes, hidden[1]),
        hidden=lambda state: (state.membrane, state.adaptation),
    )
