"""Resets: leak and reset of the membrane as one function, and functions that cut its gradient.

A reset maps the constants and the previous state of a neuron to the membrane that enters the
current step, before the current is added. In the equations, u and o are the membrane and the spikes
of the previous step, τ is the decay and Vth the threshold. A spike resets the next step, never its
own.

`hard_reset`, `exponential_reset` and `soft_reset` let gradients through both u and o.
`detach_reset` and `detach_time` cut a part of the gradient and leave the values as they are.
`adaptive_reset` adds the adaptation of `alif`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from stbp_jax import arguments
from stbp_jax.core import Array

Reset = Callable[[Any, Any], Array]
"""`(constants, state) -> membrane`: previous state to the membrane that enters, `[B, *units]`.

The constants have `decay` and `threshold`, as `LIFConstants` and `ALIFConstants`; the state is a
NamedTuple with `membrane` and `spikes`.
"""

AdaptiveReset = Callable[[Any, Any], tuple[Array, Array]]
"""`(constants, state) -> (membrane, adaptation)`, each `[B, *units]`; for `alif`.

The constants also have `adaptation_decay`, the state has `adaptation`.
"""


def hard_reset(constants: Any, state: Any) -> Float[Array, " B *units"]:
    """Leak and hard reset, to 0 after a spike: τ u (1 - o).

    Args:
      constants: its `decay` is τ.
      state: membrane and spikes of the previous step, `[B, *units]`.

    Returns:
      The membrane that enters the current step, `[B, *units]`.

    >>> from stbp_jax.neurons import LIFConstants, LIFState
    >>> state = LIFState(membrane=jnp.array([[0.5, 2.0]]), spikes=jnp.array([[0.0, 1.0]]))
    >>> hard_reset(LIFConstants(decay=0.5, threshold=1.0, surrogate=None), state)
    Array([[0.25, 0.  ]], dtype=float32)

    Source: Wu et al. 2018, equation (8); the authors' code.
    """
    return constants.decay * state.membrane * (1 - state.spikes)


def exponential_reset(constants: Any, state: Any) -> Float[Array, " B *units"]:
    """Leak and exponential reset: τ u exp(-o/τ).

    After a spike, the fraction exp(-1/τ) of the leaked membrane remains: 5e-5 at τ = 0.1, 14 % at
    τ = 0.5. So this gate resets only at small decays. At τ = 0 the result is 0.

    Args:
      constants: its `decay` is τ.
      state: membrane and spikes of the previous step, `[B, *units]`.

    Returns:
      The membrane that enters the current step, `[B, *units]`.

    >>> from stbp_jax.neurons import LIFConstants, LIFState
    >>> state = LIFState(membrane=jnp.array([[0.5, 2.0]]), spikes=jnp.array([[0.0, 1.0]]))
    >>> exponential_reset(LIFConstants(decay=0.5, threshold=1.0, surrogate=None), state).round(3)
    Array([[0.25 , 0.135]], dtype=float32)

    Source: Wu et al. 2018, equation (6).
    """
    # Below τ = 1e-3 the gate of a spike is 0 in every float type; the bound keeps 1/τ finite.
    gate = jnp.exp(-state.spikes / jnp.maximum(constants.decay, 1e-3))
    return _undefined_at_infinity(state.membrane, state.membrane * constants.decay * gate)


def soft_reset(constants: Any, state: Any) -> Float[Array, " B *units"]:
    """Leak and soft reset, by subtraction of the threshold: τ (u - Vth o).

    A spike leaves the excess over the threshold in the membrane.

    Args:
      constants: its `decay` is τ, its `threshold` is Vth.
      state: membrane and spikes of the previous step, `[B, *units]`.

    Returns:
      The membrane that enters the current step, `[B, *units]`.

    >>> from stbp_jax.neurons import LIFConstants, LIFState
    >>> state = LIFState(membrane=jnp.array([[0.5, 2.0]]), spikes=jnp.array([[0.0, 1.0]]))
    >>> soft_reset(LIFConstants(decay=0.5, threshold=1.0, surrogate=None), state)
    Array([[0.25, 0.5 ]], dtype=float32)
    """
    entering = constants.decay * (state.membrane - constants.threshold * state.spikes)
    return _undefined_at_infinity(state.membrane, entering)


def _undefined_at_infinity(membrane: Array, entering: Array) -> Array:
    """Return NaN for a membrane of +inf, as the hard reset does by inf · 0."""
    return jnp.where(membrane == jnp.inf, jnp.nan, entering)


@functools.cache
def detach_reset(reset: Reset) -> Reset:
    """Cut the gradient of a reset through the spikes: ∂f/∂o = 0; the values stay the same.

    Gradients still cross the membrane from step to step.

    Args:
      reset: a reset of `lif` or `alif`.

    Returns:
      A reset of the same kind; equal arguments give the same object.

    Raises:
      TypeError: `reset` is not callable.

    >>> detach_reset(hard_reset) is detach_reset(hard_reset)
    True
    """
    arguments.function("reset", reset, "a function such as hard_reset")

    @functools.wraps(reset)  # equal values, so an equal name in the constants
    def detached(constants: Any, state: Any) -> Array:
        return reset(constants, state._replace(spikes=lax.stop_gradient(state.spikes)))

    return detached


@functools.cache
def detach_time(reset: Reset) -> Reset:
    """Cut the whole gradient of a reset: ∂f/∂u = ∂f/∂o = 0; the values stay the same.

    No gradient goes from step to step; the gradients of the single steps are still summed. This is
    SDBP, the ablation of STBP (backpropagation in space and time) to space alone. The two are equal
    at T = 1.

    Args:
      reset: a reset of `lif` or `alif`.

    Returns:
      A reset of the same kind; equal arguments give the same object.

    Raises:
      TypeError: `reset` is not callable.

    >>> import jax
    >>> from stbp_jax import lif
    >>> neuron = lif(reset=detach_time(hard_reset))
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> last_spike = lambda currents: neuron.unroll((), state, currents)[1][-1].sum()
    >>> jax.grad(last_spike)(jnp.full((3, 1, 1), 0.4)).ravel().tolist()
    [0.0, 0.0, 1.0]

    Source: Wu et al. 2018, Table 7; later published as SLTT.
    """
    arguments.function("reset", reset, "a function such as hard_reset")

    @functools.wraps(reset)
    def detached(constants: Any, state: Any) -> Array:
        return reset(constants, lax.stop_gradient(state))

    return detached


@functools.cache
def adaptive_reset(reset: Reset, /) -> AdaptiveReset:
    """Make a reset of `alif` from a reset of `lif`: (f(u, o), ρ a + o).

    The order of `adaptive_reset` and the functions that cut gradients matters:

    | reset | gradients that are cut |
    |---|---|
    | `adaptive_reset(detach_reset(f))` | of f through the spikes, as in Bellec et al. |
    | `detach_reset(adaptive_reset(f))` | of f and of the adaptation through the spikes |
    | `detach_time(adaptive_reset(f))` | all, from step to step |

    Args:
      reset: f, a reset of `lif`.

    Returns:
      A reset of `alif`; equal arguments give the same object.

    Raises:
      TypeError: `reset` is not callable.

    >>> adaptive_reset(hard_reset) is adaptive_reset(hard_reset)
    True
    """
    arguments.function("reset", reset, "a function of lif such as hard_reset")

    @functools.wraps(reset)
    def both(constants: Any, state: Any) -> tuple[Array, Array]:
        adaptation = constants.adaptation_decay * state.adaptation + state.spikes
        return reset(constants, state), adaptation

    return both
