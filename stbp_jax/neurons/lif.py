"""Leaky integrate-and-fire (LIF) neurons, with two ways to unroll them over time.

The neuron is the iterative LIF of Wu et al. 2018, with o⁰ = u⁰ = 0:

    uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ        (4)  membrane; Iᵗ is the current, the bias included
    oᵗ = H(uᵗ - Vth)                   (5)  spike; H(v) = 1 if v >= 0, else 0

Leak and reset are one function (`resets`), such as `hard_reset`: τ uᵗ⁻¹ (1 - oᵗ⁻¹). The unroll is
a function too. `lif_scan` scans the step, and `jax.grad` through it is spatio-temporal
backpropagation (STBP). `lif_unroll`, the default, has the same values and gradients, and computes
the backward pass by the paper's recursion (`unrolling`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Real

from stbp_jax import arguments
from stbp_jax.core import (
    AnyArray,
    Array,
    Neuron,
    Numbers,
    Params,
    Probe,
    Shape,
    given,
    name_of,
    scan,
)
from stbp_jax.neurons import unrolling
from stbp_jax.neurons.recursion import Dynamics, in_dtype
from stbp_jax.neurons.resets import Reset, hard_reset
from stbp_jax.neurons.units import check_constants, check_surrogate, with_batch
from stbp_jax.neurons.unrolling import MEMBRANE
from stbp_jax.surrogates import Surrogate, rectangular


class LIFConstants(NamedTuple):
    """Constants of LIF neurons; every leaf broadcasts to the units' shape.

    Attributes:
      decay: τ in [0, 1], the fraction of the membrane that remains after one step.
      threshold: Vth > 0, in units of the membrane.
      surrogate: the spike function.

    >>> from stbp_jax import rectangular
    >>> LIFConstants(decay=0.2, threshold=0.5, surrogate=rectangular(1.0)).decay
    0.2
    """

    decay: Any
    threshold: Any
    surrogate: Surrogate


class LIFState(NamedTuple):
    """Membrane uᵗ and spikes oᵗ of one step, each `[B, *units]`.

    >>> jax.tree.map(jnp.shape, lif().initial_state((5, 3), jnp.float32))
    LIFState(membrane=(5, 3), spikes=(5, 3))
    """

    membrane: Array
    spikes: Array


def keep_membranes(primitive: Any, *avals: Any, **params: Any) -> Any:
    """Checkpoint policy for `chunked`: store the membranes, and recompute the spikes from them.

    The policy stores the membranes of `lif` with `lif_unroll` or a kernel, and the membranes and
    adaptations of `alif`. It stores nothing of other neurons.

    Args:
      primitive: as in every policy of `jax.checkpoint`.
      *avals: as in every policy of `jax.checkpoint`.
      **params: as in every policy of `jax.checkpoint`.

    Returns:
      Whether to store the result of the primitive.

    >>> import stbp_jax as sj
    >>> net = sj.dense(2, sj.lif())
    >>> lean = sj.chunked(net, 2, policy=keep_membranes)
    >>> params, _ = net.init(jax.random.key(0), (3,))
    >>> sj.apply(lean, params, jnp.ones((4, 1, 3)))[1].shape
    (4, 1, 2)
    """
    return jax.checkpoint_policies.save_only_these_names(MEMBRANE)(primitive, *avals, **params)


LIFUnroll = Callable[..., tuple[LIFState, Array]]
"""`(reset, constants, state, currents, is_first=None) -> (state, spikes)`, as `lif_scan`."""


def lif_step(
    reset: Reset,
    constants: LIFConstants,
    state: LIFState,
    current: Real[AnyArray, " B *units"],
) -> tuple[LIFState, Float[Array, " B *units"]]:
    """One step of LIF neurons: uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ, oᵗ = H(uᵗ - Vth).

    A spike depends on the current of its own step. The reset acts on the next step. Gradients
    cross the reset unless it is wrapped in `detach_reset` or `detach_time`.

    Args:
      reset: leak and reset.
      constants: decay, threshold and surrogate.
      state: of the previous step, `[B, *units]`.
      current: of this step, `[B, *units]`.

    Returns:
      `(state, spikes [B, *units])`.

    Raises:
      ValueError: a state of another shape than the current.
      TypeError: `current` is not an array of real numbers.

    >>> constants = LIFConstants(decay=0.5, threshold=1.0, surrogate=rectangular(1.0))
    >>> state = LIFState(membrane=jnp.array([[0.5]]), spikes=jnp.array([[0.0]]))
    >>> lif_step(hard_reset, constants, state, jnp.array([[0.75]]))[0]
    LIFState(membrane=Array([[1.]], dtype=float32), spikes=Array([[1.]], dtype=float32))

    Source: Wu et al. 2018, equations (4) and (5).
    """
    arguments.array("current", current)
    arguments.state("state", state, current.shape)
    constants = in_dtype(constants, state.membrane)
    membrane = reset(constants, state) + current
    spikes = constants.surrogate(membrane - constants.threshold)
    return LIFState(membrane, spikes), spikes


def lif_scan(
    reset: Reset,
    constants: LIFConstants,
    state: LIFState,
    currents: Real[AnyArray, "T B *units"],
    is_first: Bool[AnyArray, "T B"] | None = None,
) -> tuple[LIFState, Float[Array, "T B *units"]]:
    """The reference unroll: `lif_step` under `lax.scan`, differentiated by JAX.

    Args:
      reset: leak and reset.
      constants: decay, threshold and surrogate.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest. None for
        nowhere.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      TypeError: `is_first` is not an array of bool.
      ValueError: T = 0, a state of another shape than one time slice, or `is_first` of another
        shape than `[T, B]`.

    >>> from stbp_jax import hard_reset, rectangular
    >>> constants = LIFConstants(0.5, 1.0, rectangular(1.0))
    >>> rest = LIFState(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    >>> lif_scan(hard_reset, constants, rest, jnp.full((4, 1, 1), 0.6))[1].ravel()
    Array([0., 0., 1., 0.], dtype=float32)
    """

    def step(params: Params, state: LIFState, current: Array) -> tuple[LIFState, Array]:
        return lif_step(reset, constants, state, current)

    return scan(step, _rest)((), state, currents, is_first)


def _rest(shape: Shape, dtype: Any) -> LIFState:
    return LIFState(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def lif_unroll(
    reset: Reset,
    constants: LIFConstants,
    state: LIFState,
    currents: Real[AnyArray, "T B *units"],
    is_first: Bool[AnyArray, "T B"] | None = None,
    *,
    block: int | None = None,
) -> tuple[LIFState, Float[Array, "T B *units"]]:
    """The default unroll: the values of `lif_scan`, and the paper's recursion as its gradient.

    Let f be the reset and h the curve of the surrogate. The total derivatives δᵗ = dL/doᵗ and
    εᵗ = dL/duᵗ follow from t = T to 1, with εᵀ⁺¹ = 0:

        δᵗ = gᵗ + εᵗ⁺¹ · ∂f/∂oᵗ                gᵗ: the cotangent of the output oᵗ
        εᵗ = δᵗ · h(uᵗ - Vth) + εᵗ⁺¹ · ∂f/∂uᵗ        dL/dIᵗ = εᵗ

    `jax.vjp` gives the two derivatives of the reset, so that every reset and curve works. The
    backward pass stores only the membranes, `[T, B, *units]`, and recomputes the spikes from them.
    JAX selects the loop by platform when it lowers the program: over single steps on a CPU, over
    blocks of K steps on a GPU, where a launch costs more than the bytes of a step, and on a TPU.

    Higher orders of reverse mode (`grad` of `grad`) equal those of `lif_scan`. Forward mode raises
    TypeError; it needs `lif_scan` and a surrogate of `surrogates.forward_mode`. Products of forward
    over reverse mode (`jvp` of `grad`) need the surrogate alone.

    Args:
      reset: leak and reset; gradients also reach the traced numbers that it closes over.
      constants: decay, threshold and surrogate; gradients reach decay and threshold.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`; converted to the dtype of the state.
      is_first: `[T, B]` bool; where it is set, that example enters the step at rest. None for
        nowhere.
      block: K, steps per block on a GPU or TPU; None chooses it by T (`blocks`). Another K, for
        example in `functools.partial(lif_unroll, block=8)`, changes launches, time of compilation
        and memory traffic, and no value.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      TypeError: `is_first` is not an array of bool; `block` is not an integer.
      ValueError: T = 0, a state of another shape than one time slice, `is_first` of another shape
        than `[T, B]`, or `block` below 1.

    >>> from stbp_jax import hard_reset, rectangular
    >>> constants = LIFConstants(0.5, 1.0, rectangular(1.0))
    >>> rest = LIFState(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    >>> lif_unroll(hard_reset, constants, rest, jnp.full((4, 1, 1), 0.6))[1].ravel()
    Array([0., 0., 1., 0.], dtype=float32)

    Source: Wu et al. 2018, equations (10)-(20), with their errata corrected.
    """
    return unrolling.unroll(_dynamics(reset), constants, state, currents, is_first, block=block)


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
    decay: Numbers = 0.2,
    threshold: Numbers = 0.5,
    surrogate: Surrogate = rectangular(1.0),  # noqa: B008 - a value without arrays
    reset: Reset = hard_reset,
    unroll: LIFUnroll = lif_unroll,
) -> Neuron:
    """Leaky integrate-and-fire neurons: uᵗ = reset(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ, oᵗ = H(uᵗ - Vth).

    A spike depends on the current of its own step. The reset acts on the next step. Gradients
    cross the reset unless it is wrapped in `detach_reset` or `detach_time`. The defaults are those
    of the authors' MNIST network.

    Args:
      decay: τ in [0, 1], the fraction of the membrane that remains after one step (not a time
        constant); a scalar, or numbers that broadcast to the units' shape: `[C]` after a
        convolution is one for each channel.
      threshold: Vth > 0, in units of the membrane; a scalar or numbers, as `decay`.
      surrogate: the spike function.
      reset: leak and reset: `hard_reset`, `exponential_reset` or `soft_reset`, each of them also
        in `detach_reset` or `detach_time`.
      unroll: `lif_unroll`, or `lif_scan`, which computes the same in more time and memory.

    Returns:
      A `Neuron` without learned parameters; its state is a `LIFState`. Its `init` and
      `initial_state` raise ValueError for constants, or a width of the surrogate, whose shape does
      not match the units; `step` and `unroll` for a state of another shape than one time slice, and
      `unroll` for T = 0.

    Raises:
      ValueError: `decay` is outside [0, 1]; `threshold` is not positive.
      TypeError: `surrogate` is not a `Surrogate`; `reset` or `unroll` is not callable.

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
        return _rest(shape, dtype)

    def step(params: Params, state: LIFState, current: Array) -> tuple[LIFState, Array]:
        return lif_step(reset, with_batch(constants, state.membrane), state, current)

    def unroll_(
        params: Params, state: LIFState, currents: Array, is_first: Array | None = None
    ) -> tuple[LIFState, Array]:
        return unroll(
            reset, with_batch(constants, state.membrane), state, currents, *given(is_first)
        )

    def probe(params: Params, state: LIFState) -> Probe:
        c = with_batch(constants, state.membrane)
        return c.surrogate.probe(state.membrane - c.threshold)

    def named() -> dict[str, Any]:
        return {"neuron": "lif", **constants._asdict(), "reset": name_of(reset)}

    return Neuron(init, initial_state, step, unroll_, probe, constants=named)
