"""Leaky integrate-and-fire dynamics, and the two ways to unroll them over time.

Decides the iterative LIF of Wu et al. 2018, with o⁰ = u⁰ = 0:

    uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ        (4)  Iᵗ already holds the synapse's bias
    oᵗ = H(uᵗ - Vth)                   (5)  fires at u >= Vth, in the step of its input

Leak and reset are one function, the reset; cutting a gradient is a function of a reset. An unroll
is a value too: `lif_scan` is plain autodiff through the scan, so that STBP falls out of `jax.grad`;
`lif_unroll` writes the same recursion as a reverse scan (`unrolling`). Leaves out what makes the
current (`layers`), and what the outputs mean (`readouts`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from stbp_jax import arguments
from stbp_jax.core import Array, Neuron, Params, Shape, name_of
from stbp_jax.neurons import unrolling
from stbp_jax.neurons.resets import Reset, hard_reset
from stbp_jax.neurons.units import check_constants, check_surrogate, with_batch
from stbp_jax.neurons.unrolling import MEMBRANE, Dynamics, in_dtype
from stbp_jax.surrogates import Surrogate, rectangular


class LIFConstants(NamedTuple):
    """The numbers of a LIF population; every leaf a scalar or of the units' shape.

    Attributes:
      decay: τ in [0, 1], the share of the membrane that is left after one step.
      threshold: Vth > 0, in units of the membrane.
      surrogate: the spike function.
    """

    decay: Any
    threshold: Any
    surrogate: Surrogate


class LIFState(NamedTuple):
    """Membrane uᵗ and spikes oᵗ of one step, each `[B, *units]`."""

    membrane: Array
    spikes: Array


def keep_membranes(primitive: Any, *avals: Any, **params: Any) -> Any:
    """A policy for `chunked`: backward keeps the membranes, and computes spikes anew from them.

    Of `alif` the adaptations too; of neurons that are unrolled neither by `lif_unroll` nor by a
    kernel, nor are `alif`, nothing.

    Args:
      primitive: as `jax.checkpoint` asks its policies.
      *avals: as above.
      **params: as above.

    Returns:
      Whether to keep what the primitive computes.
    """
    return jax.checkpoint_policies.save_only_these_names(MEMBRANE)(primitive, *avals, **params)


LIFUnroll = Callable[[Reset, LIFConstants, LIFState, Array], tuple[LIFState, Array]]


def lif_step(
    reset: Reset, constants: LIFConstants, state: LIFState, current: Array
) -> tuple[LIFState, Array]:
    """One step: uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ, oᵗ = H(uᵗ - Vth).

    The spike sees this step's input; the reset acts on the next step. Gradients cross the reset
    unless the reset detaches it.

    Args:
      reset: leak and reset.
      constants: decay, threshold and surrogate.
      state: of the last step, `[B, *units]`.
      current: input of this step, `[B, *units]`.

    Returns:
      `(state, spikes [B, *units])`.

    Source: Wu et al. 2018, equations (4) and (5).
    """
    arguments.array("current", current)
    arguments.state("state", state, current.shape)
    constants = in_dtype(constants, state.membrane)
    membrane = reset(constants, state) + current
    spikes = constants.surrogate(membrane - constants.threshold)
    return LIFState(membrane, spikes), spikes


def lif_scan(
    reset: Reset, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    """The reference unroll: `lif_step` under `lax.scan`, its gradient by plain autodiff.

    Args:
      reset: leak and reset.
      constants: decay, threshold and surrogate.
      state: of the step before the first, `[B, *units]`.
      currents: `[T, B, *units]`.

    Returns:
      `(last state, spikes [T, B, *units])`.
    """
    arguments.sequence("currents", currents)
    return lax.scan(functools.partial(lif_step, reset, constants), state, currents)


def lif_unroll(
    reset: Reset, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    """The default unroll: forward as `lif_scan`, backward as the paper's recursion.

    With eps = total dL/du, delta = total dL/do, h the surrogate's curve and f the reset:

        deltaᵗ = dL/doᵗ (from above)  + epsᵗ⁺¹ · ∂f/∂oᵗ
        epsᵗ   = deltaᵗ · h(uᵗ - Vth) + epsᵗ⁺¹ · ∂f/∂uᵗ        dL/dIᵗ = epsᵗ

    The reset's two derivatives come from `jax.vjp`, so that it serves every reset and curve. Of
    each step only the membrane is kept, `[T, B, *units]`; spikes are recomputed from it.

    Args:
      reset: leak and reset; gradients reach traced numbers that it closes over too.
      constants: decay, threshold and surrogate; gradients reach decay and threshold.
      state: of the step before the first, `[B, *units]`.
      currents: `[T, B, *units]`; taken in the dtype of the state.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Source: Wu et al. 2018, equations (10)-(20), with their errata mended.
    """
    return unrolling.unroll(_dynamics(reset), constants, state, currents)


@functools.lru_cache
def _dynamics(reset: Reset) -> Dynamics:
    return Dynamics(
        reset=lambda constants, state: (reset(constants, state),),
        distance=lambda constants, hidden: hidden[0] - constants.threshold,
        state=lambda hidden, spikes: LIFState(hidden[0], spikes),
        hidden=lambda state: (state.membrane,),
    )


def lif(
    *,
    decay: Any = 0.2,
    threshold: Any = 0.5,
    surrogate: Surrogate = rectangular(1.0),  # noqa: B008 - a value without arrays
    reset: Reset = hard_reset,
    unroll: LIFUnroll = lif_unroll,
) -> Neuron:
    """Leaky integrate-and-fire neurons: uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ, oᵗ = H(uᵗ - Vth).

    A spike sees the input of its own step; the reset acts on the next one; gradients cross the
    reset unless the reset detaches it. The defaults are those of the authors' MNIST network.

    Args:
      decay: τ in [0, 1] per step (not a time constant); a scalar or of the units' shape.
      threshold: Vth > 0; a scalar or of the units' shape.
      surrogate: the spike function.
      reset: leak and reset: `hard_reset`, `exponential_reset`, `soft_reset`, or one of
        them in `detach_reset` or `detach_time`.
      unroll: `lif_unroll` or `lif_scan`: the same numbers, the second slower and larger.

    Returns:
      A `Neuron` with nothing learned; its state is a `LIFState`.

    Raises:
      ValueError: `decay` outside [0, 1] or `threshold` not positive; on `init` or
        `initial_state`, constants or a surrogate's width whose shape does not fit the units; when
        it runs, T = 0 or a state of another shape than one time slice.
      TypeError: `surrogate` is no `Surrogate`, `reset` or `unroll` no function.

    >>> neuron = lif(decay=0.5, threshold=1.0)
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> state, spikes = neuron.unroll((), state, jnp.full((4, 1, 1), 0.75))
    >>> spikes.ravel(), state.membrane.ravel()
    (Array([0., 1., 0., 1.], dtype=float32), Array([1.125], dtype=float32))

    Source: Wu et al. 2018, equations (4)-(8).
    """
    constants = LIFConstants(
        arguments.unit_interval("decay", decay),
        arguments.positive("threshold", threshold),
        check_surrogate(surrogate),
    )
    arguments.function("reset", reset, "a function such as hard_reset")
    arguments.function("unroll", unroll, "an unroll, such as lif_unroll")

    def check(units: Shape) -> None:
        check_constants(constants, units)

    def init(key: Array, shape: Shape) -> Params:
        check(shape)
        return ()

    def initial_state(shape: Shape, dtype: Any) -> LIFState:
        check(shape[1:])
        return LIFState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def step(params: Params, state: LIFState, current: Array) -> tuple[LIFState, Array]:
        return lif_step(reset, with_batch(constants), state, current)

    def unroll_(params: Params, state: LIFState, currents: Array) -> tuple[LIFState, Array]:
        return unroll(reset, with_batch(constants), state, currents)

    def in_window(params: Params, state: LIFState) -> Array:
        c = with_batch(constants)
        return c.surrogate.in_window(state.membrane - c.threshold)

    def named() -> dict[str, Any]:
        return {"neuron": "lif", **constants._asdict(), "reset": name_of(reset)}

    return Neuron(init, initial_state, step, unroll_, in_window, constants=named)
