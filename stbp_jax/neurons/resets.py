"""Leak and reset of a population as one function, and the ways to cut its gradient.

A reset maps the constants and the last state of a neuron to the membrane that enters the next step.
`hard_reset`, `exponential_reset` and `soft_reset` leak and reset; `detach_reset` and `detach_time`
return the same reset with a part of its gradient cut; `adaptive_reset` adds the adaptation of
`alif`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array

Reset = Callable[[Any, Any], Array]
"""`(constants, state) -> membrane [B, *units]` that enters the next step.

The constants have `decay` and `threshold`, as `LIFConstants` and `ALIFConstants`; the state is a
NamedTuple with `membrane` and `spikes`.
"""

AdaptiveReset = Callable[[Any, Any], tuple[Array, Array]]
"""As `Reset`, with `adaptation` in the state: gives membrane and adaptation."""


def hard_reset(constants: Any, state: Any) -> Array:
    """Leak and hard reset: τ u (1 - o).

    Args:
      constants: its `decay` is τ.
      state: membrane and spikes of the last step, `[B, *units]`.

    Returns:
      The membrane that enters this step, `[B, *units]`.

    Source: Wu et al. 2018, equation (8); the authors' code.
    """
    return constants.decay * state.membrane * (1 - state.spikes)


def exponential_reset(constants: Any, state: Any) -> Array:
    """Leak and an almost hard reset: u τ exp(-o/τ).

    After a spike exp(-1/τ) of the leaked membrane stays: 5e-5 at τ = 0.1, 14 % at 0.5, so that
    this gate resets only at small decays. At τ = 0 nothing is carried.

    Args:
      constants: its `decay` is τ.
      state: membrane and spikes of the last step, `[B, *units]`.

    Returns:
      The membrane that enters this step, `[B, *units]`.

    Source: Wu et al. 2018, equation (6).
    """
    # Below 1e-3 the gate of a spike is 0 in every float type; the bound keeps its slope finite.
    gate = jnp.exp(-state.spikes / jnp.maximum(constants.decay, 1e-3))
    return _undefined_at_infinity(state.membrane, state.membrane * constants.decay * gate)


def soft_reset(constants: Any, state: Any) -> Array:
    """Leak and soft reset: τ (u - Vth o), which keeps what exceeds the threshold.

    Args:
      constants: its `decay` is τ, its `threshold` Vth.
      state: membrane and spikes of the last step, `[B, *units]`.

    Returns:
      The membrane that enters this step, `[B, *units]`.
    """
    entering = constants.decay * (state.membrane - constants.threshold * state.spikes)
    return _undefined_at_infinity(state.membrane, entering)


def _undefined_at_infinity(membrane: Array, entering: Array) -> Array:
    """NaN where the membrane is +inf: what the hard reset, inf · 0, makes of it."""
    return jnp.where(membrane == jnp.inf, jnp.nan, entering)


@functools.cache
def detach_reset(reset: Reset) -> Reset:
    """The same reset, with no gradient through its spikes: f'(o) = 0.

    >>> detach_reset(hard_reset) is detach_reset(hard_reset)
    True
    """
    arguments.function("reset", reset, "a function such as hard_reset")

    @functools.wraps(reset)  # the forward pass is the same, and so is the name
    def detached(constants: Any, state: Any) -> Array:
        return reset(constants, state._replace(spikes=lax.stop_gradient(state.spikes)))

    return detached


@functools.cache
def detach_time(reset: Reset) -> Reset:
    """The same reset, with no gradient from step to step: SDBP, the paper's ablation.

    Gradients are still summed over the steps. Equal to STBP at T = 1. Source: Wu et al. 2018,
    Table 7; later published as SLTT.
    """
    arguments.function("reset", reset, "a function such as hard_reset")

    @functools.wraps(reset)
    def detached(constants: Any, state: Any) -> Array:
        return reset(constants, lax.stop_gradient(state))

    return detached


@functools.cache
def adaptive_reset(reset: Reset, /) -> AdaptiveReset:
    """Membrane and adaptation that enter a step: reset(u, o) and ρ a + o.

    `detach_time(adaptive_reset(c))` cuts both; `adaptive_reset(detach_reset(c))` cuts the reset
    alone, as Bellec et al. do, and `detach_reset(adaptive_reset(c))` the spikes' way into the
    adaptation too.

    Args:
      reset: leak and reset: any of `lif`.

    Returns:
      A reset for `alif`.
    """
    arguments.function("reset", reset, "a function of lif such as hard_reset")

    @functools.wraps(reset)
    def both(constants: Any, state: Any) -> tuple[Array, Array]:
        adaptation = constants.adaptation_decay * state.adaptation + state.spikes
        return reset(constants, state), adaptation

    return both
