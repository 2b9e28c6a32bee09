"""The LIF's unroll in Pallas: one kernel for the forward pass over all T, one for the backward.

The kernel bodies are in `bodies` and their launch is in `launch`. This module checks the arguments,
binds both passes in a custom_vjp, and computes the gradients of the constants outside the kernels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from stbp_jax.closures import reverse_mode
from stbp_jax.core import Array, Shape
from stbp_jax.neurons import MEMBRANE, LIFConstants, LIFState, Reset
from stbp_jax.neurons.kernels.bodies import backward_kernel, chunks, forward_kernel
from stbp_jax.neurons.kernels.launch import flat_constant, launch

Residuals = tuple[LIFConstants, LIFState, Array, Array, tuple[Array, ...]]


def lif_pallas(
    reset: Reset,
    constants: LIFConstants,
    state: LIFState,
    currents: Array,
    is_first: Array | None = None,
) -> tuple[LIFState, Array]:
    """Unroll for CUDA in Pallas: the values and gradients of `lif_unroll` in less memory traffic.

    With u, o, f, g, h, δ and ε as in `lif_unroll`:

        uᵗ = f(uᵗ⁻¹, oᵗ⁻¹) + Iᵗ        oᵗ = H(uᵗ - Vth)
        εᵗ = (gᵗ + εᵗ⁺¹ · ∂f/∂oᵗ) · h(uᵗ - Vth) + εᵗ⁺¹ · ∂f/∂uᵗ        dL/dIᵗ = εᵗ

    A spike depends on the current of its own step. The reset acts on the next step. Gradients
    cross the reset unless it is wrapped in `detach_reset` or `detach_time`. In bfloat16 the kernel
    rounds once per step, not after each operation.

    The gradients of decay and threshold are one pull-back over the trajectory outside the kernel;
    XLA removes it if they are not used. On an H200 the LIF alone takes .44 of the time of
    `lif_unroll` (experiments/benchmarks). JAX announces that it will remove the lowering through
    Triton, and emits a DeprecationWarning from 0.11 on; this unroll will then go.

    Args:
      reset: leak and reset; must not close over arrays.
      constants: decay, threshold and surrogate; each leaf is a scalar or broadcasts to
        `[B, *units]`; gradients reach decay and threshold.
      state: before the first step, `[B, *units]`.
      currents: `[T, B, *units]`, T >= 1, in the state's dtype.
      is_first: None; restarts within a sequence are not supported.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      NotImplementedError: a JAX release later than 0.12; state and currents that do not share one
        dtype of float16, bfloat16, float32 and float64; a reset or a curve that closes over arrays;
        T = 0; `is_first`; on lowering, a device other than CUDA.
      ValueError: shapes of state and currents that do not match.

    >>> import stbp_jax as sj
    >>> neuron = sj.lif(unroll=lif_pallas)  # for CUDA alone

    Source: Wu et al. 2018, equations (10)-(20), with their errata corrected.
    """
    _refuse_restarts(is_first)
    return reverse_mode(_unroll, reset, False, constants, state, currents)


def lif_pallas_interpreted(
    reset: Reset,
    constants: LIFConstants,
    state: LIFState,
    currents: Array,
    is_first: Array | None = None,
) -> tuple[LIFState, Array]:
    """Run `lif_pallas` on any device with interpreted kernels; slow, for tests.

    Args:
      reset: as for `lif_pallas`.
      constants: as for `lif_pallas`.
      state: as for `lif_pallas`.
      currents: as for `lif_pallas`.
      is_first: as for `lif_pallas`.

    Returns:
      `(last state, spikes [T, B, *units])`.

    Raises:
      NotImplementedError: as `lif_pallas`, except for the device.
      ValueError: shapes of state and currents that do not match.

    >>> import stbp_jax as sj
    >>> neuron = sj.lif(threshold=1.0, unroll=lif_pallas_interpreted)
    >>> state = neuron.initial_state((1, 1), jnp.float32)
    >>> neuron.unroll((), state, jnp.full((3, 1, 1), 1.5))[1].ravel()
    Array([1., 1., 1.], dtype=float32)
    """
    _refuse_restarts(is_first)
    return reverse_mode(_unroll, reset, True, constants, state, currents)


def _refuse_restarts(is_first: Array | None) -> None:
    if is_first is not None:
        raise NotImplementedError(
            "is_first must be None for lif_pallas; use lif_unroll for restarts within a sequence"
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _unroll(
    reset: Reset, interpreted: bool, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[LIFState, Array]:
    return _run_forward(reset, interpreted, constants, state, currents, keep=False)[0]


def _forward(
    reset: Reset, interpreted: bool, constants: LIFConstants, state: LIFState, currents: Array
) -> tuple[tuple[LIFState, Array], Residuals]:
    # The backward pass recomputes membranes and spikes from currents and entering membranes, so
    # that both have the name by which `keep_membranes` stores them.
    currents = checkpoint_name(currents, MEMBRANE)
    out, entering = _run_forward(reset, interpreted, constants, state, currents, keep=True)
    entering = checkpoint_name(entering, MEMBRANE)
    return out, (constants, state, currents, out[1], entering)


def _run_forward(
    reset: Reset,
    interpreted: bool,
    constants: LIFConstants,
    state: LIFState,
    currents: Array,
    *,
    keep: bool,
) -> tuple[tuple[LIFState, Array], tuple[Array, ...]]:
    _check(reset, constants, state, currents)
    leaves, tree = _flat(constants, state)
    arrays = (_rows(state.membrane), _rows(state.spikes), _steps(currents))
    num_steps, num_neurons = arrays[2].shape
    rows = [1, num_steps]
    if keep and chunks(num_steps)[1]:
        rows.append(chunks(num_steps)[1])
    outs = tuple(jax.ShapeDtypeStruct((n, num_neurons), currents.dtype) for n in rows)
    body = functools.partial(forward_kernel, reset, tree)
    last, spikes, *entering = launch(
        body, leaves, arrays, outs, interpreted=interpreted, name="lif_forward"
    )
    spikes = spikes.reshape(currents.shape)
    last = last.reshape(state.membrane.shape)
    return (LIFState(last, spikes[-1]), spikes), tuple(entering)


def _backward(
    reset: Reset, interpreted: bool, residuals: Residuals, cotangents: tuple[LIFState, Array]
) -> tuple[LIFConstants, LIFState, Array]:
    given, initial, currents, spikes, entering = residuals
    last_bar, spikes_bar = cotangents
    leaves, tree = _flat(given, initial)
    arrays = (
        _rows(initial.membrane),
        _rows(initial.spikes),
        _steps(currents),
        entering,
        _steps(spikes_bar),
        _rows(last_bar.membrane),
        _rows(last_bar.spikes),
    )
    body = functools.partial(backward_kernel, reset, tree)
    outs = (jax.ShapeDtypeStruct(arrays[2].shape, currents.dtype),)
    (eps,) = launch(body, leaves, arrays, outs, interpreted=interpreted, name="lif_backward")
    eps = eps.reshape(currents.shape)

    constants = _in_dtype(given, currents)
    _, pull = jax.vjp(functools.partial(reset, constants), initial)
    (initial_bar,) = pull(eps[0])
    constants_bar = _pull_constants(reset, given, initial, currents, spikes, cotangents, eps)
    return constants_bar, initial_bar, eps


def _pull_constants(
    reset: Reset,
    given: LIFConstants,
    initial: LIFState,
    currents: Array,
    spikes: Array,
    cotangents: tuple[LIFState, Array],
    eps: Array,
) -> LIFConstants:
    """Compute the gradients of the constants by one pull-back over all steps.

    This runs outside the kernel, because only these gradients need the membranes of all steps; XLA
    removes it if they are not used.
    """
    last_bar, spikes_bar = cotangents
    constants = _in_dtype(given, currents)
    spikes_tm1 = jnp.concatenate([initial.spikes[None], spikes[:-1]])

    def enter(membrane: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        # Spikes come from the kernel: XLA may round a membrane to the other side of a threshold.
        spike, current = now
        return reset(constants, LIFState(membrane, spike)) + current, membrane

    last, membrane_tm1 = lax.scan(enter, initial.membrane, (spikes_tm1, currents))
    membrane = jnp.concatenate([membrane_tm1[1:], last[None]])

    def carried(c: LIFConstants, before: LIFState) -> Array:
        return jax.vmap(functools.partial(reset, _in_dtype(c, currents)))(before)

    def distance(c: LIFConstants) -> Array:
        threshold = _in_dtype(c, currents).threshold
        return jax.vmap(lambda u: u - threshold)(membrane)

    # The gradient of a spike comes from the output and from the reset of the next step.
    after = LIFState(membrane[:-1], spikes[:-1])
    _, pull = jax.vjp(functools.partial(carried, given), after)
    (future,) = pull(eps[1:])
    delta = spikes_bar + jnp.concatenate([future.spikes, last_bar.spikes[None]])
    through_spike = delta * jax.vmap(constants.surrogate.derivative)(distance(given))

    def of_constants(c: LIFConstants) -> tuple[Array, Array]:
        return carried(c, LIFState(membrane_tm1, spikes_tm1)), distance(c)

    _, pull_constants = jax.vjp(of_constants, given)
    (constants_bar,) = pull_constants((eps, through_spike))
    return constants_bar


_unroll.defvjp(_forward, _backward)


def _in_dtype(constants: LIFConstants, membrane: Array) -> LIFConstants:
    """Convert constants to the membrane's dtype, so that they do not widen it."""
    return jax.tree.map(lambda c: jnp.asarray(c, membrane.dtype), constants)


def _flat(constants: LIFConstants, state: LIFState) -> tuple[list[Array], Any]:
    leaves, tree = jax.tree.flatten(_in_dtype(constants, state.membrane))
    return [flat_constant(leaf, state.membrane.shape) for leaf in leaves], tree


def _rows(x: Array) -> Array:
    """Reshape `[B, *units]` to `[1, N]`."""
    return x.reshape(1, x.size)


def _steps(xs: Array) -> Array:
    """Reshape `[T, B, *units]` to `[T, N]`."""
    return xs.reshape(xs.shape[0], xs[0].size)


def _check(reset: Reset, constants: LIFConstants, state: LIFState, currents: Array) -> None:
    shapes: list[Shape] = [state.membrane.shape, state.spikes.shape, currents.shape[1:]]
    if len(set(shapes)) > 1:
        raise ValueError(f"membrane, spikes and currents[t] must have one shape, got {shapes}")
    if currents.shape[0] == 0:
        raise NotImplementedError(
            "currents must have at least one step in a Pallas kernel, got T = 0"
        )
    dtypes = {jnp.dtype(x.dtype).name for x in (state.membrane, state.spikes, currents)}
    if len(dtypes) > 1 or not dtypes <= {"float16", "bfloat16", "float32", "float64"}:
        raise NotImplementedError(
            f"state and currents must have one float dtype in a Pallas kernel, got {sorted(dtypes)}"
        )

    def one_step(constants: LIFConstants, state: LIFState) -> tuple[Array, Array]:
        return reset(constants, state), constants.surrogate.derivative(state.membrane)

    if jax.make_jaxpr(one_step)(_in_dtype(constants, currents), state).consts:
        raise NotImplementedError(
            "reset and surrogate must use Python numbers in a Pallas kernel, got one that closes "
            "over arrays"
        )
